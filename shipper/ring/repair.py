"""Repair: words of a lane or a put page that do not fit each other any more are found again from what is left.

Before any worker starts, the supervisor has each segment looked at. What a damaged word said is said elsewhere too:

========================  =====================================================================================
damaged                   found again from
========================  =====================================================================================
header                    the size of the file
commit slot, one word     the frames (positions and counts at their ends), the other slot, the lane's other words;
                          the slot's checksum tells which candidate it was
commit slot, more         the other slot: what was delivered since then comes twice
GENERATION                not at all: it names one slot or the other, and the earlier makes one commit come twice
both commit slots         the longest chain of whole frames: it may come twice
COMMITTED                 the two slots of the page: the later one whose frames are there
slot of the page          the slot before it, and the frames of the put that it lacks
both slots of the page    each lane's commit slot, and the frames behind it
key of a lane             the slot whose last frame stands in that lane
tally of a slot           the tally before it (`recount.py`); it comes along where the slot before takes over
========================  =====================================================================================

The file is long because each line of the table is a function that is used nowhere else.

Nothing that passes its checks is changed. Frames are not repaired: who reads them salvages (`consumer.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shipper.errors import DamagedData
from shipper.ring.lane import Lane
from shipper.ring.layout import (
    COMMIT_SLOT,
    COMMITTED,
    CONSUMER_EPOCH,
    FRAME_ALIGN,
    FRAME_MAGIC,
    GENERATION,
    HOLDER,
    LANE_KEYS,
    LANE_MAGIC,
    PAD,
    PAGE_MAGIC,
    RING,
    VERSION,
    CommitSlot,
    Frame,
    LaneState,
    read_frame,
    segment_header,
    slot_checksum,
)
from shipper.ring.puts import NO_LANE, PutPage, PutState
from shipper.ring.recount import carry_take, forget_take, recount_puts, recount_take
from shipper.shared.segment import Segment
from shipper.shared.words import LINE_BYTES, Words

_HEADER_WORDS = 4
_SLOT_FIELDS = len(CommitSlot._fields)
#: A sink's sequence moves by one a commit, and the two slots are one commit apart; a little further costs nothing.
_SEQUENCE_STEPS = 4096
#: A put page is made for so many lanes, and never for more than that.
_LANES_MAX, _LANES_MOST = 64, 1024


def repair_lane(path: Path) -> list[str]:
    """Repairs the words of a lane; a sentence for each thing that was repaired.

    Raises:
        DamagedData: it is of another version, or is no lane.
    """
    said = []
    with Segment.open(path) as segment:
        if _repair_header(segment, LANE_MAGIC, [segment.size_bytes - RING]):
            said.append(f"{path}: its header was damaged and is repaired")
    lane = Lane.open(path)
    try:
        said += [f"{path}: {sentence}" for sentence in (_repair_take(lane), recount_take(lane)) if sentence]
    finally:
        lane.close()
    return said


def repair_page(path: Path, lanes: Mapping[int, Path]) -> list[str]:
    """Repairs a put page; a sentence for each thing that was repaired.

    Args:
        lanes: the lanes of its worker by key, repaired before.

    Raises:
        DamagedData: it is of another version, or is no put page.
    """
    said = []
    with Segment.open(path) as segment:
        if _repair_header(segment, PAGE_MAGIC, _lanes_max(segment)):
            said.append(f"{path}: its header was damaged and is repaired")
    page = PutPage.ensure(path)
    opened = {key: Lane.open(lane) for key, lane in lanes.items()}
    try:
        for key, lane in opened.items():
            if _repair_key(page, key, lane, opened):
                said.append(f"{path}: it did not know {lane.segment.path.name} any more, and does again")
        said += [f"{path}: {sentence}" for sentence in (_repair_puts(page, opened), recount_puts(page)) if sentence]
    finally:
        page.close()
        for lane in opened.values():
            lane.close()
    return said


def _repair_header(segment: Segment, magic: bytes, sizes: Sequence[int]) -> bool:
    """Writes the header anew when it is damaged; False when it is whole, or not ours to repair."""
    words = Words(segment.memory[:LINE_BYTES])
    try:
        found = words.read(0, _HEADER_WORDS)
        for size in sizes:
            header = segment_header(magic, size)
            wanted = tuple(int.from_bytes(header[at : at + 8], "little") for at in range(0, 8 * _HEADER_WORDS, 8))
            wrong = [index for index in range(_HEADER_WORDS) if found[index] != wanted[index]]
            if not wrong:
                return False
            other_version = found[1] != VERSION and found[3] == slot_checksum(found[1:3])
            if not other_version and (len(wrong) == 1 or not any(found)):
                words.write(0, wanted)
                return True
        return False
    finally:
        words.close()


def _lanes_max(segment: Segment) -> list[int]:
    """For how many lanes a put page was made: its checksum says it, or its header, or it is what is usual."""
    words = Words(segment.memory[:LINE_BYTES])
    _, _, size, checksum = words.read(0, _HEADER_WORDS)
    words.close()
    told = [count for count in range(1, _LANES_MOST) if slot_checksum((VERSION, count)) == checksum]
    return told or ([size] if 0 < size < _LANES_MOST else [_LANES_MAX])


# --- the take side


def _repair_take(lane: Lane) -> str:
    """Makes the generation name the last commit that can be told; what was wrong, "" when nothing was."""
    words = lane.words
    generation = words.load(GENERATION)
    slots = [_commit_slot(words, which) for which in (0, 1)]
    named, other = slots[generation & 1], slots[1 - (generation & 1)]
    if named is not None:
        # A later slot beside it may have been written by a sink that died before it could say so, and that has taken
        # those rows out of its files since: it must not count.
        return ""
    frames = list(_whole_frames(lane))
    found = _told_by_the_rest(lane, generation & 1, other, frames)
    if found is not None:
        _store(words, generation, found)
        return "its last take commit was damaged and is repaired"
    if other is not None:
        carry_take(words, generation)
        words.publish(GENERATION, generation + 1)
        return "its last take commit was damaged: what it said was delivered comes once more"
    first = _longest_chain(frames)
    rows = first.rows_after - first.rows if first else 0
    size_bytes, units = (first.size_bytes_after, first.units_after) if first else (0, 0)
    slot = CommitSlot(first.position if first else 0, 0, 0, 0, rows, size_bytes, units, 0)
    forget_take(words, generation, slot)
    _store(words, generation, slot)
    return "both its take commits were damaged: all that is whole in it comes once more"


def _commit_slot(words: Words, which: int) -> CommitSlot | None:
    values = words.read(COMMIT_SLOT + which * LINE_BYTES, _SLOT_FIELDS + 1)
    return CommitSlot(*values[:-1]) if values[-1] == slot_checksum(values[:-1]) else None


def _store(words: Words, generation: int, slot: CommitSlot) -> None:
    words.write(COMMIT_SLOT + (generation & 1) * LINE_BYTES, (*slot, slot_checksum(slot)))
    words.publish(GENERATION, generation)


def _told_by_the_rest(lane: Lane, which: int, other: CommitSlot | None, frames: Sequence[Frame]) -> CommitSlot | None:
    """The slot with the one word put right that was damaged; None when it was more than one."""
    words = lane.words
    *values, checksum = words.read(COMMIT_SLOT + which * LINE_BYTES, _SLOT_FIELDS + 1)
    earlier = other or CommitSlot()
    candidates = CommitSlot._make(
        [
            {0, earlier.position, *(f.position + f.length for f in frames), *(f.position for f in frames)},
            {0, earlier.rows_done, *(values[4] - f.rows_after + f.rows for f in frames if f.position == values[0])},
            {0, earlier.sink, words.load(HOLDER)},
            {0, *range(earlier.sequence, earlier.sequence + _SEQUENCE_STEPS)},
            {0, earlier.rows, *(f.rows_after for f in frames), *(f.rows_after - f.rows for f in frames)},
            {0, earlier.size_bytes, *(f.size_bytes_after for f in frames)},
            {0, earlier.units, *(f.units_after for f in frames)},
            {0, earlier.epoch, *range(max(words.load(CONSUMER_EPOCH) - 1, 0), words.load(CONSUMER_EPOCH) + 2)},
        ]
    )
    for index, several in enumerate(candidates):
        for value in several:  # type: ignore[attr-defined]
            if value >= 0:
                tried = (*values[:index], value, *values[index + 1 :])
                if slot_checksum(tried) == checksum:
                    return CommitSlot(*tried)
    # Or it is the checksum: then the words themselves agree with a frame.
    slot = CommitSlot(*values)
    ends = {(f.position + f.length, f.rows_after, f.size_bytes_after, f.units_after) for f in frames}
    ends.add((0, 0, 0, 0))
    if (slot.position, slot.rows, slot.size_bytes, slot.units) in ends and not slot.rows_done:
        return slot
    return None


def _whole_frames(lane: Lane) -> Iterator[Frame]:
    """All whole frames that stand in the ring, delivered ones that were not written over too, by position."""
    magic = FRAME_MAGIC.to_bytes(4, "little")
    found = []
    for offset in range(0, lane.capacity_bytes, FRAME_ALIGN):
        if lane.ring[offset : offset + 4] == magic:
            position = int.from_bytes(lane.ring[offset + 8 : offset + 16], "little")
            if position % lane.capacity_bytes == offset and (frame := read_frame(lane.ring, offset, position)):
                found.append(frame)
    yield from sorted(found, key=lambda frame: frame.position)


def _longest_chain(frames: Sequence[Frame]) -> Frame | None:
    """The first frame of the last unbroken chain: the later ones are those that are likeliest to wait."""
    first: Frame | None = None
    end = -1
    for frame in frames:
        if frame.position != end:
            first = frame
        end = frame.position + frame.length
    return first


# --- the put side


def _repair_key(page: PutPage, key: int, lane: Lane, known: Mapping[int, Lane]) -> bool:
    """Finds a lane's index again by its last frame."""
    keys = page.words.read(LANE_KEYS, page.lanes_max)
    if key in keys:
        return False
    try:
        states = page.state().lanes
    except DamagedData:
        return False
    for index, state in enumerate(states):
        if (keys[index] in known and keys.count(keys[index]) == 1) or not state.tail:
            continue
        frame = read_frame(lane.ring, state.last_frame % lane.capacity_bytes, state.last_frame)
        if frame is not None and frame.rows_after == state.rows and frame.position + frame.length == state.tail:
            page.words.publish(LANE_KEYS + 8 * index, key)
            return True
    return False


