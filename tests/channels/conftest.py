"""A memory channel with any number of workers on both sides, all in one process."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.channels.memory.channel import MemoryChannel, MemoryOptions, lane_name
from shipper.channels.memory.put import LaneRoute, PutSide, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.config.field import read_options
from shipper.errors import TransactionMisused
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from shipper.testing.contracts import ChannelUnderTest
from shipper.testing.fakes import ManualClock


class Memory(ChannelUnderTest):
    """A memory channel, or several that the same source workers put into.

    Args:
        directory: stands for the run directory.
        properties: of the channel, as a file has them.
        sources, sinks: how many workers put and take.
        channels: names; the first is the one that the contract speaks of.
        poison: what was taken is overwritten when it is committed.
    """

    misused = TransactionMisused

    def __init__(
        self,
        directory: Path,
        properties: dict[str, str] | None = None,
        *,
        sources: int = 1,
        sinks: int = 1,
        channels: tuple[str, ...] = ("c1",),
        poison: bool = True,
    ) -> None:
        self.directory = directory
        self.name = channels[0]
        options, findings = read_options(MemoryOptions, properties or {})
        assert options is not None, findings
        self.options = options
        self.sources = [f"r{n}.0" for n in range(sources)]
        self.sinks = [f"k{n}.0" for n in range(sinks)]
        self.channels = channels
        self.poison = poison
        self.clock = ManualClock()
        self._puts: dict[int, PutSide] = {}
        self._takes: dict[tuple[str, int], TakeSide] = {}
        for folder in ("bells", "puts"):
            (directory / folder).mkdir(exist_ok=True)
        for name in channels:
            MemoryChannel(name, options).prepare(directory / name, self.sources, self.sinks, 4 << 20)
            for source in self.sources:
                page = PutPage.ensure(directory / "puts" / source)
                for sink in self.sinks:
                    page.register(lane_key(name, lane_name(source, sink)))
                page.close()

    def lane(self, source: int = 0, sink: int = 0, channel: str | None = None) -> Path:
        """Where a lane lies."""
        return self.directory / (channel or self.name) / lane_name(self.sources[source], self.sinks[sink])

    def put_side(self, worker: int = 0) -> PutSide:
        if worker not in self._puts:
            lanes = {
                name: (
                    self.options,
                    [
                        LaneRoute(self.lane(worker, sink, name), self.directory / "bells" / self.sinks[sink])
                        for sink in range(len(self.sinks))
                    ],
                )
                for name in self.channels
            }
            rivals = {
                name: [
                    (self.lane(other, sink, name), self.directory / "puts" / self.sources[other])
                    for other in range(len(self.sources))
                    if other != worker
                    for sink in range(len(self.sinks))
                ]
                for name in self.channels
            }
            page = self.directory / "puts" / self.sources[worker]
            self._puts[worker] = open_put_side(page, lanes, rivals, self.clock)
        return self._puts[worker]

    def take_side(self, worker: int = 0, channel: str | None = None) -> TakeSide:
        name = channel or self.name
        if (name, worker) not in self._takes:
            routes = [
                TakeRoute(
                    name, self.lane(source, sink, name), self.directory / "puts" / self.sources[source],
                    self.directory / "bells" / self.sources[source], sink == worker,
                )
                for source in range(len(self.sources))
                for sink in range(len(self.sinks))
            ]  # fmt: skip
            self._takes[name, worker] = TakeSide(
                routes, 1000 + worker, self.poison, drops_oldest=self.options.on_full == "dropOldest",
                max_age_s=self.options.max_age_s, clock=self.clock,
            )  # fmt: skip
            self._takes[name, worker].settle()
        return self._takes[name, worker]

    def kill(self) -> None:
        gc.collect()  # views of batches hold the mapping, and a killed process holds none
        for side in (*self._puts.values(), *self._takes.values()):
            side.close()
        self._puts.clear()
        self._takes.clear()

    def kill_sink(self, worker: int, channel: str | None = None) -> None:
        """Ends one sink worker as SIGKILL does."""
        self._takes.pop((channel or self.name, worker)).close()

    def kill_source(self, worker: int) -> None:
        """Ends one source worker as SIGKILL does."""
        self._puts.pop(worker).close()

    def rows(self) -> int:
        """Events in the channel."""
        return self.put_side().putters[self.name].rows()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Callable[..., Memory]]:
    """Makes memory channels: `memory({"capacity": "5"}, sources=2)`."""
    made: list[Memory] = []

    def make(properties: dict[str, str] | None = None, **grid: object) -> Memory:
        made.append(Memory(tmp_path, properties, **grid))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.kill()
