"""A feed: a lane of a source worker as the writer of a file channel empties it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.durable.log import Log
from shipper.durable.settings import Entry
from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import PRODUCER_ASLEEP, Frame, lane_key
from shipper.ring.puts import PutPage
from shipper.ring.tally import ROOM_WANTED
from shipper.ring.wait import Bell
from shipper.shared.tally import LOGGED


@dataclass(frozen=True)
class FeedRoute:
    """Where a lane lies that the writer empties, and who fills it.

    Attributes:
        producer: how the log knows the lane (`Log.put_of`): the same over restarts, never used for another lane.
        bell: of the source worker.
        lane: of the log, when all that is in this one goes there: the disk part of a channel that spills. The log then
            knows its puts by the numbers that they have in the memory part, too.
    """

    path: Path
    page: Path
    producer: int
    bell: Path
    lane: int | None = None


class Feed:
    """A lane of a source worker as the writer sees it."""

    def __init__(self, channel: str, route: FeedRoute, writer: int, log: Log) -> None:
        self.producer = route.producer
        self.lane = route.lane
        self.page = PutPage.ensure(route.page)
        index = self.page.index(lane_key(channel, route.path.name))
        self.consumer = Consumer(Lane.open(route.path), self.page, index, writer)
        self.bell = Bell(route.bell)
        self.steps = self.rows = self.size_bytes = self.taken_bytes = 0
        self.overflowed: list[Path] = []
        #: Refusals that the sinks know of, or that memory was given back behind.
        self.refusals_seen = self.consumer.refusals
        self.skips_to = log.put_of(route.producer)
        #: Seq of the last record of this lane, or a later one: what the log may have of it from the writer before.
        self.last_seq = log.appended_seq

    @property
    def asleep(self) -> bool:
        """True when the source worker sleeps: for room, or until its put is safe."""
        return bool(self.consumer.lane.words.load(PRODUCER_ASLEEP))

    def hold(self) -> bool:
        """Becomes the lane's taker; False when the writer before is still alive."""
        consumer = self.consumer
        if not consumer.try_hold():
            return False
        # What a writer, or a sink in the time when this was a memory channel, has taken, is where it belongs.
        consumer.publish_durable(consumer.committed)
        slot = consumer.lane.committed()
        if self.lane is not None and (slot.sink != consumer.sink or not slot.sequence):
            # What is in the log already came before all that this lane's source will put, here or into memory.
            consumer.release(self.last_seq)
        return True

    def number(self, frame: Frame) -> int:
        """How the log knows the put of a frame: it only grows.

        The place behind a frame does that too, and no two frames of a put have the same.
        """
        return frame.position + frame.length if self.lane is None else frame.put

    @property
    def rows_wanted_gone(self) -> int:
        """How many rows the source wants to have left the log, ever; 0 when it has room."""
        return self.consumer.lane.words.load(ROOM_WANTED + 8)

    @property
    def refusals(self) -> int:
        """How often a put found no room, ever."""
        return self.consumer.refusals

    def stepped(self, frame: Frame, entry: Entry | None) -> None:
        """The cursor is behind this frame."""
        self.consumer.step()
        self.steps += 1
        self.rows += frame.rows
        self.size_bytes += entry.size_bytes if entry is not None else 0
        self.taken_bytes += frame.length

    def back(self, steps: int, frames: Sequence[tuple[Frame, Entry]]) -> None:
        """The last frames are not stepped over after all."""
        self.consumer.rewind()
        for _ in range(steps):
            self.consumer.peek()
            self.consumer.step()
        self.steps = steps
        for frame, entry in frames:
            self.rows -= frame.rows
            self.size_bytes -= entry.size_bytes
            self.taken_bytes -= frame.length

    def release(self) -> None:
        """All that was stepped over is in the log, and safe."""
        consumer = self.consumer
        if consumer.moved:
            self.refusals_seen = consumer.refusals  # those puts come again, and may find what is given back here
            consumer.book(LOGGED, self.rows, self.size_bytes, 0)
            # Where rows go two ways, the sinks must know how far the log has to be delivered (`../memory/order.py`).
            consumer.release(0 if self.lane is None else self.last_seq)
            # Dying here: the next writer says it.
            consumer.publish_durable(consumer.committed)
        for place in self.overflowed:
            place.unlink(missing_ok=True)
        self.overflowed.clear()
        self.steps = self.rows = self.size_bytes = self.taken_bytes = 0

    def let_go(self) -> None:
        """Frees the lane, unless something of it was appended and not released: then it stays this writer's."""
        if not self.consumer.moved:
            self.consumer.let_go()

    def close(self) -> None:
        self.consumer.lane.close()
        self.page.close()
        self.bell.close()
