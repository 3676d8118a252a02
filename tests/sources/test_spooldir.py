"""The spooldir source: which files it reads, in which order, and what becomes of them."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.api import ComponentFailed, EventBatch, Origin
from shipper.config.field import read_options
from shipper.registry import find
from shipper.sources._spool.progress import ProgressFile, read_progress
from shipper.sources.spooldir import SpooldirOptions, SpooldirSource
from shipper.testing.fakes import FakeWaiter, ManualClock, source_context
from tests.vectors import vector


class Spool:
    """A source that reads a directory, with a worker's manners."""

    def __init__(self, directory: Path, config: dict[str, str] | None = None, **context: Any) -> None:
        self.directory = directory
        self.next: Spool | None = None
        directory.mkdir(exist_ok=True)
        options, findings = read_options(SpooldirOptions, {"spoolDir": str(directory)} | (config or {}))
        assert options is not None, findings
        self.clock = context.setdefault("clock", ManualClock())
        self.waiter = context.setdefault("waiter", FakeWaiter(self.clock))
        self.said: list[tuple[str, str]] = context.setdefault("said", [])
        self.positions: dict[str, Origin] = context.setdefault("positions", {})
        self.context = source_context(directory.parent, **context)
        self.source = SpooldirSource(options)
        self.source.open(self.context)

    def put(self, name: str, content: bytes = b"", mtime_s: float | None = None) -> Path:
        """Puts a whole file into the directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if mtime_s is not None:
            os.utime(path, (mtime_s, mtime_s))
        return path

    def poll(self) -> EventBatch | None:
        return self.source.poll(1.0)

    def commit(self, batch: EventBatch) -> list[bytes]:
        """As the worker does: the position is stored, then the source is told."""
        found: list[bytes] = batch.body.to_pylist()
        for origin in batch.origins:
            self.positions[origin.stream] = origin
        self.source.committed(batch)
        return found

    def read(self) -> list[bytes]:
        """All that is there now, committed."""
        found: list[bytes] = []
        while (batch := self.poll()) is not None:
            found += self.commit(batch)
        return found

    def names(self) -> list[str]:
        """What is in the directory, apart from hidden names."""
        return sorted(name for name in os.listdir(self.directory) if not name.startswith("."))

    def again(self, config: dict[str, str] | None = None, *, died: bool = False, **context: Any) -> Spool:
        """The next start; `died`: the channels are still there, and so are their positions."""
        self.source.close()
        self.next = Spool(self.directory, config, positions=dict(self.positions) if died else {}, **context)
        return self.next

    def close(self) -> None:
        """Ends this source, and those that were started after it."""
        self.source.close()
        if self.next is not None:
            self.next.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(config: dict[str, str] | None = None, **context: Any) -> Spool:
        made.append(Spool(tmp_path / "spool", config, **context))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Spool]


def test_a_name_that_was_used_before_does_not_stop_it(spool: Make) -> None:
    """Where Flume is dead for ever: the file is set aside under another name, and the next one is read."""
    row = vector("spooldir_scenarios", "completed_name_reused")
    one = spool()
    one.put("f1", b"a\n")
    events = [one.read()]
    one.put("f1", b"again\n")
    events.append(one.read())
    one.put("f9", b"z\n")
    events.append(one.read())
    assert [[body.decode() for body in found] for found in events] == row["want"]
    assert one.names() == ["f1.1340459194234.COMPLETED", "f1.COMPLETED", "f9.COMPLETED"]
    assert (one.directory / "f1.COMPLETED").read_bytes() == b"a\n"
    assert "f1.COMPLETED was there already (a file's name was used again)" in one.said[0][1]
    assert one.read() == []


@pytest.mark.parametrize("among", [0, 1000])
def test_the_oldest_file_comes_first(spool: Make, among: int) -> None:
    """By the time of change, whatever the names; alone and among 1,000 others."""
    row = vector("spooldir_scenarios", "consume_oldest")
    one = spool(row["config"])
    shuffle = random.Random(among)
    others = [f"other{number}" for number in range(among)]
    for name in shuffle.sample(others, among):
        one.put(name, name.encode(), 1.5 + shuffle.choice([0, 1, 2]))
    for name, (mtime_s, content) in row["files_mtime"].items():
        one.put(name, content.encode(), mtime_s)
    found = one.read()
    assert [body.decode() for body in found if not body.startswith(b"other")] == row["events"]
    assert len(found) == 3 + among


def test_names_are_chosen_by_patterns(spool: Make) -> None:
    """includePattern says which, ignorePattern says which not, and it wins."""
    row = vector("spooldir_scenarios", "include_and_ignore")
    one = spool(row["config"])
    for name, content in row["files"].items():
        one.put(name, content.encode())
    assert [body.decode() for body in one.read()] == row["events"]
    assert one.names() == ["f1.tmp", "f2.log.COMPLETED", "f3.txt"]


@pytest.mark.parametrize(
    ("order", "expected"), [("oldest", [b"b", b"c", b"a"]), ("YOUNGEST", [b"a", b"b", b"c"]), ("random", None)]
)
def test_files_of_the_same_time_come_by_name(spool: Make, order: str, expected: list[bytes] | None) -> None:
    """In both orders the smaller name is first; random reads them all."""
    one = spool({"consumeOrder": order})
    one.put("b", b"b", 5)
    one.put("c", b"c", 5)
    one.put("a", b"a", 6)
    found = one.read()
    assert found == expected if expected else sorted(found) == [b"a", b"b", b"c"]


def test_a_file_that_comes_later_but_is_older_is_read_before_those_that_wait(spool: Make) -> None:
    """Once the listing is as old as pollDelay."""
    one = spool({"pollDelay": "500"})
    for number in range(3):
        one.put(f"f{number}", b"%d" % number, 100 + number)
    first = one.poll()
    assert first is not None
    one.put("late", b"late", 50)
    one.clock.advance(0.6)
    assert one.commit(first) + one.read() == [b"0", b"late", b"1", b"2"]


def test_hidden_and_completed_files_are_left_alone(spool: Make) -> None:
    """So are directories, unless they are asked for."""
    one = spool()
    one.put(".hidden", b"h")
    one.put("done.COMPLETED", b"d")
    one.put("folder/inside", b"i")
    one.put("plain", b"p")
    assert one.read() == [b"p"]


def test_subdirectories_are_read_when_asked_for(spool: Make) -> None:
    """But neither hidden ones nor those that ignorePattern names; each file is retired where it is."""
    one = spool({"recursiveDirectorySearch": "true", "ignorePattern": "^skip.*$"})
    one.put("a/b/deep", b"deep")
    one.put("skipme/x", b"x")
    one.put(".git/y", b"y")
    one.put("top", b"top")
    assert sorted(one.read()) == [b"deep", b"top"]
    assert (one.directory / "a/b/deep.COMPLETED").exists()


def test_an_empty_file_is_one_event_without_a_body(spool: Make) -> None:
    """As in Flume; and it is retired."""
    one = spool()
    one.put("empty")
    assert one.read() == [b""]
    assert one.names() == ["empty.COMPLETED"]


def test_a_batch_never_spans_two_files(spool: Make) -> None:
    """Each file's rows have its own headers."""
    one = spool({"fileHeader": "true", "basenameHeader": "true"})
    one.put("a", b"1\n2\n", 1)
    one.put("b", b"3\n", 2)
    for name, rows in (("a", 2), ("b", 1)):
        batch = one.poll()
        assert batch is not None
        assert batch.rows == rows
        assert batch.constants == {"file": str(one.directory / name), "basename": name}
        one.commit(batch)