def _repair_puts(page: PutPage, lanes: Mapping[int, Lane]) -> str:
    """Makes COMMITTED name the last put that can be told; what was wrong, "" when nothing was."""
    number = page.words.load(COMMITTED)
    slots = page.slots()
    named, other = slots[number & 1], slots[1 - (number & 1)]
    if named is not None and named.number == number:
        if other is not None and other.number == number + 1 and _is_there(page, lanes, named, other):
            # Its writer died before it could store COMMITTED, or that is damaged: "after" is as good as "before".
            page.words.publish(COMMITTED, other.number)
        return ""
    if named is None and (other is None or other.number == number - 1):
        page.commit(_rebuilt(page, lanes, number, other))
        return f"its put {number} was damaged and is rebuilt from the frames"
    later = max((state for state in slots if state is not None), key=lambda state: state.number)
    page.words.publish(COMMITTED, later.number)
    return "the number of its last put was damaged and is repaired"


def _is_there(page: PutPage, lanes: Mapping[int, Lane], before: PutState, after: PutState) -> bool:
    """True when every frame of the put between two states is whole."""
    keys = page.words.read(LANE_KEYS, page.lanes_max)
    for index, state in enumerate(after.lanes):
        earlier = before.lanes[index] if index < len(before.lanes) else LaneState()
        if state == earlier:
            continue
        lane = lanes.get(keys[index])
        if lane is None or _followed(lane, earlier, after.number)[0] != state:
            return False
    return True


