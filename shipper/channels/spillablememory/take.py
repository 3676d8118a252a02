"""The take side of a channel that spills: one sink worker's transactions, each over a lane in memory or one of the log.

Which of the two may go next is known by the numbers of their puts (`channels/memory/order.py`). Where both may, because
they are of different sources, they take turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.channels.channel import TakeTransaction
from shipper.channels.file.take import FileTakeSide
from shipper.channels.memory.channel import sink_of
from shipper.channels.memory.order import Ways
from shipper.channels.memory.take import TakeSide


@dataclass(frozen=True)
class SecondLane:
    """A lane to the channel's writer, as a sink worker is told of it: it only looks.

    Attributes:
        page: of the source worker that fills it.
        producer: how the log knows it.
    """

    path: Path
    page: Path
    producer: int


class SpillTakeSide:
    """A sink worker's way out of a channel that spills.

    Args:
        channel: its name.
        memory, log: the two parts.
        seconds: all lanes to the writer.
    """

    def __init__(self, channel: str, memory: TakeSide, log: FileTakeSide, seconds: Sequence[SecondLane]) -> None:
        self._memory, self._log = memory, log
        self._ways = _ways(channel, memory, log, seconds)
        by_producer = {ways.producer: ways for ways in self._ways.values()}
        for lane in memory.lanes:
            if (ways := self._ways.get(lane.name)) is not None:
                lane.older_elsewhere = ways.older_on_disk

        def older_in_memory(producer: int, put: int) -> bool:
            return producer in by_producer and by_producer[producer].older_in_memory(put)

        for record_lane in log.lanes:
            record_lane.older_elsewhere = older_in_memory
        memory.beside = lambda: log.any_waiting
        log.beside = lambda: memory.any_waiting
        self._turn = 0

    @property
    def vouches(self) -> Callable[[], bool]:
        """See `TakeSide`."""
        return self._memory.vouches

    @vouches.setter
    def vouches(self, vouches: Callable[[], bool]) -> None:
        self._memory.vouches = self._log.vouches = vouches

    def transaction(self) -> TakeTransaction:
        """A new transaction over the lane whose turn it is. One at a time."""
        self._turn += 1
        sides = (self._memory, self._log) if self._turn % 2 else (self._log, self._memory)
        first = sides[0].transaction()
        return first if first.found else sides[1].transaction()

    def make_way(self) -> tuple[int, int]:
        """Gives up what the channel's `maxAge` says, and commits that: rows (too old, dropped)."""
        (expired, dropped), (more_expired, more_dropped) = self._memory.make_way(), self._log.make_way()
        return expired + more_expired, dropped + more_dropped

    def sequence(self) -> int:
        """The largest sink sequence that a commit of this sink stored in any lane."""
        return max(self._memory.sequence(), self._log.sequence())

    def generations(self) -> dict[str, int]:
        """How often takes of each lane were committed, in memory and of the log, by its name."""
        return self._log.generations() | self._memory.generations()

    def coming(self) -> list[Any] | None:
        """What the commit of the transaction under way will say; see `LeasedTakeSide`."""
        return self._memory.coming() or self._log.coming()

    def finish(self, coming: list[Any], sequence: int) -> bool:
        """Stores a commit that a dead process had announced; see `LeasedTakeSide`."""
        return self._memory.finish(coming, sequence) or self._log.finish(coming, sequence)

    def rows_taken(self) -> dict[str, int]:
        """Rows that were ever taken from each lane, in memory and of the log; see `LeasedTakeSide`."""
        return self._memory.rows_taken() | self._log.rows_taken()

    def rows_coming(self) -> dict[str, int]:
        """The same of the lane that the transaction under way takes from."""
        return self._memory.rows_coming() | self._log.rows_coming()

    def store_sequence(self, sequence: int) -> None:
        """Commits a sink sequence without taking anything. Between transactions."""
        (self._memory if self._memory.holds else self._log).store_sequence(sequence)

    def settle(self) -> None:
        """Takes back what this sink held when it died, and what it is home to. Once its target is settled."""
        self._memory.settle()
        self._log.settle()

    def waiting(self) -> bool:
        """True when rows wait that may go."""
        return self._memory.waiting() or self._log.waiting()

    def refusals(self) -> int:
        """How often a put found no room in either part because of what this worker had not taken, ever."""
        return self._memory.refusals() + self._log.refusals()

    def delivered_before_ms(self) -> int:
        """All that was put before that wall time has been taken and committed here; 0 when nobody knows.

        What is on its way to the log is in neither part: then nobody does.
        """
        if any(ways.on_the_way for ways in self._ways.values()):
            return 0
        return min(self._memory.delivered_before_ms(), self._log.delivered_before_ms())

    def let_go(self, before: Callable[[], None]) -> None:
        """Gives everything up because the target can't take anything; `before` makes the sink's journal independent."""
        if self._memory.holds or self._log.holds:
            before()
        self._memory.let_go(_nothing)
        self._log.let_go(_nothing)

    def come_back(self) -> None:
        """The target may take rows again."""
        self._memory.come_back()
        self._log.come_back()

    def give_back(self, before: Callable[[], None]) -> None:
        """Gives up what another sink worker wants back. Between transactions."""
        self._memory.give_back(before)
        self._log.give_back(before)

    def committed(self) -> tuple[tuple[int, Any], ...]:
        """How far this worker's lanes are committed; those of the log are counted behind those in memory."""
        behind = len(self._memory.lanes)
        return self._memory.committed() + tuple((behind + index, head) for index, head in self._log.committed())

    def publish_durable(self, committed: Sequence[tuple[int, Any]], *, ring: bool = False) -> None:
        """Says that all that `committed` returned survives the death of the machine."""
        behind = len(self._memory.lanes)
        self._memory.publish_durable([found for found in committed if found[0] < behind], ring=ring)
        self._log.publish_durable([(index - behind, head) for index, head in committed if index >= behind], ring=ring)

    def sleeping(self, asleep: bool) -> None:
        """Says whether this worker sleeps, so that somebody wakes it."""
        self._memory.sleeping(asleep)
        self._log.sleeping(asleep)

    @property
    def alone(self) -> bool:
        """True when no other sink worker can take from the channel."""
        return self._memory.alone and self._log.alone

    @property
    def lost_bytes(self) -> int:
        """Bytes that failed their checks and were skipped."""
        return self._memory.lost_bytes + self._log.lost_bytes

    @property
    def lost_rows(self) -> int:
        """Rows that were skipped."""
        return self._memory.lost_rows + self._log.lost_rows

    def close(self) -> None:
        """Lets go of everything."""
        for ways in self._ways.values():
            ways.close()
        self._memory.close()
        self._log.close()


def _ways(
    channel: str, memory: TakeSide, log: FileTakeSide, seconds: Sequence[SecondLane]
) -> Mapping[str, Ways]:  # fmt: skip
    """By the name of the lane in memory: where the same source's rows for the same sink worker may be besides."""
    direct = {lane.name: lane.route.path for lane in memory.lanes}
    found = {}
    for second in seconds:
        producer, sink = second.path.name.partition("--")[0], sink_of(second.path)
        name = f"{producer}--{sink}"
        lane = log.lane(sink)
        reader = None if lane is None else lane.reader
        found[name] = Ways(channel, direct.get(name), second.path, second.page, reader, second.producer)
    return found


def _nothing() -> None:
    return None
