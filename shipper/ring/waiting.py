"""What waits in a lane: the bytes of its frames from the head to the tail, and nothing else of its file.

For those who copy lanes while nobody puts or takes: parking, and the commands about leftovers.
"""

from __future__ import annotations

from shipper.ring.lane import Lane
from shipper.ring.layout import FRAME_HEADER_BYTES, PAD, RING, read_frame

#: Where a piece of a file stands, and how long it is.
Extent = tuple[int, int]


def waiting(lane: Lane, tail: int) -> list[Extent]:
    """The pieces of the lane's file that a reader from its head to `tail` looks at, in that order.

    Of a PAD frame that is its header. Behind bytes that are no frame, everything up to the tail is a piece: what can
    be salvaged there is for the reader to find out.
    """
    capacity, position = lane.capacity_bytes, lane.head()
    found: list[Extent] = []
    while position < tail:
        frame = read_frame(lane.ring, position % capacity, position)
        if frame is None:
            for offset, length in _pieces(position, min(tail - position, capacity), capacity):
                _add(found, RING + offset, length)
            break
        _add(found, RING + position % capacity, FRAME_HEADER_BYTES if frame.flags & PAD else frame.length)
        position += frame.length
    return found


def frame_at(lane: Lane, position: int) -> list[Extent]:
    """The pieces of one frame; none when no whole frame stands there."""
    frame = read_frame(lane.ring, position % lane.capacity_bytes, position)
    return [] if frame is None else [(RING + position % lane.capacity_bytes, frame.length)]


def _pieces(position: int, length: int, capacity: int) -> list[Extent]:
    offset = position % capacity
    first = min(length, capacity - offset)
    return [(offset, first)] + ([(0, length - first)] if length > first else [])


def _add(found: list[Extent], offset: int, length: int) -> None:
    if found and sum(found[-1]) == offset:
        found[-1] = (found[-1][0], found[-1][1] + length)
    else:
        found.append((offset, length))
