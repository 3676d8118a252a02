"""The memory channel: Flume's contract, its bounds, and what several sources and sinks of one channel see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shipper.api import EventBatch, Origin
from shipper.batch.framing import line_ends, rows_of
from shipper.channels.memory.channel import MemoryChannel, MemoryOptions, lane_names
from shipper.config.field import read_options
from shipper.errors import TransactionMisused
from shipper.ring.wait import Doorbell
from shipper.testing.contracts import ChannelContract
from tests.channels.conftest import Memory
from tests.vectors import vectors

Make = Callable[..., Memory]
SMALL = {"ring.bytes": "64k"}


@pytest.mark.parametrize("channel", [{}, SMALL, {"capacity": "100000", "byteCapacity": "100m"}], indirect=True)
class TestContract(ChannelContract):
    """A memory channel keeps the contract, whatever bounds it, with what was taken overwritten behind each commit."""

    @pytest.fixture
    def channel(self, memory: Make, request: pytest.FixtureRequest) -> Memory:
        return memory(request.param)


class TestContractOfAGrid(ChannelContract):
    """So does one that has rivals: two sources put, and their count is exact over both."""

    @pytest.fixture
    def channel(self, memory: Make) -> Memory:
        return memory({"capacity": "100000"}, sources=2)


class TestFlumesAnswers:
    """The recorded answers of Flume's MemoryChannel."""

    @pytest.fixture
    def rows(self) -> dict[str, dict]:
        rows = vectors("memory_channel")
        assert {row["id"] for row in rows} == {
            "capacity", "byte_capacity_events", "take_empty", "close_open_transaction"
        }  # fmt: skip
        return {row["id"]: row for row in rows}

    def test_the_sixth_put_into_a_capacity_of_five_fails(self, memory: Make, rows: dict) -> None:
        channel = memory({key: str(value) for key, value in rows["capacity"]["config"].items()})
        assert [channel.put(b"x") for _ in range(6)] == [True] * 5 + [False]

    def test_bodies_take_slots_of_a_hundred_bytes(self, memory: Make, rows: dict) -> None:
        channel = memory({key: str(value) for key, value in rows["byte_capacity_events"]["config"].items()})
        assert [channel.put(b"x" * 405) for _ in range(4)] == [True] * 3 + [False]

    def test_take_of_an_empty_channel_is_null(self, memory: Make, rows: dict) -> None:
        assert rows["take_empty"]["out"].startswith("null")
        assert memory().take() == []

    def test_closing_an_open_transaction_is_an_error(self, memory: Make, rows: dict) -> None:
        assert rows["close_open_transaction"]["out"] == "IllegalStateException"
        transaction = memory().take_side().transaction()
        transaction.begin()
        with pytest.raises(TransactionMisused, match="commit or roll it back first"):
            transaction.close()


