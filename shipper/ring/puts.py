"""A put page: what one source worker has put into all its lanes, made visible by one stored word.

The page has two slots. Put `n + 1` is written into the slot that COMMITTED does not name; then COMMITTED becomes
`n + 1`, and every frame of the put can be seen in every lane. A worker that dies before that store leaves a page
that still says `n`: the frames it wrote stand above all tails and are never looked at.
"""

from __future__ import annotations

import contextlib
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from shipper.errors import DamagedData
from shipper.ring.layout import (
    COMMITTED,
    EPOCH,
    LANE_KEYS,
    PAGE_MAGIC,
    PRODUCER_ROLE,
    LaneState,
    read_segment_header,
    segment_header,
    slot_checksum,
)
from shipper.shared.keyed_lanes import KeyedLanes
from shipper.shared.segment import Segment
from shipper.shared.tally import Intake, Offers, PutTally
from shipper.shared.words import LINE_BYTES, Words

_LANE_WORDS = len(LaneState._fields)
_HEAD_WORDS = 5
_INTAKE_AT = _HEAD_WORDS * 8
_OFFERS_AT = _LANE_WORDS * 8
NO_LANE = (1 << 64) - 1


class PutState(NamedTuple):
    """What a put page says.

    Attributes:
        number: of the last committed put.
        origin_lane, origin_position: lane index and frame position where that put's origins stand; NO_LANE = none.
        lanes: the state of each lane, by its index.
    """

    number: int
    origin_lane: int
    origin_position: int
    lanes: tuple[LaneState, ...]


