"""The take side of a memory channel: one sink worker's transactions.

A transaction takes from one lane: its commit is one stored word of that lane. Several sink workers of one channel
share its lanes by leases. A lane's home is the sink worker that it was made for; another one takes it over while the
home has let go of it (it can't deliver) or was handed over by the supervisor (it died and could not be settled), and
gives it back when the home wants it again.

The file is long because a transaction and the leases that it is drawn from change together.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.api import Clock, SystemClock
from shipper.batch import wire
from shipper.batch.batch import EventBatch
from shipper.channels.channel import TakeTransaction
from shipper.channels.memory import overflow
from shipper.channels.memory.salvage import Salvage
from shipper.errors import TransactionMisused
from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import GENERATION, OVERFLOW, Frame, lane_key
from shipper.ring.puts import PutPage
from shipper.ring.wait import Bell
from shipper.ring.way import make_way
from shipper.shared.tally import sink_key


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


class _Leased:
    """A lane as its sink worker sees it."""

    def __init__(self, route: TakeRoute, sink: int) -> None:
        self.route = route
        self.page = PutPage.ensure(route.page)
        lane = Lane.open(route.path)
        self.consumer = Consumer(lane, self.page, self.page.index(lane_key(route.channel, route.path.name)), sink)
        self.bell = Bell(route.bell)
        self.lost_rows = 0

    def close(self) -> None:
        self.consumer.lane.close()
        self.page.close()
        self.bell.close()


class MemoryTake(TakeTransaction):
    """Rows of one lane, gone at commit or back at rollback.

    Args:
        lane: the lane that was chosen; None when none has rows.
        lanes: all lanes that the worker may take from.
        poison: overwrites what was taken when the transaction ends, to find views that outlive it (tests).
    """

    def __init__(self, lane: _Leased | None, lanes: Sequence[_Leased], poison: bool) -> None:
        super().__init__()
        self._lane = lane
        self._lanes = lanes
        self._poison = poison
        self._overflowed: list[Path] = []
        self._taken: list[Frame] = []
        self.rows = 0
        self.size_bytes = 0
        self.sequence = 0

    def take(self) -> EventBatch | None:
        """The next rows as a view that is valid until the transaction ends; None when there are none now.

        Frames without rows (their interceptors left nothing) are stepped over.
        """
        self._must_be("OPEN", "take")
        if self._lane is None:
            return None
        consumer = self._lane.consumer
        while (frame := consumer.peek()) is not None:
            done = consumer.rows_done
            size_bytes = len(frame.payload)
            if frame.flags & OVERFLOW:
                place = overflow.path(consumer.lane, frame.payload)
                try:
                    size_bytes = place.stat().st_size
                    batch = overflow.read(place)
                except FileNotFoundError:
                    self._lane.lost_rows += frame.rows
                    consumer.count(lost=frame.rows - done)
                    consumer.step()
                    continue
                self._overflowed.append(place)
            else:
                batch = wire.decode(frame.payload)
            consumer.step()
            if self._poison:
                self._taken.append(frame)
            self.size_bytes += size_bytes
            if batch.rows > done:
                self.rows += batch.rows - done
                return batch.slice(done) if done else batch
        return None

    @property
    def crowded(self) -> bool:
        return any(o is not self._lane and o.consumer.held and o.consumer.waiting for o in self._lanes)

    @property
    def mark(self) -> tuple[str, int]:
        lane = self._lane
        return ("", 0) if lane is None else (lane.route.path.name, lane.consumer.lane.words.load(GENERATION))

    def book(self, sink: str, rows: int, size_bytes: int, aside: int) -> None:
        if self._lane is not None:
            self._lane.consumer.book(sink_key(sink), rows, size_bytes, aside)

    @property
    def more(self) -> bool:
        """True when another frame waits in the transaction's lane."""
        return self._lane is not None and self._lane.consumer.waiting

    def put_back(self) -> None:
        """Forgets all that was taken, but stays open: the same rows come again."""
        self._must_be("OPEN", "put_back")
        if self._lane is not None:
            self._lane.consumer.rewind()
        self.rows = self.size_bytes = 0
        self._overflowed.clear()
        self._taken.clear()

    @property
    def empty(self) -> bool:
        """True when nothing was taken, not even frames without rows."""
        return self._lane is None or not self._lane.consumer.moved

    def do_commit(self) -> None:
        lane = self._lane
        if lane is None or self.empty:
            return
        # Behind the release the producer may write there again. The frame of the last put stays as it is: a source
        # worker that comes back reads its origins there.
        for frame in self._taken:
            if frame.put != lane.page.number():
                frame.payload[:] = b"\xdb" * len(frame.payload)
        if lane.consumer.release(self.sequence):
            lane.bell.ring()
        # Dying here leaves overflow files of delivered frames; the producer sweeps them before it makes the next one.
        for place in self._overflowed:
            place.unlink(missing_ok=True)

    def do_rollback(self) -> None:
        if self._lane is not None:
            self._lane.consumer.rewind()


