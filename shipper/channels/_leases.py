"""Leases: the lanes of a channel as its sink workers share them, whatever a lane is made of.

A lane's home is the sink worker that it was made for. Another one takes it over while the home has let go of it (it
can't deliver), or after it was handed over (the home died and could not be settled), and gives it back when the home
wants it again. A transaction takes from one lane: its commit is one stored word of that lane.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic

from shipper.api import Clock, SystemClock
from shipper.channels._lease import L, LeasedTake
from shipper.errors import TransactionMisused


class LeasedTakeSide(ABC, Generic[L]):
    """A sink worker's way out of its channel.

    Args:
        lanes: all of the channel, or of this part of it.
        sink: id of this sink worker, unique in the agent and not 0.
        drops_oldest, max_age_s: of the channel: what `make_way` gives up.
    """

    def __init__(
        self,
        lanes: Sequence[L],
        sink: int,
        *,
        drops_oldest: bool = False,
        max_age_s: float = 0.0,
        clock: Clock | None = None,
    ) -> None:
        self.sink = sink
        self._makes_way = drops_oldest or max_age_s > 0
        self._max_age_ms = int(max_age_s * 1000)
        self._clock = clock or SystemClock()
        self.lanes = list(lanes)
        self._turn = 0
        self._held_back = False
        #: Asked by transactions: True when rows wait for this worker in another part of the channel.
        self.beside: Callable[[], bool] | None = None
        self.vouches: Callable[[], bool] = _yes

    @abstractmethod
    def transaction(self) -> LeasedTake[L]:
        """A new transaction over the lane whose turn it is. One at a time."""

    @abstractmethod
    def give_up(self, lane: L, oldest_ms: int) -> tuple[int, int]:
        """Gives up rows of one lane, as `make_way`, and tells who waits for that.

        Args:
            oldest_ms: rows that were put before that (wall ms) are too old.
        """

    def make_way(self) -> tuple[int, int]:
        """Gives up what the channel's `maxAge` and `onFull` say, and commits that: rows (too old, dropped).

        Between transactions. A lane that nobody holds, because its sink can't deliver, is held for that long.
        """
        if not self._makes_way:
            return 0, 0
        oldest_ms = self._clock.now_ms() - self._max_age_ms if self._max_age_ms else 0
        expired = dropped = 0
        for lane in self.lanes:
            held = lane.held
            if not (held or (lane.home and lane.waiting and lane.try_hold())):
                continue
            too_old, in_the_way = self.give_up(lane, oldest_ms)
            expired, dropped = expired + too_old, dropped + in_the_way
            if not held and self._held_back:
                lane.let_go()
        return expired, dropped

    def delivered_before_ms(self) -> int:
        """All that was put before that wall time has been taken and committed here; 0 when nobody knows."""
        before_ms = self._clock.now_ms()
        for lane in self.lanes:
            if (lane.held or lane.home) and lane.waiting:
                before_ms = min(before_ms, lane.put_ms() if lane.held else 0)
        return before_ms

    def settle(self) -> None:
        """Takes back the lanes that this sink held when it died, and its home lanes where they are free."""
        for lane in self.lanes:
            if lane.home or lane.holder == self.sink:
                lane.try_hold()

    def generations(self) -> dict[str, int]:
        """How often takes of each lane were committed, by its name."""
        return {lane.name: lane.generation() for lane in self.lanes}

    @property
    def holds(self) -> bool:
        """True when a lane is in this worker's hands."""
        return any(lane.held for lane in self.lanes)

    def store_sequence(self, sequence: int) -> None:
        """Commits a sink sequence without taking anything. Between transactions.

        Without a lane in hand the sequence is not stored: `let_go` has made the sink's journal independent.
        """
        for lane in self.lanes:
            if lane.held:
                lane.rewind()
                lane.release(sequence)
                return

    def coming(self) -> list[Any] | None:
        """What the commit of the transaction under way will say, for `finish`; None when there is none to be said."""
        for lane in self.lanes:
            if lane.held and lane.moved:
                return [lane.name, lane.coming()]
        return None

    def finish(self, coming: list[Any], sequence: int) -> bool:
        """Stores a commit that a dead process of this worker had announced; False when it never will be.

        Before anything is taken. The lane is this worker's from then on.
        """
        name, of_lane = coming
        return any(lane.name == name and lane.finish(of_lane, sequence) for lane in self.lanes)

    def rows_taken(self) -> dict[str, int]:
        """Rows that were ever taken from each lane, by whomever, by the names that lanes are counted under."""
        return {lane.key: lane.rows() for lane in self.lanes}

    def rows_coming(self) -> dict[str, int]:
        """The same of the lane that the transaction under way takes from, once it is committed."""
        return {lane.key: lane.rows_coming for lane in self.lanes if lane.held and lane.moved}

    def waiting(self) -> bool:
        """True when rows wait that may go, in a lane that this worker holds or could hold."""
        return self.choose() is not None

    def refusals(self) -> int:
        """How often a put found no room because of what this worker had not taken, ever; see `TakeSide`."""
        return sum(lane.refusals for lane in self.lanes if lane.held or lane.home)

    def let_go(self, before: Callable[[], None]) -> None:
        """Gives all lanes up because the target can't take anything: others may deliver what waits in them.

        Args:
            before: makes what was committed durable, and the sink's journal independent of the commits; called once,
                first.
        """
        if self.holds:
            before()
        vouched = self.vouches()
        for lane in self.lanes:
            if vouched:
                lane.publish_durable()
            lane.let_go()
        self._held_back = True

    def come_back(self) -> None:
        """The target may take rows again: ask for the home lanes."""
        self._held_back = False
        for lane in self.lanes:
            if lane.home and not lane.try_hold():
                lane.want()

    def give_back(self, before: Callable[[], None]) -> None:
        """Gives up foreign lanes that are empty or that their home wants. Between transactions."""
        for lane in self.lanes:
            if lane.held and not lane.home and (lane.wanted or not lane.waiting):
                before()
                if self.vouches():
                    lane.publish_durable()
                lane.let_go()
                lane.ring()

    def committed(self) -> tuple[tuple[int, Any], ...]:
        """How far this worker's lanes are committed: for `publish_durable`, once that much is safe at the target."""
        return tuple((index, lane.committed) for index, lane in enumerate(self.lanes) if lane.held)

    def publish_durable(self, committed: Sequence[tuple[int, Any]], *, ring: bool = False) -> None:
        """Says that all that `committed` returned survives the death of the machine.

        Args:
            ring: wake those who put it, so that they write their positions down at once.
        """
        for index, position in committed:
            if self.lanes[index].publish_durable(position) and ring:
                self.lanes[index].ring()

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane that this worker holds or is home to whether it sleeps."""
        for lane in self.lanes:
            if lane.held or lane.home:
                lane.sleeping(asleep)

    @property
    def alone(self) -> bool:
        """True when no other sink worker can take from the channel."""
        return all(lane.home for lane in self.lanes)

    @property
    def lost_rows(self) -> int:
        """Rows that were stepped over: damaged, missing, or their overflow file was gone."""
        return sum(lane.lost_rows() for lane in self.lanes)

    def close(self) -> None:
        """Lets go of the memory. Leases end as the process ends: give them up first when the stop is clean."""
        for lane in self.lanes:
            lane.close()

    def check(self) -> None:
        """Fails when a lease is broken: for tests."""
        if any(lane.held and lane.holder != self.sink for lane in self.lanes):
            raise TransactionMisused("a held lane names another holder")

    def others_wait(self, mine: L | None) -> bool:
        """True when rows wait that a transaction over `mine` can't take."""
        if any(lane is not mine and lane.held and lane.waiting for lane in self.lanes):
            return True
        return self.beside is not None and self.beside()

    @property
    def any_waiting(self) -> bool:
        """True when rows wait in a lane that this worker holds, whether they may go or not."""
        return any(lane.held and lane.waiting for lane in self.lanes)

    def choose(self) -> L | None:
        """The lane whose turn it is, held; None when none has rows that may go."""
        lanes = self.lanes
        for step in range(len(lanes)):
            lane = lanes[(self._turn + step) % len(lanes)]
            if not lane.held:
                if self._held_back or not lane.waiting:
                    continue
                if not lane.home and lane.wanted:
                    continue
                if not lane.try_hold():
                    if lane.home:
                        lane.want()
                    continue
            if lane.ready:
                self._turn = (self._turn + step + 1) % len(lanes)
                return lane
        return None


def _yes() -> bool:
    return True