class PutPage(KeyedLanes):
    """An open put page. One process commits, any may read."""

    def __init__(self, segment: Segment) -> None:
        lanes_max = read_segment_header(segment.memory, PAGE_MAGIC, f"the put page {segment.path}")
        super().__init__(segment, lanes_max, LANE_KEYS)
        self._slots = (_slots_at(lanes_max), _slots_at(lanes_max) + _slot_bytes(lanes_max))

    @classmethod
    def ensure(cls, path: Path, lanes_max: int = 64) -> PutPage:
        """Opens the page, or makes an empty one for so many lanes."""
        with contextlib.suppress(FileNotFoundError):
            return cls(Segment.open(path))

        def fill(memory: memoryview) -> None:
            header = segment_header(PAGE_MAGIC, lanes_max)
            memory[: len(header)] = header
            Words(memory).write(_slots_at(lanes_max), (0, 0, NO_LANE, 0, _checksum(PutState(0, NO_LANE, 0, ()))))

        size = _slots_at(lanes_max) + 2 * _slot_bytes(lanes_max)
        return cls(Segment.create(path, -(-size // 4096) * 4096, fill))

    def take_over(self) -> bool:
        """Becomes the page's one writer; False when another process is."""
        if not self.segment.try_lock(PRODUCER_ROLE):
            return False
        self.words.publish(EPOCH, self.words.load(EPOCH) + 1)
        return True

    # --- any process

    def number(self) -> int:
        """Number of the last committed put: changes when there is something new."""
        return self.words.observe(COMMITTED)

    def state(self) -> PutState:
        """The whole page as of the last committed put.

        Raises:
            DamagedData: the slot's checksum does not fit.
        """
        words = self.words
        while True:
            number = words.observe(COMMITTED)
            at = self._slots[number & 1]
            stored, count, origin_lane, origin_position, checksum = words.read(at, _HEAD_WORDS)
            lanes = tuple(LaneState(*words.read(at + (1 + i) * LINE_BYTES, _LANE_WORDS)) for i in range(count & 0xFFFF))
            if words.observe(COMMITTED) != number:
                continue  # the slot may have been overwritten while it was read
            found = PutState(number, origin_lane, origin_position, lanes)
            if stored != number or checksum != _checksum(found):
                raise DamagedData(f"the put page {self.segment.path} is damaged at put {number}")
            return found

    def tallied(self) -> tuple[PutState, PutTally]:
        """The whole page and its tally as of the last committed put.

        Raises:
            DamagedData: as `state`.
        """
        words = self.words
        while True:
            state = self.state()
            tally = self.tally_of(state)
            if words.observe(COMMITTED) != state.number:
                continue
            # Where nobody has counted yet, all that is there was offered.
            return state, tally or PutTally(Intake(), tuple(Offers(lane.rows) for lane in state.lanes))

    def tally_of(self, state: PutState) -> PutTally | None:
        """The tally of a put that stands in one of the slots; None when none was written, or it is damaged."""
        at = self._slots[state.number & 1]
        *intake, checksum = self.words.read(at + _INTAKE_AT, len(Intake._fields) + 1)
        lines = range(at + LINE_BYTES, at + (1 + len(state.lanes)) * LINE_BYTES, LINE_BYTES)
        tally = PutTally(Intake(*intake), tuple(Offers(*self.words.read(line + _OFFERS_AT, 3)) for line in lines))
        return tally if checksum == _tally_checksum(state.number, tally) else None

    def slots(self) -> list[PutState | None]:
        """Both slots as they stand, None for one that does not pass its checksum: for repair, while nobody puts."""
        found: list[PutState | None] = []
        for which, at in enumerate(self._slots):
            number, count, origin_lane, origin_position, checksum = self.words.read(at, _HEAD_WORDS)
            lines = range(at + LINE_BYTES, at + (1 + min(count, self.lanes_max)) * LINE_BYTES, LINE_BYTES)
            lanes = tuple(LaneState(*self.words.read(line, _LANE_WORDS)) for line in lines)
            state = PutState(number, origin_lane, origin_position, lanes)
            found.append(state if number & 1 == which and checksum == _checksum(state) else None)
        return found

    def lane(self, index: int) -> LaneState:
        """State of one lane as of the last committed put; all zeros when nothing was put into it yet."""
        lanes = self.state().lanes
        return lanes[index] if index < len(lanes) else LaneState()

    def tail(self, index: int) -> int:
        """Tail of one lane as of the last committed put: what a consumer asks most."""
        words = self.words
        while True:
            number = words.observe(COMMITTED)
            at = self._slots[number & 1]
            tail = words.load(at + (1 + index) * LINE_BYTES) if index < words.load(at + 8) else 0
            # The slot is overwritten only after another put was committed: an unchanged number proves the read.
            if words.observe(COMMITTED) == number:
                return tail

    # --- the producer

    def commit(self, state: PutState, tally: PutTally | None = None) -> None:
        """Makes put `state.number` visible. Only the process that took the page over may, and only with number + 1.

        Dying before the last line leaves the put before; dying after it leaves this one, whole, in every lane, with
        its tally.
        """
        words = self.words
        at = self._slots[state.number & 1]
        for index, lane in enumerate(state.lanes):
            words.write(at + (1 + index) * LINE_BYTES, lane)
        if tally is not None:
            for index, offers in enumerate(tally.offers):
                words.write(at + (1 + index) * LINE_BYTES + _OFFERS_AT, offers)
            words.write(at + _INTAKE_AT, (*tally.intake, _tally_checksum(state.number, tally)))
        head = (state.number, len(state.lanes), state.origin_lane, state.origin_position, _checksum(state))
        words.write(at, head)
        words.publish(COMMITTED, state.number)

    def close(self) -> None:
        """Lets go of the memory and of the writer's role."""
        self.words.close()
        self.segment.close()


def _slots_at(lanes_max: int) -> int:
    return LANE_KEYS + -(-lanes_max * 8 // LINE_BYTES) * LINE_BYTES


def _slot_bytes(lanes_max: int) -> int:
    return (1 + lanes_max) * LINE_BYTES


def _checksum(state: PutState) -> int:
    return slot_checksum((state.number, state.origin_lane, state.origin_position, *chain.from_iterable(state.lanes)))


def _tally_checksum(number: int, tally: PutTally) -> int:
    return slot_checksum((number, *tally.intake, *chain.from_iterable(tally.offers)))
