"""Files whose block is on too few DataNodes: who is asked about which of them, and which end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

from shipper.files.journal_record import FileRecord, Progress
from shipper.sinks.hdfs.thin_files import IN_A_ROW_MAX, ThinFiles
from shipper.testing.fakes import ManualClock, sink_context


class Bucket:
    """A bucket with one open file at a time, at a NameNode that answers what a test says."""

    def __init__(self, state: Path, answers: bool = True) -> None:
        self.clock = ManualClock()
        self.said: list[tuple[str, str]] = []
        self.context = sink_context(state, clock=self.clock, said=self.said)
        self.asked: list[list[str]] = []
        self.count: int | None = 2
        self.waits: Future[Mapping[str, int | None]] | None = None
        self._answers = answers
        self.records: dict[int, FileRecord] = {}
        self.thin = ThinFiles(self._ask, "nn:9870", 2, 10, self.context)
        assert self.asked.pop() == ["/"]

    def _ask(self, paths: Sequence[str]) -> Future[Mapping[str, int | None]]:
        self.asked.append(list(paths))
        future: Future[Mapping[str, int | None]] = Future()
        future.set_result(dict.fromkeys(paths, self.count) if self._answers else {})
        return future

    def open(self, number: int) -> None:
        """A new file, with some rows; the one before has ended."""
        self.records = {number: FileRecord(number, "d/p", f"/d/{number}.tmp", f"/d/{number}", 0, "r")}
        self.write(number, 10)

    def write(self, number: int, length: int) -> None:
        self.records[number].progress = Progress(number, length, 1, length)

    def look(self, seconds: float = 1.0) -> list[str]:
        """What ends, when a round was begun and is over."""
        self.clock.advance(seconds)
        return self.thin.over(self.records) + self.thin.over(self.records)


def test_a_file_on_too_few_data_nodes_ends(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.open(1)
    assert bucket.look() == []
    bucket.write(1, 20)
    bucket.count = 1
    assert bucket.look() == ["d/p"]
    assert bucket.context.counters.get("files_thin") == 1
    assert [level for level, line in bucket.said if "its block is on 1 of 2 DataNodes" in line] == ["warning"]


def test_a_file_that_could_not_be_ended_is_named_again_and_counted_once(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.open(1)
    bucket.count = 1
    assert bucket.look() == bucket.look() == ["d/p"]
    assert bucket.context.counters.get("files_thin") == 1
    assert len(bucket.said) == 1


def test_nobody_is_asked_more_often_than_once_a_second_nor_about_what_did_not_grow(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.open(1)
    bucket.look()
    bucket.write(1, 20)
    bucket.look(0.5)
    assert bucket.asked == [["/d/1.tmp"]]
    bucket.look(0.5)
    bucket.look()
    assert bucket.asked == [["/d/1.tmp"], ["/d/1.tmp"]]


def test_a_block_of_which_nothing_is_known_is_not_thin(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.open(1)
    bucket.count = None
    assert bucket.look() == []


def test_a_file_that_has_ended_meanwhile_is_not_judged(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.thin.over(bucket.records)
    bucket.open(1)
    bucket.count = 1
    bucket.clock.advance(1)
    assert bucket.thin.over(bucket.records) == []
    before = bucket.records[1]
    before.progress = Progress(1, 10, 1, 10, finished=True)
    bucket.open(2)
    bucket.records[1] = before  # it has no name yet
    assert bucket.thin.over(bucket.records) == []
    assert bucket.context.counters.get("files_thin") == 0


def test_after_thirty_in_a_row_files_stay_open(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.count = 1
    for number in range(IN_A_ROW_MAX):
        bucket.open(number)
        assert bucket.look() == ["d/p"]
    for number in range(100, 103):
        bucket.open(number)
        assert bucket.look() == []
    assert bucket.context.counters.get("files_thin") == IN_A_ROW_MAX
    [line] = [line for level, line in bucket.said if level == "error"]
    assert line.startswith("d/p: 30 files in a row ended")


def test_a_row_is_over_when_a_file_that_was_not_thin_has_ended(tmp_path: Path) -> None:
    """And not before: one that loses a DataNode after a while belongs to it."""
    bucket = Bucket(tmp_path)
    for number in range(IN_A_ROW_MAX + 1):
        bucket.open(number)
        bucket.count = 2
        assert bucket.look() == []
        bucket.write(number, 20)
        bucket.count = 1
        assert bucket.look() == (["d/p"] if number < IN_A_ROW_MAX else [])
    bucket.open(100)
    bucket.count = 2
    bucket.look()
    bucket.open(101)
    bucket.count = 1
    assert bucket.look() == ["d/p"]


def test_who_does_not_answer_is_named_once(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path, answers=False)
    bucket.open(1)
    assert bucket.look() == bucket.look() == []
    [(level, line)] = bucket.said
    assert level == "warning" and "no answer from nn:9870 (the NameNode's web port" in line
    bucket._answers, bucket.count = True, 1
    assert bucket.look() == ["d/p"]  # it was away


def test_of_no_more_buckets_than_there_may_be_a_row_is_known(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path)
    bucket.count = 1
    for number in range(IN_A_ROW_MAX + 1):
        bucket.open(number)
        bucket.look()
    for number in range(100, 110):
        bucket.open(number)
        bucket.records[number].key = f"d/{number}"
        bucket.look()
    bucket.open(200)
    assert bucket.look() == ["d/p"]  # its row is forgotten
