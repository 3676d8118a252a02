"""The log on a real file system: what a channel relies on, and every way in which its directories can be wrong."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.checksums import checksum_behind
from shipper.durable import offline
from shipper.durable.board import Board, lane_id
from shipper.durable.checkpoint import CHECKPOINT_NAME
from shipper.durable.keys import Keys
from shipper.durable.layout import (
    RECORDS_AT,
    Identity,
    SlotHeader,
    crc32,
    identity_bytes,
    read_identity,
    slot_header_bytes,
)
from shipper.durable.log import Log
from shipper.durable.reader import Reader, disown
from shipper.durable.settings import Entry, LogSettings
from shipper.errors import ComponentFailed, ConfigurationError
from tests.durable.reading import bodies

LANES = ("k1.0", "k2.0")
FIRST, SECOND = map(lane_id, LANES)
Open = Callable[..., Log]


@pytest.fixture
def settings(tmp_path: Path) -> LogSettings:
    """Segments of 64 KiB in two directories."""
    return LogSettings(
        checkpoint_dir=tmp_path / "checkpoint", data_dirs=(tmp_path / "a", tmp_path / "b"), segment_bytes=64 << 10,
        minimum_free_bytes=0,
    )  # fmt: skip


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens logs, and closes them behind the test."""
    logs: list[Log] = []

    def open_log(settings: LogSettings, lanes: tuple[str, ...] = LANES) -> Log:
        logs.append(Log.open(settings, lanes, lambda body: []))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close() if log.board.segment._descriptor >= 0 else None


def put(log: Log, body: bytes, lane: int = FIRST, number: int = 0) -> None:
    """One durable put."""
    assert log.append(1, number, [Entry(lane, (body,), 1, len(body))]) is not None
    log.sync()


def reader_of(log: Log, lane: int = FIRST, sink: int = 5, *, keys: Keys | None = None) -> Reader:
    """A reader that holds its lane, with a board of its own as another process has it."""
    reader = Reader(Board.open(log.settings.board), log.settings.data_dirs, lane, sink, keys=keys)
    assert reader.try_hold()
    return reader


# --- reading


