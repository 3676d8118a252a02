"""The writer of a file channel: it takes whole puts out of the lanes of all source workers and appends them to the log.

::

    lanes (shared memory)  ->  append ...  ->  one sync for all that waited  ->  lanes released, sources and sinks rung

A frame goes to the disk out of the lane where its source wrote it, by the one `writev` of its group; it is checked once
on the way, and nothing looks at its rows. What is true when this process dies::

    in a lane, not appended     the next writer appends it
    appended, not synced        the next writer finds nothing of it in the log, and appends it (with
                                fsyncPerTransaction = false it finds it, by its place in the lane, and steps over it)
    synced, lane not released   the next writer finds it in the log, and steps over it: it is there once
    released                    it is in the log

When the machine dies, the lanes are gone, and with them what was not synced: nobody was told that it is safe, and a
source that can read again does. A put into several channels is in all their lanes or in none, by the one word of its
put page; each file channel's log gets it from its lane, and its source is told when the last of them has synced it.

Rows are dealt to the lanes of the log, one a sink worker (`dealer.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.batch import wire
from shipper.batch.batch import Origin
from shipper.channels.file.dealer import Dealer
from shipper.channels.file.feed import Feed, FeedRoute
from shipper.channels.file.refusals import hand_on
from shipper.channels.memory import overflow
from shipper.checksums import checksum_behind
from shipper.durable.board import HOLDER, Head, lane_at
from shipper.durable.log import Log
from shipper.durable.settings import Entry
from shipper.durable.state import Position
from shipper.errors import ComponentFailed
from shipper.ring.layout import OVERFLOW, Frame
from shipper.ring.wait import Bell
from shipper.shared.words import full_fence

#: A lane has its turn until so many bytes were taken from it; then the next one has.
_TURN_BYTES = 2 << 20
#: So many are appended before they are synced, at most: what waits longer only makes the sources wait.
_GROUP_BYTES = 8 << 20
#: A checkpoint with more positions than these is written each `checkpointInterval`, not each second.
_POSITIONS_OFTEN = 10_000


def origins_of(body: memoryview) -> list[Position]:
    """The origins in a record's body."""
    return [_position(origin) for origin in wire.decode(body).origins]


def _position(origin: Origin) -> Position:
    return origin.stream, origin.start, origin.end, origin.anchor


@dataclass(frozen=True)
class LaneRoute:
    """A lane of the log: its id, and the bell of the sink worker that it is home to."""

    lane: int
    bell: Path | None


