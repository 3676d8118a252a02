"""A ring whose consumer keeps up is used in its first part only, and all of it is there for a burst."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import PAD, pad_length
from shipper.ring.producer import WARM_BYTES, Producer
from shipper.ring.puts import NO_LANE, PutPage, PutState

CAPACITY = 2 * WARM_BYTES
PAYLOAD = 1 << 20


class Pair:
    """Both sides of one lane that is larger than its warm part."""

    def __init__(self, directory: Path) -> None:
        self.page = PutPage.ensure(directory / "page", 4)
        index = self.page.register(1)
        assert self.page.take_over()
        self.producer = Producer(Lane.ensure(directory / "lane", CAPACITY), self.page.lane(index))
        self.consumer = Consumer(Lane.open(directory / "lane"), self.page, index, 7)
        assert self.producer.take_over()
        assert self.consumer.try_hold()

    def put(self, mark: int) -> int | None:
        """Offset in the ring of a frame of 1 MiB, None when there is no room."""
        memory = self.producer.claim(PAYLOAD)
        if memory is None:
            return None
        memory[:8] = mark.to_bytes(8, "little")
        number = self.page.number() + 1
        position = self.producer.publish(PAYLOAD, rows=1, size_bytes=PAYLOAD, units=0, put=number)
        self.page.commit(PutState(number, NO_LANE, 0, (self.producer.state,)))
        self.producer.committed()
        return position % CAPACITY

    def take(self) -> int | None:
        """Mark of the next frame, None when there is none."""
        frame = self.consumer.peek()
        if frame is None:
            return None
        assert not frame.flags & PAD
        mark = int.from_bytes(frame.payload[:8], "little")
        self.consumer.step()
        self.consumer.release(0)
        return mark


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_a_consumer_that_keeps_up_is_served_from_the_first_part_of_the_ring(pair: Pair) -> None:
    for mark in range(50):
        offset = pair.put(mark)
        assert offset is not None
        assert offset <= WARM_BYTES
        assert pair.take() == mark
    assert pair.take() is None


def test_a_burst_has_the_whole_ring(pair: Pair) -> None:
    offsets = []
    while (offset := pair.put(len(offsets))) is not None:
        offsets.append(offset)
    assert len(offsets) >= CAPACITY // (PAYLOAD + 128) - 1
    assert max(offsets) > WARM_BYTES
    assert [pair.take() for _ in offsets] == list(range(len(offsets)))


def test_the_part_that_is_left_out_is_not_taken_for_data(pair: Pair) -> None:
    mark = 0
    while pair.put(mark) or not mark:
        assert pair.take() == mark
        mark += 1
    lane = pair.consumer.lane
    head = lane.committed().position
    waiting = pair.producer.state.tail - head
    assert waiting - pad_length(lane.ring, head % CAPACITY, head) < PAYLOAD + 4096
    assert pair.take() == mark
