"""Closed files are told to listeners: each at least once, whatever dies or fails, and nothing waits for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from shipper.api import Bucket, ClosedFile, ClosedListener
from shipper.files.closed_files import ClosedFiles
from shipper.files.closed_notes import Notes
from shipper.files.journal import Journal
from shipper.sinks.hdfs.sink import HdfsSink
from tests.running_sink import RunningSink

START_MS = 1_340_459_193_234


class Partitions:
    """A listener that keeps what it hears, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.heard: list[ClosedFile] = []
        self.fails: dict[str, int] = {}
        self.gate: threading.Event | None = None

    def closed(self, file: ClosedFile) -> None:
        if self.gate is not None:
            assert self.gate.wait(20)
        if self.fails.get(file.final.rpartition("/")[2][:1], 0):
            self.fails[file.final.rpartition("/")[2][:1]] -= 1
            raise ConnectionRefusedError("the metastore is down")
        self.heard.append(file)

    @property
    def finals(self) -> list[str]:
        return [Path(file.final).name.partition(".")[0] for file in self.heard]


def telling(listener: ClosedListener) -> type[HdfsSink]:
    """An hdfs sink that tells one listener."""

    class Telling(HdfsSink):
        def listeners(self) -> Sequence[ClosedListener]:
            return (listener,)

    return Telling


