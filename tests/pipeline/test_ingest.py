"""The left half of the walk: what is polled is in all its channels, or in none of them."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from shipper.api import EventBatch, Origin
from tests.pipeline.conftest import Left

Make = Callable[..., Left]
ALL = ("EventReceivedCount", "EventAcceptedCount", "AppendBatchReceivedCount", "AppendBatchAcceptedCount", "body_bytes")


def nothing(batch: EventBatch) -> EventBatch:
    """An interceptor that drops every row."""
    return batch.filter(pa.array([False] * batch.rows))


def fill(half: Left, channel: str = "c1") -> None:
    """Leaves no room in a channel of capacity 4."""
    transaction = half.memory.put_side().transaction()
    transaction.begin()
    assert transaction.put(channel, EventBatch.of([b"fills"] * 4))
    transaction.commit()
    transaction.close()


def take(half: Left, channel: str) -> list[bytes]:
    """What waits in a channel."""
    side = half.memory.take_side(0, channel)
    transaction = side.transaction()
    transaction.begin()
    found: list[bytes] = []
    while (batch := transaction.take()) is not None:
        found += batch.body.to_pylist()
    transaction.commit()
    transaction.close()
    return found


def test_rows_go_through_interceptors_in_order_into_the_channel(left: Make) -> None:
    def first(batch: EventBatch) -> EventBatch:
        return batch.with_header("seen", "first")

    def second(batch: EventBatch) -> EventBatch:
        return batch.with_header("seen", batch.constants["seen"] + ", second")

    half = left(interceptors=[first, second])
    assert half.put(b"a", b"bc")
    transaction = half.memory.take_side().transaction()
    transaction.begin()
    batch = transaction.take()
    assert batch.body.to_pylist() == [b"a", b"bc"] and batch.constants == {"seen": "first, second"}
    del batch
    transaction.rollback()
    assert half.count(*ALL) == [2, 2, 1, 1, 3]
    assert half.said == []


def test_rows_that_interceptors_drop_are_still_known_to_be_read(left: Make) -> None:
    """Otherwise the source would read them again after each restart."""
    half = left(interceptors=[nothing])
    assert half.put(b"a", b"b")
    assert half.memory.drain() == []
    half.memory.kill()
    assert half.memory.put_side().last_origins() == [Origin("f", 0, 2)]
    assert half.count(*ALL) == [2, 2, 1, 1, 2]


def test_what_is_dropped_is_remembered_in_any_channel_that_has_room(left: Make) -> None:
    """A full optional channel, listed first, must not stop a source whose rows are dropped."""
    half = left({"ring.bytes": "64k"}, required=["c2"], optional=["c1"], optional_first=True, interceptors=[nothing])
    while half.memory.put(b"x" * 3000):
        pass
    assert half.memory.name == "c1" and half.put(b"a")
    assert half.waiter.waited_s == []


def test_a_batch_without_rows_and_origins_changes_nothing(left: Make) -> None:
    half = left()
    number = half.memory.put_side().number
    assert half.ingest.put(EventBatch.of([]))
    assert half.memory.put_side().number == number


def test_a_full_channel_is_waited_for_and_then_refused(left: Make) -> None:
    half = left({"capacity": "4"}, keep_alive_s=3)
    fill(half)
    assert not half.put(b"a")
    assert 3 <= sum(half.waiter.waited_s) < 3.2
    assert half.said[0] == "room in c1: its capacity of 4 events is used up"
    assert half.said[-1] == "", "it does not wait any more"
    assert half.memory.drain() == [b"fills"] * 4
    assert half.count("ChannelWriteFail", "EventAcceptedCount") == [1, 0]


def test_room_that_comes_in_time_is_used(left: Make) -> None:
    half = left({"capacity": "4"})
    fill(half)
    half.waiter.on_wait = lambda: half.memory.drain() and None
    assert half.put(b"a")
    assert len(half.waiter.waited_s) == 1
    assert half.memory.drain() == [b"a"]
    assert half.count("ChannelWriteFail") == [0]


def test_the_sleeper_says_so_and_looks_once_more_before_it_sleeps(left: Make) -> None:
    half = left({"capacity": "4"})
    fill(half)
    asleep = []
    lane = half.memory.put_side().putters["c1"].producers[0].lane
    half.waiter.on_wait = lambda: asleep.append(lane.words.load(896))
    half.put(b"a")
    assert set(asleep) == {1}
    assert lane.words.load(896) == 0


def test_keep_alive_of_zero_waits_not_at_all(left: Make) -> None:
    half = left({"capacity": "4"}, keep_alive_s=0)
    fill(half)
    assert not half.put(b"a")
    assert half.waiter.waited_s == []


def test_the_word_to_stop_ends_the_wait(left: Make) -> None:
    half = left({"capacity": "4"}, keep_alive_s=1000)
    fill(half)
    half.waiter.on_wait = lambda: half.stop.__setitem__(0, True)
    assert not half.put(b"a")
    assert len(half.waiter.waited_s) == 1


class TestRoomForABlock:
    """A block that is not read yet waits for its place in the ring: read before, it would have to be copied."""

    BLOCK = 200_000
    RING = {"ring.bytes": "1m"}  # noqa: RUF012

    def full(self, left: Make, properties: dict[str, str] | None = None, **others: object) -> Left:
        """A ring without room for a block."""
        half = left(self.RING | (properties or {}), **others)
        for _ in range(9):
            assert half.memory.put(bytes(100_000))
        return half

    def test_a_ring_with_room_is_not_waited_for(self, left: Make) -> None:
        half = left(self.RING)
        room = half.ingest.awaited_room(self.BLOCK)
        assert room is not None and len(room) == self.BLOCK
        assert half.waiter.waited_s == [] and half.said == []

    def test_it_comes_when_the_sinks_have_taken_enough(self, left: Make) -> None:
        half = self.full(left)
        asleep = []
        lane = half.memory.put_side().putters["c1"].producers[0].lane

        def taken() -> None:
            asleep.append(lane.words.load(896))
            if len(asleep) == 3:
                half.memory.drain()

        half.waiter.on_wait = taken
        room = half.ingest.awaited_room(self.BLOCK)
        assert room is not None and len(room) == self.BLOCK
        assert asleep == [1, 1, 1], "the sink is to ring"
        assert lane.words.load(896) == 0
        assert half.said == ["room in c1: its ring is full", ""]

    @pytest.mark.parametrize(("keep_alive_s", "waits_s"), [(3.0, 0.5), (0.1, 0.1), (0.0, 0.0)])
    def test_after_half_a_second_or_keep_alive_it_is_read_all_the_same(
        self, left: Make, keep_alive_s: float, waits_s: float
    ) -> None:
        half = self.full(left, keep_alive_s=keep_alive_s)
        assert half.ingest.awaited_room(self.BLOCK) is None
        assert waits_s <= sum(half.waiter.waited_s) < waits_s + 0.1
        assert half.said[-1] == ""

    def test_the_word_to_stop_ends_it(self, left: Make) -> None:
        half = self.full(left)
        half.waiter.on_wait = lambda: half.stop.__setitem__(0, True)
        assert half.ingest.awaited_room(self.BLOCK) is None
        assert len(half.waiter.waited_s) == 1

    @pytest.mark.parametrize("on_full", ["dropNewest", "dropOldest"])
    def test_a_channel_that_drops_when_it_is_full_is_not_waited_for(self, left: Make, on_full: str) -> None:
        half = self.full(left, {"onFull": on_full})
        assert half.ingest.awaited_room(self.BLOCK) is None
        assert half.waiter.waited_s == []

    def test_a_block_that_no_ring_of_this_size_ever_has_room_for_is_not_waited_for(self, left: Make) -> None:
        half = left(self.RING)
        assert half.ingest.awaited_room(1 << 20) is None
        assert half.waiter.waited_s == []


def test_a_batch_that_is_tried_again_is_received_once(left: Make) -> None:
    half = left({"capacity": "4"}, keep_alive_s=0)
    fill(half)
    batch = EventBatch.of([b"a"])
    assert not half.ingest.put(batch) and not half.ingest.put(batch)
    half.memory.drain()
    assert half.ingest.put(batch)
    assert half.count(*ALL) == [1, 1, 1, 1, 1]
    assert half.count("ChannelWriteFail") == [2]


class TestBatchesLargerThanTheirChannel:
    """They go in pieces, and no piece goes in twice."""

    def test_pieces_have_as_many_rows_as_the_channel_bears(self, left: Make) -> None:
        half = left({"capacity": "4"}, rows_max=2)
        sizes = []

        def drain() -> None:
            sizes.append(len(half.memory.drain()))

        half.waiter.on_wait = drain
        assert half.put(*[b"%d" % n for n in range(11)])
        drain()
        assert sum(sizes) == 11 and max(sizes) <= 4
        assert half.count(*ALL) == [11, 11, 1, 1, 12]

    def test_only_the_last_piece_says_how_far_it_was_read(self, left: Make) -> None:
        half = left(rows_max=2)
        assert half.put(*[b"x"] * 5)
        side = half.memory.take_side()
        transaction = side.transaction()
        transaction.begin()
        found = []
        while (batch := transaction.take()) is not None:
            found.append((batch.rows, batch.origins))
        transaction.rollback()
        assert found == [(2, ()), (2, ()), (1, (Origin("f", 0, 5),))]

    def test_the_same_batch_put_again_goes_on_where_it_stood(self, left: Make) -> None:
        half = left({"capacity": "4"}, rows_max=2, keep_alive_s=0)
        batch = EventBatch.of([b"%d" % n for n in range(7)])
        found: list[bytes] = []
        tries = 0
        while not half.ingest.put(batch):
            tries += 1
            found += half.memory.drain()
        found += half.memory.drain()
        assert tries and found == [b"%d" % n for n in range(7)]
        assert half.count("EventReceivedCount", "EventAcceptedCount") == [7, 7]

    def test_another_batch_begins_at_its_beginning(self, left: Make) -> None:
        half = left({"capacity": "4"}, rows_max=2, keep_alive_s=0)
        assert not half.ingest.put(EventBatch.of([b"a"] * 7))
        half.memory.drain()
        assert half.put(b"b", b"c")
        assert half.memory.drain() == [b"b", b"c"]


class TestSeveralChannels:
    """Required ones have all or nothing; optional ones stand outside."""

    def test_all_required_channels_get_it(self, left: Make) -> None:
        half = left(required=["c1", "c2"])
        assert half.put(b"a")
        assert take(half, "c1") == take(half, "c2") == [b"a"]

    def test_none_has_it_when_one_is_full(self, left: Make) -> None:
        half = left({"capacity": "4"}, required=["c1", "c2"], keep_alive_s=0)
        fill(half, "c2")
        assert not half.put(b"a")
        assert take(half, "c1") == []
        assert half.said == [""] or half.said == []

    def test_a_full_optional_channel_is_passed_by_and_counted(self, left: Make) -> None:
        half = left({"capacity": "4"}, required=["c1"], optional=["c2"])
        fill(half, "c2")
        assert half.put(b"a", b"b")
        assert take(half, "c1") == [b"a", b"b"]
        assert half.count("rows_optional_dropped", "EventAcceptedCount") == [2, 2]
        assert half.waiter.waited_s == []
        assert [reason for reason in half.said if reason] == [], "nobody waits for an optional channel"

    def test_an_optional_channel_with_room_gets_it_too(self, left: Make) -> None:
        half = left(required=["c1"], optional=["c2"])
        assert half.put(b"a")
        assert take(half, "c2") == [b"a"]
        half.memory.kill()
        assert half.memory.put_side().page.number() == 2

    def test_the_position_is_stored_with_the_required_put(self, left: Make) -> None:
        """Dying between the required and the optional put costs the optional channel a copy, and nothing twice."""
        half = left(required=["c1"], optional=["c2"])
        assert half.put(b"a", start=5)
        transaction = half.memory.take_side(0, "c2").transaction()
        transaction.begin()
        assert transaction.take().origins == ()
        transaction.rollback()


@pytest.mark.parametrize("rows", [0, 1, 999, 1000, 1001, 5000])
def test_any_number_of_rows_is_counted_once(left: Make, rows: int) -> None:
    half = left(rows_max=1000)
    assert half.put(*[b"xy"] * rows)
    assert half.count(*ALL) == [rows, rows, 1, 1, 2 * rows]
    assert len(half.memory.drain()) == rows


class TestTheLedger:
    """What is read, kept and offered is counted by the put that carries it."""

    def tally(self, half: Left):  # type: ignore[no-untyped-def]
        return half.memory.put_side().page.tallied()[1]

    def test_rows_read_and_rows_kept(self, left: Make) -> None:
        half = left(interceptors=[lambda batch: batch.slice(0, 1)])
        assert half.put(b"aa", b"bb", b"cc")
        intake = self.tally(half).intake
        assert (intake.rows, intake.size_bytes, intake.kept, intake.unrouted) == (3, 6, 1, 0)

    def test_rows_of_which_nothing_is_left(self, left: Make) -> None:
        half = left(interceptors=[nothing])
        assert half.put(b"a", b"b")
        assert half.ingest.put(EventBatch.of([b"of a connection"]))
        assert self.tally(half).intake[:3] == (3, 17, 0)

    def test_rows_that_go_nowhere(self, left: Make) -> None:
        half = left(required=(), optional=["c1"])
        half.ingest._selector.optional = ()  # type: ignore[attr-defined]
        assert half.ingest.put(EventBatch.of([b"a", b"b"]))
        assert self.tally(half).intake.unrouted == 2

    def test_a_batch_that_is_tried_often_is_counted_once(self, left: Make) -> None:
        half = left({"capacity": "4"})
        fill(half)
        before = self.tally(half).intake.rows
        batch = EventBatch.of([b"a"])
        assert not half.ingest.put(batch) and not half.ingest.put(batch)
        take(half, "c1")
        assert half.ingest.put(batch)
        assert self.tally(half).intake.rows == before + 1

    def test_what_a_source_found_out_goes_with_the_next_put(self, left: Make) -> None:
        half = left()
        half.counters.add("truncated_lines", 2)
        half.counters.add("decode_errors")
        assert half.put(b"a") and half.put(b"b")
        half.counters.add("files_lost", 3)
        assert half.put(b"c")
        assert (self.tally(half).intake[4:7]) == (2, 1, 3)

    def test_what_a_source_gave_up_itself_goes_with_the_next_put(self, left: Make) -> None:
        """And nothing that a channel gave up, though one counter has both."""
        half = left({"capacity": "2", "onFull": "dropNewest"})
        assert half.put(b"a", b"b") and half.put(b"c")
        half.counters.add("rows_dropped", 5)
        assert half.put(b"d") and half.put(b"e")
        assert half.count("rows_dropped") == [8]
        assert self.tally(half).intake.given_up == 5

    def test_what_was_found_before_a_batch_that_is_never_put_is_not_forgotten(self, left: Make) -> None:
        half = left({"capacity": "4"})
        fill(half)
        half.counters.add("rows_dropped", 2)
        assert not half.put(b"a")
        take(half, "c1")
        assert half.put(b"b")
        assert self.tally(half).intake.given_up == 2

    def test_rows_that_an_optional_channel_had_no_room_for(self, left: Make) -> None:
        half = left({"capacity": "4"}, required=["c1"], optional=["c2"])
        fill(half, "c2")
        assert half.put(b"a", b"b")
        offers = self.tally(half).offers
        assert sorted(offers) == [(2, 0, 0), (6, 0, 2)]

    def test_rows_that_a_full_channel_gives_up_are_said_at_once_and_then_every_30_s(self, left: Make) -> None:
        half = left({"capacity": "2", "onFull": "dropNewest"})
        lines: list[str] = []
        half.ingest._losses._say = lambda level, line: lines.append(line)
        assert half.put(b"a", b"b")
        for _ in range(3):
            assert half.put(b"c")
        assert half.waiter.waited_s == [], "it does not wait"
        half.clock.advance(31)
        assert half.put(b"d")
        why = "dropped: c1 is full and its onFull is dropNewest"
        assert lines == [f"1 event was {why}", f"3 events were {why}"]
        assert half.count("rows_dropped") == [4]
        assert self.tally(half).offers[0] == (6, 4, 0)

    def test_rows_that_were_given_up_are_said_when_nothing_more_comes_and_at_the_end(self, left: Make) -> None:
        half = left({"capacity": "2", "onFull": "dropNewest"})
        lines: list[str] = []
        half.ingest._losses._say = lambda level, line: lines.append(line)
        assert half.put(b"a", b"b") and half.put(b"c") and half.put(b"d", b"e")
        half.ingest.tick()
        assert len(lines) == 1, "too soon"
        half.clock.advance(31)
        half.ingest.tick()
        assert half.put(b"f", b"g", b"h")
        half.ingest.tick(last=True)
        assert [line.split()[0] for line in lines] == ["1", "2", "3"]