def test_the_headers_can_have_other_names(spool: Make) -> None:
    """fileHeaderKey and basenameHeaderKey."""
    one = spool({"fileHeader": "true", "fileHeaderKey": "p", "basenameHeader": "true", "basenameHeaderKey": "n"})
    one.put("a", b"1")
    batch = one.poll()
    assert batch is not None
    assert batch.constants == {"p": str(one.directory / "a"), "n": "a"}


def test_without_headers_there_are_none(spool: Make) -> None:
    """The default."""
    one = spool()
    one.put("a", b"1")
    batch = one.poll()
    assert batch is not None
    assert batch.header_names == []


def test_a_file_is_retired_only_when_its_last_rows_are_committed(spool: Make) -> None:
    """Before that it stands where it stood."""
    one = spool()
    one.put("a", b"1\n")
    batch = one.poll()
    assert one.names() == ["a"]
    assert batch is not None
    one.commit(batch)
    assert one.names() == ["a.COMPLETED"]


def test_files_can_be_deleted(spool: Make) -> None:
    """deletePolicy = immediate."""
    one = spool({"deletePolicy": "immediate"})
    one.put("a", b"1")
    assert one.read() == [b"1"]
    assert one.names() == []


def test_files_can_stay_with_a_mark_in_the_tracker_directory(spool: Make, tmp_path: Path) -> None:
    """trackingPolicy = tracker_dir; the mark outlives a restart."""
    config = {
        "trackingPolicy": "tracker_dir",
        "trackerDir": str(tmp_path / "marks"),
        "recursiveDirectorySearch": "true",
    }
    one = spool(config)
    one.put("a", b"1")
    one.put("d/b", b"2")
    assert sorted(one.read()) == [b"1", b"2"]
    assert one.names() == ["a", "d"]
    assert (tmp_path / "marks/a.COMPLETED").read_bytes() == b""
    assert (tmp_path / "marks/d/b.COMPLETED").exists()
    two = one.again(config)
    two.put("c", b"3")
    assert two.read() == [b"3"]


