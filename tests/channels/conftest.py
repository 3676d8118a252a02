"""A memory channel with any number of workers on both sides, all in one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.channels.memory.channel import MemoryChannel, MemoryOptions, lane_name
from shipper.channels.memory.put import LaneRoute, PutSide, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.config.field import read_options
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from tests.channels.grid import Grid


class Memory(Grid):
    """A memory channel, or several that the same source workers put into.

    Args:
        directory: stands for the run directory.
        properties: of the channel, as a file has them.
        sources, sinks: how many workers put and take.
        channels: names; the first is the one that the contract speaks of.
        poison: what was taken is overwritten when it is committed.
    """

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
        super().__init__(directory, sources, sinks)
        self.name = channels[0]
        options, findings = read_options(MemoryOptions, properties or {})
        assert options is not None, findings
        self.options = options
        self.channels = channels
        self.poison = poison
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
                        LaneRoute(self.lane(worker, sink, name), self.bell(self.sinks[sink]))
                        for sink in range(len(self.sinks))
                    ],
                )
                for name in self.channels
            }
            rivals = {
                name: [
                    (self.lane(other, sink, name), self.page(other))
                    for other in range(len(self.sources))
                    if other != worker
                    for sink in range(len(self.sinks))
                ]
                for name in self.channels
            }
            self._puts[worker] = open_put_side(self.page(worker), lanes, rivals, self.clock)
        return self._puts[worker]

    def take_side(self, worker: int = 0, channel: str | None = None) -> TakeSide:
        name = channel or self.name
        if (name, worker) not in self._takes:
            routes = [
                TakeRoute(
                    name, self.lane(source, sink, name), self.page(source),
                    self.bell(self.sources[source]), sink == worker,
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
