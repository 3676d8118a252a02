"""What processes cost: CPU seconds and memory, read from /proc.

CPU of a tree of processes is what the living ones used, and what those used that its root has buried. Memory is
Pss_Anon + Pss_File, so that pages which processes share count once, and pages of the rings (Pss_Shmem) not at all:
those are counted where they lie, in the run directory.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: CPU seconds are counted in these.
TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def tree(root: int) -> list[int]:
    """Process ids of `root` and all that descend from it."""
    found = [root]
    for pid in found:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def cpu_s(root: int) -> float:
    """CPU seconds, user and system, that `root` and all its descendants have used so far."""
    total_s = 0.0
    for pid in tree(root):
        try:
            values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        own, buried = sum(map(int, values[11:13])), sum(map(int, values[13:15]))
        total_s += (own + buried) * TICK_S
    return total_s


def memory_bytes(root: int) -> int:
    """Pss_Anon + Pss_File of `root` and all its descendants."""
    total = 0
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for line in text.splitlines():
            if line.startswith(("Pss_Anon:", "Pss_File:")):
                total += int(line.split()[1]) * 1024
    return total


def allocated_bytes(directory: Path) -> int:
    """What the files below a directory take."""
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.stat(os.path.join(parent, name), follow_symlinks=False).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def busy_s() -> float:
    """CPU seconds that anybody on this machine has used since it was started."""
    values = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    idle = int(values[3]) + int(values[4])
    return (sum(map(int, values[:8])) - idle) * TICK_S


@dataclass(frozen=True)
class Cost:
    """What a span of work cost.

    Attributes:
        others: cores that processes which do not belong to the measurement used meanwhile.
    """

    wall_s: float
    cpu_s: float
    others: float


class Meter:
    """Measures a span of time: `with Meter(lambda: cpu_s(pid)) as meter: ...`, then `meter.cost`.

    Args:
        measured: CPU seconds so far of what is measured.
    """

    cost: Cost

    def __init__(self, measured: Callable[[], float]) -> None:
        self._measured = measured

    def __enter__(self) -> Meter:
        self._began = (time.perf_counter(), self._measured(), _own_cpu_s(), busy_s())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> Cost:
        """The cost so far."""
        wall_s, cpu, own, busy = (
            now - began
            for now, began in zip(
                (time.perf_counter(), self._measured(), _own_cpu_s(), busy_s()), self._began, strict=True
            )
        )
        self.cost = Cost(wall_s, cpu, max((busy - cpu - own) / wall_s, 0.0) if wall_s else 0.0)
        return self.cost


class Peak:
    """Looks every `every_s` at a number, in a thread, and keeps the largest."""

    def __init__(self, look: Callable[[], int], every_s: float = 0.2) -> None:
        self._look = look
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.largest = 0

    def __enter__(self) -> Peak:
        self.largest = self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.largest = max(self.largest, self._look())

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self.largest = max(self.largest, self._look())


def _own_cpu_s() -> float:
    times = os.times()
    return times.user + times.system
