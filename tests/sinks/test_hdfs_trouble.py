"""The hdfs sink when its disk or its directory fails: nothing is lost, nothing comes twice, and a person is told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper import whole_file
from shipper.api import EventBatch, Refused, RetryLater
from shipper.files import appended_file, local
from shipper.files.local import LocalStore
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from tests.running_sink import RunningSink


class FullDisk:
    """`os` on a disk with so many bytes free, and so many files."""

    def __init__(self, free_bytes: int, free_files: int = 1 << 30) -> None:
        self.free_bytes = free_bytes
        self.free_files = free_files

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, descriptor: int, data: Any) -> int:
        view = memoryview(data)[: self.free_bytes]
        if not view and len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.free_bytes -= len(view)
        return os.write(descriptor, view)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT and self.free_files <= 0:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        descriptor = os.open(path, flags, mode)
        self.free_files -= 1
        return descriptor

    def close(self, descriptor: int) -> None:
        self.free_files += 1
        os.close(descriptor)


@contextmanager
def disk(monkeypatch: pytest.MonkeyPatch, system: FullDisk, journal_too: bool = False) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(local, "os", system)
        if journal_too:
            patch.setattr(appended_file, "os", system)
            patch.setattr(whole_file, "os", system)
        yield


class Running(RunningSink):
    """An open sink of text in one bucket a host."""

    def __init__(self, tmp_path: Path, sequence: int = 0, **properties: str) -> None:
        given = {"hdfs.path": f"file://{tmp_path}/out/%{{h}}", "hdfs.fileType": "DataStream", "hdfs.rollCount": "0",
                 "hdfs.rollSize": "0", "hdfs.rollInterval": "0"}  # fmt: skip
        given |= {f"hdfs.{key}": value for key, value in properties.items()}
        super().__init__(HdfsSink, tmp_path, given, sequence=sequence)

    def transaction(self, start: int, rows: int, hosts: str = "abc") -> None:
        """As a runner does it: all of it, or nothing."""
        numbers = range(start, start + rows)
        batch = EventBatch.of([b"row %03d" % n for n in numbers], [{"h": hosts[n % len(hosts)]} for n in numbers])
        try:
            self.sink.deliver(batch)
            self.sink.flush()
        except RetryLater:
            self.sink.rolled_back()
            raise
        self.sink.committed()

    def tried(self, start: int, rows: int) -> bool:
        try:
            self.transaction(start, rows)
        except RetryLater:
            return False
        return True

    def rows(self) -> list[bytes]:
        return sorted(row for path in self.out.rglob("*") if path.is_file() for row in path.read_bytes().splitlines())


def expected(rows: int) -> list[bytes]:
    return [b"row %03d" % n for n in range(rows)]


@pytest.mark.parametrize("journal_too", [False, True])
@pytest.mark.parametrize("limits", [{}, {"rollCount": "2"}, {"maxOpenFiles": "1"}])
def test_a_disk_that_fills_at_any_byte_loses_nothing(
    limits: dict[str, str], journal_too: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free in range(0, 160, 7):
        running = Running(tmp_path / str(free), **limits)
        running.transaction(0, 6)
        with disk(monkeypatch, FullDisk(free), journal_too):
            if not running.tried(6, 12):
                assert running.rows() == expected(6), free
                with pytest.raises(RetryLater, match=r"No space left on device; free some space .*the rows wait in"):
                    running.transaction(6, 12)
        if running.rows() == expected(6):
            running.transaction(6, 12)
        running.transaction(18, 6)
        running.sink.close()
        assert running.rows() == expected(24), free
        assert not list(running.out.rglob("*.tmp"))


@pytest.mark.parametrize("files", ["new ones", "open ones"])
def test_a_full_state_directory_is_named_and_not_the_target(
    files: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may lie on two disks: a person must not make room on the wrong one."""
    running = Running(tmp_path)
    if files == "open ones":
        running.transaction(0, 6)

    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(whole_file, "write_all", full)
        with pytest.raises(RetryLater) as raised:
            running.transaction(6, 6)
        running.sink.tick()
    journal = f"could not write to {tmp_path / 'state' / 'files.journal'}: No space left on device; free some space"
    assert str(raised.value).startswith(journal)
    assert "another directory" not in str(raised.value)
    assert all(line.startswith(journal) for _, line in running.said), running.said
    running.transaction(6, 6)
    running.sink.close()