def test_the_suffix_can_be_another(spool: Make) -> None:
    """fileSuffix."""
    one = spool({"fileSuffix": ".done"})
    one.put("a", b"1")
    one.put("b.done", b"2")
    one.put("c.COMPLETED", b"3")
    assert sorted(one.read()) == [b"1", b"3"]
    assert one.names() == ["a.done", "b.done", "c.COMPLETED.done"]


def test_rows_that_did_not_reach_the_channels_are_read_again(spool: Make) -> None:
    """`position` goes back to the start of the batch."""
    one = spool(batch_bytes=1 << 10, rows_max=3)
    one.put("a", b"".join(b"%d\n" % n for n in range(10)))
    first = one.poll()
    assert first is not None
    one.commit(first)
    second = one.poll()
    assert second is not None
    bodies = second.body.to_pylist()
    one.source.position(second.origins)
    again = one.poll()
    assert again is not None
    assert again.body.to_pylist() == bodies == [b"3", b"4", b"5"]


def test_the_only_event_of_an_empty_file_comes_again_too(spool: Make) -> None:
    """After a rollback."""
    one = spool()
    one.put("empty")
    batch = one.poll()
    assert batch is not None
    one.source.position(batch.origins)
    assert one.read() == [b""]


@pytest.mark.parametrize("died", [True, False])
@pytest.mark.parametrize("batches", [1, 2, 5])
def test_a_restart_goes_on_inside_the_file(spool: Make, died: bool, batches: int) -> None:
    """With the channels' position, or after a reboot with the progress file's: nothing is lost, nothing comes twice."""
    one = spool(rows_max=7)
    lines = [b"line %d" % n for n in range(100)]
    one.put("a", b"\n".join(lines))
    found: list[bytes] = []
    for _ in range(batches):
        batch = one.poll()
        assert batch is not None
        found += one.commit(batch)
    lost = one.poll()  # read, but not committed when it died
    assert lost is not None
    two = one.again(died=died)
    assert found + two.read() == lines
    assert two.names() == ["a.COMPLETED"]


def test_dying_between_the_last_commit_and_the_retirement_reads_nothing_again(spool: Make) -> None:
    """The origin of the last rows says that the file was done: it is retired at the next start."""
    for content in (b"a\nb\n", b""):
        one = spool()
        one.put("f", content)
        batch = one.poll()
        assert batch is not None
        for origin in batch.origins:
            one.positions[origin.stream] = origin
        two = one.again(died=True)
        assert two.read() == []
        assert two.names() == ["f.COMPLETED"]
        (two.directory / "f.COMPLETED").unlink()


def test_a_position_is_not_used_for_another_file_of_the_same_name(spool: Make) -> None:
    """Not the channels', nor the progress file's."""
    for died in (True, False):
        one = spool(rows_max=1)
        path = one.put("f", b"old 1\nold 2\nold 3\n")
        batch = one.poll()
        assert batch is not None
        one.commit(batch)
        other = one.put("other", b"new 1\nnew 2\n")
        other.rename(path)
        two = one.again(died=died, rows_max=1)
        assert two.read() == [b"new 1", b"new 2"]
        (two.directory / "f.COMPLETED").unlink()


def test_a_file_whose_beginning_was_rewritten_is_read_from_its_beginning(spool: Make) -> None:
    """Same inode, other content before the position: said."""
    one = spool(rows_max=1)
    path = one.put("f", b"old 1\nold 2\n")
    batch = one.poll()
    assert batch is not None
    one.commit(batch)
    (one.directory / ".flumespool/.flumespool-main.meta").unlink()
    with path.open("r+b") as file:
        file.write(b"new 1\nnew 2\n")
    two = one.again(died=True)
    assert two.read() == [b"new 1", b"new 2"]
    assert "is not what was read last time" in two.said[0][1]