class TestCapacity:
    """What the file says is exact: never a row more, and every row that fits."""

    def test_capacity_counts_events_not_puts(self, memory: Make) -> None:
        channel = memory({"capacity": "10"})
        assert channel.put(*[b"x"] * 7)
        assert not channel.put(*[b"x"] * 4)
        assert channel.put(*[b"x"] * 3)
        assert not channel.put(b"x")
        assert channel.put_side().putters["c1"].full_because == "its capacity of 10 events is used up"

    def test_room_comes_back_with_the_commit_of_the_take(self, memory: Make) -> None:
        channel = memory({"capacity": "2"})
        assert channel.put(b"a", b"b")
        assert channel.take(commit=False) == [b"a", b"b"]
        assert not channel.put(b"c")
        assert channel.take() == [b"a", b"b"]
        assert channel.put(b"c", b"d")

    def test_rows_taken_but_not_committed_count(self, memory: Make) -> None:
        channel = memory({"capacity": "2"})
        assert channel.put(b"a", b"b")
        transaction = channel.take_side().transaction()
        transaction.begin()
        transaction.take()
        assert not channel.put(b"c")
        transaction.commit()
        assert channel.put(b"c")

    def test_capacity_is_one_number_over_all_sources_and_lanes(self, memory: Make) -> None:
        channel = memory({"capacity": "9"}, sources=3, sinks=2)
        accepted = sum(channel.put(b"x", worker=number % 3) for number in range(30))
        assert accepted == 9
        taken = len(channel.take(0))
        assert sum(channel.put(b"y", worker=number % 3) for number in range(30)) == taken

    def test_rows_that_a_dead_source_put_count(self, memory: Make) -> None:
        channel = memory({"capacity": "5"}, sources=2)
        assert channel.put(*[b"x"] * 4, worker=1)
        channel.kill()
        assert not channel.put(b"a", b"b") and channel.put(b"a")

    def test_a_source_that_died_while_it_counted_does_not_block_the_others(self, memory: Make) -> None:
        channel = memory({"capacity": "5"}, sources=2)
        transaction = channel.put_side(1).transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"x"] * 5))
        assert not channel.put(b"a"), "the count is exact only while one counts at a time"
        channel.kill_source(1)
        assert channel.put(*[b"a"] * 5)

    @pytest.mark.parametrize(("size", "fit"), [(0, 16), (1, 16), (100, 16), (101, 8), (200, 8), (799, 2), (800, 2)])
    def test_byte_capacity_is_in_slots_with_the_buffer_set_aside(self, memory: Make, size: int, fit: int) -> None:
        channel = memory({"byteCapacity": "2000", "byteCapacityBufferPercentage": "20"})
        assert sum(channel.put(b"x" * size) for _ in range(20)) == fit
        channel.drain()
        assert sum(channel.put(b"x" * size) for _ in range(20)) == fit

    def test_byte_capacity_counts_over_all_sources(self, memory: Make) -> None:
        channel = memory({"byteCapacity": "1000"}, sources=2)
        assert sum(channel.put(b"x" * 150, worker=number % 2) for number in range(20)) == 4
        assert "byteCapacity of 1000" in channel.put_side(1).putters["c1"].full_because

    def test_byte_capacity_of_zero_is_no_bound(self, memory: Make) -> None:
        channel = memory({"byteCapacity": "0", **SMALL})
        assert all(channel.put(b"x" * 100) for _ in range(40))

    def test_without_a_capacity_the_ring_is_the_bound(self, memory: Make) -> None:
        channel = memory(SMALL)
        count = 0
        while channel.put(b"x" * 500):
            count += 1
        assert 20 < count < 130
        assert "ring of 65536 bytes is full" in channel.put_side().putters["c1"].full_because
        assert channel.drain() == [b"x" * 500] * count
        assert channel.put(b"x" * 500)

    def test_a_transaction_without_room_can_not_be_committed(self, memory: Make) -> None:
        """Half of it would be in."""
        channel = memory({"capacity": "1"})
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"a"]))
        assert not transaction.put("c1", EventBatch.of([b"b"]))
        with pytest.raises(TransactionMisused, match="roll back instead"):
            transaction.commit()
        transaction.rollback()
        assert channel.put(b"c") and channel.drain() == [b"c"]

    @pytest.mark.parametrize(
        ("properties", "rows_max"),
        [
            ({}, None), ({"capacity": "1000"}, 500), ({"capacity": "1"}, 1), ({"transactionCapacity": "10"}, None),
            ({"capacity": "5", "transactionCapacity": "5"}, 5),
            ({"capacity": "1000", "transactionCapacity": "800"}, 800),
            ({"transactionCapacity": "10", "strictBatch": "true"}, 10),
        ],
    )  # fmt: skip
    def test_how_many_rows_a_put_may_have(self, properties: dict[str, str], rows_max: int | None) -> None:
        options, _ = read_options(MemoryOptions, properties)
        assert options is not None and MemoryChannel("c1", options).rows_max == rows_max

    @pytest.mark.parametrize(
        ("properties", "rows_max"),
        [
            ({}, None), ({"capacity": "10000", "transactionCapacity": "100"}, 10_000), ({"capacity": "100"}, 100),
            ({"capacity": "15000"}, 10_000), ({"capacity": "30000"}, 15_000),
            ({"capacity": "30000", "transactionCapacity": "20000"}, 20_000),
            # Where no room means that rows are lost, or go to a disk, or where bytes bound the channel too: half.
            ({"capacity": "900", "onFull": "dropNewest"}, 450), ({"capacity": "900", "onFull": "dropOldest"}, 450),
            ({"capacity": "900", "onFull": "spill"}, 450), ({"capacity": "900", "byteCapacity": "1m"}, 450),
            ({"capacity": "100", "transactionCapacity": "10", "strictBatch": "true"}, 10),
        ],
    )  # fmt: skip
    def test_a_put_of_the_only_source_for_the_only_sink_may_fill_a_small_channel(
        self, properties: dict[str, str], rows_max: int | None
    ) -> None:
        options, _ = read_options(MemoryOptions, properties)
        assert options is not None and MemoryChannel("c1", options).rows_max_alone == rows_max

    def test_a_transaction_larger_than_its_channel_is_a_problem_of_the_file(self) -> None:
        options, findings = read_options(MemoryOptions, {"capacity": "5", "transactionCapacity": "6"})
        assert options is None
        assert "transactionCapacity = 6 is more than capacity = 5" in findings[0].message


