"""One sentence a pipeline: where it is held up."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.metrics.block import CHANNEL_NAMES, Kind, Sample, State, WorkerSample
from shipper.metrics.counters import NAMES
from shipper.metrics.holdup import fill_share, full_since_ms, hold_ups, shares
from shipper.metrics.observer import Observer

SECOND_NS = 1_000_000_000
NOW_MS = 1_000_000


def worker(
    kind: Kind, name: str, state: State = State.BUSY, since_s: float = 0, text: str = "", **counters: int
) -> WorkerSample:
    """A worker at NOW_MS that has just looked around, unless `progress_ms` says otherwise."""
    return WorkerSample(
        kind=kind, name=name, worker=counters.pop("worker", 0), type="", pid=1, start_ms=0, stop_ms=0, restarts=0,
        state=state, state_since_ms=NOW_MS - round(since_s * 1000), waits_for=text,
        told=bool(counters.pop("told", True)), channels=("c1",),
        counters={**dict.fromkeys(NAMES, 0), "progress_ms": NOW_MS, **counters},
    )  # fmt: skip


def sentence(
    *workers: WorkerSample, before: tuple[WorkerSample, ...] | None = None, **channel: int
) -> tuple[bool, str]:
    """The sentence about c1 from two samples one second apart; the earlier one has all counters at 0."""
    numbers = {**dict.fromkeys(CHANNEL_NAMES, 0), "capacity": 100, **channel}
    zero = tuple(worker(w.kind, w.name, worker=w.worker) for w in workers)
    earlier = Sample(NOW_MS - 1000, 0, "a1", 0, zero, {"c1": numbers})
    now = Sample(NOW_MS, 0, "a1", 0, workers, {"c1": numbers})
    (found,) = hold_ups(earlier, now)
    return found.held_up, found.sentence


FULL = {"size": 100, "full_since_ms": NOW_MS - 240_000}
STUCK_SOURCE = worker(Kind.SOURCE, "r1", State.WAITING_ROOM, 200, "room in c1")


def test_a_full_channel_names_the_sink_that_waits_and_for_what() -> None:
    sink = worker(Kind.SINK, "k1", State.WAITING_TARGET, 12, "the close of hdfs://nn/logs/x.tmp")
    assert sentence(STUCK_SOURCE, sink, **FULL) == (
        True, "c1 full for 4 min: k1 waits for the close of hdfs://nn/logs/x.tmp, 12 s",
    )  # fmt: skip


def test_a_sink_that_hangs_in_one_call_is_found_although_it_books_nothing() -> None:
    """It said what it was about to do, and has been busy with it ever since."""
    sink = worker(Kind.SINK, "k1", State.BUSY, 75, "the close of hdfs://nn/x")
    assert sentence(STUCK_SOURCE, sink, **FULL)[1] == "c1 full for 4 min: k1 waits for the close of hdfs://nn/x, 75 s"


def test_a_sink_that_hangs_without_a_word_is_told_by_its_missing_steps() -> None:
    """A stopped process, a call that never returns: it has not stored its progress."""
    sink = worker(Kind.SINK, "k1", told=False, progress_ms=NOW_MS - 75_000)
    assert sentence(STUCK_SOURCE, sink, **FULL)[1] == "c1 full for 4 min: k1 has hung in one step for 75 s"
    assert sentence(worker(Kind.SOURCE, "r1", waiting_input_ns=SECOND_NS), sink, size=3)[0]


def test_the_message_of_a_failure_is_told_as_one() -> None:
    """A worker that says "k1: ..." gives a reason, not the name of a thing."""
    sink = worker(Kind.SINK, "k1", State.WAITING_TARGET, 12, "k1: can't open /out: no space left on device")
    assert sentence(STUCK_SOURCE, sink, **FULL)[1] == (
        "c1 full for 4 min: k1 can't deliver, 12 s: can't open /out: no space left on device"
    )
    sink = worker(Kind.SINK, "k1", State.WAITING_TARGET, 12, "could not write to /out/x: No space left on device")
    assert sentence(STUCK_SOURCE, sink, **FULL)[1] == (
        "c1 full for 4 min: k1 can't deliver, 12 s: could not write to /out/x: No space left on device"
    )


def test_a_full_channel_with_a_busy_sink_says_that_the_sink_is_the_slowest_part() -> None:
    sink = worker(Kind.SINK, "k1", busy_ns=SECOND_NS)
    assert sentence(STUCK_SOURCE, sink, **FULL)[1] == (
        "c1 full for 4 min: k1 is the slowest part, busy 100% of the time"
    )


def test_of_several_sink_workers_the_one_that_waits_is_named_with_its_number() -> None:
    sinks = (
        worker(Kind.SINK, "k1", busy_ns=SECOND_NS),
        worker(Kind.SINK, "k1", State.WAITING_TARGET, 3, "x", worker=1),
    )
    assert sentence(STUCK_SOURCE, *sinks, **FULL)[1] == "c1 full for 4 min: k1 (worker 2 of 2) waits for x, 3 s"


@pytest.mark.parametrize(("sinks", "told"), [
    ((), "c1 full for 4 min: no sink takes from it"),
    ((worker(Kind.SINK, "k1", State.FAILED, 5, "could not go on"),), "c1 full for 4 min: k1 failed: could not go on"),
    ((worker(Kind.SINK, "k1", State.STOPPED),), "c1 full for 4 min: k1 has stopped"),
    ((worker(Kind.SINK, "k1", State.STARTING),), "c1 full for 4 min: k1 is starting"),
])  # fmt: skip
def test_a_full_channel_without_a_working_sink(sinks: tuple[WorkerSample, ...], told: str) -> None:
    assert sentence(STUCK_SOURCE, *sinks, **FULL) == (True, told)


def test_a_target_that_is_down_is_told_before_the_channel_is_full() -> None:
    source = worker(Kind.SOURCE, "r1", waiting_input_ns=SECOND_NS)
    sink = worker(Kind.SINK, "k1", State.WAITING_TARGET, 30, "its target")
    assert sentence(source, sink, size=34) == (True, "k1 waits for its target, 30 s; c1 is 34% full")


def test_a_failed_source_is_told() -> None:
    source = worker(Kind.SOURCE, "r1", State.FAILED, text="port 4141 is in use")
    assert sentence(source, worker(Kind.SINK, "k1"))[1] == "r1 failed: port 4141 is in use; c1 is 0% full"


def test_nothing_to_do_is_no_hold_up() -> None:
    source = worker(Kind.SOURCE, "r1", waiting_input_ns=SECOND_NS)
    sink = worker(Kind.SINK, "k1", waiting_input_ns=SECOND_NS)
    assert sentence(source, sink) == (False, "c1 empty: r1 waits for input")
    assert sentence(source, sink, size=2, capacity=1000) == (False, "c1 holds 2 events: r1 waits for input")


def test_a_source_without_a_pause_is_the_slowest_part() -> None:
    source = worker(Kind.SOURCE, "r1", busy_ns=SECOND_NS, EventAcceptedCount=1000)
    sink = worker(Kind.SINK, "k1", busy_ns=SECOND_NS // 4, waiting_input_ns=3 * SECOND_NS // 4)
    assert sentence(source, sink, size=2) == (
        False, "c1 2% full: r1 is the slowest part, busy 100% of the time",
    )  # fmt: skip


def test_what_flows_says_how_busy_everybody_is() -> None:
    source = worker(Kind.SOURCE, "r1", busy_ns=SECOND_NS // 2, waiting_input_ns=SECOND_NS // 2)
    sink = worker(Kind.SINK, "k1", busy_ns=SECOND_NS // 4, waiting_input_ns=3 * SECOND_NS // 4)
    assert sentence(source, sink, size=2) == (False, "c1 2% full, flowing; busy: r1 50%, k1 25%")


def test_rows_that_no_sink_takes_are_told() -> None:
    assert sentence(worker(Kind.SOURCE, "r1", waiting_input_ns=SECOND_NS), size=5) == (
        True, "c1 holds 5 events, and no sink takes from it",
    )  # fmt: skip


@pytest.mark.parametrize(("counters", "told", "state"), [
    ({"EventAcceptedCount": 5}, False, State.BUSY),            # it moves: it works
    ({}, False, State.WAITING_INPUT),                          # nothing moved, but it looked around: it sleeps
    ({"progress_ms": NOW_MS - 9000}, False, State.BUSY),       # nothing moved and it has not looked: it hangs
    ({"EventAcceptedCount": 5}, True, State.BUSY),
])  # fmt: skip
def test_time_that_is_not_booked_yet_belongs_to_what_the_worker_is_doing(
    counters: dict[str, int], told: bool, state: State
) -> None:
    before, now = worker(Kind.SOURCE, "r1"), worker(Kind.SOURCE, "r1", told=told, **counters)
    assert shares(before, now, NOW_MS - 1000, NOW_MS)[state] == 1.0


def test_shares_of_time_never_add_up_to_more_than_all_of_it() -> None:
    """A worker books a long wait when it ends: more than lies between the samples."""
    now = worker(Kind.SOURCE, "r1", waiting_room_ns=3 * SECOND_NS, waiting_input_ns=SECOND_NS)
    found = shares(worker(Kind.SOURCE, "r1"), now, NOW_MS - 1000, NOW_MS)
    assert found[State.WAITING_ROOM] == 0.75
    assert sum(found.values()) == 1.0


@pytest.mark.parametrize(("numbers", "share"), [
    ({"size": 50, "capacity": 100}, 0.5),
    ({"size": 50, "capacity": 100, "bytes": 9, "capacity_bytes": 10}, 0.9),
    ({"bytes": 99, "capacity_bytes": 10}, 1.0),
    ({"size": 50}, 0.0),
])  # fmt: skip
def test_a_channel_is_as_full_as_its_fuller_bound(numbers: dict[str, int], share: float) -> None:
    assert fill_share(numbers) == share


def test_the_moment_a_channel_became_full_is_kept_while_it_stays_full() -> None:
    """A sink that takes now and then ends the waiting for a moment, but the channel stays full."""

    def samples(state: State, size: int, since_ms: int) -> int:
        numbers = {"c1": {"size": size, "capacity": 100, "full_since_ms": since_ms}}
        source = worker(Kind.SOURCE, "r1", state, waiting_input_ns=SECOND_NS if state == State.BUSY else 0)
        before = Sample(NOW_MS - 1000, 0, "a1", 0, (worker(Kind.SOURCE, "r1"),), numbers)
        return full_since_ms(before, Sample(NOW_MS, 0, "a1", 0, (source,), numbers), "c1")

    assert samples(State.WAITING_ROOM, 100, 0) == NOW_MS
    assert samples(State.WAITING_ROOM, 100, 77) == 77
    assert samples(State.BUSY, 95, 77) == 77
    assert samples(State.BUSY, 80, 77) == 0
    assert samples(State.BUSY, 95, 0) == 0
    assert samples(State.WAITING_ROOM, 10, 77) == 0, "it waits for room in another of its channels"


def test_the_observer_stores_the_channels_numbers_for_other_processes(agent: Any) -> None:
    """`shipper stat` reads no ring: what the supervisor saw last stands in the block, with the time it got full."""
    numbers = {"c1": {"size": 100, "capacity": 100, "puts": 100, "takes": 0}}
    observer = Observer(agent.block, lambda: numbers)
    agent.source.state(State.WAITING_ROOM, "room in c1")
    observer.tick()
    seen = agent.block.sample().channels["c1"]
    since = {name: seen[name] for name in ("full_since_ms", "unmoved_since_ms")}
    assert all(since.values())
    observer.tick()
    assert agent.block.sample().channels["c1"] == {**dict.fromkeys(CHANNEL_NAMES, 0), **numbers["c1"], **since}
    numbers["c1"]["takes"] = 1
    observer.tick()
    assert agent.block.sample().channels["c1"]["unmoved_since_ms"] == 0, "one was taken"
    numbers["c1"] = {"size": 0, "capacity": 100, "puts": 100, "takes": 100}
    agent.source.state(State.BUSY)
    observer.tick()
    assert agent.block.sample().channels["c1"]["full_since_ms"] == 0
    assert observer.before.channels["c1"]["takes"] == 1
    assert observer.now.channels["c1"]["takes"] == 100


def test_of_many_components_a_sentence_names_two() -> None:
    sources = tuple(worker(Kind.SOURCE, f"s{n}", State.WAITING_INPUT, 5) for n in range(1, 41))
    found = sentence(*sources)[1]
    assert found == "c1 empty: s1, s2 and 38 more wait for input"