def test_flumes_progress_file_is_understood(reference: Path, spool: Make) -> None:
    """A user switches from Flume in the middle of a file: 300 lines, 200 delivered."""
    one = spool()
    path = one.put("x", b"".join(b"line %d\n" % n for n in range(300)))
    meta = (reference / "flume-files/spooldir-flumespool-main.meta").read_bytes()
    recorded_path = b"/var/spool/flume/incoming/logs/a.txt"
    assert meta.count(recorded_path) == 1
    named = bytes([2 * len(recorded_path)]) + recorded_path
    long_path = str(path).encode()
    size = 2 * len(long_path)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    (one.directory / ".flumespool/.flumespool-main.meta").write_bytes(meta.replace(named, length + long_path))
    two = one.again()
    assert two.read() == [b"line %d" % n for n in range(200, 300)]
    assert "going on at byte 1690, as the progress file says" in two.said[0][1]
    assert not (one.directory / ".flumespool/.flumespool-main.meta").exists()


def test_flume_can_go_on_with_our_progress_file(spool: Make) -> None:
    """Read by an independent Avro reader: the file in the metadata, one long a commit, the last one is the offset."""
    fastavro = pytest.importorskip("fastavro")
    one = spool(rows_max=2)
    path = one.put("x", b"a\nb\nc\nd\ne\n")
    for _ in range(2):
        batch = one.poll()
        assert batch is not None
        one.commit(batch)
    with (one.directory / ".flumespool/.flumespool-main.meta").open("rb") as file:
        reader = fastavro.reader(file)
        assert reader.metadata["file"] == str(path)
        assert [record["offset"] for record in reader] == [4, 8]
        assert reader.writer_schema["name"] == "org.apache.flume.serialization.TransferStateFileMeta"


@pytest.mark.parametrize(
    "content", [b"", b"not avro", b"Obj\x01", b"Obj\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"]
)
def test_a_damaged_progress_file_does_not_stop_it(spool: Make, content: bytes) -> None:
    """The file that it spoke of is read from its beginning; a person is told, unless it is empty."""
    one = spool()
    one.put("x", b"a\n")
    (one.directory / ".flumespool/.flumespool-main.meta").write_bytes(content)
    two = one.again()
    assert two.read() == [b"a"]
    assert bool(two.said) == bool(content)


