"""The put side of a lane: claim, write, publish, and nothing is visible until the put page says so.

::

    memory = producer.claim(bytes)      a view behind the tail, or None: no room now
    ... write the payload ...
    producer.publish(...)               the frame's header is written, the frame counted: staged
    page.commit(n, ...)                 visible          (or `forget`: as if nothing had been staged)

Memory can be reserved before it is known what will be put: a source reads its block there. What is put next is either
made of what was read (`claim_reserved`) or stands behind it (`claim`), and the reserved part is stepped over: rows that
still share it can be put as often, and into as many channels, as need be.
"""

from __future__ import annotations

from typing import NamedTuple

from shipper.ring.lane import Lane
from shipper.ring.layout import (
    CONSUMER_ASLEEP,
    FRAME_HEADER_BYTES,
    PAD,
    PRODUCER_ASLEEP,
    PRODUCER_EPOCH,
    PRODUCER_ROLE,
    Frame,
    Known,
    LaneState,
    frame_header,
    frame_length,
)
from shipper.ring.tally import REFUSED, ROOM_WANTED
from shipper.shared.words import full_fence

#: A lane that is emptied as fast as it is filled uses so much of its ring; the rest is there for a burst. Measured:
#: writing to memory that was used 64 MiB ago costs 400 us/MiB, 8 MiB ago 290.
WARM_BYTES = 8 << 20

#: Rows that can't stay where they were read go into a file, if the ring is empty and has no room for them behind what
#: is reserved: there must be room for the frame that names the file.
_BEHIND_RESERVED_BYTES = 64 << 10


class _Claim(NamedTuple):
    """Memory behind the tail; `pads` are (position, length) of what lies between the two."""

    position: int
    length: int
    pads: tuple[tuple[int, int], ...] = ()


