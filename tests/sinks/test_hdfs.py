"""The hdfs sink over a local file system: names, paths, rolls, formats."""

from __future__ import annotations

import gzip
import os
import re
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest

from shipper.api import ComponentFailed, EventBatch, Refused
from shipper.config.field import Finding, read_options
from shipper.files.local import LocalStore
from shipper.files.store import FileStatus
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import sink_context
from tests.running_sink import RunningSink
from tests.vectors import vector

START_MS = 1_340_459_193_234
NO_ROLLS = {"hdfs.rollCount": "0", "hdfs.rollSize": "0", "hdfs.rollInterval": "0"}


def as_properties(config: dict[str, Any]) -> dict[str, str]:
    texts = {key: str(value) for key, value in config.items() if value is not None}
    return {key: text.lower() if text in ("True", "False") else text for key, text in texts.items()}


def options_of(properties: dict[str, str]) -> tuple[HdfsOptions | None, list[Finding]]:
    return read_options(HdfsOptions, {"hdfs.path": "file:///d"} | properties)


class Running(RunningSink):
    """An open sink with its directory and its clock; text without rolls unless the properties say more."""

    def __init__(self, tmp_path: Path, path: str = "", sequence: int = 0, **properties: str) -> None:
        given = {"hdfs.path": f"file://{tmp_path}/out{path}", "hdfs.fileType": "DataStream", "hdfs.timeZone": "UTC"}
        given |= NO_ROLLS | {key if "serializer" in key else f"hdfs.{key}": value for key, value in properties.items()}
        super().__init__(HdfsSink, tmp_path, given, sequence=sequence)

    def files(self) -> dict[str, bytes]:
        found = sorted(path for path in self.out.rglob("*") if path.is_file())
        return {str(path.relative_to(self.out)).replace(str(START_MS)[:-3], "N"): path.read_bytes() for path in found}


def test_an_open_file_has_its_in_use_name_and_a_closed_one_its_own(tmp_path: Path) -> None:
    names = vector("hdfs_files", "open_name_default")["out"]
    running = Running(tmp_path)
    running.deliver(b"a")
    assert list(running.files()) == [names["open"].replace("<n>", "N235")]
    running.sink.close()
    assert list(running.files()) == [names["closed"].replace("<n>", "N235")]


def test_an_empty_in_use_suffix_gives_the_final_name_at_once(tmp_path: Path) -> None:
    row = vector("hdfs_files", "empty_in_use_suffix")
    running = Running(tmp_path, emptyInUseSuffix="true")
    running.deliver(b"a")
    assert list(running.files()) == [row["out"]["open"].replace("<n>", "N235")]
    running.sink.close()
    assert list(running.files()) == [row["out"]["closed"].replace("<n>", "N235")]


def test_prefix_suffix_and_in_use_marks_make_the_names(tmp_path: Path) -> None:
    running = Running(tmp_path, filePrefix="%{h}-web", fileSuffix=".log", inUsePrefix="_", inUseSuffix=".open")
    running.deliver(b"a", headers=[{"h": "x"}])
    assert list(running.files()) == ["_x-web.N235.log.open"]
    running.sink.close()
    assert list(running.files()) == ["x-web.N235.log"]


def test_files_end_after_so_many_events_as_flume_ends_them(tmp_path: Path) -> None:
    row = vector("hdfs_files", "roll_count")
    config = as_properties(row["config"])
    running = Running(tmp_path, **{key.removeprefix("hdfs."): value for key, value in config.items()})
    bodies = [b"%d" % n for n in range(row["events"])]
    for start in range(0, len(bodies), int(config["hdfs.batchSize"])):
        running.deliver(*bodies[start : start + 2])
    running.sink.close()
    lines = {name: data.count(b"\n") for name, data in running.files().items()}
    assert lines == {name.replace("<N+", "N23").replace(">", "").replace("N231", "N235").replace("N232", "N236")
                     .replace("N233", "N237"): count for name, count in row["files"].items()}  # fmt: skip
    assert b"".join(running.files().values()).split() == bodies


def test_one_batch_is_cut_into_the_same_files_as_many_small_ones(tmp_path: Path) -> None:
    running = Running(tmp_path, rollCount="10")
    running.deliver(*[b"%d" % n for n in range(1000)])
    running.sink.close()
    assert [data.count(b"\n") for data in running.files().values()] == [10] * 100
    assert b"".join(running.files().values()).split() == [b"%d" % n for n in range(1000)]