class LogWriter:
    """The writer of one file channel.

    Args:
        channel: its name.
        log: open, this process its writer.
        feeds: the lanes of the source workers.
        lanes: those of the log.
        writer: the word by which lanes know this worker as their holder.
        sync_each: rows are synced before their source is told.
        sync_interval_s: else, they are at least so often.
        drops_oldest: where there is no room, the sinks are asked to give up the oldest.
        keep_damaged: is given what fails its checks in a lane, before it is stepped over.

    Attributes:
        full_because: why rows wait that can't be appended; "" when they can.
    """

    def __init__(
        self,
        channel: str,
        log: Log,
        feeds: Sequence[FeedRoute],
        lanes: Sequence[LaneRoute],
        writer: int,
        *,
        sync_each: bool = True,
        sync_interval_s: float = 0.0,
        drops_oldest: bool = False,
        keep_damaged: Callable[[Path, int, tuple[memoryview, ...]], None] | None = None,
    ) -> None:
        self.log = log
        self.full_because = ""
        self._sync_each = sync_each
        self._sync_interval_s = sync_interval_s
        self._sync_s = 0.0
        self._first = 0
        self._unsynced_bytes = 0
        self._feeds = [Feed(channel, route, writer, log) for route in feeds]
        for feed in self._feeds:
            feed.consumer.keep_damaged = keep_damaged
            self._hold(feed)
        self._indices = log.board.lanes()
        self._dealer = Dealer(log.board, [route.lane for route in lanes])
        self._bells = [(self._indices[route.lane], Bell(route.bell)) for route in lanes if route.bell is not None]
        self._drops_oldest = drops_oldest
        self._dropping = 0  # index of the lane that was asked
        self._heads: list[Head] = []

    @staticmethod
    def _hold(feed: Feed) -> None:
        if not feed.hold():
            raise ComponentFailed(f"{feed.consumer.lane.segment.path} is in use: the writer before is still alive")

    def step(self, now_s: float) -> bool:
        """Appends what waits, syncs it when that is due, and tells who waits for it. True when anything was done."""
        self.full_because = ""
        moved = False
        while self._round():
            moved = True
            if self._unsynced_bytes >= _GROUP_BYTES or self.full_because:
                break
        if not moved and hand_on(self.log.board, self._feeds):
            self._ring_sinks()
        if self._drops_oldest:
            self._make_way()
        if not self.unreleased():
            return False
        if self._sync_each or now_s >= self._sync_s or self.full_because or self._crowded() or self._waited_for():
            self.sync(now_s)
            return True
        if moved:
            self.log.flush()
            self._ring_sinks()
        return moved

    def sync(self, now_s: float) -> None:
        """Makes all that was appended durable, and gives its memory back to the sources."""
        self._sync_s = now_s + self._sync_interval_s
        self.log.sync()
        self._unsynced_bytes = 0
        for feed in self._feeds:
            feed.release()
        full_fence()
        for feed in self._feeds:
            if feed.asleep:
                feed.bell.ring()
        self._ring_sinks()

    def tick(self, now_s: float) -> None:
        """Work beside the data, about once a second."""
        self.log.tick(now_s)
        board = self.log.board
        heads = [board.synced_head(index) for index in self._indices.values()]
        # What is delivered and not in the checkpoint comes twice after a power cut.
        if heads != self._heads and len(self.log.positions()) < _POSITIONS_OFTEN:
            self._heads = heads
            self.log.checkpoint()

    def waiting(self) -> bool:
        """True when rows wait in a lane."""
        return any(feed.consumer.waiting for feed in self._feeds)

    def is_read(self) -> bool:
        """True when a sink worker holds a lane of the log: it takes from it, or died and is to be settled."""
        words = self.log.board.words
        return any(words.load(lane_at(index) + HOLDER) for index in self._indices.values())

    def unreleased(self) -> bool:
        """True when something was appended, and its memory was not given back yet."""
        return any(feed.consumer.moved for feed in self._feeds)

    def sleeping(self, asleep: bool) -> None:
        """Says to all whether this worker sleeps, so that somebody wakes it."""
        for feed in self._feeds:
            feed.consumer.sleeping(asleep)
        self.log.board.writer_sleeping(asleep)

    def close(self) -> None:
        """Closes the log, and lets go of the lanes and the memory."""
        try:
            self.log.close()
            for feed in self._feeds:
                feed.let_go()
        finally:
            for feed in self._feeds:
                feed.close()
            for _, bell in self._bells:
                bell.close()

    # --- inside

    def _round(self) -> bool:
        """Gives each lane its turn. True when one had something."""
        count = len(self._feeds)
        moved = [self._take(self._feeds[(self._first + step) % count]) for step in range(count)]
        self._first += 1
        return any(moved)

    def _take(self, feed: Feed) -> bool:
        """Appends the puts that wait in a lane, as long as it has its turn. True when there was one."""
        consumer, log = feed.consumer, self.log
        before, most = feed.steps, feed.taken_bytes + _TURN_BYTES
        while feed.taken_bytes < most and (frame := consumer.peek()) is not None:
            done = feed.steps
            if feed.number(frame) <= feed.skips_to:
                if frame.flags & OVERFLOW:
                    feed.overflowed.append(overflow.path(consumer.lane, frame.payload))
                feed.stepped(frame, None)
                continue
            dealt = self._dealer.deal(frame, feed)
            if dealt is None:
                break
            frames = []
            put = frame.put
            while frame is not None and frame.put == put:
                entry = self._entry(feed, frame, dealt)
                if entry is not None:
                    frames.append((frame, entry))
                feed.stepped(frame, entry)
                number = feed.number(frame)
                frame = consumer.peek()
            if not frames:
                continue
            seq = log.append(feed.producer, number, [entry for _, entry in frames])
            if seq is None:
                self.full_because = log.full_because
                feed.back(done, frames)
                break
            feed.last_seq = seq
            for _, entry in frames:
                self._dealer.dealt(entry, seq)
                self._unsynced_bytes += sum(map(len, entry.views))
        return feed.steps > before

    def _make_way(self) -> None:
        """Asks the sinks to give up the oldest: of a full disk a whole file, else as much as a source asks for."""
        log, board = self.log, self.log.board
        seq = log.behind_oldest if self.full_because else 0
        asked = max((feed.rows_wanted_gone for feed in self._feeds), default=0)
        heads = {index: board.head(index) for index in self._indices.values()}
        missing = asked - sum(head.rows for head in heads.values())
        waits = {index: board.tail(index).rows - head.rows for index, head in heads.items()}
        if missing > 0 and waits.get(self._dropping, 0) < missing:
            # One lane at a time: were two asked for the same rows, twice as many would go.
            self._dropping = max(waits, key=lambda index: waits[index])
        changed = False
        for index, head in heads.items():
            rows = head.rows + missing if missing > 0 and index == self._dropping else 0
            wanted = seq if head.seq < seq else 0, rows
            if wanted != board.wanted_gone(index):
                board.want_gone(index, *wanted)
                changed = True
        if changed:
            self._ring_sinks()

    def _entry(self, feed: Feed, frame: Frame, lane: int) -> Entry | None:
        """A frame as a record of the log; None when the file that it names is gone."""
        body, checksum = frame.payload, None
        if not frame.flags & OVERFLOW:
            # It was checked when it was read from the lane: what covers it here is made of that.
            checksum = checksum_behind(frame.checksum, frame.head_checksum, len(body))
        else:
            place = overflow.path(feed.consumer.lane, frame.payload)
            try:
                body = memoryview(place.read_bytes())
            except FileNotFoundError:
                feed.consumer.count(lost=frame.rows)
                return None
            feed.overflowed.append(place)
        batch = wire.decode(body)
        origins = [_position(o) for o in batch.origins]
        return Entry(lane, (body,), frame.rows, batch.body_bytes, origins, checksum, frame.put_ms)

    def _crowded(self) -> bool:
        """True when a lane is so full of what was appended that its source may soon wait."""
        return any(feed.taken_bytes * 4 >= feed.consumer.lane.capacity_bytes for feed in self._feeds)

    def _waited_for(self) -> bool:
        """True when all that can be read was delivered, and rows in memory wait for what is not given back yet."""
        if all(feed.lane is None for feed in self._feeds):
            return False
        board = self.log.board
        return all(board.head(index).seq > board.tail(index).seq for index in self._indices.values())

    def _ring_sinks(self) -> None:
        full_fence()
        for index, bell in self._bells:
            if self.log.board.reader_sleeps(index):
                bell.ring()
