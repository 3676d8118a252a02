"""Hearing: what the workers say, out of the log pipe into the supervisor's log.

A worker may say something as fast as the supervisor writes it down: its pipe is never empty then. So the supervisor
hears a piece at a time, and looks at everything else that wants it before the next.
"""

from __future__ import annotations

import contextlib
import os

from shipper import log
from shipper.log_pipe import WorkerLines

#: As much as a slow terminal shows in a moment.
_PIECE_BYTES = 16 << 10
#: More than any pipe holds that is not made larger.
_ALL_BYTES = 1 << 20


class Hearing:
    """The read end of the log pipe.

    Args:
        fd: it blocks no more from here on.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines = WorkerLines("worker")
        os.set_blocking(fd, False)

    def hear(self) -> None:
        """Says a piece of what is there. More of it keeps the descriptor readable."""
        self._hear(_PIECE_BYTES)

    def hear_out(self) -> None:
        """Says all that is there, and a last line that has no end: who wrote it has ended."""
        self._hear(_ALL_BYTES)
        self._say(b"")

    def _hear(self, bytes_max: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._say(os.read(self._fd, bytes_max))

    def _say(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            line.say(log.current())
