"""Tallies: what a lane and a put page say of rows, at every moment and after every death."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shipper.ring.consumer import Consumer, disown
from shipper.ring.layout import GENERATION
from shipper.ring.puts import NO_LANE, PutState
from shipper.ring.tally import HANDED_OVER, read_take
from shipper.ring.way import make_way
from shipper.shared.tally import ACCOUNTS_MAX, Account, Intake, Offers, PutTally, TakeTally
from tests.ring.conftest import Deaths, Ring

Make = Callable[..., Ring]


def deliver(ring: Ring, rows: int, sink: int = 5, aside: int = 0) -> None:
    """Takes one frame and says what became of its rows."""
    consumer = ring.consumers[0]
    assert consumer.peek() is not None
    consumer.step()
    consumer.book(sink, rows, 10 * rows, aside)
    consumer.release(0)


def tally(ring: Ring) -> TakeTally:
    """What anybody reads."""
    return read_take(ring.producers[0].lane)[1]


def balanced(ring: Ring) -> bool:
    """True when the tally has every row that the commit slot has."""
    slot, found = read_take(ring.producers[0].lane)
    return slot.rows == found.rows


def test_a_lane_that_is_new_has_an_empty_tally(ring: Make) -> None:
    one = ring()
    assert tally(one) == TakeTally()


def test_what_each_sink_did_is_booked_with_the_commit(ring: Make) -> None:
    one = ring()
    for _ in range(3):
        assert one.stage(b"x", rows=4)
        one.commit()
    deliver(one, 4)
    deliver(one, 3, aside=1)
    deliver(one, 4, sink=6)
    assert tally(one).accounts == (Account(5, 7, 70, 1), Account(6, 4, 40, 0))
    assert balanced(one)


def test_what_was_rolled_back_is_not_booked(ring: Make) -> None:
    one = ring()
    assert one.stage(b"x", rows=4)
    one.commit()
    consumer = one.consumers[0]
    assert consumer.peek() is not None
    consumer.step()
    consumer.book(5, 4, 40, 0)
    consumer.count(lost=1)
    consumer.rewind()
    deliver(one, 4)
    assert tally(one) == TakeTally(accounts=(Account(5, 4, 40, 0),))


def test_the_next_holder_goes_on_with_the_tally(ring: Make) -> None:
    one = ring()
    for _ in range(2):
        assert one.stage(b"x", rows=4)
        one.commit()
    deliver(one, 4)
    one.close()
    again = ring()
    deliver(again, 4)
    assert tally(again).accounts == (Account(5, 8, 80, 0),)
    assert balanced(again)


def test_more_sinks_than_accounts_share_the_last_one(ring: Make) -> None:
    one = ring()
    for sink in range(1, ACCOUNTS_MAX + 3):
        assert one.put(b"x")
        deliver(one, 1, sink=sink)
    accounts = tally(one).accounts
    assert [account.sink for account in accounts] == [*range(1, ACCOUNTS_MAX), 0]
    assert accounts[-1].rows == 3
    assert balanced(one)


def test_rows_that_were_taken_before_anybody_counted_are_called_so(ring: Make) -> None:
    one = ring()
    assert one.stage(b"x", rows=4)
    one.commit()
    deliver(one, 4)
    words = one.consumers[0].lane.words
    words.publish(GENERATION, words.load(GENERATION) - 1)  # a slot beside which no tally was ever written
    words.publish(GENERATION, words.load(GENERATION) + 1)
    for offset in range(1408, 2176, 8):
        words.store(offset, 0)
    assert tally(one) == TakeTally(before=4)
    one.close()
    again = ring()
    assert again.stage(b"x", rows=2)
    again.commit()
    deliver(again, 2)
    assert tally(again) == TakeTally(before=4, accounts=(Account(5, 2, 20, 0),))


def test_rows_in_damaged_frames_are_booked_as_lost(ring: Make) -> None:
    one = ring()
    for rows in (1, 2, 4, 8):
        assert one.stage(b"x" * 50, rows=rows)
        one.commit()
    lane = one.consumers[0].lane
    for number in (1, 3):  # the second and the last
        lane.ring[number * 256 + 130] ^= 1
    deliver(one, 1)
    deliver(one, 4)
    assert tally(one).lost == 2
    assert one.consumers[0].peek() is None
    one.consumers[0].release(0)
    assert tally(one).lost == 10
    assert balanced(one)


def test_a_commit_inside_a_frame_keeps_the_balance(ring: Make) -> None:
    one = ring()
    assert one.stage(b"x", rows=10)
    one.commit()
    consumer = one.consumers[0]
    for done in (3, 7):
        assert consumer.peek() is not None
        consumer.book(5, done - consumer.rows_done, 0, 0)
        consumer.release_rows(done, 0)
        assert balanced(one)
    consumer.peek()
    consumer.step()
    consumer.book(5, 3, 0, 0)
    consumer.release(0)
    assert tally(one) == TakeTally(accounts=(Account(5, 10, 0, 0),))


def test_a_hand_over_is_counted(ring: Make) -> None:
    one = ring()
    lane = one.producers[0].lane
    one.consumers[0].lane.close()
    assert disown(lane, one.sink)
    assert lane.words.load(HANDED_OVER) == 1
    one.consumers[0] = Consumer(type(lane).open(lane.segment.path), one.page, 0, 9)


class TestDeaths:
    """Death at any store: the tally is of the commit that the lane or page is of."""

    def test_during_a_take(self, ring: Make, deaths: Deaths) -> None:
        one = ring()
        for _ in range(3):
            assert one.stage(b"x", rows=4)
            one.commit()
        deliver(one, 4)
        deaths.during(lambda: deliver(one, 3, aside=1))
        found = set()
        for directory in deaths.buried():
            after = Ring(directory).attach()
            assert balanced(after)
            found.add(tally(after).accounts)
            after.close()
        assert found == {(Account(5, 4, 40, 0),), (Account(5, 7, 70, 1),)}

    def test_during_a_put(self, ring: Make, deaths: Deaths) -> None:
        one = ring()

        def put(number: int) -> None:
            assert one.stage(b"x", rows=4)
            states = tuple(producer.state for producer in one.producers)
            said = PutTally(Intake(5 * number, 50 * number, 4 * number), (Offers(4 * number),))
            one.page.commit(PutState(number, NO_LANE, 0, states), said)
            one.producers[0].committed()

        put(1)
        deaths.during(lambda: put(2))
        found = set()
        for directory in deaths.buried():
            after = Ring(directory).attach()
            state, said = after.page.tallied()
            assert said.offers[0].rows == state.lanes[0].rows
            found.add(said.intake.rows)
            after.close()
        assert found == {5, 10}


def test_a_page_that_nobody_has_counted_on_begins_with_what_was_put(ring: Make) -> None:
    one = ring()
    assert one.stage(b"x", rows=4)
    one.commit()
    assert one.page.tallied()[1] == PutTally(Intake(), (Offers(4),))


class TestMakingWay:
    """What is too old, or in the way, goes; and no more."""

    def filled(self, ring: Make) -> Ring:
        one = ring()
        for number in range(4):
            memory = one.producers[0].claim(1)
            assert memory is not None
            one.producers[0].publish(1, rows=5, size_bytes=1, units=3, put=number + 1, put_ms=1000 * (number + 1))
            one.commit()
        return one

    @pytest.mark.parametrize(
        ("wanted", "dropped"),
        [({}, 0), ({"rows": 1}, 1), ({"rows": 5}, 5), ({"rows": 12}, 12), ({"rows": 20}, 20), ({"position": 1}, 5),
         ({"position": 256}, 5), ({"position": 257}, 10), ({"units": 3}, 5), ({"units": 4}, 10)],
    )  # fmt: skip
    def test_as_much_as_the_producer_wants(self, ring: Make, wanted: dict[str, int], dropped: int) -> None:
        one = self.filled(ring)
        one.producers[0].want_room(**wanted)
        assert make_way(one.consumers[0]) == (0, dropped)
        assert make_way(one.consumers[0]) == (0, 0), "and not again"
        assert tally(one) == TakeTally(dropped=dropped)
        assert balanced(one)

    def test_what_was_delivered_already_counts_for_what_is_wanted(self, ring: Make) -> None:
        one = self.filled(ring)
        one.producers[0].want_room(rows=7)
        deliver(one, 5)
        assert make_way(one.consumers[0]) == (0, 2)
        assert balanced(one)

    def test_a_wish_that_was_taken_back_is_none(self, ring: Make) -> None:
        one = self.filled(ring)
        one.producers[0].want_room(rows=7)
        one.producers[0].want_room()
        assert make_way(one.consumers[0]) == (0, 0)

    def test_what_is_older_than_that_is_given_up(self, ring: Make) -> None:
        one = self.filled(ring)
        assert make_way(one.consumers[0], 3000) == (10, 0)
        assert tally(one) == TakeTally(expired=10)
        assert balanced(one)
        assert make_way(one.consumers[0], 3000) == (0, 0)

    def test_a_frame_without_a_time_is_never_too_old(self, ring: Make) -> None:
        one = ring()
        assert one.put(b"x")
        assert make_way(one.consumers[0], 1 << 60) == (0, 0)

    def test_a_damaged_time_makes_nothing_too_old(self, ring: Make) -> None:
        one = self.filled(ring)
        one.consumers[0].lane.ring[80] ^= 1
        assert make_way(one.consumers[0], 1 << 60) == (0, 0)

    def test_dying_while_making_way(self, ring: Make, deaths: Deaths) -> None:
        one = self.filled(ring)
        one.producers[0].want_room(rows=12)
        deaths.during(lambda: make_way(one.consumers[0]))
        found = set()
        for directory in deaths.buried():
            after = Ring(directory).attach()
            assert balanced(after)
            found.add(tally(after).dropped)
            after.close()
        assert found == {0, 12}
