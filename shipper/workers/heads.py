"""The heads of a lane, as the source worker that fills it asks for them: how far it has put, how much is durable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shipper.channels.memory.put import PutSide
from shipper.errors import DamagedData
from shipper.ring.lane import Lane
from shipper.ring.layout import DURABLE
from shipper.ring.producer import Producer


class Head(Protocol):
    """One way of rows out of a source: a lane of a memory channel, or a channel that keeps its rows on disk itself.

    Attributes:
        name: the same at every start.
    """

    name: str

    def put(self) -> int:
        """Position behind everything that was put."""

    def rows(self) -> int:
        """Rows that were put."""

    def durable(self) -> int:
        """Position before which everything survives the death of the machine."""


class LaneHead:
    """A lane of a memory channel that this worker fills."""

    def __init__(self, channel: str, producer: Producer) -> None:
        self.name = f"{channel}/{producer.lane.segment.path.name}"
        self._producer = producer
        self._words = producer.lane.words

    def put(self) -> int:
        return self._producer.state.tail

    def rows(self) -> int:
        return self._producer.state.rows

    def durable(self) -> int:
        return self._words.observe(DURABLE)


def lane_heads(side: PutSide, channels: Sequence[str]) -> list[LaneHead]:
    """The heads of a worker's lanes into some of its channels."""
    return [
        LaneHead(name, producer) for name, putter in side.putters.items() if name in channels
        for producer in putter.producers
    ]  # fmt: skip


class LeftHead:
    """A lane that this worker filled before the configuration changed; sinks empty it still.

    Args:
        path: of the lane; when it is not there, it was emptied and removed.
    """

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._lane: Lane | None
        try:
            self._lane = Lane.open(path)
        except (FileNotFoundError, DamagedData):
            self._lane = None

    def put(self) -> int:
        return 0

    def rows(self) -> int:
        return 0

    def durable(self) -> int:
        return (1 << 64) - 1 if self._lane is None else self._lane.durable()