def test_too_few_descriptors_end_files_early_instead_of_failing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with disk(monkeypatch, FullDisk(1 << 20, free_files=6)):
        running = Running(tmp_path)
        running.transaction(0, 40, "abcdefghij")
        running.transaction(40, 40, "abcdefghij")
        assert running.context.counters.get("open_files") <= 6
        running.sink.close()
    assert running.rows() == expected(80)
    assert [line for _, line in running.said if "raise ulimit -n" in line]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "give the user that runs the agent the right to write there"),
        (errno.EROFS, "mounted read-only"),
        (errno.EDQUOT, "raise the quota"),
        (errno.EIO, "the disk reports an error"),
    ],
)
def test_what_the_disk_says_comes_with_what_helps(
    number: int, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path)

    def create(self: LocalStore, path: str) -> None:
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "create", create)
        with pytest.raises(RetryLater) as failure:
            running.transaction(0, 1)
    assert advice in str(failure.value)
    assert f"{running.out}/a/FlumeData: " in str(failure.value)
    assert os.strerror(number) in str(failure.value)
    running.transaction(0, 1)
    assert running.rows() == expected(1)


def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.out.mkdir()
    (running.out / "a").touch()
    with pytest.raises(RetryLater, match=r"is a file where a directory is needed|File exists"):
        running.transaction(0, 1)
    (running.out / "a").unlink()
    running.transaction(0, 1)
    assert running.rows() == expected(1)


def test_a_trouble_that_lasts_is_the_same_sentence_each_time(tmp_path: Path) -> None:
    """Each try has a new file name; were it in the sentence, the log could not say it once with its count."""
    running = Running(tmp_path)
    running.out.touch()
    said = set()
    for _ in range(3):
        with pytest.raises(RetryLater) as failure:
            running.transaction(0, 1)
        said.add(str(failure.value))
    assert len(said) == 1
    running.out.unlink()
    running.transaction(0, 1)
    assert running.rows() == expected(1)


