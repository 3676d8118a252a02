"""The put side of a lane: claim, write, publish, and nothing is visible until the put page says so.

::

    memory = producer.claim(bytes)      a view behind the tail, or None: no room now
    ... write the payload ...
    producer.publish(...)               the frame's header is written, the frame counted: staged
    page.commit(n, ...)                 visible          (or `forget`: as if nothing had been staged)
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
    LaneState,
    frame_header,
    frame_length,
)
from shipper.shared.words import full_fence

#: A lane that is emptied as fast as it is filled uses so much of its ring; the rest is there for a burst. Measured:
#: writing to memory that was used 64 MiB ago costs 400 us/MiB, 8 MiB ago 290.
WARM_BYTES = 8 << 20


class _Claim(NamedTuple):
    position: int
    pad_bytes: int


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
        capacity = self.lane.capacity_bytes
        need = frame_length(payload_bytes)
        position = self.state.tail
        offset = position % capacity
        head = self.lane.head()
        free = capacity - (position - head)
        pad = 0
        if offset + need > capacity:
            pad = capacity - offset
        elif position == head and offset >= WARM_BYTES and capacity - offset + need <= free:
            # Nothing waits, so the consumer keeps up: begin at the start again, in memory that is still in the cache.
            pad = capacity - offset
        if pad + need > free:
            return None
        self._claim = _Claim(position + pad, pad)
        start = (position + pad) % capacity + FRAME_HEADER_BYTES
        return self.lane.ring[start : start + payload_bytes]

    def publish(self, payload_bytes: int, *, rows: int, size_bytes: int, units: int, put: int, flags: int = 0) -> int:
        """Completes the claimed frame with the first `payload_bytes` of its view; returns the frame's position.

        Afterwards the frame is staged: counted in `state`, invisible until the put page commits.
        """
        assert self._claim is not None, "publish without claim"
        position, pad = self._claim
        self._claim = None
        before = self.state
        if pad:
            self._write(Frame(position - pad, pad, 0, put, before.rows, before.size_bytes, before.units, PAD, _EMPTY))
        start = position % self.lane.capacity_bytes + FRAME_HEADER_BYTES
        payload = self.lane.ring[start : start + payload_bytes]
        length = frame_length(payload_bytes)
        self.state = LaneState(
            position + length, position, before.rows + rows, before.size_bytes + size_bytes, before.units + units
        )
        after = self.state
        self._write(Frame(position, length, rows, put, after.rows, after.size_bytes, after.units, flags, payload))
        return position

    def committed(self) -> None:
        """The put page has committed what was staged."""
        self._committed = self.state

    def forget(self) -> None:
        """Drops what was claimed and staged since the last commit; it was never visible."""
        self._claim = None
        self.state = self._committed

    def sleeping(self, asleep: bool) -> None:
        """Says whether the consumer is to ring when it makes room."""
        self.lane.words.publish(PRODUCER_ASLEEP, int(asleep))
        full_fence()

    @property
    def consumer_sleeps(self) -> bool:
        """True when the consumer said that it sleeps. Ask after the put page committed and a `full_fence`."""
        return bool(self.lane.words.load(CONSUMER_ASLEEP))

    def _write(self, frame: Frame) -> None:
        offset = frame.position % self.lane.capacity_bytes
        self.lane.ring[offset : offset + FRAME_HEADER_BYTES] = frame_header(frame)


_EMPTY = memoryview(b"")
