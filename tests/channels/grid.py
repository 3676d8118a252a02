"""The workers on both sides of a channel, all in this process: what every kind of channel under test has."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

from shipper.errors import TransactionMisused
from shipper.testing.contracts import ChannelUnderTest
from shipper.testing.fakes import ManualClock


class Grid(ChannelUnderTest):
    """A channel and its workers; a kind of channel makes their sides when they are asked for.

    Args:
        directory: stands for the run directory.
        sources, sinks: how many workers put and take.
    """

    misused = TransactionMisused
    name = "c1"

    def __init__(self, directory: Path, sources: int, sinks: int) -> None:
        self.directory = directory
        self.sources = [f"r{n}.0" for n in range(sources)]
        self.sinks = [f"k{n}.0" for n in range(sinks)]
        self.clock = ManualClock()
        self._puts: dict[int, Any] = {}
        self._takes: dict[Any, Any] = {}
        for folder in ("bells", "puts"):
            (directory / folder).mkdir(exist_ok=True)

    def bell(self, worker: str) -> Path:
        """Of any worker."""
        return self.directory / "bells" / worker

    def page(self, source: int) -> Path:
        """The put page of a source worker."""
        return self.directory / "puts" / self.sources[source]

    def kill(self) -> None:
        gc.collect()  # views of batches hold the mapping, and a killed process holds none
        for side in (*self._puts.values(), *self._takes.values()):
            side.close()
        self._puts.clear()
        self._takes.clear()
