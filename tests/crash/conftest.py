"""Agents for the tests of deaths, and a writer that never stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from shipper.testing.agent import Agent
from tests.workers.conftest import agent, agent_of, file_roll, taildir, texts

__all__ = ["Make", "Writer", "agent", "agent_of", "file_roll", "taildir", "texts"]

Make = Callable[..., Agent]


class Writer(threading.Thread):
    """Appends numbered lines to a file at an even pace until it is ended.

    Attributes:
        lines: written so far.
    """

    def __init__(self, path: Path, lines_a_second: int) -> None:
        super().__init__(daemon=True)
        path.parent.mkdir(exist_ok=True)
        self._path = path
        self._block = max(lines_a_second // 100, 1)
        self._ending = threading.Event()
        self.lines = 0

    def run(self) -> None:
        began_s = time.monotonic()
        with self._path.open("ab", buffering=0) as file:
            while not self._ending.wait(0.005):
                while self.lines < (time.monotonic() - began_s) * 100 * self._block:
                    file.write(b"".join(b"%d\n" % (self.lines + i) for i in range(self._block)))
                    self.lines += self._block

    def end(self) -> int:
        """Stops it; how many lines there are."""
        self._ending.set()
        self.join()
        return self.lines
