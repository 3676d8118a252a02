"""Memory that is reserved before it is known what will be put: used as it lies, or stepped over, never written."""

from __future__ import annotations

from collections.abc import Callable

from shipper.ring.layout import FRAME_HEADER_BYTES, frame_length
from tests.ring.conftest import CAPACITY, Ring

Make = Callable[..., Ring]


def publish_reserved(one: Ring, size: int) -> None:
    producer = one.producers[0]
    assert producer.reserved is not None
    producer.claim_reserved()
    producer.publish(size, rows=1, size_bytes=size, units=1, put=one.page.number() + 1)
    one.commit()


def test_what_was_read_into_a_reservation_becomes_the_next_frame(ring: Make) -> None:
    one = ring()
    memory = one.producers[0].reserve(500)
    assert memory is not None
    memory[:5] = b"hello"
    publish_reserved(one, 5)
    assert one.peek_all() == [b"hello"]
    assert one.producers[0].state.tail == frame_length(5)


def test_another_frame_stands_behind_a_reservation_and_leaves_it_as_it_is(ring: Make) -> None:
    one = ring()
    memory = one.producers[0].reserve(500)
    assert memory is not None
    memory[:] = b"r" * 500
    assert one.put(b"other")
    assert bytes(memory) == b"r" * 500
    assert one.peek_all() == [b"other"]
    assert one.producers[0].reserved is None


def test_a_rollback_keeps_the_reservation(ring: Make) -> None:
    one = ring()
    producer = one.producers[0]
    memory = producer.reserve(500)
    assert memory is not None
    memory[:5] = b"hello"
    for _ in range(3):
        assert one.stage(b"x" * 100)
        producer.forget()
        assert producer.reserved is not None
        assert bytes(producer.reserved[:5]) == b"hello"
    publish_reserved(one, 5)
    assert one.peek_all() == [b"hello"]


def test_a_new_reservation_takes_the_place_of_the_old_one(ring: Make) -> None:
    one = ring()
    first = one.producers[0].reserve(500)
    second = one.producers[0].reserve(200)
    assert first is not None and second is not None
    second[:3] = b"new"
    assert bytes(first[:3]) == b"new"


def test_there_is_no_room_for_a_frame_where_the_reservation_has_it_all(ring: Make) -> None:
    one = ring()
    producer = one.producers[0]
    assert producer.reserve(CAPACITY - FRAME_HEADER_BYTES) is not None
    assert not one.put(b"x")
    assert producer.reserve(CAPACITY) is None
    assert producer.reserved is None
    assert one.put(b"x")


def test_reservations_and_frames_around_the_end_of_the_ring_all_arrive(ring: Make) -> None:
    one = ring()
    seen = []
    for number in range(200):
        memory = one.producers[0].reserve(300 + number % 7 * 150)
        assert memory is not None
        mark = b"%d" % number
        if number % 3:
            memory[: len(mark)] = mark
            publish_reserved(one, len(mark))
        else:
            assert one.put(mark * (1 + number % 50))
            mark *= 1 + number % 50
        consumer = one.consumers[0]
        frame = consumer.peek()
        assert frame is not None
        seen.append(bytes(frame.payload) == mark)
        consumer.step()
        consumer.release(0)
    assert seen == [True] * 200
    assert one.consumers[0].lost_bytes == 0