def test_files_end_by_size_of_the_bodies_as_in_flumes_own_test(tmp_path: Path) -> None:
    row = vector("hdfs_files", "upstream_roll_size")
    running = Running(tmp_path, rollSize="300")
    for _ in range(10):
        running.deliver(*[b"foo"] * 100)
    running.sink.close()
    assert len(running.files()) == row["files"]
    assert {len(data) for data in running.files().values()} == {400}  # with the newlines, which do not count


def test_a_full_file_stays_open_until_the_next_event(tmp_path: Path) -> None:
    running = Running(tmp_path, rollCount="2")
    running.deliver(b"a", b"b")
    assert list(running.files()) == ["FlumeData.N235.tmp"]
    running.deliver(b"c")
    assert list(running.files()) == ["FlumeData.N235", "FlumeData.N236.tmp"]


def test_files_end_by_time_and_when_idle(tmp_path: Path) -> None:
    running = Running(tmp_path, "/%{h}", rollInterval="30", idleTimeout="10")
    for turn in range(4):
        running.deliver(b"x", headers=[{"h": "busy"}])
        if not turn:
            running.deliver(b"x", headers=[{"h": "idle"}])
        running.after(9)
    assert [name for name in running.files() if "idle" in name] == ["idle/FlumeData.N235"]
    assert running.files()["busy/FlumeData.N235"] == b"x\n" * 4


def test_text_is_a_line_an_event(tmp_path: Path) -> None:
    row = vector("hdfs_files", "text_newline")
    running = Running(tmp_path)
    running.deliver(*[body.encode() for body in row["in"]])
    assert list(running.files().values()) == [row["out"].encode()]


def test_a_serializer_is_found_in_any_case(tmp_path: Path) -> None:
    row = vector("hdfs_files", "serializer_case")
    options, findings = options_of(as_properties(row["config"]))
    assert options is not None
    assert not findings
    running = Running(tmp_path, serializer=row["config"]["serializer"])
    running.deliver(b"a", headers=[{"k": "v"}])
    assert list(running.files().values()) == [b"{k=v} a\n"]


def test_a_sequence_file_of_text_has_flumes_records(tmp_path: Path) -> None:
    row = vector("hdfs_files", "sequencefile_text_record")
    running = Running(tmp_path, fileType="SequenceFile", writeFormat="Text")
    running.deliver(row["in"]["body"].encode(), headers=[row["in"]["headers"]])
    running.sink.close()
    (data,) = running.files().values()
    assert data.startswith(b"SEQ\x06!org.apache.hadoop.io.LongWritable\x19org.apache.hadoop.io.Text\0\0")
    assert bytes.fromhex(row["out"]["record_hex"]) in data


def test_a_sequence_file_goes_on_after_a_death_with_its_own_sync_marker(tmp_path: Path) -> None:
    first = Running(tmp_path, fileType="SequenceFile")
    sequence = first.deliver(b"a")
    (before,) = first.files().values()
    second = Running(tmp_path, fileType="SequenceFile", sequence=sequence)
    second.deliver(b"b")
    second.sink.close()
    (after,) = second.files().values()
    assert after.startswith(before)
    assert after.count(before[-16:]) == before.count(before[-16:]) + 1
    assert after.count(b"SEQ\x06") == 1


def test_a_missing_header_leaves_no_empty_folder(tmp_path: Path) -> None:
    row = vector("hdfs_files", "missing_header_in_path")
    running = Running(tmp_path, row["config"]["hdfs.path"].removeprefix("<dir>"))
    running.deliver(b"a")
    running.sink.close()
    assert list(running.files()) == [row["out"]["closed"].removeprefix("<dir>/").replace("<n>", "N235")]


def test_an_event_without_a_time_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    """Flume rolls back and tries again for ever; see the row's `superseded`."""
    row = vector("hdfs_files", "missing_timestamp")
    running = Running(tmp_path, "/%Y")
    good = {"timestamp": "1340459193234"}
    with pytest.raises(Refused, match=r"hdfs\.useLocalTimeStamp = true") as refused:
        running.sink.deliver(EventBatch.of([b"a", b"b", b"c"], [good, row["headers"], good]))
    assert refused.value.rows == (1,)
    running.deliver(b"a", b"c", headers=[good, good])
    assert running.files() == {"2012/FlumeData.N235.tmp": b"a\nc\n"}


def test_paths_have_times_in_the_sinks_zone_rounded(tmp_path: Path) -> None:
    running = Running(tmp_path, "/%Y-%m-%d/%H%M", timeZone="GMT+8", round="true", roundValue="10", roundUnit="Minute")
    running.deliver(b"a", headers=[{"timestamp": "1340459193234"}])
    assert list(running.files()) == ["2012-06-23/2140/FlumeData.N235.tmp"]


