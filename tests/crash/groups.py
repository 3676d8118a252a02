"""A control group: a limit on memory or processor time for an agent and all that it starts, as a container has it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until

_ROOT = Path("/sys/fs/cgroup")


class Group:
    """One group of one controller.

    Attributes:
        path: its directory.
        enters: words before a command that is to run in the group.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.enters = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(path))

    def write(self, name: str, value: object) -> None:
        (self.path / name).write_text(str(value))

    def number(self, file: str, key: str = "") -> int:
        """A number in one of its files: the only one, or the one behind a word."""
        for line in (self.path / file).read_text().splitlines():
            name, _, value = line.rpartition(" ")
            if name == key:
                return int(value)
        raise AssertionError(f"{file} of {self.path} says nothing of {key}")


def _removed(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.rmdir()
    return not path.exists()


@contextlib.contextmanager
def _made(controller: str) -> Iterator[tuple[Group, bool]]:
    """A group of ours; with True where all controllers share one tree (version 2)."""
    unified = (_ROOT / "cgroup.controllers").exists()
    path = (_ROOT if unified else _ROOT / controller) / f"shipper-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        path.mkdir()
        if unified and controller not in (path / "cgroup.controllers").read_text().split():
            (_ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
    except OSError as problem:
        with contextlib.suppress(OSError):
            path.rmdir()
        pytest.skip(f"no control group can be made here: {problem}")
    try:
        yield Group(path), unified
    finally:
        until(lambda: _removed(path), f"the dead have left {path}", timeout_s=10)  # a moment after they were buried


class MemoryGroup:
    """A group with so much memory, and no more."""

    def __init__(self, group: Group, unified: bool, limit_bytes: int) -> None:
        self.group = group
        self._unified = unified
        group.write("memory.max" if unified else "memory.limit_in_bytes", limit_bytes)
        with contextlib.suppress(OSError):  # a machine without swap has no such file, and needs none
            group.write("memory.swap.max" if unified else "memory.memsw.limit_in_bytes", 0 if unified else limit_bytes)

    @property
    def kills(self) -> int:
        """How many of its processes the kernel has killed for want of memory."""
        return self.group.number("memory.events" if self._unified else "memory.oom_control", "oom_kill")


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Skips the test where no group can be made."""
    with _made("memory") as (group, unified):
        yield MemoryGroup(group, unified, limit_bytes)


class ProcessorGroup:
    """A group with a share of one processor."""

    def __init__(self, group: Group, unified: bool) -> None:
        self.group = group
        self._unified = unified

    def allow(self, share: float | None) -> None:
        """So much of one processor's time, in slices of a tenth of a second; None = as much as there is."""
        quota_us = None if share is None else int(share * 100_000)
        if self._unified:
            self.group.write("cpu.max", f"{'max' if quota_us is None else quota_us} 100000")
        else:
            self.group.write("cpu.cfs_quota_us", -1 if quota_us is None else quota_us)


@contextlib.contextmanager
def processor_group() -> Iterator[ProcessorGroup]:
    """Skips the test where no group can be made."""
    with _made("cpu") as (group, unified):
        yield ProcessorGroup(group, unified)
