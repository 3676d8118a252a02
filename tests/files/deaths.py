"""Lives and deaths of a sink worker that writes files: a process that may die at any of its system calls.

The death is made by a stand-in for `os` in the files that change anything on disk (the local store, and what the
journal is written with): from the n-th call on, nothing is done any more. A write is done in two halves, so that torn
ones are among them. The commit word is a call too: the process may die before it is stored or behind it.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
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

    def coming(self) -> list[Any] | None:
        return [self.commits, self._taken, {"lane": self.position + self._taken}] if self._taken else None

    def rows_taken(self) -> dict[str, int]:
        return {"lane": self.position}

    def finish(self, take: list[Any], sequence: int) -> bool:
        commits, self._taken, _ = take
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
def dying(
    monkeypatch: pytest.MonkeyPatch,
    calls: int,
    how: str = "renameat2",
    *,
    make: Callable[[int], DyingCalls] = DyingCalls,
    more: Sequence[ModuleType] = (),
) -> Iterator[DyingCalls]:
    """The store and the journal have `calls` calls to live.

    Args:
        how: the store renames, if the kernel has that call.
        more: other files whose calls are counted.
    """
    system = make(calls)
    renameat2 = local._renameat2()

    def rename(*arguments: Any) -> int:
        system.step()
        return renameat2(*arguments)  # type: ignore[misc]

    with monkeypatch.context() as patch:
        for module in (local, appended_file, whole_file, *more):
            patch.setattr(module, "os", system)
        patch.setattr(local, "_renameat2", lambda: rename if how == "renameat2" else None)
        yield system
    system.bury()


def live(
    make: Make, folder: Path, channel: Channel, system: DyingCalls, reader: Reader | None = None, run_id: str = ""
) -> bool:
    """One life of the worker. True when it reached its end."""
    clock = ManualClock(1_340_459_193_000 + channel.position * 10_000)
    try:
        sink = make(folder)
        if reader is not None:
            reader.between = False
            system.look = reader.look
        context = sink_context(folder / "state", clock=clock, committed_sequence=channel.sequence, takes=channel)
        sink.open(dataclasses.replace(context, run_id=run_id, boot_id="boot"))
        if reader is not None:
            reader.between = True
        deliver_all(sink, channel, clock, system.step, reader)
    except Death:
        return False
    return True


def written(folder: Path, said: str) -> dict[str, list[bytes]]:
    """What is in each file; all of them have their final names."""
    files = sorted(path for path in (folder / "out").rglob("*") if path.is_file())
    left = [path.name for path in files if path.name.endswith(".tmp") or "set-aside" in path.name]
    assert not left, f"{said}: {left}"
    contents = {str(path): path.read_bytes() for path in files}
    return {
        path: (gzip.decompress(data) if path.endswith(".gz") else data).splitlines() for path, data in contents.items()
    }


def check(folder: Path, said: str) -> None:
    found: list[bytes] = []
    for path, rows in written(folder, said).items():
        assert rows == sorted(rows), f"{said}: order in {path}"
        found += rows
    each_once(found, said)


def each_once(found: list[bytes], said: str) -> None:
    """All rows are there, each once."""
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
