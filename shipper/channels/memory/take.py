"""The take side of a memory channel: one sink worker's transactions over lanes in shared memory.

What was taken is a view into the ring, valid until the transaction ends. Lanes change hands as `channels/_leases.py`
says.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from shipper.api import Clock
from shipper.batch import in_place, wire
from shipper.batch.batch import EventBatch
from shipper.channels._lease import Lease, LeasedTake
from shipper.channels._leases import LeasedTakeSide
from shipper.channels.memory import overflow
from shipper.channels.memory.salvage import Salvage
from shipper.checksums import checksum_behind
from shipper.errors import DamagedData
from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import GENERATION, OVERFLOW, Frame, lane_key, ring_key
from shipper.ring.puts import PutPage
from shipper.ring.wait import Bell
from shipper.ring.way import make_way


@dataclass(frozen=True)
class TakeRoute:
    """Where a lane lies and who fills it: what a sink worker needs to know of it.

    Attributes:
        channel: name of the channel.
        path: of the lane.
        page: of the put page of the source worker that fills it.
        bell: of that source worker.
        home: True when the lane was made for this sink worker.
    """

    channel: str
    path: Path
    page: Path
    bell: Path
    home: bool = True


class RingLease(Lease):
    """A lane in shared memory as its sink worker sees it."""

    def __init__(self, route: TakeRoute, sink: int, run_id: str = "") -> None:
        self.route = route
        self.page = PutPage.ensure(route.page)
        lane = Lane.open(route.path)
        self.consumer = Consumer(lane, self.page, self.page.index(lane_key(route.channel, route.path.name)), sink)
        name = route.path.name
        super().__init__(name, route.home, self.consumer, ring_key(run_id, route.channel, name))
        self.bell = Bell(route.bell)
        self.missing_rows = 0
        #: Asked by a put's number: True when older rows of the same source are elsewhere and not delivered.
        self.older_elsewhere: Callable[[int], bool] | None = None

    def may_go(self) -> bool:
        if self.older_elsewhere is None:
            return True
        frame = self.consumer.peek()
        return frame is None or not self.older_elsewhere(frame.put)

    def book(self, sink: int, rows: int, size_bytes: int, aside: int) -> None:
        self.consumer.book(sink, rows, size_bytes, aside)

    def release(self, sequence: int) -> None:
        if self.consumer.release(sequence):
            self.bell.ring()

    @property
    def refusals(self) -> int:
        return self.consumer.refusals

    def rows(self) -> int:
        return self.consumer.lane.committed().rows

    def publish_durable(self, committed: int | None = None) -> bool:
        if self.consumer.held and self.consumer.inherits:
            os.sync()  # what a dead sink wrote before this one is somewhere: seldom, and then all of it
        return self.consumer.publish_durable(self.consumer.committed if committed is None else committed)

    def ring(self) -> None:
        self.bell.ring()

    def generation(self) -> int:
        return self.consumer.lane.words.load(GENERATION)

    def lost_rows(self) -> int:
        return self.missing_rows

    def close(self) -> None:
        self.consumer.lane.close()
        self.page.close()
        self.bell.close()


def _batch_in(frame: Frame, lane: RingLease) -> EventBatch:
    batch = wire.decode(frame.payload)
    batch.find_sum = partial(_sum_in, frame)
    batch.place = lane.name, frame.position
    return batch


def _sum_in(frame: Frame, batch: EventBatch) -> tuple[int, int] | None:
    """What the checksum of a frame, which was checked, says of the block of its batch."""
    checksum = checksum_behind(frame.checksum, frame.head_checksum, len(frame.payload))
    return in_place.block_sum(frame.payload, checksum, batch)


class MemoryTake(LeasedTake[RingLease]):
    """Rows of one lane, gone at commit or back at rollback.

    Args:
        lane: the lane that was chosen; None when none has rows.
        side: whose transaction it is.
        poison: overwrites what was taken when the transaction ends, to find views that outlive it (tests).
    """

    def __init__(self, lane: RingLease | None, side: TakeSide, poison: bool) -> None:
        super().__init__(lane, side.others_wait)
        self._poison = poison
        self._overflowed: list[Path] = []
        self._taken: list[Frame] = []

    def next_of(self, lane: RingLease) -> EventBatch | None:
        consumer = lane.consumer
        while (frame := consumer.peek()) is not None:
            if lane.older_elsewhere is not None and lane.older_elsewhere(frame.put):
                return None
            done = consumer.rows_done
            size_bytes = len(frame.payload)
            if frame.flags & OVERFLOW:
                place = overflow.path(consumer.lane, frame.payload)
                try:
                    size_bytes = place.stat().st_size
                    batch = overflow.read(place)
                except FileNotFoundError:
                    lane.missing_rows += frame.rows
                    consumer.count(lost=frame.rows - done)
                    consumer.step()
                    continue
                self._overflowed.append(place)
            else:
                batch = _batch_in(frame, lane)
            consumer.step()
            if self._poison:
                self._taken.append(frame)
            self.size_bytes += size_bytes
            return batch.slice(done) if done else batch
        return None

    def ahead(self) -> EventBatch | None:
        lane = self._lane
        if lane is None or self.crowded or (frame := lane.consumer.peek()) is None or frame.flags & OVERFLOW:
            return None
        if lane.older_elsewhere is not None and lane.older_elsewhere(frame.put):
            return None
        try:
            return _batch_in(frame, lane)
        except DamagedData:  # whoever takes it says so
            return None

    def put_back(self) -> None:
        """Forgets all that was taken, but stays open: the same rows come again."""
        super().put_back()
        self._overflowed.clear()
        self._taken.clear()

    def do_commit(self) -> None:
        lane = self._lane
        if lane is None or self.empty:
            return
        # Behind the release the producer may write there again. The frame of the last put stays as it is: a source
        # worker that comes back reads its origins there.
        for frame in self._taken:
            if frame.put != lane.page.number():
                frame.payload[:] = b"\xdb" * len(frame.payload)
        super().do_commit()
        # Dying here leaves overflow files of delivered frames; the producer sweeps them before it makes the next one.
        for place in self._overflowed:
            place.unlink(missing_ok=True)


class TakeSide(LeasedTakeSide[RingLease]):
    """A sink worker's way out of its channel.

    Args:
        routes: all lanes of the channel.
        sink: id of this sink worker, unique in the agent and not 0.
        poison: see `MemoryTake`.
        run_id: of the run directory.
        drops_oldest, max_age_s: of the channel: what `make_way` gives up.
    """

    def __init__(
        self,
        routes: Sequence[TakeRoute],
        sink: int,
        poison: bool = False,
        *,
        run_id: str = "",
        drops_oldest: bool = False,
        max_age_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        lanes = [RingLease(route, sink, run_id) for route in routes]
        super().__init__(lanes, sink, drops_oldest=drops_oldest, max_age_s=max_age_s, clock=clock)
        self._poison = poison

    def keep_damaged(self, salvage: Salvage) -> None:
        """Has what fails its checks kept before it is skipped."""
        for lane in self.lanes:
            lane.consumer.keep_damaged = salvage

    def sequence(self) -> int:
        """The largest sink sequence that a commit of this sink stored in any lane."""
        slots = (lane.consumer.lane.committed() for lane in self.lanes)
        return max((slot.sequence for slot in slots if slot.sink == self.sink), default=0)

    def transaction(self) -> MemoryTake:
        """A new transaction over the lane whose turn it is. One at a time."""
        return MemoryTake(self.choose(), self, self._poison)

    def give_up(self, lane: RingLease, oldest_ms: int) -> tuple[int, int]:
        gone = make_way(lane.consumer, oldest_ms)
        if any(gone):
            lane.ring()
        return gone

    @property
    def lost_bytes(self) -> int:
        """Bytes of damaged frames that were skipped."""
        return sum(lane.consumer.lost_bytes for lane in self.lanes)