def test_a_place_for_which_there_is_no_room_hides_no_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes a part of the block; when there is room again, what is noted then is found."""
    path = tmp_path / "meta"
    progress = ProgressFile(path)
    progress.note("/spool/f", "1.2.3", 1000)
    write = os.write

    def short(descriptor: int, data: bytes) -> int:
        if len(data) <= 10:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:10])

    with monkeypatch.context() as full:
        full.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space left"):
            progress.note("/spool/f", "1.2.3", 2000)
    progress.note("/spool/f", "1.2.3", 3000)
    progress.close()
    found = read_progress(path)
    assert found is not None
    assert found.offset == 3000


def test_the_channels_position_is_not_set_back_by_an_older_progress_file(spool: Make) -> None:
    """Both only move forward."""
    one = spool(rows_max=1)
    one.put("x", b"a\nb\nc\nd\n")
    for _ in range(2):
        batch = one.poll()
        assert batch is not None
        one.commit(batch)
    batch = one.poll()
    assert batch is not None
    for origin in batch.origins:
        one.positions[origin.stream] = origin  # in the channels, but the source died before it was told
    assert one.again(died=True).read() == [b"d"]


def test_a_file_that_grows_while_it_is_read_is_read_to_its_end(spool: Make) -> None:
    """Flume would stop for ever. It is said, and nothing is lost."""
    one = spool()
    path = one.put("f", b"a\n")
    batch = one.poll()
    assert batch is not None
    with path.open("ab") as file:
        file.write(b"b\n")
    found = one.commit(batch) + one.read()
    assert found == [b"a", b"b"]
    assert one.names() == ["f.COMPLETED"]
    assert "grew by 2 bytes while it was read" in one.said[0][1]


def test_a_file_that_is_changed_while_it_is_read_is_set_aside(spool: Make) -> None:
    """Whoever wants to know what it was finds it under a name with the time; the next file is read."""
    for policy in ("never", "immediate"):
        one = spool({"deletePolicy": policy})
        path = one.put("f", b"abc\n", 1000)
        batch = one.poll()
        assert batch is not None
        path.write_bytes(b"xyz\n")
        one.commit(batch)
        assert one.names() == [f"f.{one.clock.now_ms()}.COMPLETED"]
        assert "was changed while it was read; it is now f." in one.said[0][1]
        one.put("g", b"g")
        assert one.read() == [b"g"]
        for name in one.names():
            (one.directory / name).unlink()


def test_a_file_that_vanishes_while_it_is_read_is_delivered_whole(spool: Make) -> None:
    """It was open."""
    one = spool()
    path = one.put("f", b"a\n")
    batch = one.poll()
    assert batch is not None
    path.unlink()
    assert one.commit(batch) == [b"a"]
    assert "was removed or replaced while it was read" in one.said[0][1]
    one.put("g", b"g")
    assert one.read() == [b"g"]


def test_a_file_that_was_replaced_while_it_was_read_is_read_too(spool: Make) -> None:
    """The new one is not taken out of the way in place of the old one."""
    one = spool()
    path = one.put("f", b"a\n")
    batch = one.poll()
    assert batch is not None
    one.put("new", b"b\n").rename(path)
    assert one.commit(batch) + one.read() == [b"a", b"b"]
    assert one.names() == ["f.COMPLETED"]


def test_undecodable_bytes_end_that_file_only(spool: Make) -> None:
    """All before them is delivered; the file stays; the next one is read; after a change it is tried again."""
    one = spool()
    path = one.put("bad", b"ok\ncaf\xe9\nrest\n", 1)
    one.put("good", b"good\n", 2)
    assert one.read() == [b"ok", b"good"]
    assert one.names() == ["bad", "good.COMPLETED"]
    assert "at byte 6 (e9 0a 72 65) it is no utf-8; what stands before has been delivered" in one.said[0][1]
    assert "decodeErrorPolicy = REPLACE" in one.said[0][1]
    assert one.context.counters.get("EventReadFail") == 1
    assert one.read() == []
    path.write_bytes("ok\ncafé\nrest\n".encode())
    one.clock.advance(10)
    assert one.read() == [b"ok", "café".encode(), b"rest"]


@pytest.mark.parametrize(("policy", "body"), [("REPLACE", "caf\ufffd"), ("ignore", "caf")])
def test_undecodable_bytes_can_be_replaced_or_left_out(spool: Make, policy: str, body: str) -> None:
    """decodeErrorPolicy."""
    one = spool({"decodeErrorPolicy": policy})
    one.put("f", b"caf\xe9\nx\n")
    assert one.read() == [body.encode(), b"x"]


def test_files_can_have_another_character_set(spool: Make) -> None:
    """inputCharset; the bodies are UTF-8, or what deserializer.outputCharset says."""
    one = spool({"inputCharset": "ISO-8859-1"})
    one.put("f", "Füße\n".encode("latin-1"))
    assert one.read() == ["Füße".encode()]
    two = one.again({"inputCharset": "UTF-16", "deserializer.outputCharset": "ISO-8859-1"})
    two.put("g", "Füße\n".encode("utf-16"))
    assert two.read() == ["Füße".encode("latin-1")]


def test_how_many_lines_were_cut_is_said_at_the_end_of_the_file(spool: Make) -> None:
    """Once, however many batches there were."""
    one = spool({"deserializer.maxLineLength": "10", "fileHeader": "false"}, batch_bytes=256)
    one.put("f", b"x" * 15 + b"\n" + b"y\n" * 500 + (b"z" * 25 + b"\n") * 3)
    one.read()
    assert [text.rpartition(": ")[2] for _, text in one.said] == [
        "such lines become several events", "4 lines were longer than deserializer.maxLineLength = 10",
    ]  # fmt: skip


def test_long_lines_are_cut_and_that_is_said(spool: Make) -> None:
    """deserializer.maxLineLength, 2048 when nothing is said; the obsolete key means the same."""
    one = spool()
    one.put("f", b"x" * 3000 + b"\n")
    assert [len(body) for body in one.read()] == [2048, 952]
    assert one.said[0][1].endswith(
        "spool/f: a line is longer than deserializer.maxLineLength = 2048: such lines become several events"
    )
    assert one.context.counters.get("truncated_lines") == 1
    for config in ({"deserializer.maxLineLength": "1000"}, {"bufferMaxLineLength": "1000"}):
        two = one.again(config)
        two.put("g", b"x" * 3000)
        assert [len(body) for body in two.read()] == [1000, 1000, 1000]
        (two.directory / "g.COMPLETED").unlink()


def test_gzip_files_are_read_as_what_they_hold(spool: Make) -> None:
    """All members; a restart inside goes on behind what was committed."""
    one = spool(rows_max=7)
    lines = [b"line %d" % n for n in range(5000)]
    text = b"\n".join(lines) + b"\n"
    one.put("f.gz", gzip.compress(text[:20_000]) + gzip.compress(text[20_000:]))
    found: list[bytes] = []
    for _ in range(300):
        batch = one.poll()
        assert batch is not None
        found += one.commit(batch)
    two = one.again(died=True)
    assert found + two.read() == lines
    assert two.names() == ["f.gz.COMPLETED"]


def test_gzip_files_can_be_left_as_they_are(spool: Make) -> None:
    """gunzip = false: one event, as BLOB reads any file."""
    one = spool({"gunzip": "false", "deserializer": "BLOB"})
    data = gzip.compress(b"text")
    one.put("f.gz", data)
    assert one.read() == [data]


@pytest.mark.parametrize("cut", ["short", "flipped", "no gzip at all"])
def test_a_damaged_gzip_file_is_left_and_the_next_one_read(spool: Make, cut: str) -> None:
    """What could be read is delivered at most; no traceback, no end."""
    one = spool()
    data = bytearray(gzip.compress(b"".join(b"%d\n" % n for n in range(100_000))))
    if cut == "short":
        data = data[: len(data) // 2]
    elif cut == "flipped":
        data[len(data) // 2] ^= 0xFF
    else:
        data = bytearray(b"plain text\n")
    one.put("f.gz", bytes(data), 1)
    one.put("g", b"good\n", 2)
    found = one.read()
    assert found[-1] == b"good"
    assert found[:-1] == [b"%d" % n for n in range(len(found) - 1)] or cut == "flipped"
    assert one.names() == ["f.gz", "g.COMPLETED"]
    assert "f.gz" in one.said[0][1]


@pytest.mark.parametrize("damage", ["its end is missing", "its checksum is wrong"])
@pytest.mark.parametrize("policy", ["FAIL", "REPLACE"])
def test_what_stands_before_the_damage_of_a_gzip_file_is_delivered(spool: Make, damage: str, policy: str) -> None:
    """In whole lines; the file stays, and nobody is told that another decodeErrorPolicy would help."""
    rows = random.Random(1)
    lines = [b"%d %030x" % (n, rows.getrandbits(120)) for n in range(50_000)]
    data = bytearray(gzip.compress(b"\n".join(lines) + b"\n"))
    if damage == "its end is missing":
        del data[-30:]
    else:
        data[-8] ^= 0xFF
    one = spool({"decodeErrorPolicy": policy, "deletePolicy": "immediate"}, batch_bytes=8 << 20)
    one.put("f.gz", bytes(data))
    found = one.read()
    assert found == lines[: len(found)]
    assert len(b"\n".join(lines[len(found) :])) < 1 << 16, "but for the piece in which the damage is"
    assert one.names() == ["f.gz"]
    assert "it is no whole gzip file" in one.said[0][1]
    assert "decodeErrorPolicy" not in one.said[0][1]


def test_a_damaged_gzip_file_is_no_event_of_blob(spool: Make) -> None:
    """Half a file would be taken for a whole one."""
    one = spool({"deserializer": "BLOB"})
    one.put("f.gz", gzip.compress(os.urandom(1 << 18))[:-30])
    assert one.read() == []
    assert one.names() == ["f.gz"]


def test_batches_are_filled_whatever_batchsize_says_unless_they_are_literal(spool: Make) -> None:
    """Flume's batchSize is a unit of its counters; strictBatch makes it literal."""
    content = b"".join(b"%d\n" % n for n in range(1000))
    one = spool()
    one.put("f", content)
    batch = one.poll()
    assert batch is not None
    assert batch.rows == 1000
    one.commit(batch)
    for config, rows in (({}, 100), ({"batchSize": "7"}, 7)):
        two = one.again(config, strict=True)
        two.put("g", content)
        batch = two.poll()
        assert batch is not None
        assert batch.rows == rows
        (two.directory / "g").unlink()


