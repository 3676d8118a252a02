"""The take side of a lane: peek, step, release; or rewind, and the same frames come again.

Who may take is said in `shared/hold.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from shipper.ring.lane import REREAD_S, Lane
from shipper.ring.layout import (
    COMMIT_SLOT,
    CONSUMER_ASLEEP,
    CONSUMER_EPOCH,
    CONSUMER_ROLE,
    DURABLE,
    FRAME_ALIGN,
    GENERATION,
    HOLDER,
    PAD,
    PRODUCER_ASLEEP,
    WANTED,
    CommitSlot,
    Frame,
    read_frame,
    slot_checksum,
)
from shipper.ring.puts import PutPage
from shipper.ring.tally import HANDED_OVER, REFUSED, read_take, write_take
from shipper.shared.hold import HoldWords, TakeSide
from shipper.shared.tally import TakeTally
from shipper.shared.words import LINE_BYTES, full_fence


def hold_words(lane: Lane) -> HoldWords:
    """Where a lane says who takes from it."""
    return HoldWords(lane.segment, CONSUMER_ROLE, lane.words, CONSUMER_EPOCH, CONSUMER_ASLEEP, HOLDER, WANTED)


def disown(lane: Lane, sink: int) -> bool:
    """Frees a lane whose holder `sink` is dead and could not be settled, and counts it: see `HoldWords.disown`."""

    def count() -> None:
        lane.words.publish(HANDED_OVER, lane.words.load(HANDED_OVER) + 1)

    return hold_words(lane).disown(sink, count)


class Consumer(TakeSide):
    """One process's take side of one lane.

    Args:
        lane: the lane.
        page: put page of the source worker that fills it.
        index: the lane's index in that page.
        sink: id of this sink worker, not 0.
    """

    def __init__(self, lane: Lane, page: PutPage, index: int, sink: int) -> None:
        super().__init__(hold_words(lane), sink)
        self.lane = lane
        self.page = page
        self.index = index
        #: True when another sink committed here before this one took the lane, and died before it had said that what
        #: it wrote is durable.
        self.inherits = False
        self.lost_bytes = 0
        self.keep_damaged: Callable[[Path, int, tuple[memoryview, ...]], None] | None = None
        self._slot, self._tally = read_take(lane)
        self._cursor = self._slot.position
        self._peeked: Frame | None = None
        self._after = self._slot
        self._tally_after = self._tally
        self._seen_put = -1
        self._tail = 0

    # --- taking

    @property
    def waiting(self) -> bool:
        """True when a committed frame stands at or behind the cursor."""
        return self._refresh() > self._cursor

    def peek(self) -> Frame | None:
        """The frame at the cursor, checked; None when there is none yet. The same one until `step` or `rewind`."""
        if self._peeked is not None:
            return self._peeked
        while self._refresh() > self._cursor:
            frame = self._read()
            if frame.flags & PAD:
                self._skip(frame)
                continue
            self._peeked = frame
            return frame
        return None

    @property
    def rows_done(self) -> int:
        """Rows of the frame at the cursor that were delivered before, by a commit inside the frame."""
        return self._slot.rows_done if self._cursor == self._slot.position else 0

    def step(self) -> None:
        """Moves the cursor behind the peeked frame."""
        frame = self._peeked
        assert frame is not None, "step without peek"
        # Frames that were skipped as damaged held what lies between the count before and the count of this one.
        missing = frame.rows_after - frame.rows - self._after.rows + self.rows_done
        if missing > 0:
            self.count(lost=missing)
        self._cursor = frame.position + frame.length
        self._after = self._after._replace(
            position=self._cursor, rows_done=0, rows=frame.rows_after, size_bytes=frame.size_bytes_after,
            units=frame.units_after,
        )  # fmt: skip
        self._peeked = None

    def count(self, *, expired: int = 0, dropped: int = 0, lost: int = 0) -> None:
        """Says of rows before the cursor that no sink gets them, and why. Stored with the commit."""
        tally = self._tally_after
        self._tally_after = tally._replace(
            expired=tally.expired + expired, dropped=tally.dropped + dropped, lost=tally.lost + lost
        )

    def book(self, sink: int, rows: int, size_bytes: int, aside: int) -> None:
        """Says of rows before the cursor that a sink has delivered or set them aside. Stored with the commit."""
        self._tally_after = self._tally_after.booked(sink, rows, size_bytes, aside)

    def release(self, sequence: int) -> bool:
        """Commits: everything before the cursor is delivered. True when the producer waits and has worthwhile room.

        A producer that waits is woken when a quarter of the ring is free, not for one more frame; it looks again by
        itself after 50 ms.

        Dying before the last store leaves the commit before; dying after it leaves this one.

        Args:
            sequence: of the entry in the sink's journal that belongs to this commit. A smaller one than the slot names
                for this sink already changes nothing: what it has committed stays committed.
        """
        if self._slot.sink == self.sink:
            sequence = max(sequence, self._slot.sequence)
        slot = self._after._replace(sink=self.sink, sequence=sequence, epoch=self._epoch)
        words = self.lane.words
        generation = words.load(GENERATION) + 1
        words.write(COMMIT_SLOT + (generation & 1) * LINE_BYTES, (*slot, slot_checksum(slot)))
        write_take(words, generation, self._tally_after)
        words.publish(GENERATION, generation)
        full_fence()
        self._slot = self._after = slot
        self._tally = self._tally_after
        if not words.observe(PRODUCER_ASLEEP):
            return False
        return self._refresh() - slot.position <= self.lane.capacity_bytes * 3 // 4

    def coming(self) -> list[list[int]]:
        """What `release` will store, and upon what: for `finish`, by whoever comes after a death in between."""
        return [self._base(), list(self._after), self._tally_after.packed()]

    @property
    def refusals(self) -> int:
        """How often a put found no room because of what was not taken from here, ever."""
        return self.lane.words.load(REFUSED)

    @property
    def rows_coming(self) -> int:
        """Rows that will have been taken since the lane was made, once what is before the cursor is committed."""
        return self._after.rows

    def finish(self, coming: list[list[int]], sequence: int) -> bool:
        """Stores the commit that a dead process of this sink was about to store; False when it can't be any more.

        That process held the lane; nobody else could since, unless it was disowned. If it was not, the lane is held
        from here on, also when this is False: what that process wrote of the rows at the cursor may be in the target
        still, and before its sink has cut that off nobody else may have them. Dying in here: as in `release`.

        Args:
            coming: as `coming` said it.
        """
        if self.holder != self.sink or not self.try_hold():
            return False
        base, slot, tally = coming
        after = CommitSlot(*slot)
        if base != self._base() or after.position > self._refresh():
            return False
        self._after, self._tally_after = after, TakeTally.unpacked(tally)
        self.release(sequence)
        self.rewind()
        return True

    def _base(self) -> list[int]:
        return [self.lane.words.load(GENERATION), slot_checksum(self._slot)]

    def release_rows(self, rows: int, sequence: int) -> bool:
        """Commits the first `rows` rows of the peeked frame: for sinks whose requests are smaller than a frame."""
        frame = self._peeked
        assert frame is not None, "release_rows without peek"
        started = frame.rows_after - frame.rows
        self._after = self._after._replace(position=frame.position, rows_done=rows, rows=started + rows)
        return self.release(sequence)

    @property
    def committed(self) -> int:
        """Position up to which everything was committed, by this sink or one before it."""
        return self._slot.position

    def publish_durable(self, position: int) -> bool:
        """Says that what was committed before `position` survives the death of the machine. True when that is news.

        Only the holder may. Dying before the store: the source reads it again, if the machine dies too.
        """
        if not self.held or position <= self.lane.durable():
            return False
        self.inherits = False
        self.lane.words.publish(DURABLE, position)
        return True

    @property
    def moved(self) -> bool:
        """True when there is something to commit: frames were stepped over, or damaged bytes skipped."""
        return self._after != self._slot

    def rewind(self) -> None:
        """Goes back to the last commit: rollback."""
        self._cursor = self._slot.position
        self._after = self._slot
        self._tally_after = self._tally
        self._peeked = None

    # --- inside

    def _begin(self) -> None:
        self._slot, self._tally = read_take(self.lane)
        self._seen_put = -1
        self.inherits = self._slot.sink not in (0, self.sink) and self.lane.durable() < self._slot.position
        self.rewind()

    def _refresh(self) -> int:
        number = self.page.number()
        if number != self._seen_put:
            self._tail = self.page.tail(self.index)
            self._seen_put = number
        return self._tail

    def _skip(self, pad: Frame) -> None:
        """Moves the cursor behind a PAD frame; a commit takes it along."""
        if pad.rows_after > self._after.rows:
            self.count(lost=pad.rows_after - self._after.rows)
        self._cursor += pad.length
        self._after = self._after._replace(
            position=self._cursor, rows_done=0, rows=pad.rows_after, size_bytes=pad.size_bytes_after,
            units=pad.units_after,
        )  # fmt: skip

    def _read(self) -> Frame:
        frame = read_frame(self.lane.ring, self._cursor % self.lane.capacity_bytes, self._cursor)
        if frame is not None:
            return frame
        # On machines that reorder stores the bytes may be a moment behind the word: look again before judging.
        deadline = time.monotonic() + REREAD_S
        while time.monotonic() < deadline:
            frame = read_frame(self.lane.ring, self._cursor % self.lane.capacity_bytes, self._cursor)
            if frame is not None:
                return frame
        return self._salvage()

    def _salvage(self) -> Frame:
        """The next whole frame after damage; what stood between is kept, counted in `lost_bytes` and skipped.

        Returns a PAD frame up to the tail when nothing whole is left.
        """
        capacity, tail = self.lane.capacity_bytes, self._tail
        position = self._cursor + FRAME_ALIGN
        while position < tail:
            frame = read_frame(self.lane.ring, position % capacity, position)
            if frame is not None:
                break
            position += FRAME_ALIGN
        position = min(position, tail)
        length = position - self._cursor
        self.lost_bytes += length
        if self.keep_damaged is not None:
            first = self.lane.ring[self._cursor % capacity :][:length]
            self.keep_damaged(self.lane.segment.path, self._cursor, (first, self.lane.ring[: length - len(first)]))
        # What was lost is counted as taken, or the channel would never look empty again: the next whole frame has the
        # counts up to its own end; behind the last one the put page has them.
        counts = self.page.lane(self.index) if position == tail else self._after
        return Frame(self._cursor, length, 0, 0, counts.rows, counts.size_bytes, counts.units, PAD, memoryview(b""))
