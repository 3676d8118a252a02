"""A sink worker dies at each of its system calls, once and twice; no row is lost, none comes twice, and a reader who
looks at the files between any two calls sees no byte change that he has seen.

The death is made by a stand-in for `os` in the files that change anything on disk (the local store, and what the
journal is written with): from the n-th call on, nothing is done any more. A write is done in two halves, so that torn
ones are among them. The commit word is a call too: the process may die before it is stored or behind it.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shipper import whole_file
from shipper.api import EventBatch, Sink
from shipper.config.field import read_options
from shipper.files import appended_file, local
from shipper.registry import find
from shipper.testing.fakes import ManualClock, sink_context

ROWS = 36
TRANSACTION_ROWS = 6


class Death(BaseException):
    """The process is gone: nothing that it does from here on has an effect."""


class DyingCalls:
    """`os`, until the n-th call that changes something."""

    def __init__(self, calls: int) -> None:
        self.left = calls
        self.used = 0
        self.opened: set[int] = set()
        self.torn: int | None = None  # the file whose last write was only its first half
        self.look: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def step(self) -> None:
        """One call; the process dies at its beginning when its calls are used up."""
        if self.look is not None and self.torn is None:
            self.look()
        if self.left <= 0:
            raise Death
        self.left -= 1
        self.used += 1

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC):
            self.step()
        descriptor = os.open(path, flags, mode)
        self.opened.add(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.opened.discard(descriptor)
        os.close(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        self.step()
        view = memoryview(data)
        self.torn = None if self.torn == descriptor or len(view) < 2 else descriptor
        return os.write(descriptor, view[: len(view) // 2] if self.torn is not None else view)

    def ftruncate(self, descriptor: int, length: int) -> None:
        self.step()
        os.ftruncate(descriptor, length)

    def rename(self, path: Any, final: Any) -> None:
        self.step()
        os.rename(path, final)

    def link(self, path: Any, final: Any, follow_symlinks: bool = True) -> None:
        self.step()
        os.link(path, final, follow_symlinks=follow_symlinks)

    def unlink(self, path: Any) -> None:
        self.step()
        os.unlink(path)

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        self.step()
        os.makedirs(path, exist_ok=exist_ok)

    def bury(self) -> None:
        """What the kernel does for a dead process."""
        for descriptor in self.opened:
            os.close(descriptor)
        self.opened.clear()


class Channel:
    """What outlives the worker: rows, the position that was committed, the sequence that the commit named.

    It is what its worker's sink may ask about takes, too.
    """

    def __init__(self) -> None:
        self.position = 0
        self.sequence = 0
        self.commits = 0
        self.finished = 0  # commits that were finished after a death
        self._taken = 0

    def take(self) -> None:
        """A transaction is under way."""
        self._taken = TRANSACTION_ROWS

    def commit(self, sequence: int) -> None:
        """What was taken is delivered."""
        self.position += self._taken
        self.sequence = sequence
        self.commits += 1
        self._taken = 0

    def coming(self) -> list[int] | None:
        return [self.commits, self._taken] if self._taken else None

    def finish(self, take: list[int], sequence: int) -> bool:
        commits, self._taken = take
        if commits != self.commits:
            return False
        self.commit(sequence)
        self.finished += 1
        return True

    def sync_begins(self) -> None:
        """The sink is about to make durable what is committed."""

    def synced(self) -> None:
        """It has done so."""

    def rows(self, start: int, rows: int) -> EventBatch:
        numbers = range(start, min(start + rows, ROWS))
        return EventBatch.of(
            [b"row %03d" % n for n in numbers],
            [{"h": "abc"[n % 3] if n < 30 else "d", "timestamp": str(1_340_459_193_000 + n)} for n in numbers],
        )


class Reader:
    """Somebody who remembers what he saw in each file, and looks again between any two calls of the worker.

    Args:
        always: also while a transaction is written, and before a dead one is settled: where it is in one file.
    """

    def __init__(self, folder: Path, *, always: bool) -> None:
        self.folder = folder
        self.between = False  # two transactions
        self.always = always
        self._seen: dict[int, bytes] = {}

    def look(self) -> None:
        if not (self.always or self.between):
            return
        for path in self.folder.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                seen = self._seen.get(number := path.stat().st_ino, b"")
                assert data.startswith(seen), f"{path.name}: {seen!r} was seen, and now there is {data!r}"
                self._seen[number] = data


Make = Callable[[Path], Sink[Any]]


def hdfs(**properties: str) -> Make:
    def make(folder: Path) -> Sink[Any]:
        wanted = {
            "hdfs.path": f"file://{folder}/out/%Y/%{{h}}", "hdfs.fileType": "DataStream", "hdfs.rollInterval": "0",
            "hdfs.rollSize": "0", "hdfs.rollCount": "3", "hdfs.timeZone": "UTC",
        }  # fmt: skip
        given = {f"hdfs.{key}": value.replace("{folder}", str(folder)) for key, value in properties.items()}
        return built("hdfs", wanted | given)

    return make


def file_roll(folder: Path) -> Sink[Any]:
    (folder / "out").mkdir(exist_ok=True)
    return built("file_roll", {"sink.directory": f"{folder}/out"})


def built(type_name: str, properties: dict[str, str]) -> Sink[Any]:
    sink_class = find("sink", type_name)
    assert sink_class is not None
    options, findings = read_options(sink_class.Options, properties)
    assert options is not None, findings
    return sink_class(options)


def deliver_all(
    sink: Sink[Any], channel: Channel, clock: ManualClock, step: Callable[[], None], reader: Reader | None = None
) -> None:
    """What a runner does, with a transaction that is rolled back and timers that go off on the way."""
    turn = 0
    while channel.position < ROWS:
        turn += 1
        channel.take()
        if turn == 2:  # the next lane's rows can't be delivered: all is taken back
            sink.deliver(channel.rows(channel.position, TRANSACTION_ROWS))
            sink.rolled_back()
        if turn == 3 and reader is None:  # the commit itself did not come to be: what was seen is taken back
            sink.deliver(channel.rows(channel.position, TRANSACTION_ROWS))
            sink.flush()
            sink.rolled_back()
        if turn == 4:
            sink.releasing()
        sink.deliver(channel.rows(channel.position, 2))
        sink.deliver(channel.rows(channel.position + 2, TRANSACTION_ROWS - 2))
        if reader is not None:
            reader.between = False
        sequence = sink.flush()
        if reader is not None:
            reader.between = True
        step()
        channel.commit(sequence)
        sink.committed()
        clock.advance(9)
        if sink.tick():
            channel.commit(sink.flush())
            sink.committed()
    sink.close()


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, calls: int, how: str) -> Iterator[DyingCalls]:
    """The store and the journal have `calls` calls to live."""
    system = DyingCalls(calls)
    renameat2 = local._renameat2()

    def rename(*arguments: Any) -> int:
        system.step()
        return renameat2(*arguments)  # type: ignore[misc]

    with monkeypatch.context() as patch:
        patch.setattr(local, "os", system)
        patch.setattr(appended_file, "os", system)
        patch.setattr(whole_file, "os", system)
        patch.setattr(local, "_renameat2", lambda: rename if how == "renameat2" else None)
        yield system
    system.bury()


def live(make: Make, folder: Path, channel: Channel, system: DyingCalls, reader: Reader | None = None) -> bool:
    """One life of the worker. True when it reached its end."""
    clock = ManualClock(1_340_459_193_000 + channel.position * 10_000)
    try:
        sink = make(folder)
        if reader is not None:
            reader.between = False
            system.look = reader.look
        sink.open(sink_context(folder / "state", clock=clock, committed_sequence=channel.sequence, takes=channel))
        if reader is not None:
            reader.between = True
        deliver_all(sink, channel, clock, system.step, reader)
    except Death:
        return False
    return True


def check(folder: Path, said: str) -> None:
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    assert not [path.name for path in files if path.name.endswith(".tmp") or "set-aside" in path.name], said
    found: list[bytes] = []
    for path in files:
        data = path.read_bytes()
        rows = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
        assert rows == sorted(rows), f"{said}: order in {path.name}"
        found += rows
    expected = [b"row %03d" % n for n in range(ROWS)]
    counted = Counter(found)
    assert sorted(found) == expected, (
        f"{said}: lost {[row for row in expected if not counted[row]]}, "
        f"twice {[row for row, times in counted.items() if times > 1]}"
    )


SINKS: dict[str, Make] = {
    "file_roll": file_roll,
    "hdfs": hdfs(),
    "hdfs, few open files": hdfs(maxOpenFiles="1", rollCount="0"),
    "hdfs, by size": hdfs(rollCount="0", rollSize="20"),
    "hdfs, by time": hdfs(rollCount="0", rollInterval="20"),
    "hdfs, gzip": hdfs(fileType="CompressedStream", codeC="gzip", rollCount="4"),
    "hdfs, final names": hdfs(emptyInUseSuffix="true"),
    "hdfs, gzip, one bucket": hdfs(
        path="file://{folder}/out", fileType="CompressedStream", codeC="gzip", rollCount="0"
    ),
}
#: The plainest two die at every call; for the others every fifth of some hundreds is a fair sample, 1 = all.
STRIDE = int(os.environ.get("SHIPPER_DEATHS_STRIDE", "5"))
DEATHS = [(name, "renameat2", 1 if name in ("file_roll", "hdfs") else STRIDE) for name in SINKS]
DEATHS.append(("hdfs", "link", STRIDE))


@pytest.mark.parametrize(("name", "how", "stride"), DEATHS)
def test_a_death_at_any_call_loses_nothing_and_repeats_nothing(
    name: str, how: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    while True:
        folder = tmp_path / str(calls)
        folder.mkdir()
        channel = Channel()
        with dying(monkeypatch, calls, how) as system:
            ended = live(SINKS[name], folder, channel, system)
        if not ended:
            with dying(monkeypatch, 1 << 30, how) as system:
                assert live(SINKS[name], folder, channel, system)
        check(folder, f"death at call {calls}")
        shutil.rmtree(folder)
        if ended:
            break
        calls += stride
    assert calls > 40  # it did die on the way


@pytest.mark.parametrize(("name", "stride"), [("file_roll", 1), ("hdfs, gzip, one bucket", 1), ("hdfs, gzip", 11)])
def test_no_byte_that_a_reader_has_seen_changes(
    name: str, stride: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death between the bytes and the commit is rolled forward. Of a transaction over several files, what was in
    some of them when it died is taken back: there he looks only between two of them.
    """
    calls, finished = 0, 0
    while True:
        folder = tmp_path / str(calls)
        folder.mkdir()
        channel, reader = Channel(), Reader(folder / "out", always=stride == 1)
        with dying(monkeypatch, calls, "renameat2") as system:
            ended = live(SINKS[name], folder, channel, system, reader)
        if not ended:
            reader.always &= system.torn is None  # what a write that was cut short has left is taken back
            with dying(monkeypatch, 1 << 30, "renameat2") as system:
                assert live(SINKS[name], folder, channel, system, reader)
        check(folder, f"death at call {calls}")
        shutil.rmtree(folder)
        finished += channel.finished
        if ended:
            break
        calls += stride
    assert finished >= 6 or stride > 1, "of each transaction"


@pytest.mark.parametrize("name", ["file_roll", "hdfs", "hdfs, gzip", "hdfs, few open files"])
def test_a_second_death_during_recovery_loses_nothing_and_repeats_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dying(monkeypatch, 1 << 30, "renameat2") as system:
        (tmp_path / "whole").mkdir()
        assert live(SINKS[name], tmp_path / "whole", Channel(), system)
    for first in range(3, system.used, 29):
        for second in range(first % 5, 30, 5):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            channel = Channel()
            for calls in (first, second, 1 << 30):
                with dying(monkeypatch, calls, "renameat2") as system_again:
                    if live(SINKS[name], folder, channel, system_again):
                        break
            check(folder, f"deaths at calls {first} and {second}")
            shutil.rmtree(folder)