class TestRings:
    """How large the rings are, and what happens to a put that is too large for its ring."""

    def test_the_ring_bytes_are_shared_out_over_the_lanes(self, memory: Make) -> None:
        memory({"ring.bytes": "1m"}, sources=2, sinks=2)
        channel = memory()
        assert channel.lane().stat().st_size == 4096 + (256 << 10)

    def test_without_a_size_no_lane_is_smaller_than_4_mib(self, memory: Make) -> None:
        channel = memory({}, sources=5, sinks=4)
        assert channel.lane(4, 3).stat().st_size == 4096 + (4 << 20)

    def test_a_channel_keeps_the_lanes_that_it_has(self, memory: Make) -> None:
        channel = memory({"ring.bytes": "1m"})
        assert channel.put(b"kept")
        channel.kill()
        again = memory({"ring.bytes": "2m"})
        assert again.lane().stat().st_size == 4096 + (1 << 20)
        assert again.drain() == [b"kept"]

    @pytest.mark.parametrize("size", [20_000, 31_000, 31_616, 31_700, 32_000, 32_640, 32_768, 33_000, 60_000, 500_000])
    @pytest.mark.parametrize("before", [0, 1, 9_000, 30_000])
    def test_a_put_of_any_size_goes_in_wherever_the_ring_stands(self, memory: Make, size: int, before: int) -> None:
        """Also when the rest of the ring has to be skipped: no put waits for room that can never come."""
        channel = memory(SMALL)
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        for _ in range(3):
            if before:
                assert channel.put(b"b" * before) and channel.drain() == [b"b" * before]
            assert channel.put(body), f"{size} bytes behind {before}"
            assert channel.drain() == [body]

    def overflow_files(self, channel: Memory) -> list[str]:
        return sorted(path.name for path in channel.lane().parent.glob("*overflow*"))

    def test_a_put_of_more_than_half_a_ring_lies_in_a_file_until_it_is_delivered(self, memory: Make) -> None:
        channel = memory(SMALL)
        large = b"L" * 200_000
        assert channel.put(large, b"second row")
        assert self.overflow_files(channel) == ["r0.0--k0.0.overflow-1"]
        assert not channel.put(large), "one at a time: memory is bounded by one put"
        assert channel.put(b"small") and self.overflow_files(channel) == ["r0.0--k0.0.overflow-1"]
        assert channel.take(commit=False) == [large, b"second row", b"small"]
        assert self.overflow_files(channel) != []
        assert channel.take() == [large, b"second row", b"small"]
        assert self.overflow_files(channel) == []

    def test_an_overflowing_put_outlives_its_process(self, memory: Make) -> None:
        channel = memory(SMALL)
        assert channel.put(b"L" * 200_000, origins=[Origin("f", 0, 200_000)])
        channel.kill()
        assert channel.put_side().last_origins() == [Origin("f", 0, 200_000)]
        assert channel.drain() == [b"L" * 200_000]

    def test_origins_of_an_overflowing_put_are_known_after_it_was_delivered(self, memory: Make) -> None:
        """The worker dies before its position table has them, the sink delivers: the rows must not come again."""
        channel = memory(SMALL)
        assert channel.put(b"L" * 200_000, origins=[Origin("f", 0, 200_000)])
        assert channel.drain() == [b"L" * 200_000]
        channel.kill()
        assert channel.put_side().last_origins() == [Origin("f", 0, 200_000)]

    def test_an_overflow_file_that_no_frame_names_is_removed(self, memory: Make) -> None:
        channel = memory(SMALL)
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"L" * 200_000]))
        channel.kill()
        assert self.overflow_files(channel) != []
        channel.put_side()
        assert self.overflow_files(channel) == []

    def test_files_that_a_dead_sink_left_do_not_pile_up(self, memory: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        channel = memory(SMALL)
        for _ in range(3):
            assert channel.put(b"L" * 200_000)
            with monkeypatch.context() as patch:
                patch.setattr(Path, "unlink", lambda *_, **__: None)  # it dies between the commit and the removal
                channel.drain()
            channel.kill_sink(0)
        assert len(self.overflow_files(channel)) <= 1

    def test_an_overflow_file_that_somebody_removed_costs_its_rows_and_no_more(self, memory: Make) -> None:
        channel = memory(SMALL)
        assert channel.put(b"L" * 200_000, b"gone too") and channel.put(b"small")
        (channel.lane().parent / self.overflow_files(channel)[0]).unlink()
        assert channel.drain() == [b"small"]
        assert channel.take_side().lost_rows == 2
        assert channel.rows() == 0


class TestSeveralChannels:
    """One put into several channels is in all of them or in none."""

    def transaction(self, channel: Memory) -> object:
        transaction = channel.put_side().transaction()
        transaction.begin()
        return transaction

    def test_both_see_it_at_the_commit(self, memory: Make) -> None:
        channel = memory(channels=("c1", "c2"))
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"one"])) and transaction.put("c2", EventBatch.of([b"two"]))
        taking = {name: channel.take_side(0, name) for name in ("c1", "c2")}
        assert not any(side.waiting() for side in taking.values())
        transaction.commit()
        assert all(side.waiting() for side in taking.values())

    def test_neither_has_it_when_one_is_full(self, memory: Make) -> None:
        channel = memory({"capacity": "1"}, channels=("c1", "c2"))
        first = channel.put_side().transaction()
        first.begin()
        assert first.put("c2", EventBatch.of([b"fills"]))
        first.commit()
        second = channel.put_side().transaction()
        second.begin()
        assert second.put("c1", EventBatch.of([b"x"]))
        assert not second.put("c2", EventBatch.of([b"x"]))
        second.rollback()
        assert channel.drain() == []
        assert channel.put(b"room again")

    def test_killed_before_the_commit_neither_has_it(self, memory: Make) -> None:
        channel = memory(channels=("c1", "c2"))
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"x"])) and transaction.put("c2", EventBatch.of([b"x"]))
        channel.kill()
        assert not channel.take_side(0, "c1").waiting() and not channel.take_side(0, "c2").waiting()

    def test_the_origin_is_in_each_of_them(self, memory: Make) -> None:
        channel = memory(channels=("c1", "c2"))
        batch = EventBatch.of([b"x"]).with_origins([Origin("f", 0, 1)])
        transaction = channel.put_side().transaction()
        transaction.begin()
        assert transaction.put("c2", batch) and transaction.put("c1", batch)
        transaction.commit()
        channel.kill()
        assert channel.put_side().last_origins() == [Origin("f", 0, 1)]