def test_a_removed_folder_is_made_again(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.transaction(0, 1)
    (next(iter((running.out / "a").iterdir()))).unlink()
    (running.out / "a").rmdir()
    with pytest.raises(RetryLater):
        running.transaction(1, 1, "a")
    running.transaction(1, 1, "a")
    assert running.rows() == [b"row 001"]
    assert running.context.counters.get("files_lost") == 1


def failing(monkeypatch: pytest.MonkeyPatch, times: int) -> Callable[[], int]:
    """The next renames fail; how many were tried."""
    tries = [0]
    rename = LocalStore.rename

    def refuse(self: LocalStore, path: str, final: str) -> None:
        tries[0] += 1
        if tries[0] <= times:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(self, path, final)

    monkeypatch.setattr(LocalStore, "rename", refuse)
    return lambda: tries[0]


def test_a_rename_that_fails_is_tried_again_after_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = Running(tmp_path, idleTimeout="1", retryInterval="60")
    tries = failing(monkeypatch, 2)
    running.transaction(0, 1)
    for seconds in (2, 30, 31, 61, 1, 100):
        running.clock.advance(seconds)
        running.sink.tick()
    assert tries() == 3
    assert [path.suffix for path in running.out.rglob("Flume*")] != [".tmp"]
    [path] = running.out.rglob("Flume*")
    assert running.said[0][1] == (
        f"could not rename {path}.tmp to {path}: Input/output error; the disk reports an error: look at the kernel's "
        f"log; next try in 60 s"
    )
    assert running.context.counters.get("ConnectionFailedCount") == 2


@pytest.mark.parametrize(("retry", "tries_max"), [("0", "0"), ("-1", "0"), ("60", "1")])
def test_a_rename_is_tried_once_when_the_file_says_so(
    retry: str, tries_max: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorded rows `retry_interval_zero_or_negative`: 0 and -1 are one try only."""
    running = Running(tmp_path, idleTimeout="1", retryInterval=retry, closeTries=tries_max)
    tries = failing(monkeypatch, 100)
    running.transaction(0, 1)
    for _ in range(5):
        running.clock.advance(1000)
        running.sink.tick()
    assert tries() == 1
    assert "that was the last try" in running.said[0][1]


def test_a_rename_that_was_given_up_is_finished_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(tmp_path, idleTimeout="1", retryInterval="0")
    with monkeypatch.context() as patch:
        failing(patch, 100)
        running.transaction(0, 1)
        running.clock.advance(2)
        running.sink.tick()
        running.sink.close()
    assert "keeps that name" in running.said[-1][1]
    Running(tmp_path)
    assert [path.suffix for path in running.out.rglob("Flume*")] != [".tmp"]
    assert running.rows() == expected(1)


def test_a_file_that_somebody_moved_before_its_rename_is_said_and_counted(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.transaction(0, 1)
    next(running.out.rglob("*.tmp")).rename(tmp_path / "moved")
    running.sink.close()
    assert "was moved or removed by somebody" in running.said[-1][1]
    assert running.context.counters.get("files_lost") == 1


@pytest.mark.parametrize("limits", [{}, {"rollCount": "2"}, {"maxOpenFiles": "1"}, {"rollSize": "9"}])
@pytest.mark.parametrize("compressed", [{}, {"codeC": "gzip"}])
def test_rows_that_the_format_refuses_are_named_and_leave_nothing_behind(
    limits: dict[str, str], compressed: dict[str, str], tmp_path: Path
) -> None:
    """They may lie in several files, with good rows before and behind them."""
    running = Running(tmp_path, fileType="SequenceFile", **limits, **compressed)
    good = [{"h": "abc"[n % 3], "timestamp": "1"} for n in range(9)]
    running.sink.deliver(EventBatch.of([b"before %d" % n for n in range(9)], good))
    bad = [dict(headers) for headers in good]
    bad[2]["timestamp"] = bad[7]["timestamp"] = bad[8]["timestamp"] = "soon"
    with pytest.raises(Refused) as refused:
        running.sink.deliver(EventBatch.of([b"row %d" % n for n in range(9)], bad))
    assert refused.value.rows == (2, 7, 8)
    rest = [n for n in range(9) if n not in (2, 7, 8)]
    running.sink.deliver(EventBatch.of([b"rest %d" % n for n in rest], [bad[n] for n in rest]))
    running.sink.flush()
    running.sink.committed()
    running.sink.close()
    data = b"".join(path.read_bytes() for path in running.out.rglob("Flume*"))
    if not compressed:
        assert data.count(b"before ") == 9
        assert data.count(b"rest ") == 6
        assert data.count(b"row ") == 0
    assert not list(running.out.rglob("*.tmp"))


def test_rows_that_are_all_refused_leave_no_empty_file(tmp_path: Path) -> None:
    running = Running(tmp_path, fileType="SequenceFile")
    with pytest.raises(Refused):
        running.sink.deliver(EventBatch.of([b"a"], [{"h": "a", "timestamp": "soon"}]))
    running.sink.flush()
    running.sink.committed()
    running.sink.close()
    assert not [path for path in running.out.rglob("*") if path.is_file()]


def test_close_is_safe_twice_and_after_a_failed_open(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.transaction(0, 3)
    running.sink.close()
    running.sink.close()
    HdfsSink(HdfsOptions(path="file:///nowhere")).close()
    assert running.rows() == expected(3)


def test_rows_without_a_commit_are_not_in_the_files_that_close_leaves(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.transaction(0, 3)
    running.sink.deliver(EventBatch.of([b"not committed"], [{"h": "a"}]))
    running.sink.close()
    assert running.rows() == expected(3)


def test_events_without_the_header_of_the_path_are_said_and_delivered(tmp_path: Path) -> None:
    """Flume puts nothing in its place and says nothing; here a person hears why the folder is not the one meant."""
    running = Running(tmp_path)
    warnings = []
    for _ in range(2):
        running.sink.deliver(EventBatch.of([b"row 000", b"row 001"], [{"h": "a"}, {}]))
        running.sink.flush()
        running.sink.committed()
        warnings.append([line for level, line in running.said if level == "warning"])
    assert warnings[0] == warnings[1]
    [line] = warnings[0]
    assert line.startswith(f"{running.out}/%{{h}}: there are events with nothing in the header h")
    assert "static" in line
    assert sorted(path.parent.name for path in running.out.rglob("*.tmp")) == ["a", "out"]


@pytest.mark.parametrize(("value", "folder"), [("..", "__"), ("../n\0ul/.", "_"), ("x" * 300, None)])
def test_a_header_that_is_changed_to_stand_in_a_path_is_said(tmp_path: Path, value: str, folder: str | None) -> None:
    running = Running(tmp_path)
    running.sink.deliver(EventBatch.of([b"row 000", b"row 001"], [{"h": "a"}, {"h": value}]))
    [line] = [line for level, line in running.said if level == "warning"]
    assert line.startswith(f"{running.out}/%{{h}}: there are events whose header h can't stand in a path as it is")
    folders = {path.parent.name for path in running.out.rglob("*.tmp")}
    assert len(folders) == 2 and (folder is None or folder in folders)