def test_what_is_synced_is_read_by_its_lane_alone(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    put(log, b"one")
    put(log, b"two", SECOND)
    put(log, b"three")
    first, second = reader_of(log), reader_of(log, SECOND, 6)
    assert bodies(first) == [b"one", b"three"]
    assert bodies(second) == [b"two"]
    assert log.rows == 3
    first.release(1)
    assert (log.rows, log.size_bytes) == (1, 3)


def test_what_was_delivered_is_nobodys_memory_any_more(settings: LogSettings, opened: Open) -> None:
    """Of a file of 128 MiB a reader holds what it is about to deliver, not what it has."""
    log = opened(replace(settings, segment_bytes=128 << 20))
    body = bytes(4 << 20)
    for number in range(24):
        log.append(1, number, [Entry(FIRST, (body,), 1, len(body))])
    log.sync()
    reader, largest = reader_of(log), 0
    for number in range(24):
        assert reader.peek() is not None
        reader.step()
        largest = max(largest, mapped_bytes(".segment"))
        reader.release(number + 1)
    assert 4 << 20 < largest < 48 << 20
    assert mapped_bytes(".segment") < 24 << 20


def mapped_bytes(ending: str) -> int:
    """What this process has in memory of the files whose names end so."""
    found = 0
    counts = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            counts = words[-1].endswith(ending)
        elif counts and words[0] == "Rss:":
            found += int(words[1]) << 10
    return found


def test_what_is_not_synced_is_not_read(settings: LogSettings, opened: Open) -> None:
    """Unless the settings say so: then what is flushed is."""
    log = opened(settings)
    log.append(1, 1, [Entry(FIRST, (b"x",), 1, 1)])
    log.flush()
    reader = reader_of(log)
    assert not reader.waiting and reader.peek() is None
    log.sync()
    assert bodies(reader) == [b"x"]
    log.close()
    reader.close()
    early = opened(replace(settings, readable_before_sync=True))
    early.append(1, 2, [Entry(FIRST, (b"y",), 1, 1)])
    assert early.flush() == early.appended_seq > early.durable_seq
    assert bodies(reader_of(early)) == [b"x", b"y"]


def test_a_body_comes_back_as_one_view_of_the_file(settings: LogSettings, opened: Open) -> None:
    """Pieces are joined, nothing is copied, and the view outlives the segment."""
    log = opened(settings)
    large = random.Random(1).randbytes(50_000)
    log.append(1, 1, [Entry(FIRST, (memoryview(large)[:100], memoryview(large)[100:]), 1, 1, checksum=crc32(large))])
    log.sync()
    reader = reader_of(log)
    record = reader.peek()
    assert record is not None and record.body.readonly and record.body == large
    reader.step()
    reader.release(1)
    for _ in range(3):
        put(log, large)
        bodies(reader)
        reader.release(1)
        log.tick(1.0)
        log.tick(1.0)
    assert len(list(settings.data_dirs[0].glob("*.segment")) + list(settings.data_dirs[1].glob("*.segment"))) < 4
    assert record.body == large
    reader.close()
    assert record.body == large


def test_the_checksum_of_a_frame_is_good_for_its_payload() -> None:
    """What a ring has computed over header and payload is not computed again."""
    chance = random.Random(4)
    for size in (0, 1, 7, 1000, 70_000):
        front, payload = chance.randbytes(72), chance.randbytes(size)
        assert checksum_behind(crc32(payload, crc32(front)), crc32(front), size) == crc32(payload)


def test_a_rollback_gives_the_same_records_again(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    for number in range(5):
        put(log, b"%d" % number)
    reader = reader_of(log)
    assert bodies(reader) == [b"0", b"1", b"2", b"3", b"4"]
    reader.rewind()
    reader.peek()
    reader.step()
    reader.release(3)
    assert reader.committed.sequence == 3
    assert bodies(reader) == [b"1", b"2", b"3", b"4"]
    reader.rewind()
    assert bodies(reader) == [b"1", b"2", b"3", b"4"]


def test_a_commit_inside_a_record_is_remembered(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    log.append(1, 1, [Entry(FIRST, (b"abc",), 3, 30)])
    log.sync()
    reader = reader_of(log)
    reader.peek()
    reader.release_rows(2, 1)
    assert log.rows == 1
    reader.close()
    log.close()
    again = opened(settings)
    reader = reader_of(again)
    record = reader.peek()
    assert record is not None and record.body == b"abc" and reader.rows_done == 2
    assert again.rows == 1


def test_a_lane_has_one_holder_and_is_handed_over(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    put(log, b"one")
    home, other = reader_of(log, sink=5), Reader(Board.open(settings.board), settings.data_dirs, FIRST, 6)
    assert not other.try_hold()
    assert other.holder == 5
    other.want()
    assert home.wanted
    home.let_go()
    assert other.try_hold() and other.holder == 6
    assert not other.wanted
    assert bodies(other) == [b"one"]
    other.close()  # died: the word still names it
    assert not home.try_hold()
    assert disown(log.board, FIRST, 6)
    assert home.try_hold()
    assert bodies(home) == [b"one"]


def test_maps_are_few_however_many_segments_are_read(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    for number in range(60):
        put(log, bytes(20_000), number=number + 1)
    reader = reader_of(log)
    before = len(os.listdir("/proc/self/fd"))
    assert len(bodies(reader)) == 60
    maps = Path("/proc/self/maps").read_text().count(".segment")
    assert maps <= 5
    assert len(os.listdir("/proc/self/fd")) - before <= 8  # two a map


# --- starting


def test_a_start_reads_what_is_newer_than_the_checkpoint_and_no_more(settings: LogSettings, opened: Open) -> None:
    """However much waits: a log of 60 segments looks through two of them at most."""
    log = opened(settings)
    for number in range(120):
        put(log, bytes(30_000), number=number + 1)
    log.checkpoint()
    log._claim.give_back()  # as when the process dies
    again = opened(settings)
    assert again.rows == 120
    assert again.recovered.scanned_bytes <= 2 * settings.segment_bytes
    assert again.put_of(1) == 120
    log._failed = "dead"


def test_segments_are_dealt_to_the_directory_with_more_space(
    settings: LogSettings, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shipper.durable.disk import Disk

    free = {settings.data_dirs[0]: 10 << 30, settings.data_dirs[1]: 20 << 30}
    monkeypatch.setattr(Disk, "free_bytes", lambda self, path: free[path])
    log = opened(settings)
    put(log, b"x")
    assert [p.name for p in settings.data_dirs[1].glob("*.segment")] == ["000000000001.segment"]
    free[settings.data_dirs[1]] = 1
    for _ in range(3):
        put(log, bytes(40_000))
    assert len(list(settings.data_dirs[0].glob("*.segment"))) >= 2


def test_a_process_that_is_killed_leaves_what_it_acknowledged(tmp_path: Path, opened: Open) -> None:
    """Written by another process, which dies without a word."""
    script = """
import os, sys
from pathlib import Path
from shipper.durable.log import Log
from shipper.durable.settings import Entry, LogSettings
from shipper.durable.board import lane_id
d = Path(sys.argv[1])
settings = LogSettings(checkpoint_dir=d / "c", data_dirs=(d / "d",), segment_bytes=65536, minimum_free_bytes=0)
log = Log.open(settings, ["k1.0"], lambda b: [])
for n in range(200):
    log.append(1, n + 1, [Entry(lane_id("k1.0"), (b"%06d" % n * 100,), 1, 600)])
    if n % 10 == 9: log.sync()
log.append(1, 201, [Entry(lane_id("k1.0"), (b"not acknowledged",), 1, 600)])
log.flush()
os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    assert died.returncode == -9
    settings = LogSettings(checkpoint_dir=tmp_path / "c", data_dirs=(tmp_path / "d",), minimum_free_bytes=0)
    log = opened(settings, ("k1.0",))
    assert log.recovered.same_boot and not log.recovered.lost
    assert log.put_of(1) == 200
    assert bodies(reader_of(log)) == [b"%06d" % n * 100 for n in range(200)]


# --- encryption


def keys(active: str, *names: str) -> Keys:
    """Keys that differ by name."""
    return Keys(active, {name: name.encode().ljust(32, b"k") for name in (active, *names)})


def test_bodies_are_encrypted_and_keys_rotate(settings: LogSettings, opened: Open) -> None:
    """Segments of the old key are read with it, new ones use the new key, and nothing can be read on the disk."""
    first = opened(replace(settings, keys=keys("one")))
    put(first, b"very secret" * 100, number=1)
    first.close()
    second = opened(replace(settings, keys=keys("two", "one")))
    put(second, b"also secret" * 100, number=2)
    for path in [*settings.data_dirs[0].iterdir(), *settings.data_dirs[1].iterdir()]:
        assert b"secret" not in path.read_bytes()
    assert bodies(reader_of(second, keys=keys("two", "one"))) == [b"very secret" * 100, b"also secret" * 100]
    report = offline.verify(settings.checkpoint_dir, settings.data_dirs, keys("two", "one"))
    assert [segment.key_name for segment in report.segments] == ["one", "two"]
    assert report.sound
    exported = [
        bytes(r.body) for r, _ in offline.export(settings.checkpoint_dir, settings.data_dirs, keys("two", "one"))
    ]
    assert exported == [b"very secret" * 100, b"also secret" * 100]


def test_a_lost_or_wrong_key_is_said(settings: LogSettings, opened: Open) -> None:
    """With the file, the name of the key, and what may be done; the log is as it was."""
    log = opened(replace(settings, keys=keys("one")))
    put(log, b"secret")
    log.close()
    for wrong, said in (
        (None, "'one', which is not given .* To encrypt no more, let the channel run empty with its keys first"),
        (keys("two"), "'one', which is not given"),
        (Keys("one", {"one": bytes(32)}), "another key than the one that is now called 'one'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            Log.open(replace(settings, keys=wrong), LANES, lambda body: [])
    assert offline.inspect(settings.checkpoint_dir, settings.data_dirs).rows_waiting == 1
    again = opened(replace(settings, keys=keys("one")))
    assert bodies(reader_of(again, keys=keys("one"))) == [b"secret"]


def test_key_files_are_checked(tmp_path: Path) -> None:
    raw, text, short, open_to_all, store = (tmp_path / name for name in ("raw", "text", "short", "open", "store.jceks"))
    raw.write_bytes(bytes(range(32)))
    text.write_text(bytes(range(32)).hex() + "\n")
    short.write_bytes(b"too short")
    open_to_all.write_bytes(bytes(32))
    store.write_bytes(b"\xce\xce\xce\xce" + bytes(100))
    for path in (raw, text, short, store):
        path.chmod(0o600)
    open_to_all.chmod(0o644)
    found = Keys.load("a", {"a": raw, "b": text})
    assert found.secrets["a"] == found.secrets["b"] == bytes(range(32))
    assert "secrets" not in repr(found)
    for path, said in (
        (short, "32 bytes"), (open_to_all, "chmod 600"), (store, "Java key store"), (tmp_path / "none", "can't read"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=said):
            Keys.load("a", {"a": path})
    with pytest.raises(ConfigurationError, match="'z' has no key file"):
        Keys.load("z", {"a": raw})


# --- directories that can't be used


def test_two_logs_never_share_a_directory(settings: LogSettings, opened: Open, tmp_path: Path) -> None:
    opened(settings)
    with pytest.raises(ConfigurationError, match="in use by another process"):
        Log.open(settings, LANES, lambda body: [])
    other = replace(settings, checkpoint_dir=tmp_path / "other")
    with pytest.raises(ConfigurationError, match="in use by another process"):
        Log.open(other, LANES, lambda body: [])
    assert offline.inspect(settings.checkpoint_dir, settings.data_dirs).in_use


@pytest.mark.parametrize("names", [["log-1", "log-1.meta", "in_use.lock"], ["log-17"]])
def test_a_flume_channel_is_refused_and_left_alone(settings: LogSettings, names: list[str]) -> None:
    directory = settings.data_dirs[0]
    directory.mkdir(parents=True)
    for name in names:
        (directory / name).write_bytes(b"flume")
    for look in (
        lambda: Log.open(settings, LANES, lambda body: []),
        lambda: offline.inspect(settings.checkpoint_dir, settings.data_dirs),
    ):
        with pytest.raises(ConfigurationError, match="Apache Flume") as refused:
            look()
        assert "ChannelSize is 0" in str(refused.value)
    assert sorted(path.name for path in directory.iterdir()) == sorted(names)


def test_a_flume_checkpoint_is_refused(settings: LogSettings) -> None:
    settings.checkpoint_dir.mkdir(parents=True)
    for name in ("checkpoint", "checkpoint.meta", "inflightputs"):
        (settings.checkpoint_dir / name).write_bytes(b"flume")
    with pytest.raises(ConfigurationError, match="Apache Flume"):
        Log.open(settings, LANES, lambda body: [])


def test_files_of_a_newer_release_are_refused_and_left_alone(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    put(log, b"x")
    log.close()
    checkpoint = settings.checkpoint_dir / CHECKPOINT_NAME
    old = checkpoint.read_bytes()
    header = slot_header_bytes(SlotHeader(2, 0, 99, 10, len(old) // 2))
    checkpoint.write_bytes(header + old[len(header) :])
    with pytest.raises(ConfigurationError, match="newer release"):
        Log.open(settings, LANES, lambda body: [])
    checkpoint.write_bytes(old)
    (path,) = [p for d in settings.data_dirs for p in d.glob("*.segment")]
    data = path.read_bytes()
    identity = read_identity(data[:4096])
    assert isinstance(identity, Identity)
    newer = bytearray(identity_bytes(identity)[:-4])
    newer[8] = 2
    path.write_bytes(bytes(newer) + crc32(bytes(newer)).to_bytes(4, "little") + data[len(newer) + 4 :])
    with pytest.raises(ConfigurationError, match="newer release"):
        Log.open(settings, LANES, lambda body: [])


@pytest.mark.permissions_count
def test_a_directory_that_may_not_be_written_is_said(settings: LogSettings) -> None:
    settings.checkpoint_dir.mkdir(parents=True)
    settings.checkpoint_dir.chmod(0o500)
    try:
        with pytest.raises(ConfigurationError, match="may not write") as refused:
            Log.open(settings, LANES, lambda body: [])
        assert "chown -R" in str(refused.value)
    finally:
        settings.checkpoint_dir.chmod(0o700)


def test_a_directory_that_can_not_be_made_is_said(settings: LogSettings) -> None:
    with pytest.raises(ConfigurationError, match=r"/proc/x/c can't be made: No such file .* checkpointDir"):
        Log.open(replace(settings, checkpoint_dir=Path("/proc/x/c")), LANES, lambda body: [])


def test_a_file_where_a_directory_should_be_is_said(settings: LogSettings) -> None:
    settings.data_dirs[1].parent.mkdir(parents=True, exist_ok=True)
    settings.data_dirs[1].write_bytes(b"")
    with pytest.raises(ConfigurationError, match="not a directory"):
        Log.open(settings, LANES, lambda body: [])


def test_a_directory_where_a_segment_should_be_is_said(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    put(log, b"one")
    log.close()
    path = settings.data_dirs[0] / "000000000009.segment"
    path.mkdir()
    with pytest.raises(ComponentFailed, match=f"the disk failed at {path}: Is a directory"):
        opened(settings)


def test_no_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"no channel lies in {tmp_path}: give"):
        offline.inspect(tmp_path, [tmp_path])


# --- offline


def test_verify_names_the_damaged_record(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    for number in range(3):
        put(log, b"body %d" % number * 50)
    log.close()
    (path,) = [p for d in settings.data_dirs for p in d.glob("*.segment")]
    with path.open("r+b") as file:
        file.seek(RECORDS_AT + 128 + 5)
        file.write(b"!")
    assert offline.inspect(settings.checkpoint_dir, settings.data_dirs).sound
    report = offline.verify(settings.checkpoint_dir, settings.data_dirs)
    assert not report.sound
    assert report.segments[0].wrong == ["record 1 (1 rows): its body is damaged or can't be read"]
    assert report.lanes[FIRST].name == "k1.0"
    exported = [record.seq for record, _ in offline.export(settings.checkpoint_dir, settings.data_dirs)]
    assert exported == [2, 3]


def test_the_offline_functions_change_nothing(settings: LogSettings, opened: Open) -> None:
    log = opened(settings)
    put(log, b"x")
    log.close()
    root = settings.checkpoint_dir.parent
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}
    offline.inspect(settings.checkpoint_dir, settings.data_dirs)
    offline.verify(settings.checkpoint_dir, settings.data_dirs)
    list(offline.export(settings.checkpoint_dir, settings.data_dirs, delivered_too=True))
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*") if path.is_file()}