class TestSeveralSinks:
    """Sinks of one channel compete: each event goes to one of them, and who can't deliver holds nothing back."""

    def numbered(self, channel: Memory, count: int, start: int = 0) -> list[bytes]:
        bodies = [b"%04d" % number for number in range(start, start + count)]
        assert all(channel.put(body) for body in bodies)
        return bodies

    def test_every_event_goes_to_one_of_them(self, memory: Make) -> None:
        channel = memory(SMALL, sinks=3)
        bodies = self.numbered(channel, 60)
        taken: list[bytes] = []
        for turn in range(60):
            taken += channel.take(turn % 3, batches=1)
        for worker in range(3):
            taken += channel.drain(worker)
        assert sorted(taken) == bodies

    def test_rows_go_where_room_is(self, memory: Make) -> None:
        """A sink that does not take must not stop the one that does."""
        channel = memory(SMALL, sinks=2)
        channel.take_side(0), channel.take_side(1)
        taken = 0
        for _ in range(300):
            while not channel.put(b"x" * 2000):
                count = len(channel.take(1))
                assert count
                taken += count
        assert taken > 200

    def test_a_stream_stays_in_its_lane_while_it_has_rows_there(self, memory: Make) -> None:
        channel = memory(SMALL, sinks=2)
        for number in range(20):
            stream = f"file{number % 4}"
            assert channel.put(b"%s %d" % (stream.encode(), number), origins=[Origin(stream, number, number + 1)])
        for worker in (0, 1):
            seen: dict[bytes, list[int]] = {}
            for body in channel.drain(worker):
                name, _, number = body.partition(b" ")
                seen.setdefault(name, []).append(int(number))
            assert all(numbers == sorted(numbers) and len(numbers) == 5 for numbers in seen.values())

    def test_a_sink_that_lets_go_is_stood_in_for_in_order(self, memory: Make) -> None:
        channel = memory(SMALL, sinks=2)
        first, second = channel.take_side(0), channel.take_side(1)
        bodies = self.numbered(channel, 20)
        assert channel.take(0, commit=False), "it has taken, and can't deliver"
        released = []
        first.let_go(lambda: released.append("first"))
        assert released == ["first"], "its journal is made independent once, before the lanes go"
        taken = channel.drain(1)
        assert sorted(taken) == bodies
        for lane in (0, 1):
            in_lane = [b for b in taken if b in bodies]
            assert in_lane, lane
        assert not first.waiting(), "it holds itself back"
        second.check()

    def test_in_one_lane_the_order_is_kept_over_the_change_of_hands(self, memory: Make) -> None:
        channel = memory(SMALL, sinks=2)
        channel.take_side(1)
        for number in range(10):
            assert channel.put(b"%d" % number, origins=[Origin("f", number, number + 1)])
        holder = 0 if channel.take_side(0).waiting() and channel.take(0, commit=False) else 1
        other = 1 - holder
        first = channel.take(holder, batches=3)
        channel.take_side(holder).let_go(lambda: None)
        assert first + channel.drain(other) == [b"%d" % number for number in range(10)]

    def test_the_home_sink_gets_its_lane_back(self, memory: Make) -> None:
        channel = memory(SMALL, sinks=2)
        home, other = channel.take_side(0), channel.take_side(1)
        self.numbered(channel, 10)
        home.let_go(lambda: None)
        assert channel.drain(1)
        self.numbered(channel, 10, start=10)
        home.come_back()
        assert channel.take(1, batches=1)
        handed = []
        other.give_back(lambda: handed.append("other"))
        assert handed
        self.numbered(channel, 10, start=20)
        assert channel.take(0), "its own lane is its own again"
        home.check(), other.check()

    def test_a_lane_that_is_given_back_rings_its_source(self, memory: Make, tmp_path: Path) -> None:
        channel = memory(SMALL, sinks=2)
        doorbell = Doorbell(tmp_path / "bells" / "r0.0")
        home, other = channel.take_side(0), channel.take_side(1)
        home.let_go(lambda: None)
        self.numbered(channel, 4)
        channel.drain(1)
        doorbell.clear()
        home.come_back()
        other.give_back(lambda: None)
        assert doorbell.wait(0) == () and home.transaction() is not None
        doorbell.close()

    def test_the_lane_of_a_dead_sink_is_not_taken_by_another(self, memory: Make) -> None:
        """What it wrote and did not commit stands in its files: only it can cut them."""
        channel = memory(SMALL, sinks=2)
        bodies = self.numbered(channel, 40)
        assert channel.take(0, commit=False)
        channel.take_side(1)
        channel.kill_sink(0)
        rest = channel.drain(1)
        assert rest and len(rest) < 40
        assert sorted(rest + channel.drain(0)) == bodies

    def test_sequences_are_those_of_the_sink_that_asks(self, memory: Make) -> None:
        channel = memory(SMALL, sinks=2)
        self.numbered(channel, 40)
        for worker, sequence in ((0, 5), (1, 9)):
            transaction = channel.take_side(worker).transaction()
            transaction.begin()
            assert transaction.take() is not None
            transaction.sequence = sequence
            transaction.commit()
        assert [channel.take_side(worker).sequence() for worker in (0, 1)] == [5, 9]

    def test_a_sequence_can_be_stored_without_rows(self, memory: Make) -> None:
        channel = memory(SMALL)
        assert channel.put(b"a")
        channel.take_side().store_sequence(7)
        channel.kill()
        assert channel.take_side().sequence() == 7
        assert channel.drain() == [b"a"]

    def test_frames_without_rows_do_not_take_back_a_sequence(self, memory: Make) -> None:
        """A commit of rows that interceptors emptied has no journal entry; the entry before still counts."""
        channel = memory(SMALL)
        assert channel.put(b"a")
        transaction = channel.take_side().transaction()
        transaction.begin()
        transaction.take()
        transaction.sequence = 7
        transaction.commit()
        assert channel.put(origins=[Origin("f", 0, 9)])
        empty = channel.take_side().transaction()
        empty.begin()
        assert empty.take() is None
        empty.commit()
        channel.kill()
        assert channel.take_side().sequence() == 7
        assert channel.put_side().page.lane(0).tail == channel.put_side().putters["c1"].producers[0].lane.head()


