"""A ring between one producer and one consumer: full, empty, wrapped, rolled back, taken over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper.errors import DamagedData
from shipper.ring.lane import Lane
from shipper.ring.layout import COMMIT_SLOT, RING
from shipper.ring.puts import PutPage
from tests.ring.conftest import CAPACITY, Ring

Make = Callable[..., Ring]


@pytest.mark.parametrize("first", range(0, CAPACITY - 128, 128))
def test_a_frame_that_would_wrap_stands_behind_a_pad(ring: Make, first: int) -> None:
    """Whatever is left at the end of the ring, the next frame comes whole, and room is counted exactly."""
    one = ring()
    assert one.put(b"a" * first)
    assert one.take() == [b"a" * first]
    payload = os.urandom(CAPACITY // 2 - 128)
    assert one.put(payload)
    assert one.peek_all() == [payload]
    assert one.take() == [payload]
    assert one.consumers[0].peek() is None
    assert one.producers[0].free_bytes == CAPACITY
    assert one.put(b"next") and one.take() == [b"next"]


def test_a_ring_is_full_when_the_next_frame_does_not_fit_and_says_so(ring: Make) -> None:
    one = ring()
    for number in range(CAPACITY // 256):
        assert one.put(b"%3d" % number * 20)
    assert one.producers[0].free_bytes == 0
    assert not one.put(b"")
    assert one.take() == [b"  0" * 20]
    assert one.put(b"x") and not one.put(b"")
    assert len(one.peek_all()) == CAPACITY // 256


def test_a_claim_that_is_not_published_costs_nothing(ring: Make) -> None:
    one = ring()
    for _ in range(100):
        assert one.producers[0].claim(1000) is not None
    assert one.put(b"x") and one.peek_all() == [b"x"]


def test_what_is_staged_is_seen_only_after_the_commit(ring: Make) -> None:
    one = ring()
    assert one.stage(b"first") and one.stage(b"second")
    assert one.peek_all() == []
    one.commit()
    assert one.peek_all() == [b"first", b"second"]


def test_what_was_forgotten_is_never_seen(ring: Make) -> None:
    one = ring()
    assert one.put(b"before")
    assert one.stage(b"x" * 300)
    one.producers[0].forget()
    assert one.put(b"after")
    assert one.peek_all() == [b"before", b"after"]


def test_the_same_frame_is_peeked_until_it_is_stepped_over(ring: Make) -> None:
    one = ring()
    assert one.put(b"a") and one.put(b"b")
    consumer = one.consumers[0]
    assert consumer.peek() is consumer.peek()
    consumer.step()
    assert bytes(consumer.peek().payload) == b"b"
    consumer.rewind()
    assert bytes(consumer.peek().payload) == b"a"


def test_room_comes_back_with_the_commit_not_with_the_take(ring: Make) -> None:
    one = ring()
    assert one.put(b"a" * 1000)
    free = one.producers[0].free_bytes
    one.consumers[0].peek()
    one.consumers[0].step()
    assert one.producers[0].free_bytes == free
    one.consumers[0].release(0)
    assert one.producers[0].free_bytes == CAPACITY


class TestCommitSlots:
    """What a take commit stores can be read by anybody, and by the next consumer."""

    def test_cumulative_counts_are_those_of_the_last_frame(self, ring: Make) -> None:
        one = ring()
        for number in range(1, 4):
            assert one.stage(b"x" * number, rows=10 * number)
            one.commit()
        one.take(frames=2)
        slot = one.consumers[0].lane.committed()
        assert (slot.rows, slot.size_bytes, slot.units) == (30, 3, 2)
        assert (slot.position, slot.rows_done, slot.sink, slot.epoch) == (512, 0, 7, 1)

    def test_generations_alternate_between_two_slots(self, ring: Make) -> None:
        one = ring()
        for number in range(6):
            assert one.put(b"x")
            one.consumers[0].peek()
            one.consumers[0].step()
            one.consumers[0].release(number + 1)
            data = one.consumers[0].lane.segment.path.read_bytes()
            slots = [int.from_bytes(data[at + 24 : at + 32], "little") for at in (512, 640)]
            assert slots[(number + 1) & 1] == number + 1 and slots[number & 1] == number

    def test_rows_done_inside_a_frame_outlive_the_consumer(self, ring: Make) -> None:
        one = ring()
        assert one.stage(b"x" * 50, rows=10)
        one.commit()
        assert one.put(b"y")
        consumer = one.consumers[0]
        consumer.peek()
        consumer.release_rows(4, sequence=0)
        assert consumer.lane.committed()[:2] == (0, 4) and consumer.lane.committed().rows == 4
        assert one.producers[0].free_bytes == CAPACITY - 512, "the frame stays until all of it is delivered"
        one.close()
        two = ring()
        assert two.consumers[0].peek().rows == 10 and two.consumers[0].rows_done == 4
        two.consumers[0].release_rows(9, sequence=0)
        assert two.consumers[0].rows_done == 9
        two.consumers[0].step()
        assert two.consumers[0].rows_done == 0, "the next frame begins at its first row"
        two.consumers[0].release(0)
        assert two.consumers[0].lane.committed().rows == 10
        assert two.peek_all() == [b"y"]

    def test_a_commit_without_an_entry_of_its_own_does_not_take_back_the_last_one(self, ring: Make) -> None:
        """Frames without rows are committed with no journal entry: the entry before still counts afterwards."""
        one = ring()
        assert one.put(b"a") and one.put(b"b")
        one.consumers[0].peek()
        one.consumers[0].step()
        one.consumers[0].release(5)
        one.take()
        assert one.consumers[0].lane.committed().sequence == 5

    def test_another_sinks_sequence_is_not_kept(self, ring: Make) -> None:
        one = ring()
        assert one.put(b"a") and one.put(b"b")
        one.consumers[0].peek()
        one.consumers[0].step()
        one.consumers[0].release(5)
        one.consumers[0].let_go()
        one.consumers[0].sink = 9
        assert one.consumers[0].try_hold()
        one.take()
        slot = one.consumers[0].lane.committed()
        assert (slot.sink, slot.sequence) == (9, 0)

    def test_a_slot_that_does_not_fit_its_checksum_is_said_not_waited_for(self, ring: Make) -> None:
        one = ring()
        lane = one.consumers[0].lane
        lane.words.store(COMMIT_SLOT, 128)
        with pytest.raises(DamagedData, match="damaged at its take commit 0"):
            lane.committed()

    def test_a_position_that_is_not_published_yet_makes_no_room(
        self, ring: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A consumer that dies between a slot and its generation has committed nothing: nobody may have used the room.

        The producer looks at the head just as the consumer, one commit further, fills the slot that it looks at.
        """
        one = ring()
        for _ in range(3):
            assert one.put(b"x")
        lane = one.producers[0].lane
        observe = lane.words.observe

        class Late:
            """The producer's words; between its two loads the consumer commits once and nearly twice."""

            def __init__(self) -> None:
                self.used = False

            def observe(self, offset: int) -> int:
                value = observe(offset)
                if not self.used:
                    self.used = True
                    one.take()
                    one.consumers[0].lane.words.store(COMMIT_SLOT, 512)
                return value

            def load(self, offset: int) -> int:
                return observe(offset)

        monkeypatch.setattr(lane, "words", Late())
        assert lane.head() == 256


