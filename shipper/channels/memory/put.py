"""The put side of memory channels: one source worker's transactions into all its channels at once.

A `Putter` is the worker's side of one channel: a producer a lane. A `PutTransaction` stages frames through the
putters of all channels that a batch goes to; its commit is one stored word of the worker's put page, so either every
channel has the rows or none has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shipper.batch import wire
from shipper.batch.batch import EventBatch, Origin
from shipper.channels.channel import Transaction
from shipper.channels.memory import overflow
from shipper.channels.memory.channel import SLOT_BYTES, MemoryOptions
from shipper.errors import ComponentFailed, TransactionMisused
from shipper.ring.lane import Lane
from shipper.ring.layout import OVERFLOW, LaneState, frame_length, lane_key, read_frame
from shipper.ring.producer import Producer
from shipper.ring.puts import NO_LANE, PutPage, PutState
from shipper.ring.wait import Bell
from shipper.shared.segment import Segment
from shipper.shared.words import full_fence


class Putter:
    """One source worker's side of one memory channel.

    Args:
        name: of the channel.
        options: of the channel.
        producers: one a lane.
        bells: of the sink worker that each lane was made for.
        others: lanes of other source workers into the same channel, with their pages and indices: an explicit
            `capacity` counts them too.
        gate: a segment whose lock makes the count exact while several source workers put; None when there is one.
    """

    def __init__(
        self,
        name: str,
        options: MemoryOptions,
        producers: Sequence[Producer],
        bells: Sequence[Bell],
        others: Sequence[tuple[Lane, PutPage, int]] = (),
        gate: Segment | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.producers = tuple(producers)
        self.bells = tuple(bells)
        self._others = tuple(others)
        self._gate = gate
        self._gated = False
        self._bounded = options.capacity is not None or options.slots is not None
        self._homes: dict[str, Producer] = {}
        self._touched: list[tuple[Producer, EventBatch]] = []
        self.full_because = ""
        self._turn = 0

    def stage(self, batch: EventBatch, put: int) -> tuple[Producer, int] | None:
        """Writes the rows behind the tail of a lane: (its producer, the frame's position), or None: no room now.

        `full_because` then says which bound was met.
        """
        units = _slots(batch) if self.options.slots is not None else 0
        if self._bounded and not self._has_capacity(batch.rows, units):
            return None
        producer = self._choose(batch.origins)
        if producer is None:
            self.full_because = "another lane still holds earlier rows of the same stream"
            return None
        self.full_because = f"its ring of {producer.lane.capacity_bytes} bytes is full"
        bound = wire.bound(batch)
        # A frame and the rest of the ring that it may have to skip fit together only up to half a ring.
        if frame_length(bound) * 2 > producer.lane.capacity_bytes:
            position = self._stage_overflow(producer, batch, put, bound, units)
        else:
            position = self._stage(producer, batch, put, bound, units)
        if position is None:
            return None
        self._touched.append((producer, batch))
        return producer, position

    def committed(self) -> None:
        """The put page has committed what was staged: wake whoever sleeps."""
        for producer, batch in self._touched:
            producer.committed()
            if len(self.producers) > 1:
                for origin in batch.origins:
                    self._homes[origin.stream] = producer
        self._touched.clear()
        self._ungate()

    def wake(self) -> None:
        """Rings every sink that said it sleeps. Call after `committed` and a full fence."""
        for producer, bell in zip(self.producers, self.bells, strict=True):
            if producer.consumer_sleeps:
                bell.ring()

    def forget(self) -> None:
        """Drops what was staged."""
        for producer in self.producers:
            producer.forget()
        self._touched.clear()
        self._ungate()

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane whether this worker waits for room."""
        for producer in self.producers:
            producer.sleeping(asleep)

    def rows(self) -> int:
        """Events in the channel, over the lanes of all source workers."""
        mine = sum(producer.state.rows - producer.lane.committed().rows for producer in self.producers)
        return mine + sum(page.lane(index).rows - lane.committed().rows for lane, page, index in self._others)

    def close(self) -> None:
        """Lets go of all lanes."""
        for producer in self.producers:
            producer.lane.close()
        for bell in self.bells:
            bell.close()
        for lane, page, _ in self._others:
            lane.close()
            page.close()
        if self._gate is not None:
            self._gate.close()

    # --- inside

    def _has_capacity(self, rows: int, units: int) -> bool:
        if self._gate is not None and not self._gated:
            if not self._gate.try_lock(0):
                self.full_because = "another source worker is putting"
                return False
            self._gated = True
        capacity, slots = self.options.capacity, self.options.slots
        if capacity is not None and self.rows() + rows > capacity:
            self.full_because = f"its capacity of {capacity} events is used up"
        elif slots is not None and self._units() + units > slots:
            self.full_because = f"its byteCapacity of {self.options.byte_capacity} bytes is used up"
        else:
            return True
        self._ungate()
        return False

    def _units(self) -> int:
        mine = sum(producer.state.units - producer.lane.committed().units for producer in self.producers)
        return mine + sum(page.lane(index).units - lane.committed().units for lane, page, index in self._others)

    def _ungate(self) -> None:
        if self._gated and self._gate is not None:
            self._gate.unlock(0)
            self._gated = False

    def _choose(self, origins: Sequence[Origin]) -> Producer | None:
        """The lane for rows of these streams: where one of them still has rows waiting, else the emptiest."""
        if len(self.producers) == 1:
            return self.producers[0]
        homes = {id(p): p for o in origins if (p := self._homes.get(o.stream)) is not None and not p.drained}
        if len(homes) > 1:
            return None  # they share a put but not a lane: wait until all but one are drained
        if homes:
            return next(iter(homes.values()))
        if len(self._homes) > 4096:
            self._homes = {stream: p for stream, p in self._homes.items() if not p.drained}
        # Of lanes that are equally free, each in its turn: several sinks shall have work, also from one stream.
        turn = self._turn % len(self.producers)
        self._turn += 1
        return max(self.producers[turn:] + self.producers[:turn], key=lambda producer: producer.free_bytes)

    @staticmethod
    def _stage(producer: Producer, batch: EventBatch, put: int, bound: int, units: int) -> int | None:
        memory = producer.claim(bound)
        if memory is None:
            return None
        used = wire.encode(batch, memory)
        return producer.publish(used, rows=batch.rows, size_bytes=batch.body_bytes, units=units, put=put)

    def _stage_overflow(self, producer: Producer, batch: EventBatch, put: int, bound: int, units: int) -> int | None:
        """A put of more than half a ring: its bytes go to a file beside the lane, the frame names the file.

        One such file at a time and lane, and only on an empty lane: so the memory is bounded by one put.
        """
        if producer.state.tail != producer.lane.head():
            return None
        lane = producer.lane
        overflow.sweep(lane)
        name = overflow.file_name(lane, put)
        payload = overflow.describe(name, batch.origins, lane.capacity_bytes // 2)
        memory = producer.claim(len(payload))
        if memory is None:
            return None
        # Dying after the file is there and before the put page commits leaves a file that no visible frame names:
        # it is swept when the lane gets a new producer.
        try:
            overflow.write(lane, name, batch, bound)
        except OSError as problem:
            self.full_because = f"no room for {bound} bytes at {lane.segment.path.parent}: {problem.strerror}"
            producer.forget()
            return None
        memory[:] = payload
        return producer.publish(
            len(payload), rows=batch.rows, size_bytes=batch.body_bytes, units=units, put=put, flags=OVERFLOW
        )


class PutTransaction(Transaction):
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

    def transaction(self) -> PutTransaction:
        """A new transaction. One at a time."""
        return PutTransaction(self)

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


def _slots(batch: EventBatch) -> int:
    lengths = batch.body_lengths()
    return int(np.maximum(-(-lengths // SLOT_BYTES), 1).sum(dtype=np.int64))