class TestSeveralSources:
    """Each source worker has lanes of its own; none waits for another."""

    def test_rows_of_all_sources_arrive_in_the_order_of_each(self, memory: Make) -> None:
        channel = memory(SMALL, sources=3)
        for number in range(30):
            assert channel.put(b"%d %02d" % (number % 3, number), worker=number % 3)
        taken = channel.drain()
        assert len(taken) == 30
        for source in (b"0", b"1", b"2"):
            mine = [body for body in taken if body.startswith(source)]
            assert mine == sorted(mine)

    def test_no_source_is_starved(self, memory: Make) -> None:
        channel = memory(SMALL, sources=3)
        for number in range(30):
            assert channel.put(b"%d" % (number % 3), worker=number % 3)
        first = {body for _ in range(3) for body in channel.take(batches=1)}
        assert first == {b"0", b"1", b"2"}

    def test_the_death_of_one_is_nothing_to_the_others(self, memory: Make) -> None:
        channel = memory(SMALL, sources=2)
        assert channel.put(b"a", worker=0) and channel.put(b"b", worker=1)
        channel.kill_source(1)
        assert channel.put(b"c", worker=0)
        assert sorted(channel.drain()) == [b"a", b"b", b"c"]


@pytest.mark.parametrize("share", range(1, 16))
def test_rows_that_can_not_stay_where_they_were_read_find_room_in_an_empty_ring(memory: Make, share: int) -> None:
    """Wherever in the ring it is: nobody will ever take anything to make room for them."""
    ring_bytes, block_bytes = 20 << 20, 4 << 20
    channel = memory({"ring.bytes": str(ring_bytes)})
    for _ in range(4):
        assert channel.put(b"x" * (ring_bytes * share // 64))
    assert len(channel.drain()) == 4
    room = channel.put_side().room(block_bytes)
    assert room is not None
    room[:] = (b"y" * 1023 + b"\n") * (block_bytes >> 10)
    rows = EventBatch(rows_of(room, line_ends(room)), trim=1)
    wanted = rows.filter(pa.array(np.arange(rows.rows) % 16 != 0))
    assert channel.put_batch(wanted.with_header("host", pa.array(["a" * 400] * wanted.rows)))
    assert channel.drain() == [b"y" * 1023] * wanted.rows


class TestAhead:
    """What the next transaction will begin with can be seen before this one is committed, and is not taken by that."""

    def test_the_next_rows_are_seen_and_come_in_the_next_transaction(self, memory: Make) -> None:
        channel = memory()
        assert channel.put(b"a") and channel.put(b"b") and channel.put(b"c")
        side = channel.take_side()
        for body, coming in ((b"a", b"b"), (b"b", b"c"), (b"c", None)):
            transaction = side.transaction()
            transaction.begin()
            taken = transaction.take()
            assert taken is not None and taken.body.to_pylist() == [body]
            ahead = transaction.ahead()
            assert (ahead and ahead.body.to_pylist()) == (coming and [coming])
            assert ahead is None or ahead.place != taken.place
            place = ahead and ahead.place
            assert transaction.rows == 1
            transaction.commit()
            transaction.close()
        assert place is None
        assert channel.rows() == 0

    def test_they_are_the_same_ones_when_they_are_taken(self, memory: Make) -> None:
        channel = memory()
        assert channel.put(b"a") and channel.put(b"b")
        side = channel.take_side()
        first = side.transaction()
        first.begin()
        first.take()
        ahead = first.ahead()
        assert ahead is not None
        first.rollback()
        again = side.transaction()
        again.begin()
        one, two = again.take(), again.take()
        assert one is not None and two is not None
        assert (one.body.to_pylist(), two.body.to_pylist()) == ([b"a"], [b"b"])
        assert two.place == ahead.place != one.place
        again.commit()
        assert channel.rows() == 0

    def test_nothing_is_said_where_another_lane_may_be_next(self, memory: Make) -> None:
        channel = memory(sources=2)
        assert channel.put(b"a", worker=0) and channel.put(b"b", worker=0) and channel.put(b"c", worker=1)
        transaction = channel.take_side().transaction()
        transaction.begin()
        assert transaction.take() is not None
        assert transaction.ahead() is None
        transaction.rollback()


def test_a_view_that_outlives_its_transaction_is_found_by_poison(memory: Make) -> None:
    channel = memory()
    assert channel.put(b"a" * 100) and channel.put(b"the last put is spared")
    transaction = channel.take_side().transaction()
    transaction.begin()
    batch = transaction.take()
    copy = batch.own()
    transaction.commit()
    with pytest.raises(Exception):  # noqa: B017 - whatever Arrow makes of bytes that are no longer there
        assert batch.body.to_pylist() == [b"a" * 100]
    assert copy.body.to_pylist() == [b"a" * 100]


def test_poison_is_gone_before_the_room_is_given_back(memory: Make) -> None:
    """Behind the commit the producer writes there again: poison that came later would spoil its frame."""
    channel = memory(SMALL)
    lane = channel.lane()
    assert channel.put(b"x" * 1000) and channel.put(b"the last put is spared")
    side = channel.take_side()
    transaction = side.transaction()
    transaction.begin()
    transaction.take()
    consumer = side.lanes[0].consumer
    release = consumer.release
    spoiled = []

    def look(sequence: int) -> bool:
        spoiled.append(b"\xdb" * 900 in lane.read_bytes())
        return release(sequence)

    consumer.release = look  # type: ignore[method-assign]
    transaction.commit()
    assert spoiled == [True]


def test_lanes_of_a_directory_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("r1.0--k1.0", "gate", ".r1.0--k1.0.123", "r1.0--k1.0.overflow-7"):
        (tmp_path / name).touch()
    assert lane_names(tmp_path) == {"r1.0--k1.0": ("r1.0", "k1.0")}