class Producer:
    """One process's put side of one lane.

    Args:
        lane: whose producer role this process takes.
        state: what the put page says of the lane: writing goes on at its tail, whatever stands above it.
    """

    def __init__(self, lane: Lane, state: LaneState) -> None:
        self.lane = lane
        self.state = state
        self._committed = state
        self._claim: _Claim | None = None
        self._reserved: _Claim | None = None
        self._reserved_at = -1
        #: Where the head must be before the last claim that found no room fits.
        self.head_wanted = 0

    def take_over(self) -> bool:
        """Becomes the lane's producer; False when another process is."""
        if not self.lane.segment.try_lock(PRODUCER_ROLE):
            return False
        words = self.lane.words
        words.publish(PRODUCER_EPOCH, words.load(PRODUCER_EPOCH) + 1)
        return True

    @property
    def free_bytes(self) -> int:
        """Bytes of the ring that no undelivered frame stands on, staged frames counted."""
        return self.lane.capacity_bytes - (self.state.tail - self.lane.head())

    @property
    def drained(self) -> bool:
        """True when everything that was put and committed was delivered."""
        return self.lane.head() >= self._committed.tail

    def claim(self, payload_bytes: int) -> memoryview | None:
        """A view of `payload_bytes` behind the tail, to be written by the caller; None when there is no room now.

        A claim that is not published costs nothing. A payload of more than half the ring may never fit.
        """
        self._claim = self._find(frame_length(payload_bytes))
        return None if self._claim is None else self._payload(self._claim.position, payload_bytes)

    def reserve(self, payload_bytes: int) -> memoryview | None:
        """Like `claim`, for a frame of which nothing is known yet; None when there is no room now.

        It stays reserved, whatever is rolled back, until a frame was committed or another reservation is made.
        """
        self._reserved = None
        found = self._find(frame_length(payload_bytes), _BEHIND_RESERVED_BYTES)
        if found is None:
            return None
        self._reserved, self._reserved_at = found, self.state.tail
        return self._payload(found.position, payload_bytes)

    @property
    def reserved(self) -> memoryview | None:
        """What was reserved, while nothing was put since."""
        if self._reserved is None or self._reserved_at != self.state.tail:
            return None
        return self._payload(self._reserved.position, self._reserved.length - FRAME_HEADER_BYTES)

    def claim_reserved(self) -> None:
        """Claims what is `reserved`."""
        self._claim = self._reserved

    def _find(self, need: int, behind: int = 0) -> _Claim | None:
        """Room for a frame; `behind` it, so much is left when the rest of the ring is skipped without need."""
        capacity = self.lane.capacity_bytes
        position = self.state.tail
        head = self.lane.head()
        pads: tuple[tuple[int, int], ...] = ()
        if (reserved := self._reserved) is not None and self._reserved_at == position:
            pads = (*reserved.pads, (reserved.position, reserved.length))
            position = reserved.position + reserved.length
        offset = position % capacity
        left = capacity - offset
        drained = position == head and offset >= WARM_BYTES and left + need + behind <= capacity
        # Nothing waits, so the consumer keeps up: begin at the start again, in memory that is still in the cache.
        if need > left or drained:
            pads += ((position, left),)
            position += left
        self.head_wanted = position + need - capacity
        return None if self.head_wanted > head else _Claim(position, need, pads)

    def _payload(self, position: int, payload_bytes: int) -> memoryview:
        start = position % self.lane.capacity_bytes + FRAME_HEADER_BYTES
        return self.lane.ring[start : start + payload_bytes]

    def publish(
        self, payload_bytes: int, *, rows: int, size_bytes: int, units: int, put: int, flags: int = 0, put_ms: int = 0,
        known: Known | None = None,
    ) -> int:  # fmt: skip
        """Completes the claimed frame with the first `payload_bytes` of its view; returns the frame's position.

        Afterwards the frame is staged: counted in `state`, invisible until the put page commits.

        Args:
            known: a part of the payload that somebody has summed already.
        """
        assert self._claim is not None, "publish without claim"
        position, _, pads = self._claim
        self._claim = None
        before = self.state
        for at, pad_bytes in pads:
            self._write(Frame(at, pad_bytes, 0, put, before.rows, before.size_bytes, before.units, PAD, _EMPTY))
        payload = self._payload(position, payload_bytes)
        length = frame_length(payload_bytes)
        self.state = LaneState(
            position + length, position, before.rows + rows, before.size_bytes + size_bytes, before.units + units
        )
        after = self.state
        self._write(
            Frame(position, length, rows, put, after.rows, after.size_bytes, after.units, flags, payload, put_ms), known
        )
        return position

    def committed(self) -> None:
        """The put page has committed what was staged."""
        self._committed = self.state

    def forget(self) -> None:
        """Drops what was claimed and staged since the last commit; it was never visible."""
        self._claim = None
        self.state = self._committed

    def want_room(self, position: int = 0, rows: int = 0, units: int = 0) -> None:
        """Asks the consumer to give up its oldest rows until it has passed all of these; zeros take that back."""
        self.lane.words.write(ROOM_WANTED, (position, rows, units))

    def refused(self) -> None:
        """Says that there was no room, and that what the consumer commits next may make some."""
        self.lane.words.store(REFUSED, self.lane.words.load(REFUSED) + 1)

    def sleeping(self, asleep: bool) -> None:
        """Says whether the consumer is to ring when it makes room."""
        self.lane.words.publish(PRODUCER_ASLEEP, int(asleep))
        full_fence()

    @property
    def consumer_sleeps(self) -> bool:
        """True when the consumer said that it sleeps. Ask after the put page committed and a `full_fence`."""
        return bool(self.lane.words.load(CONSUMER_ASLEEP))

    def _write(self, frame: Frame, known: Known | None = None) -> None:
        offset = frame.position % self.lane.capacity_bytes
        self.lane.ring[offset : offset + FRAME_HEADER_BYTES] = frame_header(frame, known)


_EMPTY = memoryview(b"")
