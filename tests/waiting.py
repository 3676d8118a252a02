"""Waiting for what another process or thread does: for the thing itself, never for a time in which it may happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from shipper.testing.holds import holds

_LOOK_EVERY_S = 0.005


def until(condition: Callable[[], object], what: str = "it happens", timeout_s: float = 30) -> None:
    """Waits until the condition `holds`; an AssertionError when it does not in time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds(condition):
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s: {what}"
        time.sleep(_LOOK_EVERY_S)


def until_there(path: Path) -> str:
    """What a shell is told that is to wait for a file."""
    return f"while [ ! -e {path} ]; do sleep 0.05; done"


def alive(pid: int) -> bool:
    """True while a process of that id is there and not only waiting to be buried."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def until_dead(pids: Iterable[int], timeout_s: float = 10) -> None:
    """Waits until none of these processes is alive."""
    left = list(pids)
    until(lambda: not any(map(alive, left)), f"{left} are dead", timeout_s)
