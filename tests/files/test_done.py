"""Markers of done buckets: when one is made, what waits for it, what late rows become, and what a death leaves."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.files.local import LocalStore
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.sinks.sink import SinkContext
from shipper.testing.fakes import ManualClock, sink_context
from tests.running_sink import RunningSink
from tests.waiting import until

HOUR_MS = 3_600_000
#: 2012-06-23 13:00 UTC
START_MS = 1_340_456_400_000
HOUR = "2012-06-23/13"


class Running(RunningSink):
    """An open sink that makes markers, its clock, and the part of the worker's loop that matters here."""

    def __init__(self, tmp_path: Path, context: SinkContext | None = None, sequence: int = 0, **more: str) -> None:
        given = {
            "hdfs.path": f"file://{tmp_path}/out/%Y-%m-%d/%H", "hdfs.fileType": "DataStream", "hdfs.timeZone": "UTC",
            "hdfs.rollCount": "0", "hdfs.rollSize": "0", "hdfs.rollInterval": "0", "hdfs.bucketDone": "_SUCCESS",
            "hdfs.bucketDoneLateness": "60", "sync.interval": "0",
        } | {key.replace("_", "."): value for key, value in more.items()}  # fmt: skip
        clock = ManualClock(START_MS)
        super().__init__(HdfsSink, tmp_path, given, clock=clock, sequence=sequence, context=context)

    def deliver(self, *bodies: bytes, at_ms: int = START_MS, commits: bool = True) -> None:
        header = {"timestamp": str(at_ms)}
        self.sink.deliver(EventBatch.of(list(bodies), [header] * len(bodies)))
        if commits:
            self.commit()

    def after(self, seconds: float, *, caught_up: bool = True) -> None:
        """Time goes by, and the worker looks at its sink often enough for all that follows."""
        self.clock.advance(seconds)
        for _ in range(4):
            self.clock.advance(1)
            if caught_up:
                self.sink.caught_up(self.clock.now_ms())
            if self.sink.tick():
                self.commit()
            job = self.sink._markers._job if self.sink._markers is not None else None
            if job is not None:
                job.wait()

    def names(self, hour: str = HOUR) -> list[str]:
        folder = self.out / hour
        return sorted(path.name.partition(".1")[0] for path in folder.iterdir()) if folder.exists() else []

    def marked(self, hour: str = HOUR) -> bool:
        return (self.out / hour / "_SUCCESS").exists()


def test_a_bucket_that_is_over_gets_its_marker_behind_its_files(tmp_path: Path) -> None:
    """Its open file is ended for it, and the marker is empty."""
    running = Running(tmp_path)
    running.deliver(b"a", b"b")
    running.after(3590)
    assert not running.marked()
    running.after(30)
    assert not running.marked(), "the lateness is not over"
    running.after(60)
    assert running.names() == ["FlumeData", "_SUCCESS"]
    assert (running.out / HOUR / "_SUCCESS").read_bytes() == b""
    assert (running.counted("buckets_done"), running.counted("buckets_waiting")) == (1, 0)
    assert running.counted("open_files") == 0