class TestOneCommitForSeveralLanes:
    """The frames of one put become visible in all lanes at once."""

    def test_nothing_is_seen_anywhere_before_the_commit(self, ring: Make) -> None:
        one = ring(lanes=3)
        for lane in range(3):
            assert one.stage(b"%d" % lane, lane)
            assert [one.peek_all(n) for n in range(3)] == [[], [], []]
        one.commit()
        assert [one.peek_all(n) for n in range(3)] == [[b"0"], [b"1"], [b"2"]]

    def test_a_lane_without_room_takes_nothing_from_the_others(self, ring: Make) -> None:
        one = ring(lanes=2)
        while one.put(b"", b"x" * 900):
            pass
        before = one.states
        assert not one.put(b"y", b"y" * 900)
        assert one.states == before and one.put(b"z", b"")

    def test_lanes_that_a_put_does_not_use_keep_their_state(self, ring: Make) -> None:
        one = ring(lanes=2)
        assert one.put(b"a", b"b")
        kept = one.states[1]
        assert one.stage(b"c")
        one.commit()
        assert one.states[1] == kept and one.peek_all(1) == [b"b"]

    def test_the_next_worker_goes_on_at_the_committed_tails(self, ring: Make) -> None:
        one = ring(lanes=2)
        assert one.put(b"a", b"b")
        assert one.stage(b"never committed" * 20)
        one.close()
        two = ring(lanes=2)
        assert [two.peek_all(n) for n in (0, 1)] == [[b"a"], [b"b"]]
        assert two.put(b"c", b"d")
        assert [two.peek_all(n) for n in (0, 1)] == [[b"a", b"c"], [b"b", b"d"]]

    def test_a_damaged_page_is_said(self, ring: Make) -> None:
        one = ring()
        assert one.put(b"a")
        path = one.page.segment.path
        one.close()
        data = bytearray(path.read_bytes())
        data[640 + 5 * 128 + 128] ^= 1
        path.write_bytes(bytes(data))
        page = PutPage.ensure(path)
        with pytest.raises(DamagedData, match="damaged at put 1"):
            page.state()
        page.close()


