"""Where a pipeline is held up: one sentence a channel, made from how the workers around it spent their time.

Two samples are compared. A worker adds up where its time went (busy, waiting for input, for room, for its target), but
only after each step; what is missing between the two samples belongs to the state that it is in now, so a worker that
has hung for minutes in one step is seen as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shipper.metrics.block import Kind, Sample, State, WorkerSample
from shipper.units import format_seconds

#: Counter -> the state whose time it adds up.
_TIMES = {
    State.BUSY: "busy_ns",
    State.WAITING_INPUT: "waiting_input_ns",
    State.WAITING_ROOM: "waiting_room_ns",
    State.WAITING_TARGET: "waiting_target_ns",
}
_MOVES = ("EventAcceptedCount", "EventDrainSuccessCount", "body_bytes")
HANGING_MS = 2000
STUCK_MS = 5000
FULL_SHARE = 0.9
OFTEN_SHARE = 0.5
BUSY_SHARE = 0.9


@dataclass(frozen=True)
class HoldUp:
    """Where one channel's pipeline stands.

    Attributes:
        held_up: True when data waits that could flow; False when it flows or when there is nothing to do.
        sentence: for the person.
    """

    channel: str
    held_up: bool
    sentence: str


def shares(before: WorkerSample | None, now: WorkerSample, from_ms: int, to_ms: int) -> dict[State, float]:
    """The parts of the time between two samples that a worker spent in each state; they add up to 1 at most."""
    elapsed_ns = max(1, to_ms - from_ms) * 1_000_000
    spent = {
        state: max(0, now.counters[name] - (before.counters[name] if before is not None else 0))
        for state, name in _TIMES.items()
    }
    total_ns = sum(spent.values())
    if total_ns < elapsed_ns:
        unbooked = _doing(before, now, to_ms)
        spent[unbooked] = spent.get(unbooked, 0) + elapsed_ns - total_ns
    return {state: spent_ns / max(elapsed_ns, total_ns) for state, spent_ns in spent.items()}


def _doing(before: WorkerSample | None, now: WorkerSample, at_ms: int) -> State:
    """What a worker is in the middle of: its state, or for a BUSY that it did not tell itself, the likelier half of it.

    A worker that sleeps for input books the time when it wakes, within a second; one that works without a pause books
    nothing at all, but its counters move; one that hangs in a call moves nothing and looks at nothing.
    """
    if now.told or now.state != State.BUSY:
        return now.state
    moved = before is None or any(now.counters[name] != before.counters[name] for name in _MOVES)
    return State.BUSY if moved or at_ms - now.counters["progress_ms"] > HANGING_MS else State.WAITING_INPUT


def fill_share(channel: Mapping[str, int]) -> float:
    """How full a channel is, from 0 to 1: by rows or by bytes, whichever comes first to its end."""
    parts = [
        channel.get(used, 0) / limit
        for used, most in (("size", "capacity"), ("bytes", "capacity_bytes"))
        if (limit := channel.get(most, 0)) > 0
    ]
    return min(1.0, max(parts, default=0.0))


def full_since_ms(before: Sample, now: Sample, channel: str) -> int:
    """Monotonic ms since which sources wait for room in a channel, or 0: to be stored in its entry at each sample."""
    numbers = now.channels.get(channel, {})
    since_ms = numbers.get("full_since_ms", 0)
    waiting = any(
        worker.state == State.WAITING_ROOM
        or shares(old, worker, before.at_ms, now.at_ms).get(State.WAITING_ROOM, 0.0) >= OFTEN_SHARE
        for old, worker in _around(before, now, channel, Kind.SOURCE)
    )
    bounded = numbers.get("capacity", 0) or numbers.get("capacity_bytes", 0)
    fill = fill_share(numbers) if bounded else 1.0
    # A source with several channels waits for one of them, and the others have room. A sink that takes now and then
    # lets its source go on for a moment: that ends the waiting, but not the fullness.
    full = fill >= OFTEN_SHARE if waiting else since_ms > 0 and bool(bounded) and fill >= FULL_SHARE
    return (since_ms or now.at_ms) if full else 0


def hold_ups(before: Sample, now: Sample) -> list[HoldUp]:
    """One for each channel, in the order of the file. The samples should lie about a second apart."""
    return [_hold_up(before, now, channel) for channel in now.channels]


def _hold_up(before: Sample, now: Sample, channel: str) -> HoldUp:
    span = (before.at_ms, now.at_ms)
    sources = [(w, shares(old, w, *span)) for old, w in _around(before, now, channel, Kind.SOURCE)]
    sinks = [(w, shares(old, w, *span)) for old, w in _around(before, now, channel, Kind.SINK)]
    numbers = now.channels[channel]
    full_since = full_since_ms(before, now, channel)
    fill = fill_share(numbers)

    def held_up(sentence: str) -> HoldUp:
        return HoldUp(channel, True, sentence)

    if failure := now.failures.get(channel):
        return held_up(f"{channel} failed: {failure}")
    if refusal := now.refusals.get(channel):
        return held_up(f"{channel} takes nothing more: {refusal}")
    if full_since:
        since = format_seconds(max(0, now.at_ms - full_since) / 1000)
        return held_up(f"{channel} full for {since}: {_culprit(sinks, now.at_ms)}")
    for worker, _ in (*sinks, *sources):
        if worker.state == State.FAILED:
            return held_up(f"{_who(worker, [*sinks, *sources])} {_failed(worker)}{_fill(channel, fill)}")
    for worker, spent in sinks:
        if _is_waiting(worker, spent, now.at_ms):
            return held_up(f"{_waiting(worker, sinks, now.at_ms)}{_fill(channel, fill)}")
    if not sinks and numbers.get("size", 0):
        return held_up(f"{channel} holds {numbers['size']:,} events, and no sink takes from it")
    return HoldUp(channel, False, _flowing(channel, numbers.get("size", 0), fill, sources, sinks))


#: More components than these are not spelt out in a sentence.
_MANY = 6

Spent = tuple[WorkerSample, Mapping[State, float]]


def _culprit(sinks: Sequence[Spent], now_ms: int) -> str:
    """Who keeps a full channel full."""
    if not sinks:
        return "no sink takes from it"
    for worker, _ in sinks:
        if worker.state in (State.FAILED, State.STOPPED):
            return f"{_who(worker, sinks)} {_failed(worker)}"
    for worker, spent in sinks:
        if _is_waiting(worker, spent, now_ms):
            return _waiting(worker, sinks, now_ms)
    worker, spent = max(sinks, key=lambda pair: pair[1].get(State.BUSY, 0.0))
    share = spent.get(State.BUSY, 0.0)
    if share >= BUSY_SHARE:
        return f"{_who(worker, sinks)} is the slowest part, busy {share:.0%} of the time"
    if worker.state == State.STARTING:
        return f"{_who(worker, sinks)} is starting"
    return f"{_who(worker, sinks)} takes, busy {share:.0%} of the time"


def _is_waiting(worker: WorkerSample, spent: Mapping[State, float], now_ms: int) -> bool:
    """True for a sink that waits for its target, between two tries or (busy for a second) inside one call."""
    if worker.state == State.WAITING_TARGET or spent.get(State.WAITING_TARGET, 0.0) >= OFTEN_SHARE:
        return True
    said_why = worker.waits_for != "" and now_ms - worker.state_since_ms >= 1000
    return worker.state == State.BUSY and (said_why or _stuck_ms(worker, now_ms) >= STUCK_MS)


def _stuck_ms(worker: WorkerSample, now_ms: int) -> int:
    """For how long a worker has not come round to store its progress, which it does four times a second."""
    progress_ms = worker.counters["progress_ms"]
    return now_ms - progress_ms if progress_ms else 0


def _waiting(worker: WorkerSample, siblings: Sequence[Spent], now_ms: int) -> str:
    if not worker.waits_for and worker.state == State.BUSY and (stuck_ms := _stuck_ms(worker, now_ms)) >= STUCK_MS:
        return f"{_who(worker, siblings)} has hung in one step for {format_seconds(stuck_ms / 1000)}"
    since = format_seconds(max(0, now_ms - worker.state_since_ms) / 1000)
    reason = worker.waits_for.removeprefix(f"{worker.name}: ")
    if reason != worker.waits_for or reason.startswith("could not "):  # the message of a failure, not a thing's name
        return f"{_who(worker, siblings)} can't deliver, {since}: {reason}"
    return f"{_who(worker, siblings)} waits for {reason or 'its target'}, {since}"


def _failed(worker: WorkerSample) -> str:
    verb = "has stopped" if worker.state == State.STOPPED else "failed"
    reason = worker.waits_for.removeprefix(f"{worker.name}: ")
    return f"{verb}: {reason}" if reason else verb


def _who(worker: WorkerSample, siblings: Sequence[Spent]) -> str:
    """`k1`, or `k1 (worker 2 of 4)` when there are several."""
    count = sum(other.name == worker.name for other, _ in siblings)
    return worker.name if count < 2 else f"{worker.name} (worker {worker.worker + 1} of {count})"


def _fill(channel: str, fill: float) -> str:
    return f"; {channel} is {fill:.0%} full"


def _flowing(channel: str, rows: int, fill: float, sources: Sequence[Spent], sinks: Sequence[Spent]) -> str:
    everybody = (*sources, *sinks)
    if not everybody:
        return f"{channel}: nobody puts into it or takes from it"
    starting = [worker for worker, _ in everybody if worker.state == State.STARTING]
    if starting:
        return f"{channel}: {_who(starting[0], everybody)} is starting"
    worker, spent = max(everybody, key=lambda pair: pair[1].get(State.BUSY, 0.0))
    share = spent.get(State.BUSY, 0.0)
    if share >= BUSY_SHARE:
        return f"{channel} {fill:.0%} full: {_who(worker, everybody)} is the slowest part, busy {share:.0%} of the time"
    if fill < 0.01 and sources and all(spent.get(State.WAITING_INPUT, 0.0) >= BUSY_SHARE for _, spent in sources):
        names = list(dict.fromkeys(worker.name for worker, _ in sources))
        holds = f"holds {rows:,} {'event' if rows == 1 else 'events'}" if rows else "empty"
        return f"{channel} {holds}: {_few(names)} {'wait' if len(names) > 1 else 'waits'} for input"
    busiest = sorted(everybody, key=lambda pair: -pair[1].get(State.BUSY, 0.0)) if len(everybody) > _MANY else everybody
    parts = _few([f"{_who(worker, everybody)} {spent.get(State.BUSY, 0.0):.0%}" for worker, spent in busiest])
    return f"{channel} {fill:.0%} full, flowing; busy: {parts}"


def _few(names: Sequence[str]) -> str:
    """All of a few, or the first two of many."""
    return ", ".join(names) if len(names) <= _MANY else f"{', '.join(names[:2])} and {len(names) - 2} more"


def _around(before: Sample, now: Sample, channel: str, kind: Kind) -> list[tuple[WorkerSample | None, WorkerSample]]:
    """The workers of a kind that are linked to a channel, each with its earlier sample if it is the same process."""
    earlier = {(w.kind, w.name, w.worker): w for w in before.workers}
    return [
        (earlier.get((w.kind, w.name, w.worker)), w) for w in now.workers if w.kind == kind and channel in w.channels
    ]