def test_paths_have_the_agents_time_when_the_file_says_so(tmp_path: Path) -> None:
    running = Running(tmp_path, "/%s", useLocalTimeStamp="true")
    running.deliver(b"a", headers=[{"timestamp": "5"}])
    assert list(running.files()) == ["N/FlumeData.N235.tmp"]


def test_a_header_can_not_lead_out_of_the_path(tmp_path: Path) -> None:
    running = Running(tmp_path, "/%{h}", filePrefix="%{h}")
    running.deliver(b"a", headers=[{"h": "../../../../tmp/evil"}])
    running.sink.close()
    assert list(running.files()) == ["__/__/__/__/tmp/evil/__/__/__/__/tmp/evil.N235"]


def test_beyond_max_open_files_the_one_written_longest_ago_ends(tmp_path: Path) -> None:
    running = Running(tmp_path, "/%{h}", maxOpenFiles="2")
    for host in ("a", "b", "a", "c"):
        running.deliver(b"x", headers=[{"h": host}])
    assert [name.rpartition(".")[2] for name in running.files()] == ["tmp", "N235", "tmp"]
    assert running.context.counters.get("open_files") == 2


def test_ten_thousand_buckets_with_five_hundred_open_files(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    running = Running(tmp_path, "/%{h}", maxOpenFiles="500")
    hosts = [str(n % 10_000) for n in range(20_000)]
    running.deliver(*[f"{n}".encode() for n in range(20_000)], headers=[{"h": host} for host in hosts])
    assert running.context.counters.get("open_files") == 500
    assert len(os.listdir("/proc/self/fd")) - before < 510
    running.sink.close()
    rows = [line for path in running.out.rglob("FlumeData*") for line in path.read_bytes().split()]
    assert sorted(map(int, rows)) == list(range(20_000))
    assert len(os.listdir(running.out)) == 10_000
    assert not list(running.out.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("codec", "suffix"), [("gzip", ".gz"), ("GzipCodec", ".gz"), ("bzip2", ".bz2"), ("LZ4", ".lz4")]
)
def test_a_compressed_file_has_its_codecs_suffix_unless_the_file_says(tmp_path: Path, codec: str, suffix: str) -> None:
    running = Running(tmp_path, fileType="CompressedStream", codeC=codec)
    running.deliver(b"a")
    running.sink.close()
    assert list(running.files()) == [f"FlumeData.N235{suffix}"]
    other = Running(tmp_path / "other", fileType="CompressedStream", codeC=codec, fileSuffix=".x")
    other.deliver(b"a")
    other.sink.close()
    assert list(other.files()) == ["FlumeData.N235.x"]


def test_a_compressed_file_can_be_read_up_to_the_last_commit(tmp_path: Path) -> None:
    running = Running(tmp_path, fileType="CompressedStream", codeC="gzip")
    for turn in range(3):
        running.sink.deliver(EventBatch.of([b"%d" % turn]))  # gathered
        running.deliver(b"x")
        (data,) = running.files().values()
        assert gzip.decompress(data) == b"".join(b"%d\nx\n" % n for n in range(turn + 1))
    assert data.count(b"\x1f\x8b\x08") == 3  # one member a commit


def test_only_compressed_files_wait_for_more(tmp_path: Path) -> None:
    assert Running(tmp_path / "1").sink.linger_s == 0
    assert Running(tmp_path / "2", fileType="CompressedStream", codeC="gzip").sink.linger_s == 1.0


@pytest.mark.parametrize("threads", [1, 2])
def test_large_additions_are_compressed_by_as_many_threads_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """They are one member all the same."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    before = threading.active_count()
    running = Running(tmp_path, fileType="CompressedStream", codeC="gzip", threadsPoolSize=str(threads))
    running.deliver(*[b"x" * 999] * 2100)
    assert threading.active_count() - before == threads - 1
    running.sink.close()
    (data,), member = running.files().values(), zlib.decompressobj(31)
    assert member.decompress(data) == (b"x" * 999 + b"\n") * 2100
    assert not member.unused_data


def test_a_name_that_is_taken_is_stepped_over(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.out.mkdir()
    (running.out / f"FlumeData.{START_MS + 1}").write_bytes(b"final")
    (running.out / f"FlumeData.{START_MS + 2}.tmp").write_bytes(b"open")
    running.deliver(b"a")
    running.sink.close()
    assert running.files() == {"FlumeData.N235": b"final", "FlumeData.N236.tmp": b"open", "FlumeData.N237": b"a\n"}


def test_somebody_who_is_thousands_of_names_ahead_is_passed_with_a_few_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """He has the same path and prefix, and began some seconds later. The names keep their form."""
    asked: list[str] = []
    stat = LocalStore.stat

    def counted(store: LocalStore, path: str) -> FileStatus | None:
        asked.append(path)
        return stat(store, path)

    monkeypatch.setattr(LocalStore, "stat", counted)
    running = Running(tmp_path)
    running.out.mkdir()
    for number in range(START_MS + 1, START_MS + 5001):
        (running.out / f"FlumeData.{number}").touch()
    asked.clear()
    running.deliver(b"a")
    assert len(asked) < 40
    running.sink.close()
    [name] = [name for name, content in running.files().items() if content]
    assert re.fullmatch(r"FlumeData\.N?\d+", name)
    assert START_MS + 5000 < int(name.replace("N", str(START_MS)[:-3]).partition(".")[2]) < START_MS + 10_100


def test_a_final_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    (running.out / f"FlumeData.{START_MS + 1}").write_bytes(b"somebody's")
    running.sink.close()
    assert running.files() == {"FlumeData.N235": b"somebody's", "FlumeData.N236": b"a\n"}
    assert "is there already and is not overwritten" in running.said[-1][1]


def test_counters_do_not_go_back_with_the_clock(tmp_path: Path) -> None:
    running = Running(tmp_path, idleTimeout="1")
    for turn in range(3):
        running.deliver(b"%d" % turn)
        running.after(2)
        running.clock.wall_ms -= 5_000
    assert running.files() == {"FlumeData.N235": b"0\n", "FlumeData.N236": b"1\n", "FlumeData.N237": b"2\n"}


def test_a_path_without_a_scheme_is_local_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (f"{tmp_path}/absolute", "relative"):
        sink = HdfsSink(HdfsOptions(path=path, file_type="DataStream"))
        said: list[tuple[str, str]] = []
        sink.open(sink_context(tmp_path / path.rpartition("/")[2] / "state", said=said))
        sink.deliver(EventBatch.of([b"a"]))
        sink.flush()
        sink.committed()
        sink.close()
        assert said[0][0] == "warning"
        assert said[0][1].startswith(f"hdfs.path = {path} has no scheme, and no core-site.xml with a cluster in it")
        assert f"write file://{tmp_path / path} to say so" in said[0][1]
        assert [p.read_bytes() for p in (tmp_path / path).glob("FlumeData*")] == [b"a\n"]


@pytest.mark.parametrize("scheme", ["file://", "file:", "FILE://", "file://localhost"])
def test_all_spellings_of_a_local_uri_mean_the_same(tmp_path: Path, scheme: str) -> None:
    options = HdfsOptions(path=f"{scheme}{tmp_path}/x", file_type="DataStream")
    assert options.problems() == []
    sink = HdfsSink(options)
    sink.open(sink_context(tmp_path / "state"))
    sink.deliver(EventBatch.of([b"a"]))
    sink.close()
    sink.open(sink_context(tmp_path / "state2"))
    sink.deliver(EventBatch.of([b"a"]))
    sink.flush()
    sink.committed()
    assert len(list((tmp_path / "x").iterdir())) == 1


def test_flumes_defaults_that_cut_files_small_are_named_with_the_line_that_stops_them(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    HdfsSink(HdfsOptions(path=f"file://{tmp_path}")).open(sink_context(tmp_path / "state", said=said))
    assert [line for _, line in said] == [
        "files end after 10 events because hdfs.rollCount is 10 (Flume's default); hdfs.rollCount = 0 stops that",
        "files end after 1024 bytes because hdfs.rollSize is 1024 (Flume's default); hdfs.rollSize = 0 stops that",
        "files end after 30 s because hdfs.rollInterval is 30 (Flume's default); hdfs.rollInterval = 0 stops that",
    ]
    assert not Running(tmp_path).said


def test_an_unknown_write_format_is_accepted_with_a_warning_and_writes_nothing(tmp_path: Path) -> None:
    row = vector("hdfs_files", "write_format_unknown")
    options, findings = options_of(as_properties(row["config"]))
    assert options is not None
    assert [finding.severity for finding in findings] == ["warning"]
    assert "hdfs.writeFormat = Nope: must be Writable or Text" in findings[0].message
    with pytest.raises(ComponentFailed, match=r"hdfs\.writeFormat = Nope"):
        HdfsSink(options).open(sink_context(tmp_path / "state"))
