"""What a full channel does, and what becomes of events that are too old: `onFull` and `maxAge`, and their tallies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shipper.api import EventBatch, Origin
from shipper.channels.memory.channel import MemoryOptions
from shipper.config.field import read_options
from shipper.instance.ledger import Numbers, mismatch, worker_numbers
from shipper.shared.tally import Intake, Offers
from tests.channels.conftest import Memory

Make = Callable[..., Memory]


def ledger(channel: Memory, source: int = 0) -> Numbers:
    """The books of a channel with one lane; they balance."""
    page = channel.put_side(source).page
    lane = channel.put_side(source).putters["c1"].producers[0].lane
    ((numbers, _),) = worker_numbers(page, [(lane, 0)])[0]
    return numbers


def offer(channel: Memory, *bodies: bytes, start: int = 0) -> bool:
    """One put, as a tail makes it."""
    return channel.put(*bodies, origins=[Origin("f", start, start + len(bodies))])


def bulk(channel: Memory) -> int:
    """Puts 1 KiB at a time until the ring is full; how many went in."""
    puts = 0
    while puts < 10_000 and offer(channel, b"%06d" % puts + b"x" * 1018, start=puts):
        puts += 1
        if ledger(channel)["dropped_new"]:
            return puts - 1
    return puts


class TestBlock:
    """The default, as in Flume."""

    def test_a_full_channel_takes_nothing_and_gives_nothing_up(self, memory: Make) -> None:
        channel = memory({"capacity": "2"})
        assert offer(channel, b"a", b"b")
        assert not offer(channel, b"c")
        assert channel.take_side().make_way() == (0, 0)
        assert channel.drain() == [b"a", b"b"]


class TestDropNewest:
    """What comes while the channel is full is given up at once."""

    def test_rows_that_find_no_room_are_dropped_and_counted(self, memory: Make) -> None:
        channel = memory({"capacity": "2", "onFull": "dropNewest"})
        assert offer(channel, b"a", b"b") and offer(channel, b"c", b"d") and offer(channel, b"e")
        assert channel.drain() == [b"a", b"b"]
        found = ledger(channel)
        assert (found["offered"], found["accepted"], found["dropped_new"]) == (5, 2, 3)
        assert offer(channel, b"f")
        assert channel.drain() == [b"f"]

    def test_also_when_it_is_the_ring_that_is_full(self, memory: Make) -> None:
        channel = memory({"ring.bytes": "64k", "onFull": "dropNewest"})
        taken = bulk(channel)
        assert 20 < taken < 64
        assert len(channel.drain()) == taken

    def test_a_worker_that_starts_again_goes_on_behind_what_was_dropped(self, memory: Make) -> None:
        channel = memory({"capacity": "1", "onFull": "dropNewest"})
        assert offer(channel, b"a", start=0) and offer(channel, b"b", start=1)
        channel.kill()
        assert channel.put_side().last_origins() == [Origin("f", 1, 2)]
        assert ledger(channel)["dropped_new"] == 1

    def test_dying_before_the_commit_drops_nothing(self, memory: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        channel = memory({"capacity": "1", "onFull": "dropNewest"})
        assert offer(channel, b"a", start=0) and offer(channel, b"b", start=1)
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"c"]).with_origins([Origin("f", 2, 3)]))
        channel.put_side().write_note(transaction._number, [Origin("f", 2, 3)])  # and there it dies
        channel.kill()
        assert channel.put_side().last_origins() == [], "the position table has what the put before said"
        assert ledger(channel)["dropped_new"] == 1

    def test_the_other_channels_of_the_source_get_the_rows(self, memory: Make) -> None:
        channel = memory({"capacity": "1", "onFull": "dropNewest"}, channels=("c1", "c2"))
        assert offer(channel, b"a")
        transaction = channel.put_side().transaction()
        transaction.begin()
        batch = EventBatch.of([b"b"]).with_origins([Origin("f", 1, 2)])
        assert transaction.put("c1", batch) and transaction.put("c2", batch)
        transaction.commit()
        assert transaction.dropped == {"c1": 1}
        assert channel.put_side().last_origins() == [Origin("f", 1, 2)]
        taking = channel.take_side(0, "c2").transaction()
        taking.begin()
        assert taking.take().body.to_pylist() == [b"b"]
        taking.rollback()

    def test_rows_that_wait_for_another_worker_only_are_not_dropped(self, memory: Make) -> None:
        """Not full: another source worker is just counting."""
        channel = memory({"capacity": "10", "onFull": "dropNewest"}, sources=2)
        gate = channel.put_side(1).putters["c1"]._gate
        assert gate is not None and gate.try_lock(0)
        assert not channel.put(b"a")
        gate.unlock(0)
        assert channel.put(b"a")
        assert ledger(channel)["dropped_new"] == 0


class TestDropOldest:
    """The sink's side gives up what waits longest, when it is asked, between two transactions."""

    def test_as_many_rows_go_as_are_needed(self, memory: Make) -> None:
        channel = memory({"capacity": "4", "onFull": "dropOldest"})
        assert offer(channel, b"a", b"b", b"c") and offer(channel, b"d")
        assert not offer(channel, b"e", b"f")
        assert channel.take_side().make_way() == (0, 2)
        assert offer(channel, b"e", b"f")
        assert channel.drain() == [b"c", b"d", b"e", b"f"]
        assert ledger(channel)["dropped_old"] == 2

    def test_frames_go_when_it_is_the_ring_that_is_full(self, memory: Make) -> None:
        channel = memory({"ring.bytes": "64k", "onFull": "dropOldest"})
        put = bulk(channel)
        expired, dropped = channel.take_side().make_way()
        assert expired == 0 and 1 <= dropped <= 4, "a frame, and what stands in the way at the end of the ring"
        assert offer(channel, b"new")
        found = channel.drain()
        assert found[0].startswith(b"%06d" % dropped) and found[-1] == b"new" and len(found) == put - dropped + 1

    def test_a_put_that_needs_the_whole_lane_gets_it(self, memory: Make) -> None:
        channel = memory({"ring.bytes": "64k", "onFull": "dropOldest"})
        assert offer(channel, b"a") and offer(channel, b"b")
        assert not offer(channel, b"x" * 60_000)
        assert channel.take_side().make_way() == (0, 2)
        assert offer(channel, b"x" * 60_000)

    def test_bytes_are_bounded_likewise(self, memory: Make) -> None:
        channel = memory({"byteCapacity": "500", "byteCapacityBufferPercentage": "20", "onFull": "dropOldest"})
        for body in (b"a", b"b", b"c", b"d"):
            assert offer(channel, body)
        assert not offer(channel, b"e" * 150)
        assert channel.take_side().make_way() == (0, 2)
        assert offer(channel, b"e" * 150)
        assert channel.drain() == [b"c", b"d", b"e" * 150]

    def test_what_a_sink_holds_in_its_hands_is_not_dropped(self, memory: Make) -> None:
        channel = memory({"capacity": "2", "onFull": "dropOldest"})
        assert offer(channel, b"a", b"b")
        taking = channel.take_side().transaction()
        taking.begin()
        assert taking.take().rows == 2
        assert not offer(channel, b"c"), "it waits, as with block"
        taking.commit()
        assert channel.take_side().make_way() == (0, 0)
        assert offer(channel, b"c")
        assert ledger(channel)["dropped_old"] == 0

    def test_a_put_that_gave_up_wants_no_room_any_more(self, memory: Make) -> None:
        channel = memory({"capacity": "2", "onFull": "dropOldest"})
        assert offer(channel, b"a", b"b")
        assert not offer(channel, b"c")
        channel.put_side().sleeping(False)
        assert channel.take_side().make_way() == (0, 0)

    def test_a_sink_that_let_go_because_its_target_is_down_makes_way_all_the_same(self, memory: Make) -> None:
        channel = memory({"capacity": "2", "onFull": "dropOldest"})
        side = channel.take_side()
        assert offer(channel, b"a", b"b")
        side.let_go(lambda: None)
        assert not offer(channel, b"c")
        assert side.make_way() == (0, 1)
        assert not side.waiting(), "and holds nothing"
        assert offer(channel, b"c")

    def test_the_books_balance_after_a_death(self, memory: Make) -> None:
        channel = memory({"capacity": "4", "onFull": "dropOldest"})
        assert offer(channel, b"a", b"b", b"c", b"d")
        assert not offer(channel, b"e")
        channel.take_side().make_way()
        channel.kill()
        assert channel.take() == [b"b", b"c", b"d"]
        found = ledger(channel)
        assert found["dropped_old"] == 1 and found["taken"] == 4