def test_files_of_other_buckets_stay_open(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(3605)
    running.deliver(b"b", at_ms=START_MS + HOUR_MS)
    running.after(60)
    assert running.marked() and not running.marked("2012-06-23/14")
    assert [path.suffix for path in (running.out / "2012-06-23/14").iterdir()] == [".tmp"]


def test_lateness_counts_from_the_last_row_too(tmp_path: Path) -> None:
    """A source that reads an old log brings rows of an hour that was over long ago: the marker comes after them."""
    running = Running(tmp_path)
    running.after(10 * 3600)
    for _ in range(5):
        running.deliver(b"old")
        running.after(40)
        assert not running.marked()
    running.after(60)
    assert running.marked()
    assert running.counted("rows_late") == 0


def test_no_marker_while_older_rows_wait_in_the_channel(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(7200, caught_up=False)
    assert not running.marked()
    running.after(0)
    assert running.marked()


def test_no_marker_before_its_files_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename, refused = LocalStore.rename, [True]

    def sometimes(self: LocalStore, path: str, final: str) -> None:
        if refused[0]:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        rename(self, path, final)

    monkeypatch.setattr(LocalStore, "rename", sometimes)
    running = Running(tmp_path, hdfs_retryInterval="5")
    running.deliver(b"a")
    running.after(7200)
    assert not running.marked()
    refused[0] = False
    running.after(10)
    assert running.names() == ["FlumeData", "_SUCCESS"]


def test_no_marker_before_the_rows_are_synced(tmp_path: Path) -> None:
    running = Running(tmp_path, sync_interval="1")
    running.deliver(b"a")
    running.after(7200)
    assert not running.marked()
    running.sink.sync()
    while not running.sink.synced():
        running.sink.files._syncing._job and running.sink.files._syncing._job.wait()  # type: ignore[func-returns-value]
    running.after(0)
    assert running.marked()


def test_rows_of_a_lane_that_was_given_back_are_synced_by_that(tmp_path: Path) -> None:
    """A worker that took what was another one's, and holds no lane any more, begins no sync of its own."""
    running = Running(tmp_path, sync_interval="1")
    running.deliver(b"a")
    running.sink.releasing()
    running.after(7200)
    assert running.marked()


def test_late_rows_are_written_counted_and_said(tmp_path: Path) -> None:
    """The marker stays; the new file ends after a lateness of its own."""
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(3700)
    assert running.marked()
    running.deliver(b"late", b"too")
    running.deliver(b"three")
    running.after(0)
    assert running.counted("rows_late") == 3
    assert [line for level, line in running.said if "after its marker" in line] == [
        f"3 events came for {running.out}/{HOUR} after its marker _SUCCESS was made: they are written all the same, "
        "and the marker stays; a longer hdfs.bucketDoneLateness waits for such events"
    ]
    running.after(70)
    assert running.names() == ["FlumeData", "FlumeData", "_SUCCESS"]
    assert (running.counted("buckets_done"), running.counted("buckets_waiting")) == (1, 0)
    running.deliver(b"later still")
    assert running.counted("rows_late") == 4


def test_late_rows_of_a_rolled_back_transaction_count_once(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(3700)
    running.deliver(b"late", commits=False)
    running.sink.rolled_back()
    running.deliver(b"late")
    assert running.counted("rows_late") == 1


def test_a_killed_sink_makes_the_markers_that_were_due(tmp_path: Path) -> None:
    """Also of a bucket in which all files were closed by then, so that the journal knows nothing of it."""
    before = Running(tmp_path, hdfs_rollInterval="30")
    before.deliver(b"a")
    before.after(40)
    assert before.names() == ["FlumeData"]
    after = Running(tmp_path, sequence=before.sequence)
    assert not after.marked()
    after.after(3700)
    assert after.marked()


def test_a_sink_that_died_behind_a_marker_is_content_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is counted as late, and nobody waits for it any more."""
    before = Running(tmp_path)
    before.deliver(b"a")
    with monkeypatch.context() as patch:
        patch.setattr("shipper.files.done.DoneMarkers._made", lambda self: None)  # the death
        before.after(3700)
    assert before.marked()
    after = Running(tmp_path, sequence=before.sequence)
    after.after(7200)
    assert after.counted("buckets_waiting") == 0
    assert after.counted("rows_late") == 0
    assert [line for level, line in after.said if level == "error"] == []


def test_a_restarted_sink_knows_that_rows_are_late(tmp_path: Path) -> None:
    before = Running(tmp_path)
    before.deliver(b"a")
    before.after(3700)
    before.sink.close()
    after = Running(tmp_path, sequence=before.sequence)
    after.after(7200)
    after.deliver(b"late")
    assert after.counted("rows_late") == 1


def test_a_stop_makes_the_markers_that_are_due(tmp_path: Path) -> None:
    running = Running(tmp_path, sync_interval="1")
    running.deliver(b"a")
    running.clock.advance(7200)
    running.sink.caught_up(running.clock.now_ms())
    running.sink.close()
    assert running.names() == ["FlumeData", "_SUCCESS"]


def test_a_marker_that_cannot_be_made_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, refused = LocalStore.create, [True]

    def sometimes(self: LocalStore, path: str) -> object:
        if refused[0] and path.endswith("_SUCCESS"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return create(self, path)

    monkeypatch.setattr(LocalStore, "create", sometimes)
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(3700)
    [said] = {line for level, line in running.said if level == "error"}
    assert said.startswith(f"could not make {running.out}/{HOUR}/_SUCCESS: Permission denied")
    refused[0] = False
    running.after(20)
    assert running.marked()


def test_headers_make_folders_of_their_own(tmp_path: Path) -> None:
    """Each folder gets its marker when it is done; two prefixes in one folder are one bucket."""
    path = f"file://{tmp_path / 'out'}/%Y-%m-%d/%{{host}}"
    running = Running(tmp_path, hdfs_path=path, hdfs_filePrefix="%{kind}")
    headers = [
        {"timestamp": str(START_MS), "host": host, "kind": kind} for host in ("a", "b") for kind in ("web", "db")
    ]
    running.sink.deliver(EventBatch.of([b"x"] * 4, headers))
    running.commit()
    running.after(11 * 3600 + 70)
    for host in ("a", "b"):
        assert running.names(f"2012-06-23/{host}") == ["_SUCCESS", "db", "web"]
    assert running.counted("buckets_done") == 2


def worker(tmp_path: Path, clock: ManualClock, index: int) -> SinkContext:
    from dataclasses import replace

    context = sink_context(tmp_path / "sinks" / f"k1.{index}", clock=clock)
    return replace(context, worker=index, workers=2)


def test_the_last_worker_that_is_ready_makes_the_marker(tmp_path: Path) -> None:
    """Both have files in the folder; neither makes the marker while the other one is behind."""
    clock = ManualClock(START_MS)
    both = [Running(tmp_path, worker(tmp_path, clock, index)) for index in range(2)]
    for running in both:
        running.clock = clock
        running.deliver(b"a")
    both[0].after(3700)
    both[1].after(10, caught_up=False)
    both[0].after(10)
    assert not both[0].marked()
    both[1].after(10)
    assert both[0].marked()
    both[0].after(10)
    assert [running.counted("buckets_waiting") for running in both] == [0, 0]
    assert [running.counted("buckets_done") for running in both] == [0, 1]


def test_a_worker_without_rows_has_to_have_caught_up_all_the_same(tmp_path: Path) -> None:
    clock = ManualClock(START_MS)
    both = [Running(tmp_path, worker(tmp_path, clock, index)) for index in range(2)]
    both[0].clock = both[1].clock = clock
    both[0].deliver(b"a")
    both[0].after(3700)
    assert not both[0].marked()
    both[1].after(0)
    both[0].after(0)
    assert both[0].marked()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/logs/%{host}", "has no time in it"),
        ("/logs/%H", "comes again: its times do not say the year and the month and the day"),
        ("/logs/%Y/%d/%H", "comes again: its times do not say the month"),
        ("/logs/%t", "has a folder for every millisecond (%t)"),
    ],
)
def test_a_path_without_an_end_is_refused(path: str, sentence: str) -> None:
    options, findings = read_options(HdfsOptions, {"hdfs.path": f"file://{path}", "hdfs.bucketDone": "_SUCCESS",
                                                   "hdfs.fileType": "DataStream"})  # fmt: skip
    assert options is None
    assert any(sentence in finding.message for finding in findings), findings


@pytest.mark.parametrize("name", ["a/b", "%H", "%{host}", " "])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    options, findings = read_options(HdfsOptions, {"hdfs.path": "file:///%Y", "hdfs.bucketDone": name})
    assert options is None
    assert any("hdfs.bucketDone" in finding.message for finding in findings), findings


def test_a_name_that_readers_take_for_data_is_doubted() -> None:
    given = {"hdfs.path": "file:///%Y", "hdfs.bucketDone": "DONE", "hdfs.fileType": "DataStream"}
    options, findings = read_options(HdfsOptions, given)
    assert options is not None
    assert any("as in _DONE" in finding.message for finding in findings), findings


def test_a_folder_of_columnar_files_is_done_when_they_are_made(tmp_path: Path) -> None:
    """Its rows are staged, and what is made of them takes a while: the marker comes behind it."""
    running = Running(tmp_path, hdfs_fileType="Parquet")
    running.deliver(b"a", b"b")
    running.clock.advance(3700)

    def marked() -> bool:
        running.after(0)
        return running.marked()

    until(marked, "the folder is marked", timeout_s=60)
    assert [path.suffix for path in (running.out / HOUR).iterdir() if path.name != "_SUCCESS"] == [".parquet"]
    assert running.names() == ["FlumeData", "_SUCCESS"]
    running.sink.close()
