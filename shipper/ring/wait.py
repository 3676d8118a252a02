"""A doorbell: how one process wakes another that sleeps in `select`.

It is a named pipe in the run directory: it can be found by path, survives a restart of either side, and a ring that
nobody hears is not lost, the bytes stay in the pipe. Rings are hints: a sleeper looks again after its time-out anyway.
"""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Sequence
from pathlib import Path

#: How long a consumer sleeps at most: in the first second after it last found something, and later.
BUSY_SLEEP_S = 0.05
IDLE_SLEEP_S = 1.0


class Doorbell:
    """The sleeping side.

    Args:
        path: of the pipe; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        # Open for both directions: the pipe never reports end of file, whoever else comes and goes.
        self.fileno = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self.fileno, select.POLLIN)
        self._others: tuple[int, ...] = ()

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> tuple[int, ...]:
        """Sleeps until it rings, one of `fds` can be read, or the time is over; the readable ones of `fds`."""
        if tuple(fds) != self._others:
            for fd in self._others:
                with contextlib.suppress(KeyError, ValueError):
                    self._poll.unregister(fd)
            for fd in fds:
                self._poll.register(fd, select.POLLIN)
            self._others = tuple(fds)
        ready = self._poll.poll(max(timeout_s, 0) * 1000)
        if any(fd == self.fileno for fd, _ in ready):
            self.clear()
        return tuple(fd for fd, _ in ready if fd != self.fileno)

    def clear(self) -> None:
        """Forgets the rings so far."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self.fileno, 4096)) == 4096:
                pass

    def close(self) -> None:
        """Closes this side; the pipe stays."""
        os.close(self.fileno)


class Bell:
    """The ringing side. Opening it does not need a sleeper to be there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def ring(self) -> None:
        """Wakes the sleeper, or the next one to come."""
        if self._fd < 0:
            try:
                self._fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                return  # nobody has slept here yet
        with contextlib.suppress(BlockingIOError):  # full of rings: it will wake
            os.write(self._fd, b"!")

    def close(self) -> None:
        """Closes this side."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