class TestMaxAge:
    """Events that waited too long are not delivered, but counted."""

    def test_what_is_too_old_expires(self, memory: Make) -> None:
        channel = memory({"maxAge": "60"})
        assert offer(channel, b"a", b"b")
        channel.clock.advance(40)
        assert offer(channel, b"c")
        assert channel.take_side().make_way() == (0, 0)
        channel.clock.advance(21)
        assert channel.take_side().make_way() == (2, 0)
        assert channel.drain() == [b"c"]
        assert ledger(channel)["expired"] == 2

    def test_events_keep_their_age_over_a_death(self, memory: Make) -> None:
        channel = memory({"maxAge": "60"})
        assert offer(channel, b"a")
        channel.kill()
        channel.clock.advance(61)
        assert channel.take_side().make_way() == (1, 0)

    def test_without_it_nothing_ever_is(self, memory: Make) -> None:
        channel = memory()
        assert offer(channel, b"a")
        channel.clock.advance(1e9)
        assert channel.take_side().make_way() == (0, 0)
        assert channel.drain() == [b"a"]

    def test_a_put_that_went_to_an_overflow_file_expires_too(self, memory: Make) -> None:
        channel = memory({"ring.bytes": "64k", "maxAge": "60"})
        assert offer(channel, b"x" * 60_000)
        channel.clock.advance(61)
        assert channel.take_side().make_way() == (1, 0)
        assert channel.drain() == []


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("dropNewset", "did you mean dropNewest?"),
    ],
)
def test_what_is_not_there_is_refused_with_the_reason(value: str, told: str) -> None:
    options, findings = read_options(MemoryOptions, {"onFull": value})
    assert options is None and told in findings[0].message


def test_what_is_read_is_counted_with_the_put_that_it_went_into(memory: Make) -> None:
    channel = memory()
    for rows, commit in ((3, True), (5, False), (2, True)):
        transaction = channel.put_side().transaction()
        transaction.begin()
        transaction.note(Intake(rows, 10 * rows, rows - 1))
        assert transaction.put("c1", EventBatch.of([b"x"] * (rows - 1)))
        (transaction.commit if commit else transaction.rollback)()
    _, tally = channel.put_side().page.tallied()
    assert tally.intake == Intake(5, 50, 3)
    assert tally.offers == (Offers(3),)
    assert mismatch({**ledger(channel), "delivered": 0}) == 0
