"""The spillable memory channel: the contract of a channel, and that rows leave in order whichever way they went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.channels.memory.spilling import SpillingPutter
from shipper.testing.contracts import ChannelContract, ChannelUnderTest
from tests.channels.spilled import Spilled

Make = Callable[..., Spilled]


@pytest.fixture
def spilled(tmp_path: Path) -> Iterator[Make]:
    """Makes channels that spill: `spilled({"memoryCapacity": "5"}, sources=2)`."""
    made: list[Spilled] = []

    def make(properties: dict[str, str] | None = None, **grid: object) -> Spilled:
        made.append(Spilled(tmp_path, properties, **grid))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.kill()


class TestContract(ChannelContract):
    """A channel that spills keeps the contract of every channel, as long as it does not have to spill."""

    @pytest.fixture
    def channel(self, spilled: Make) -> Spilled:
        return spilled()


@pytest.mark.parametrize(
    "channel",
    [{"memoryCapacity": "1"}, {"memoryCapacity": "2"}, {"memoryCapacity": "2", "fsyncPerTransaction": "false"}],
    indirect=True,
)
class TestContractOnDisk(ChannelContract):
    """And when it does, but that a take ends where the next rows are in the other part, as in Flume."""

    @pytest.fixture
    def channel(self, spilled: Make, request: pytest.FixtureRequest) -> Spilled:
        return spilled(request.param)

    def test_a_take_that_is_rolled_back_comes_again_in_order(self, channel: ChannelUnderTest) -> None:
        assert channel.put(b"a", b"b") and channel.put(b"c")
        for _ in range(3):
            assert channel.take(commit=False) == [b"a", b"b"]
        assert channel.take() == [b"a", b"b"]
        assert channel.take() == [b"c"]
        assert channel.take() == []


def test_rows_go_to_disk_when_memory_is_full_and_leave_in_order(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "3"})
    wanted = [b"%d" % number for number in range(10)]
    for body in wanted:
        assert channel.put(body)
    assert (channel.in_memory, channel.on_disk) == (3, 7)
    assert channel.drain() == wanted
    assert (channel.in_memory, channel.on_disk) == (0, 0)


def test_it_is_said_once_before_the_first_rows_go_to_disk(spilled: Make) -> None:
    """Behind that, nobody knows how many rows come twice after a power cut."""
    channel = spilled({"memoryCapacity": "3"})
    lanes_then: list[int] = []
    (putter,) = channel.put_side().putters.values()
    assert isinstance(putter, SpillingPutter)
    putter.before_spilling = lambda: lanes_then.append(sum(producer.state.rows for producer in putter.producers))
    for number in range(3):
        assert channel.put(b"%d" % number)
    assert lanes_then == []
    for number in range(3, 6):
        assert channel.put(b"%d" % number)
    assert lanes_then == [3], "only those in memory had been put"


def test_rows_go_to_disk_only_when_memory_was_full_for_the_time_that_the_file_says(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "1", "overflowTimeout": "3"})
    assert channel.put(b"a")
    assert not channel.put(b"b")
    channel.clock.advance(2.9)
    assert not channel.put(b"b")
    channel.clock.advance(0.2)
    assert channel.put(b"b")
    assert channel.put(b"c"), "rows are on disk already: others follow at once"
    assert channel.drain() == [b"a", b"b", b"c"]
    assert channel.put(b"d")
    assert not channel.put(b"e"), "all of it was delivered: it begins again"


def test_rows_go_to_memory_again_when_so_much_of_it_is_free(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "4", "overflowDeactivationThreshold": "50"})
    for body in (b"1", b"2", b"3", b"4", b"5"):
        assert channel.put(body)
    assert channel.take(batches=1) == [b"1"]
    assert channel.put(b"6")
    assert channel.on_disk == 2, "a quarter of memory is free: too little"
    assert channel.take(batches=1) == [b"2"]
    assert channel.put(b"7")
    assert (channel.in_memory, channel.on_disk) == (3, 2)
    assert channel.drain() == [b"3", b"4", b"5", b"6", b"7"]


def test_a_put_waits_when_both_parts_are_full(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "2", "overflowCapacity": "3"})
    for number in range(5):
        assert channel.put(b"%d" % number)
    assert not channel.put(b"5")
    why = channel.put_side().full_because(channel.name)
    assert "memory is full" in why and "3 events" in why
    assert channel.take(batches=1) == [b"0"]
    assert channel.put(b"5")
    assert channel.drain() == [b"%d" % number for number in range(1, 6)]


def test_the_newest_are_dropped_when_both_parts_are_full_and_the_file_says_so(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "1", "overflowCapacity": "1", "onFull": "dropNewest"})
    assert all(channel.put(body) for body in (b"a", b"b", b"dropped", b"dropped too"))
    assert channel.drain() == [b"a", b"b"]


@pytest.mark.parametrize(("size", "held"), [("500", 8), ("1000", 4), ("250", 8)])
def test_bytes_are_counted_in_slots_of_the_average_event(spilled: Make, size: str, held: int) -> None:
    """80 % of 5,000 bytes; an event of 300 bytes takes one slot of 500 or 1,000, and two of 250."""
    channel = spilled({"byteCapacity": "5000", "avgEventSize": size})
    for _ in range(20):
        assert channel.put(b"x" * 300)
    assert channel.in_memory == held
    assert len(channel.drain()) == 20


def test_a_part_of_bytes_is_set_aside_for_headers(spilled: Make) -> None:
    channel = spilled({"byteCapacity": "5000", "byteCapacityBufferPercentage": "50"})
    for _ in range(20):
        assert channel.put(b"x")
    assert channel.in_memory == 5


def test_a_batch_that_is_larger_than_the_rings_goes_through_as_well(spilled: Make) -> None:
    channel = spilled()
    wanted = [b"small", b"x" * 500_000, b"y" * 500_000, b"behind"]
    for body in wanted:
        assert channel.put(body)
        channel.write()
    assert channel.drain() == wanted
    assert not list(channel.lane().parent.glob("*.overflow-*"))


def test_what_is_on_disk_already_comes_before_all_that_is_put_after_a_start(spilled: Make, tmp_path: Path) -> None:
    """The run directory is gone: rows of before are in the log under other lanes' names."""
    before = spilled({"memoryCapacity": "1"})
    for body in (b"gone with the memory", b"1", b"2"):
        assert before.put(body)
    before.write()
    before.kill()
    for path in (*tmp_path.glob("c1/*"), *tmp_path.glob("puts/*")):
        path.unlink()
    channel = spilled({"memoryCapacity": "1"}, run="another")
    assert channel.put(b"3") and channel.put(b"4")
    assert channel.drain() == [b"1", b"2", b"3", b"4"]


def test_a_busy_source_does_not_hold_back_what_another_one_has_on_disk(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "2"}, sources=2)
    for number in range(6):
        assert channel.put(b"r0 %d" % number)
    found = channel.take()
    for number in range(40):
        assert channel.put(b"r1 %d" % number, worker=1)
        found += channel.take()
    assert [body for body in found if body.startswith(b"r0")] == [b"r0 %d" % number for number in range(6)]
    found += channel.drain()
    assert [body for body in found if body.startswith(b"r1")] == [b"r1 %d" % number for number in range(40)]


def test_rows_are_too_old_wherever_they_are(spilled: Make) -> None:
    channel = spilled({"memoryCapacity": "2", "maxAge": "60"})
    for number in range(5):
        assert channel.put(b"%d" % number)
    channel.write()
    channel.clock.advance(61)
    assert channel.put(b"young")
    channel.write()
    assert channel.take_side().make_way() == (5, 0)
    assert channel.drain() == [b"young"]