def test_it_looks_for_files_once_in_polldelay(spool: Make) -> None:
    """And sleeps in between."""
    one = spool({"pollDelay": "200"})
    assert one.poll() is None
    assert one.waiter.waited_s == [0.2]
    one.put("f", b"x")
    assert one.read() == [b"x"]


def test_the_pause_before_a_full_channel_is_tried_again_doubles_up_to_maxbackoff(spool: Make) -> None:
    """And begins anew after a commit."""
    one = spool({"maxBackoff": "1000"})
    one.put("f", b"a\nb\n")
    batch = one.poll()
    assert batch is not None
    for _ in range(5):
        assert one.source.refused(batch, "full") is True
    assert one.waiter.waited_s == [0.25, 0.5, 1.0, 1.0, 1.0]
    one.commit(batch)
    assert one.source.refused(batch, "full") is True
    assert one.waiter.waited_s[-1] == 0.25


def test_what_waits_is_known_in_bytes(spool: Make) -> None:
    """The files that wait, and the rest of the one that is being read."""
    one = spool(batch_bytes=1 << 10)
    one.put("a", (b"x" * 99 + b"\n") * 100, 1)
    one.put("b", b"y" * 500, 2)
    assert one.poll() is not None
    assert one.source.lag_bytes() == 10_500 - 1024