class TakeSide:
    """A sink worker's way out of its channel.

    Args:
        routes: all lanes of the channel.
        sink: id of this sink worker, unique in the agent and not 0.
        poison: see `MemoryTake`.
        drops_oldest, max_age_s: of the channel: what `make_way` gives up.
    """

    def __init__(
        self,
        routes: Sequence[TakeRoute],
        sink: int,
        poison: bool = False,
        *,
        drops_oldest: bool = False,
        max_age_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.sink = sink
        self._makes_way = drops_oldest or max_age_s > 0
        self._max_age_ms = int(max_age_s * 1000)
        self._clock = clock or SystemClock()
        self._poison = poison
        self._lanes = [_Leased(route, sink) for route in routes]
        self._turn = 0
        self._held_back = False
        self.vouches: Callable[[], bool] = _yes

    def keep_damaged(self, salvage: Salvage) -> None:
        """Has what fails its checks kept before it is skipped."""
        for lane in self._lanes:
            lane.consumer.keep_damaged = salvage

    def sequence(self) -> int:
        """The largest sink sequence that a commit of this sink stored in any lane."""
        slots = (lane.consumer.lane.committed() for lane in self._lanes)
        return max((slot.sequence for slot in slots if slot.sink == self.sink), default=0)

    def settle(self) -> None:
        """Takes back the lanes that this sink held when it died, and its home lanes where they are free."""
        for lane in self._lanes:
            if lane.route.home or lane.consumer.holder == self.sink:
                lane.consumer.try_hold()

    def transaction(self) -> MemoryTake:
        """A new transaction over the lane whose turn it is. One at a time."""
        return MemoryTake(self._choose(), self._lanes, self._poison)

    def make_way(self) -> tuple[int, int]:
        """Gives up what the channel's `maxAge` and `onFull` say, and commits that: rows (too old, dropped).

        Between transactions. A lane that nobody holds, because its sink can't deliver, is held for that long.
        """
        if not self._makes_way:
            return 0, 0
        oldest_ms = self._clock.now_ms() - self._max_age_ms if self._max_age_ms else 0
        expired = dropped = 0
        for lane in self._lanes:
            consumer = lane.consumer
            held = consumer.held
            if not (held or (lane.route.home and consumer.waiting and consumer.try_hold())):
                continue
            gone = make_way(consumer, oldest_ms)
            if any(gone):
                expired, dropped = expired + gone[0], dropped + gone[1]
                lane.bell.ring()
            if not held and self._held_back:
                consumer.let_go()
        return expired, dropped

    def generation(self, lane: str) -> int | None:
        """How often takes of that lane were committed; None when it is none of this channel's."""
        return next((o.consumer.lane.words.load(GENERATION) for o in self._lanes if o.route.path.name == lane), None)

    def store_sequence(self, sequence: int) -> None:
        """Commits a sink sequence without taking anything. Between transactions.

        Without a lane in hand the sequence is not stored: `let_go` has made the sink's journal independent.
        """
        for lane in self._lanes:
            if lane.consumer.held:
                lane.consumer.rewind()
                lane.consumer.release(sequence)
                return

    def waiting(self) -> bool:
        """True when rows wait in a lane that this worker holds or could hold."""
        return self._choose() is not None

    def delivered_before_ms(self) -> int:
        """All that was put before that wall time has been taken and committed here; 0 when nobody knows."""
        before_ms = self._clock.now_ms()
        for lane in self._lanes:
            consumer = lane.consumer
            if not (consumer.held or lane.route.home) or not consumer.waiting:
                continue
            frame = consumer.peek() if consumer.held else None
            before_ms = min(before_ms, frame.put_ms if frame is not None else 0)
        return before_ms

    def let_go(self, before: Callable[[], None]) -> None:
        """Gives all lanes up because the target can't take anything: others may deliver what waits in them.

        Args:
            before: makes what was committed durable, and the sink's journal independent of the lanes' commit slots;
                called once, first.
        """
        if any(lane.consumer.held for lane in self._lanes):
            before()
        vouched = self.vouches()
        for lane in self._lanes:
            if vouched:
                self._publish(lane, lane.consumer.committed)
            lane.consumer.let_go()
        self._held_back = True

    def come_back(self) -> None:
        """The target may take rows again: ask for the home lanes."""
        self._held_back = False
        for lane in self._lanes:
            if lane.route.home and not lane.consumer.try_hold():
                lane.consumer.want()

    def give_back(self, before: Callable[[], None]) -> None:
        """Gives up foreign lanes that are empty or that their home wants. Between transactions."""
        for lane in self._lanes:
            consumer = lane.consumer
            if consumer.held and not lane.route.home and (consumer.wanted or not consumer.waiting):
                before()
                if self.vouches():
                    self._publish(lane, consumer.committed)
                consumer.let_go()
                lane.bell.ring()

    def committed(self) -> tuple[tuple[int, int], ...]:
        """How far this worker's lanes are committed: for `publish_durable`, once that much is safe at the target."""
        return tuple((i, lane.consumer.committed) for i, lane in enumerate(self._lanes) if lane.consumer.held)

    def publish_durable(self, committed: Sequence[tuple[int, int]], *, ring: bool = False) -> None:
        """Says that all that `committed` returned survives the death of the machine.

        Args:
            ring: wake the sources that put it, so that they write their positions down at once.
        """
        for index, position in committed:
            lane = self._lanes[index]
            if self._publish(lane, position) and ring:
                lane.bell.ring()

    @staticmethod
    def _publish(lane: _Leased, position: int) -> bool:
        if lane.consumer.held and lane.consumer.inherits:
            os.sync()  # what a dead sink wrote before this one is somewhere: seldom, and then all of it
        return lane.consumer.publish_durable(position)

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane that this worker holds or is home to whether it sleeps."""
        for lane in self._lanes:
            if lane.consumer.held or lane.route.home:
                lane.consumer.sleeping(asleep)

    @property
    def alone(self) -> bool:
        """True when no other sink worker can take from the channel."""
        return all(lane.route.home for lane in self._lanes)

    @property
    def lost_bytes(self) -> int:
        """Bytes of damaged frames that were skipped."""
        return sum(lane.consumer.lost_bytes for lane in self._lanes)

    @property
    def lost_rows(self) -> int:
        """Rows whose overflow file was gone."""
        return sum(lane.lost_rows for lane in self._lanes)

    def close(self) -> None:
        """Lets go of the memory. Leases end as the process ends: give them up first when the stop is clean."""
        for lane in self._lanes:
            lane.close()

    def _choose(self) -> _Leased | None:
        lanes = self._lanes
        for step in range(len(lanes)):
            lane = lanes[(self._turn + step) % len(lanes)]
            consumer = lane.consumer
            if not consumer.held:
                if self._held_back or not consumer.waiting:
                    continue
                if not lane.route.home and consumer.wanted:
                    continue
                if not consumer.try_hold():
                    if lane.route.home:
                        consumer.want()
                    continue
            if consumer.waiting:
                self._turn = (self._turn + step + 1) % len(lanes)
                return lane
        return None

    def check(self) -> None:
        """Fails when a lease is broken: for tests."""
        if any(lane.consumer.held and lane.consumer.holder != self.sink for lane in self._lanes):
            raise TransactionMisused("a held lane names another holder")


def _yes() -> bool:
    return True
