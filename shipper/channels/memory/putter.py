"""A putter: one source worker's side of one memory channel, with a producer a lane.

It decides whether there is room by every bound that the file gives, and which lane the rows go to; it writes them
behind that lane's tail. When they become visible is decided by the put transaction (`put.py`).

The file is long because every bound that makes a channel full is met here, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from shipper.api import Clock, SystemClock
from shipper.batch import in_place, wire
from shipper.batch.batch import EventBatch, Origin
from shipper.channels.channel import PutOptions
from shipper.channels.memory import overflow
from shipper.ring.lane import Lane
from shipper.ring.layout import OVERFLOW, Known, frame_length
from shipper.ring.producer import Producer
from shipper.ring.puts import PutPage
from shipper.ring.wait import Bell
from shipper.shared.segment import Segment
from shipper.shared.words import full_fence

#: A source whose blocks do not stay as they are (an interceptor adds a column) is not asked to read in place so often.
_COPIES_IN_A_ROW = 64
#: A frame without its block and offsets.
_FRAME_PARTS_BYTES = 4096


class Logged(Protocol):
    """The log behind the lanes of a channel, as a putter asks for it."""

    def rows(self) -> int:
        """Events in it that are not delivered."""

    def taken(self) -> int:
        """Events that ever left it."""


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
        clock: for the time that frames carry where the channel has a `maxAge`.
        log: of a channel whose writer empties its lanes: its rows count for an explicit `capacity`.
    """

    def __init__(
        self,
        name: str,
        options: PutOptions,
        producers: Sequence[Producer],
        bells: Sequence[Bell],
        others: Sequence[tuple[Lane, PutPage, int]] = (),
        gate: Segment | None = None,
        clock: Clock | None = None,
        log: Logged | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self.options = options
        self.producers = tuple(producers)
        self.bells = tuple(bells)
        self._others = tuple(others)
        self._gate = gate
        self._clock = clock or SystemClock()
        self._gated = False
        self._slots_most = options.slots
        self._bounded = options.capacity is not None or self._slots_most is not None
        self._homes: dict[str, Producer] = {}
        self._touched: list[tuple[Producer, EventBatch]] = []
        self._copies = 0
        self.full_because = ""
        self.is_full = self.is_at_capacity = False
        #: The last `room` gave none because the ring is full, and nothing but waiting is to be done about that.
        self.room_comes = False
        self._wanting: Producer | None = None
        self._tried: Producer | None = None
        self._turn = 0

    @property
    def block_bytes_most(self) -> int:
        """How large a block may be for four of its frames to fit into the smallest lane."""
        return min(producer.lane.capacity_bytes for producer in self.producers) * 2 // 9 - _FRAME_PARTS_BYTES

    def room(self, block_bytes: int) -> memoryview | None:
        """Memory for a block that can become a frame where it lies; None when there is none now, or no use for it.

        Only where there is one lane: which one rows go to is not known before their origin is.
        """
        self.room_comes = False
        if len(self.producers) > 1:
            return None
        if self._copies:  # what is read here can't stay where it is; from time to time see whether it can now
            self._copies -= 1
            return None
        producer = self.producers[0]
        needed = in_place.needed(block_bytes)
        if frame_length(needed) * 4 > producer.lane.capacity_bytes:
            return None
        memory = producer.reserve(needed)
        if memory is None:
            self.room_comes = self.options.on_full == "block"
            self.refused((producer,))
            return None
        return in_place.room(memory, block_bytes)

    def stage(self, batch: EventBatch, put: int, index: int | None = None) -> tuple[Producer, int] | None:
        """Writes the rows behind the tail of a lane: (its producer, the frame's position), or None: no room now.

        `full_because` then says which bound was met; `is_full` that it is the channel's, and not another source's turn.

        Args:
            index: of the lane, when it is chosen already.
        """
        units = self._slots(batch) if self._slots_most is not None else 0
        self.is_full, self.is_at_capacity, self._tried = False, False, None
        if self._bounded and not self._has_capacity(batch.rows, units):
            if self.is_full:
                self.refused(self.producers)
            return None
        producer = self._choose(batch.origins) if index is None else self.producers[index]
        if producer is None:
            self.full_because = "another lane still holds earlier rows of the same stream"
            self.refused(self.producers)
            return None
        if (position := self._stage_in_place(producer, batch, put, units)) is not None:
            self._touched.append((producer, batch))
            return producer, position
        self.full_because = f"its ring of {producer.lane.capacity_bytes} bytes is full"
        bound = wire.bound(batch)
        # A frame and the rest of the ring that it may have to skip fit together only up to half a ring.
        if frame_length(bound) * 2 > producer.lane.capacity_bytes:
            position = self._stage_overflow(producer, batch, put, bound, units)
        elif (position := self._stage(producer, batch, put, bound, units)) is None:
            # What was read into the ring and can't stay there is stepped over, and so may be the rest of the ring: then
            # an empty lane has no room, and nobody will ever take anything from it.
            position = self._stage_overflow(producer, batch, put, bound, units)
        if position is None:
            self.is_full, self._tried = True, producer
            self.refused((producer,))
            return None
        self._touched.append((producer, batch))
        return producer, position

    def refused(self, producers: Sequence[Producer]) -> None:
        """Says that rows have to wait for what was not yet taken from these lanes.

        A sink that keeps what it has taken, to wait for more, is woken: until it commits nothing more may come.
        """
        for producer in producers:
            producer.refused()
        full_fence()
        for producer in producers:
            if producer.consumer_sleeps:
                self.bells[self.producers.index(producer)].ring()

    def gives_up(self) -> bool:
        """True when rows that found no room are to be dropped, because the channel is full and its file says so."""
        return self.is_full and self.options.on_full == "dropNewest"

    def free_percent(self, index: int) -> float:
        """Percent of what the channel has room for that is free, by the scarcest of its bounds."""
        producer = self.producers[index]
        shares = [producer.free_bytes / producer.lane.capacity_bytes]
        if self.options.capacity is not None:
            shares.append(1 - self.rows() / self.options.capacity)
        if self._slots_most is not None:
            shares.append(1 - self._units() / self._slots_most)
        return 100 * min(shares)

    def want_room(self, batch: EventBatch) -> None:
        """After rows found no room: asks the sink to give up the oldest, where the file says so.

        Only a sink worker may move its lane's head, and it does so between two transactions: what it holds in its
        hands, however long its target takes, is never dropped.
        """
        if not self.is_full or self.options.on_full != "dropOldest":
            return
        if self._log is not None:
            return self._want_room_in_log(self._log, batch)
        waits = [producer.state.rows - producer.lane.committed().rows for producer in self.producers]
        producer = self._tried or self.producers[waits.index(max(waits))]
        taken, put = producer.lane.committed(), producer.state
        rows = units = position = 0
        if self._tried is not None:
            too_large = frame_length(wire.bound(batch)) * 2 > producer.lane.capacity_bytes  # needs an empty lane
            position = put.tail if too_large else min(producer.head_wanted, put.tail)
        elif (capacity := self.options.capacity) is not None and self.rows() + batch.rows > capacity:
            rows = min(taken.rows + self.rows() + batch.rows - capacity, put.rows)
        elif (slots := self._slots_most) is not None:
            units = min(taken.units + self._units() + self._slots(batch) - slots, put.units)
        self._want(producer, position, rows, units)

    def _want_room_in_log(self, log: Logged, batch: EventBatch) -> None:
        """The channel's writer hands it on to who takes from the log: so many rows shall have left it, ever."""
        capacity = self.options.capacity
        taken = log.taken()  # first: rows that leave meanwhile make less room necessary than is asked for
        if capacity is not None and (excess := self.rows() + batch.rows - capacity) > 0:
            self._want(self.producers[0], 0, taken + excess, 0)

    def _want(self, producer: Producer, position: int, rows: int, units: int) -> None:
        producer.want_room(position, rows, units)
        full_fence()
        self._wanting = producer
        self.bells[self.producers.index(producer)].ring()

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
        if not asleep and self._wanting is not None:
            self._wanting.want_room()
            self._wanting = None

    def rows(self) -> int:
        """Events in the channel, over the lanes of all source workers."""
        mine = sum(producer.state.rows - producer.lane.committed().rows for producer in self.producers)
        others = sum(page.lane(index).rows - lane.committed().rows for lane, page, index in self._others)
        # What moves from a lane to the log meanwhile counts twice for a moment, and never not at all.
        return mine + others + (0 if self._log is None else self._log.rows())

    @property
    def safe(self) -> bool:
        """True when all that was put is on disk in the channel's log."""
        return all(producer.lane.durable() >= producer.state.tail for producer in self.producers)

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
        capacity, slots = self.options.capacity, self._slots_most
        if capacity is not None and self.rows() + rows > capacity:
            self.full_because = f"its capacity of {capacity} events is used up"
        elif slots is not None and self._units() + units > slots:
            self.full_because = f"its byteCapacity of {self.options.byte_capacity} bytes is used up"
        else:
            return True
        self.is_full = self.is_at_capacity = True
        self._ungate()
        return False

    def _now_ms(self) -> int:
        return self._clock.now_ms() if self.options.max_age_s else 0

    def _units(self) -> int:
        mine = sum(producer.state.units - producer.lane.committed().units for producer in self.producers)
        return mine + sum(page.lane(index).units - lane.committed().units for lane, page, index in self._others)

    def _slots(self, batch: EventBatch) -> int:
        lengths = batch.body_lengths()
        return int(np.maximum(-(-lengths // self.options.slot_bytes), 1).sum(dtype=np.int64))

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

    def _stage_in_place(self, producer: Producer, batch: EventBatch, put: int, units: int) -> int | None:
        """A frame around the block that the source read into `room`; None when the batch is not just that block."""
        memory = producer.reserved
        if memory is None or not batch.rows:
            return None
        if in_place.lies_in(batch, memory) and (done := in_place.complete(batch, memory)) is not None:
            producer.claim_reserved()
            known = None if done.checksum is None else Known(in_place.HEAD_BYTES, done.block_bytes, done.checksum)
            return producer.publish(
                done.used, rows=batch.rows, size_bytes=batch.body_bytes, units=units, put=put, put_ms=self._now_ms(),
                known=known,
            )  # fmt: skip
        self._copies = _COPIES_IN_A_ROW
        return None

    def _stage(self, producer: Producer, batch: EventBatch, put: int, bound: int, units: int) -> int | None:
        memory = producer.claim(bound)
        if memory is None:
            return None
        used = wire.encode(batch, memory)
        return producer.publish(
            used, rows=batch.rows, size_bytes=batch.body_bytes, units=units, put=put, put_ms=self._now_ms()
        )

    def _stage_overflow(self, producer: Producer, batch: EventBatch, put: int, bound: int, units: int) -> int | None:
        """A put that an empty ring has no room for: its bytes go to a file beside the lane, the frame names the file.

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
            len(payload),
            rows=batch.rows,
            size_bytes=batch.body_bytes,
            units=units,
            put=put,
            flags=OVERFLOW,
            put_ms=self._now_ms(),
        )