class TestDamage:
    """Bytes that are not what was put are never delivered; what is behind them is."""

    def spoil(self, one: Ring, position: int, length: int = 1) -> None:
        ring = one.consumers[0].lane.ring
        at = position % CAPACITY
        ring[at : at + length] = bytes(byte ^ 0xFF for byte in ring[at : at + length])

    @pytest.mark.parametrize("offset", [0, 8, 16, 24, 72, 128, 177])
    def test_a_damaged_frame_is_skipped_and_counted(self, ring: Make, offset: int) -> None:
        one = ring()
        for payload in (b"a" * 50, b"b" * 50, b"c" * 50):
            assert one.put(payload)
        self.spoil(one, 256 + offset)
        assert one.take(frames=2) == [b"a" * 50, b"c" * 50]
        assert one.consumers[0].lost_bytes == 256
        slot = one.consumers[0].lane.committed()
        assert (slot.position, slot.rows) == (768, 3), "what is lost counts as taken, or the channel is never empty"

    def test_damage_up_to_the_tail_is_committed_too(self, ring: Make) -> None:
        one = ring()
        for payload in (b"a", b"b", b"c"):
            assert one.put(payload)
        self.spoil(one, 0, 768)
        consumer = one.consumers[0]
        assert consumer.peek() is None and consumer.moved
        consumer.release(0)
        assert (consumer.lane.committed().rows, consumer.lost_bytes) == (3, 768)
        assert one.producers[0].drained and one.producers[0].free_bytes == CAPACITY
        assert one.put(b"d") and one.peek_all() == [b"d"]

    def test_a_damaged_pad_costs_the_pad_alone(self, ring: Make) -> None:
        one = ring()
        assert one.put(b"x" * 2900) and one.take()
        assert one.put(b"y" * 1500)
        self.spoil(one, 3072)
        assert one.peek_all() == [b"y" * 1500]

    def test_a_stale_frame_of_the_round_before_is_not_taken_for_a_new_one(self, ring: Make) -> None:
        one = ring()
        for number in range(CAPACITY // 256):
            assert one.put(b"old%d" % number)
        one.take(frames=CAPACITY // 256)
        for number in range(4):
            assert one.put(b"new%d" % number)
        self.spoil(one, CAPACITY + 256, 256)
        assert one.peek_all() == [b"new0", b"new2", b"new3"]


class TestHolding:
    """A lane has one producer and one consumer, and a dead sink's lane waits for that sink."""

    def test_a_second_producer_and_a_second_consumer_are_refused(self, ring: Make, tmp_path: Path) -> None:
        ring()
        second = Ring(tmp_path)
        assert not second.page.take_over()
        assert not second.producers[0].take_over()
        assert not second.consumers[0].try_hold()
        second.close()

    def test_each_takeover_is_one_epoch(self, ring: Make, tmp_path: Path) -> None:
        for expected in (1, 2, 3):
            ring().close()
            data = (tmp_path / "lane0").read_bytes()
            assert [int.from_bytes(data[at : at + 8], "little") for at in (128, 256)] == [expected, expected]

    def test_holding_twice_is_holding_once(self, ring: Make) -> None:
        one = ring()
        assert one.consumers[0].try_hold()
        assert one.producers[0].lane.words.load(256) == 1

    def test_another_sink_waits_until_a_dead_one_comes_back(self, ring: Make, tmp_path: Path) -> None:
        """The lock is free after a death, and the lane is not: only its sink knows what it has written."""
        ring(sink=7).close()
        other = Ring(tmp_path, sink=9)
        assert other.consumers[0].holder == 7
        assert not other.consumers[0].try_hold()
        other.close()
        again = ring(sink=7)
        again.consumers[0].let_go()
        other = Ring(tmp_path, sink=9)
        assert other.consumers[0].try_hold()
        other.close()

    def test_letting_go_takes_back_what_was_not_committed(self, ring: Make, tmp_path: Path) -> None:
        one = ring()
        assert one.put(b"a") and one.put(b"b")
        one.take()
        one.consumers[0].peek()
        one.consumers[0].step()
        one.consumers[0].let_go()
        other = Ring(tmp_path, sink=9)
        assert other.consumers[0].try_hold()
        assert other.peek_all() == [b"b"]
        other.close()

    def test_the_home_sink_asks_and_the_holder_hears(self, ring: Make, tmp_path: Path) -> None:
        one = ring()
        home = Ring(tmp_path, sink=9)
        assert not one.consumers[0].wanted
        home.consumers[0].want()
        assert one.consumers[0].wanted
        one.consumers[0].let_go()
        assert home.consumers[0].try_hold() and not home.consumers[0].wanted
        home.close()

    def test_a_lock_goes_with_close_even_while_a_view_is_out(self, ring: Make, tmp_path: Path) -> None:
        one = ring()
        assert one.put(b"a")
        view = one.consumers[0].peek()
        one.close()
        assert bytes(view.payload) == b"a", "the view stays readable"
        ring()


def test_the_segment_of_a_full_file_system_is_not_made(tmp_path: Path) -> None:
    """No room is met when a segment is made, never when it is used: nothing half-made stays."""
    import resource

    from shipper.errors import ComponentFailed

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        with pytest.raises(ComponentFailed, match=r"no room for 1052672 bytes at .*ring.bytes"):
            Lane.create(tmp_path / "lane", 1 << 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_making_a_segment_that_is_there_leaves_it_and_no_descriptor(tmp_path: Path) -> None:
    Lane.create(tmp_path / "lane", CAPACITY).close()
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(FileExistsError):
            Lane.create(tmp_path / "lane", CAPACITY)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert [path.name for path in tmp_path.iterdir()] == ["lane"]


PUT, TAKE, ROLL_BACK, PARTLY, REOPEN = range(5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.tuples(st.sampled_from([PUT, PUT, PUT, TAKE, TAKE, ROLL_BACK, REOPEN]), st.integers(0, 1900)), max_size=80
    )
)
def test_a_ring_is_a_bounded_list(steps: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Any sequence of puts, takes, rollbacks and deaths gives what a list gives; R1-R3 hold throughout."""
    directory = tmp_path_factory.mktemp("ring")
    one = Ring(directory).attach()
    model: list[bytes] = []
    head_before = 0
    for number, (step, size) in enumerate(steps):
        if step == PUT:
            payload = bytes([number]) * size
            if one.put(payload):
                model.append(payload)
            else:
                assert model, "an empty ring takes every payload up to half its size"
        elif step == TAKE:
            count = min(size % 3 + 1, len(model))
            if count:
                assert one.take(frames=count) == model[:count]
                del model[:count]
        elif step == ROLL_BACK:
            one.stage(b"rolled back" * 10)
            one.producers[0].forget()
            assert one.peek_all() == model
        else:
            one.close()
            one = Ring(directory).attach()
        tail, head = one.page.tail(0), one.producers[0].lane.head()
        assert head_before <= head <= tail <= head + CAPACITY and not head % 128 and not tail % 128
        head_before = head
        assert one.consumers[0].lane.segment.size_bytes == RING + CAPACITY
    assert one.peek_all() == model
    one.close()