def test_workers_share_the_files_out(spool: Make) -> None:
    """Each file is read by exactly one of them."""
    both = [spool(worker=worker, workers=2) for worker in range(2)]
    for number in range(50):
        both[0].put(f"f{number}", b"%d" % number)
    found = [one.read() for one in both]
    assert all(found)
    assert sorted(found[0] + found[1]) == sorted(b"%d" % n for n in range(50))


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    """With what to do."""
    options, _ = read_options(SpooldirOptions, {"spoolDir": str(tmp_path / "none")})
    assert options is not None
    with pytest.raises(ComponentFailed, match=r"spoolDir = .*none: No such file.*create the directory"):
        SpooldirSource(options).open(source_context(tmp_path))


def test_a_file_in_the_place_of_the_directory_is_said(tmp_path: Path) -> None:
    """With what it is."""
    (tmp_path / "f").write_bytes(b"")
    options, _ = read_options(SpooldirOptions, {"spoolDir": str(tmp_path / "f")})
    assert options is not None
    with pytest.raises(ComponentFailed, match="Not a directory"):
        SpooldirSource(options).open(source_context(tmp_path))


def test_a_directory_that_disappears_is_said(spool: Make) -> None:
    """The supervisor tries again."""
    one = spool({"trackerDir": str(Path(os.environ.get("TMPDIR", "/tmp")))})
    one.directory.rmdir()
    with pytest.raises(ComponentFailed, match="create the directory"):
        one.poll()


@pytest.mark.permissions_count
def test_a_directory_that_can_not_be_written_is_said(spool: Make, tmp_path: Path) -> None:
    """Renaming needs it; the tracker directory does not."""
    one = spool()
    one.put("f", b"x")
    one.directory.chmod(0o555)
    try:
        with pytest.raises(ComponentFailed, match="trackingPolicy = tracker_dir"):
            one.again()
        two = one.again({"trackingPolicy": "tracker_dir", "trackerDir": str(tmp_path / "marks")})
        assert two.read() == [b"x"]
    finally:
        one.directory.chmod(0o755)


def test_a_link_that_leads_nowhere_stops_nobody(spool: Make) -> None:
    """One to itself is trouble until it is gone; one to what is not there is as good as nothing."""
    one = spool()
    (one.directory / "loop").symlink_to("loop")
    (one.directory / "dangling").symlink_to("nowhere")
    one.put("f", b"x")
    assert one.read() == [b"x"]
    assert "loop can't be looked at: Too many levels of symbolic links; the others are read" in one.said[0][1]
    assert one.source.trouble().startswith(f"{one.directory}/loop can't be read: Too many levels")
    one.clock.advance(1)
    assert one.read() == []
    assert len(one.said) == 1
    (one.directory / "loop").unlink()
    one.clock.advance(1)
    assert one.read() == []
    assert one.source.trouble() == ""