def _rebuilt(page: PutPage, lanes: Mapping[int, Lane], number: int, base: PutState | None) -> PutState:
    """A put from the one before it (or from what was taken) and the frames behind that."""
    states = list(base.lanes) if base is not None else []
    origin = (base.origin_lane, base.origin_position) if base is not None else (NO_LANE, 0)
    last_put = 0
    for key, lane in lanes.items():
        try:
            index = page.index(key)
        except KeyError:
            continue
        states += [LaneState()] * (index + 1 - len(states))
        if base is None:
            slot = lane.committed()
            states[index] = LaneState(slot.position, 0, slot.rows, slot.size_bytes, slot.units)
        states[index], put = _followed(lane, states[index], number)
        if put > last_put:
            last_put, origin = put, (index, states[index].last_frame)
    return PutState(number, *origin, tuple(states))


def _followed(lane: Lane, state: LaneState, number: int) -> tuple[LaneState, int]:
    """The state of a lane behind the last frame of a put up to `number`, and that frame's put; 0 when there is none."""
    position, put = state.tail, 0
    while frame := read_frame(lane.ring, position % lane.capacity_bytes, position):
        if frame.put > number:
            break  # of a put that was never committed
        position += frame.length
        if not frame.flags & PAD:
            put = frame.put
            state = LaneState(position, frame.position, frame.rows_after, frame.size_bytes_after, frame.units_after)
    return state, put