class Running(RunningSink):
    """An open sink that tells `partitions`."""

    def __init__(self, tmp_path: Path, partitions: Partitions, sequence: int = 0) -> None:
        given = {
            "hdfs.path": f"file://{tmp_path}/out/%{{host}}/%Y", "hdfs.filePrefix": "%{name}", "hdfs.rollSize": "0",
            "hdfs.fileType": "DataStream", "hdfs.timeZone": "UTC", "hdfs.rollCount": "0", "hdfs.rollInterval": "30",
            "sync.interval": "0",
        }  # fmt: skip
        super().__init__(telling(partitions), tmp_path, given, sequence=sequence)

    def deliver(self, *names: str) -> None:
        headers = [{"timestamp": str(START_MS), "host": "h", "name": name} for name in names]
        super().deliver(*(name.encode() for name in names), headers=headers)

    def tick(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.sink.tick()

    def told(self) -> None:
        """What is being told has been told."""
        for _ in range(2):
            job = self.sink._closed._job if self.sink._closed is not None else None
            if job is not None:
                job.wait(20)
            self.sink.tick()


def test_a_listener_hears_of_a_file_when_it_has_its_final_name(tmp_path: Path) -> None:
    """With all that it needs to register a partition."""
    partitions = Partitions()
    running = Running(tmp_path, partitions)
    running.deliver("a", "a", "b")
    running.tick()
    running.told()
    assert partitions.heard == []
    running.tick(31)
    running.told()
    assert sorted(partitions.finals) == ["a", "b"]
    file = next(file for file in partitions.heard if file.rows == 2)
    folder = f"{running.out}/h/2012"
    assert file == ClosedFile(
        "k1", file.number, f"{folder}/a.{START_MS + 1}.tmp", f"{folder}/a.{START_MS + 1}", 2, 4, file.body_bytes,
        START_MS, START_MS + 31_000, Bucket(f"{folder}/a", folder, {"host": "h", "name": "a"}),
    )  # fmt: skip
    assert running.context.counters.get("reports_waiting") == 0


def test_a_listener_that_fails_is_asked_again_and_holds_nobody_up(tmp_path: Path) -> None:
    """Another file is told meanwhile, and rows are written."""
    partitions = Partitions()
    partitions.fails = {"a": 2}
    running = Running(tmp_path, partitions)
    running.deliver("a", "b")
    running.tick(31)
    running.told()
    assert partitions.finals == ["b"]
    assert running.context.counters.get("reports_waiting") == 1
    assert ("error", f"{running.out}/h/2012/a.{START_MS + 1} is closed, and Partitions could not take that: the "
            "metastore is down; it is told again until it can") in running.said  # fmt: skip
    running.deliver("c")
    for _ in range(3):
        running.tick(2)
        running.told()
    assert partitions.finals == ["b", "a"]
    assert running.context.counters.get("report_retries") == 2


def test_a_listener_that_hangs_does_not_hold_up_the_rows(tmp_path: Path) -> None:
    partitions = Partitions()
    partitions.gate = threading.Event()
    running = Running(tmp_path, partitions)
    running.deliver("a")
    running.tick(31)
    running.deliver("b")
    running.tick(31)
    assert sorted(path.name[0] for path in (running.out / "h/2012").iterdir()) == ["a", "b"]
    partitions.gate.set()
    running.told()
    running.told()
    assert partitions.finals == ["a", "b"]


def test_a_stop_tells_what_it_can_and_the_next_start_the_rest(tmp_path: Path) -> None:
    partitions = Partitions()
    partitions.fails = {"a": 100}
    first = Running(tmp_path, partitions)
    first.deliver("a", "b")
    first.sink.close()
    assert partitions.finals == ["b"]
    assert any("the next start tells them" in line for _, line in first.said)
    partitions.fails = {}
    second = Running(tmp_path, partitions, first.sequence)
    second.tick()
    second.told()
    assert partitions.finals == ["b", "a"]
    assert partitions.heard[-1].bucket.values == {"host": "h", "name": "a"}
    second.sink.close()
    third = Running(tmp_path, partitions, second.sequence)
    third.tick()
    third.told()
    assert partitions.finals == ["b", "a"]


class Death(BaseException):
    """The process ends on the spot."""


def die(*_: object, **__: object) -> None:
    raise Death


@pytest.mark.parametrize(
    ("place", "name"),
    [
        (ClosedFiles, "note"),  # the file has its final name, and nobody has noted it
        (Journal, "gone"),  # it is noted, and the journal still knows it
        (ClosedFiles, "known"),  # the journal has forgotten it, and nobody was told
        (ClosedFiles, "_heard"),  # the listener was told, and that is not noted
    ],
)
def test_a_file_is_told_whatever_dies_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: type, name: str
) -> None:
    """Twice at the most, and with the same words."""
    partitions = Partitions()
    first = Running(tmp_path, partitions)
    first.deliver("a")
    with monkeypatch.context() as patch:
        patch.setattr(place, name, die)
        try:
            first.tick(31)
            first.told()
        except Death:
            pass
    second = Running(tmp_path, partitions, first.sequence)
    second.tick()
    second.told()
    assert set(partitions.finals) == {"a"} and len(partitions.heard) == (2 if name == "_heard" else 1)
    assert {(file.final, file.rows, file.number) for file in partitions.heard} == {
        (f"{second.out}/h/2012/a.{START_MS + 1}", 1, 1)
    }
    assert [path.suffix == ".tmp" for path in (second.out / "h/2012").iterdir()] == [False]


def test_notes_end_with_the_last_whole_line(tmp_path: Path) -> None:
    """A line that was torn by a death was never written; what is added behind it is read."""
    notes = Notes(tmp_path / "notes")
    notes.add([["a", 1], ["b", {"c": None}]])
    notes.close()
    whole = (tmp_path / "notes").read_bytes()
    for cut in range(1, 10):
        (tmp_path / "notes").write_bytes(whole[:-cut])
        again = Notes(tmp_path / "notes")
        assert again.found == [["a", 1]]
        again.add([["d"]])
        again.close()
        assert Notes(tmp_path / "notes").found == [["a", 1], ["d"]]


def test_buckets_without_files_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener wants none of them for ever: memory is bounded by the files that are open."""
    monkeypatch.setattr("shipper.files.closed_files._BUCKETS_MOST", 10)
    running = Running(tmp_path, Partitions())
    for part in range(5):
        running.deliver(*(f"n{part}-{number}" for number in range(8)))
        running.tick(31)
        running.told()
    assert running.sink._closed is not None
    assert len(running.sink._closed.buckets) <= 18
