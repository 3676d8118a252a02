"""Health: what is wrong with a running agent, judged by what moves and not by what is there.

A worker stores a word at each step of its loop, once a second at least; the supervisor stores since when rows wait in a
channel and none is taken. From these, and from what the workers say themselves::

    DEAD      something hangs: no step for half a minute, or rows wait and a sink that says nothing takes none of them
    FAILED    a component is down and is tried again, or the ledger does not add up: a person has to look
    DEGRADED  data waits that could flow, can't be read, or was given up; the agent does all that it can

Only what is DEAD can be helped by starting the agent again; a target that is down is nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from shipper.metrics.sample import Kind, Sample, State, WorkerSample
from shipper.units import format_seconds

#: Nothing has moved and nothing was looked at for so long: the worker hangs.
STUCK_MS = 30_000
#: Rows wait for so long, and the sink that could take them goes its rounds without a word.
UNMOVED_MS = 120_000
#: Lines that the supervisor leaves in the run directory for those who ask how it is.
NOTICES = "notices"

_LOST = ("rows_dropped", "rows_set_aside", "files_lost")


class Level(IntEnum):
    """How bad it is."""

    DEGRADED = 1
    FAILED = 2
    DEAD = 3


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, as a sentence."""

    level: Level
    sentence: str


def findings(now: Sample, notices: Sequence[str] = ()) -> list[Finding]:
    """All that is wrong, the worst first.

    Args:
        notices: what the supervisor has to say beside the numbers, a sentence each.
    """
    found = [finding for worker in now.workers if (finding := _of_worker(worker, now))]
    found += [Finding(Level.FAILED, f"{channel} failed: {why}") for channel, why in now.failures.items()]
    found += [Finding(Level.DEGRADED, f"{channel} takes nothing more: {why}") for channel, why in now.refusals.items()]
    for channel, numbers in now.channels.items():
        if since_ms := numbers.get("unmoved_since_ms", 0):
            found += _of_unmoved(now, channel, now.at_ms - since_ms)
        if (rows := numbers.get("lost", 0) - numbers.get("lost_before", 0)) > 0:
            found.append(
                Finding(Level.DEGRADED, f"{rows} events of {channel} are lost since the start: shipper ledger")
            )
        if rows := numbers.get("mismatch", 0):
            found.append(Finding(Level.FAILED, f"{rows} events of {channel} are not accounted for: shipper ledger"))
    for worker in now.workers:
        if lost := sum(worker.counters[key] for key in _LOST):
            found.append(
                Finding(Level.DEGRADED, f"{worker.name} gave up or set aside {lost} events or files since the start")
            )
        if worker.trouble:
            found.append(Finding(Level.DEGRADED, f"{_who(worker, now)}: {worker.trouble}"))
    found += [Finding(Level.DEGRADED, notice) for notice in notices]
    return sorted(found, key=lambda finding: -finding.level)


def unready(now: Sample, started: bool = False) -> list[str]:
    """The components that have not started, or don't run, a sentence each.

    Args:
        started: it is known that all have opened what they need; a worker's first step may still be to come.
    """
    waiting = {State.STARTING, State.FAILED, State.STOPPING} - ({State.STARTING} if started else set())
    found = [worker for worker in now.workers if worker.state in waiting and not _is_over(worker)]
    lines = [f"{_who(worker, now)} is {worker.state.name.lower()}: {worker.waits_for}".removesuffix(": ")
             for worker in found]  # fmt: skip
    return lines + [f"{channel} is failed: {why}" for channel, why in now.failures.items()]


def read_notices(run_dir: Path) -> list[str]:
    """What the supervisor of a run directory has to say."""
    try:
        return (run_dir / NOTICES).read_text().splitlines()
    except OSError:
        return []


def _of_worker(worker: WorkerSample, now: Sample) -> Finding | None:
    step_ms = worker.counters["progress_ms"]
    if worker.state == State.FAILED:
        return Finding(Level.FAILED, f"{_who(worker, now)} failed: {worker.waits_for}".removesuffix(": "))
    if step_ms and not worker.stop_ms and now.at_ms - step_ms >= STUCK_MS:
        return Finding(Level.DEAD, f"{_who(worker, now)} has made no step for {_for(now.at_ms - step_ms)}")
    if worker.state == State.WAITING_TARGET and now.at_ms - worker.state_since_ms >= STUCK_MS:
        since = _for(now.at_ms - worker.state_since_ms)
        return Finding(Level.DEGRADED, f"{_who(worker, now)} can't deliver for {since}: {worker.waits_for}")
    return None


def _of_unmoved(now: Sample, channel: str, unmoved_ms: int) -> list[Finding]:
    sinks = [w for w in now.workers if w.kind == Kind.SINK and channel in w.channels]
    idle = all(sink.state in (State.BUSY, State.WAITING_INPUT) for sink in sinks)
    held_up = channel in now.failures or channel in now.refusals  # they wait for the writer: the sinks don't see them
    if unmoved_ms < UNMOVED_MS or not sinks or not idle or held_up:
        return []  # nobody is there to take them, or there is a better sentence for it
    rows, who = now.channels[channel]["size"], ", ".join(_who(sink, now) for sink in sinks)
    return [Finding(Level.DEAD, f"{rows} events wait in {channel}, and {who} took none for {_for(unmoved_ms)}")]


def _is_over(worker: WorkerSample) -> bool:
    """True of a source that has reached its end: it is not meant to run."""
    return worker.stop_ms > 0 and worker.state == State.STOPPED


def _who(worker: WorkerSample, now: Sample) -> str:
    """`k1`, or `k1.1` when it has several workers."""
    several = sum(other.name == worker.name and other.kind == worker.kind for other in now.workers) > 1
    return f"{worker.name}.{worker.worker}" if several else worker.name


def _for(ms: int) -> str:
    return format_seconds(ms / 1000)
