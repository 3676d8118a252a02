"""The put side of memory channels: one source worker's transactions into all its channels at once.

A transaction stages frames through the putters (`putter.py`) of all channels that a batch goes to; its commit is one
stored word of the worker's put page, so either every channel has the rows or none has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.batch import wire
from shipper.batch.batch import EventBatch, Origin
from shipper.channels.channel import PutTransaction
from shipper.channels.memory import overflow
from shipper.channels.memory.channel import MemoryOptions
from shipper.channels.memory.putter import Putter
from shipper.errors import ComponentFailed, TransactionMisused
from shipper.ring.lane import Lane
from shipper.ring.layout import OVERFLOW, LaneState, lane_key, read_frame
from shipper.ring.producer import Producer
from shipper.ring.puts import NO_LANE, PutPage, PutState
from shipper.ring.wait import Bell
from shipper.shared.segment import Segment
from shipper.shared.words import full_fence


class MemoryPut(PutTransaction):
    """Rows of one source worker into its memory channels, all or none.

    Args:
        side: whose transaction it is.
    """

    def __init__(self, side: PutSide) -> None:
        super().__init__()
        self._side = side
        self._number = side.number + 1
        self._origin = (NO_LANE, 0)
        self._used: list[Putter] = []
        self._full = False

    def put(self, channel: str, batch: EventBatch) -> bool:
        """Stages rows for a channel; False when it has no room now: roll back, wait, begin again."""
        self._must_be("OPEN", "put")
        putter = self._side.putters[channel]
        if putter not in self._used:
            self._used.append(putter)
        staged = putter.stage(batch, self._number)
        if staged is None:
            self._full = True
            return False
        if batch.origins and self._origin[0] == NO_LANE:
            producer, position = staged
            self._origin = (self._side.index_of(producer), position)
        return True

    def do_commit(self) -> None:
        if self._full:
            raise TransactionMisused("commit called after a put that found no room: roll back instead")
        if not self._used:
            return
        # Dying before the page's word is stored: no channel has the rows, the source reads them again.
        # Dying after it: every channel has them, and the frame named here tells the next worker where to go on.
        self._side.store(self._number, *self._origin)
        for putter in self._used:
            putter.committed()
        full_fence()
        for putter in self._used:
            putter.wake()

    def do_rollback(self) -> None:
        for putter in self._used:
            putter.forget()


class PutSide:
    """A source worker's way into its memory channels.

    Args:
        page: its put page, taken over by this process.
        putters: by channel name.
        indices: index in the page of each producer of the putters.
    """

    def __init__(self, page: PutPage, putters: Mapping[str, Putter], indices: Mapping[int, Producer]) -> None:
        self.page = page
        self.putters = dict(putters)
        self._producers = dict(indices)
        self._indices = {id(producer): index for index, producer in indices.items()}
        state = page.state()
        self.number = state.number
        # Lanes that the page knows and this configuration does not: their state is kept, nothing is put into them.
        self._states = list(state.lanes) + [LaneState()] * (max(indices, default=-1) + 1 - len(state.lanes))

    def transaction(self) -> MemoryPut:
        """A new transaction. One at a time."""
        return MemoryPut(self)

    def full_because(self, channel: str) -> str:
        """Which bound of a channel the last put met that had no room."""
        return self.putters[channel].full_because

    def index_of(self, producer: Producer) -> int:
        """Index of a producer's lane in the page."""
        return self._indices[id(producer)]

    def store(self, number: int, origin_lane: int, origin_position: int) -> None:
        """Commits put `number`: the one stored word. Called by the transaction."""
        states = self._states
        for index, producer in self._producers.items():
            states[index] = producer.state
        self.page.commit(PutState(number, origin_lane, origin_position, tuple(states)))
        self.number = number

    def last_origins(self) -> list[Origin]:
        """The origins that the last committed put carried.

        Its frame is there still: nothing is written over it before the next put is claimed.
        """
        state = self.page.state()
        producer = self._producers.get(state.origin_lane)
        if producer is None:
            return []
        lane, position = producer.lane, state.origin_position
        frame = read_frame(lane.ring, position % lane.capacity_bytes, position)
        if frame is None:
            return []
        # The file of an overflow frame may be gone by now, delivered: the frame itself has the origins too.
        if frame.flags & OVERFLOW:
            return overflow.origins(frame.payload)
        return list(wire.decode(frame.payload).origins)

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane whether this worker waits for room."""
        for putter in self.putters.values():
            putter.sleeping(asleep)

    def close(self) -> None:
        """Lets go of everything; what was committed stays in the segments."""
        for putter in self.putters.values():
            putter.close()
        self.page.close()


@dataclass(frozen=True)
class LaneRoute:
    """Where a lane lies and who is at its ends: what a source worker needs to know of it."""

    path: Path
    bell: Path


def open_put_side(
    page_path: Path,
    channels: Mapping[str, tuple[MemoryOptions, Sequence[LaneRoute]]],
    rivals: Mapping[str, Sequence[tuple[Path, Path]]],
) -> PutSide:
    """Opens a source worker's side of its channels, as the worker before it left them.

    Args:
        page_path: of the worker's put page, in which the supervisor registered all lanes.
        channels: by name, the options and this worker's lanes.
        rivals: by channel name, (lane, put page) of the other source workers that put into it.

    Raises:
        ComponentFailed: another process still has the role.
    """
    page = PutPage.ensure(page_path)
    if not page.take_over():
        raise ComponentFailed(f"{page_path} is in use: another worker of the same source is still alive")
    putters: dict[str, Putter] = {}
    indices: dict[int, Producer] = {}
    for name, (options, lanes) in channels.items():
        producers = []
        for route in lanes:
            index = page.index(lane_key(name, route.path.name))
            producer = Producer(Lane.open(route.path), page.lane(index))
            if not producer.take_over():
                raise ComponentFailed(f"{route.path} is in use: its producer is still alive")
            if producer.drained:
                overflow.sweep(producer.lane)
            indices[index] = producer
            producers.append(producer)
        others = [_rival(name, lane, rival_page) for lane, rival_page in rivals.get(name, ())]
        bounded = options.capacity is not None or options.slots is not None
        gate = _gate(lanes[0].path.parent) if others and bounded else None
        putters[name] = Putter(name, options, producers, [Bell(route.bell) for route in lanes], others, gate)
    return PutSide(page, putters, indices)


def _rival(channel: str, lane_path: Path, page_path: Path) -> tuple[Lane, PutPage, int]:
    page = PutPage.ensure(page_path)
    return Lane.open(lane_path), page, page.index(lane_key(channel, lane_path.name))


def _gate(directory: Path) -> Segment:
    path = directory / "gate"
    try:
        return Segment.open(path)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            return Segment.create(path, 4096, lambda _: None)
        return Segment.open(path)