def test_a_subdirectory_that_can_not_be_listed_stops_nobody(spool: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files are read once it can be."""
    one = spool({"recursiveDirectorySearch": "true"})
    one.put("closed/f", b"x")
    one.put("open/g", b"y")
    scan = os.scandir

    def refuse(path: str) -> Any:
        if path.endswith("/closed"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    with monkeypatch.context() as closed:
        closed.setattr(os, "scandir", refuse)
        assert one.read() == [b"y"]
        assert one.source.trouble() == f"{one.directory}/closed can't be read: Permission denied"
    one.clock.advance(1)
    assert one.read() == [b"x"]
    assert one.source.trouble() == ""


@pytest.mark.permissions_count
def test_a_file_that_can_not_be_read_is_left_and_tried_when_it_changes(spool: Make) -> None:
    """The others are read."""
    one = spool()
    path = one.put("f", b"x", 1)
    path.chmod(0)
    one.put("g", b"y", 2)
    assert one.read() == [b"y"]
    assert "can't be opened: Permission denied" in one.said[0][1]
    assert one.source.trouble() == f"{path} can't be read: Permission denied"
    path.chmod(0o644)
    one.clock.advance(1)
    assert one.read() == [b"x"]
    assert one.source.trouble() == ""


@pytest.mark.permissions_count
def test_a_file_that_can_not_be_read_is_no_trouble_once_it_is_gone(spool: Make) -> None:
    """Somebody took it away."""
    one = spool()
    path = one.put("f", b"x")
    path.chmod(0)
    assert one.read() == []
    assert one.source.trouble()
    path.unlink()
    assert one.read() == []
    assert one.source.trouble() == ""


def test_a_file_that_could_not_be_opened_for_once_is_read(spool: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """When descriptors ran out nothing changes at the file; it is tried again, and said once."""
    one = spool()
    path = one.put("f", b"x")
    real_open = os.open

    def refuse(name: str, *args: Any, **more: Any) -> int:
        if name == str(path):
            raise OSError(24, "Too many open files", name)
        return real_open(name, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    for _ in range(20):
        one.clock.advance(1)
        assert one.read() == []
    assert len(one.said) == one.context.counters.get("EventReadFail") == 1
    monkeypatch.setattr(os, "open", real_open)
    one.clock.advance(6)
    assert one.read() == [b"x"]


def test_a_tracker_directory_that_can_not_be_made_is_said(spool: Make, tmp_path: Path) -> None:
    """With its option."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ComponentFailed, match="keeping progress in trackerDir"):
        spool({"trackerDir": str(tmp_path / "file" / "marks")})


def test_a_file_that_can_not_be_taken_out_of_the_way_is_said(spool: Make) -> None:
    """After a restart it is not read again, only retired."""
    one = spool({"fileSuffix": "x" * 250})
    one.put("f" * 10, b"a\n")
    batch = one.poll()
    assert batch is not None
    with pytest.raises(ComponentFailed, match=r"taking .* out of the way.*: File name too long"):
        one.commit(batch)
    assert one.again(died=True).read() == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"includePattern": "["}, "includePattern"),
        ({"ignorePattern": "a(?<=b"}, "ignorePattern"),
        ({"includePattern": "\\p{IsGreek}"}, "includePattern"),
        ({"deletePolicy": "later"}, "deletePolicy"),
        ({"trackingPolicy": "none"}, "trackingPolicy"),
        ({"consumeOrder": "newest"}, "consumeOrder"),
        ({"inputCharset": "klingon"}, "inputCharset"),
        ({"inputCharset": "UTF-7"}, "inputCharset"),
        ({"decodeErrorPolicy": "SKIP"}, "decodeErrorPolicy"),
        ({"deserializer": "LINES"}, "deserializer"),
        ({"deserializer.maxLineLength": "0"}, "deserializer.maxLineLength"),
        ({"batchSize": "0"}, "batchSize"),
        ({"pollDelay": "-1"}, "pollDelay"),
        ({"maxBackoff": "x"}, "maxBackoff"),
        ({"fileSuffix": ""}, "fileSuffix"),
        ({"bufferMaxLineLength": "0"}, "bufferMaxLineLength"),
    ],
)
def test_values_that_make_no_sense_are_errors(config: dict[str, str], key: str) -> None:
    """Under their key."""
    options, findings = read_options(SpooldirOptions, {"spoolDir": "/d"} | config)
    assert options is None
    assert [f.key for f in findings if f.severity == "error"] == [key]


def test_the_directory_is_required() -> None:
    """And named."""
    _, findings = read_options(SpooldirOptions, {})
    assert [f.key for f in findings] == ["spoolDir"]


def test_obsolete_and_unknown_keys_are_doubts() -> None:
    """They run, as in Flume."""
    config = {"spoolDir": "/d", "bufferMaxLines": "5", "bufferMaxLineLength": "9", "deserializer.maxLinelength": "7"}
    options, findings = read_options(SpooldirOptions, config)
    assert options is not None
    assert {f.key for f in findings} == {"bufferMaxLines", "bufferMaxLineLength", "deserializer.maxLinelength"}
    assert {f.severity for f in findings} == {"warning"}


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("source", "spooldir") is SpooldirSource
    assert find("source", "org.apache.flume.source.SpoolDirectorySource") is SpooldirSource


def test_the_positions_of_many_files_do_not_pile_up(spool: Make) -> None:
    """The table of positions has a few streams, however many files there were."""
    one = spool()
    for number in range(100):
        one.put(f"f{number}", b"x")
    assert len(one.read()) == 100
    assert len(one.positions) == 16
