"""A sample: all numbers of an agent at one moment, copied out of the metrics block. Every view is made from samples."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

#: What the supervisor stores about a channel, in this order.
CHANNEL_NAMES: Final = (
    "size",            # rows in it now
    "capacity",        # rows that it may hold, 0 when only its bytes bound it
    "bytes",           # bytes of frames in it now
    "capacity_bytes",  # bytes of frames that it may hold
    "puts",            # rows put since it was made
    "takes",           # rows taken since it was made
    "full_since_ms",   # monotonic ms since which a source waits for room in it, 0 when none does
    "mismatch",        # rows by which the ledger's equations fail
    "dropped",         # rows given up because it was full, since it was made; likewise:
    "expired",         # rows that were in it for longer than maxAge
    "set_aside",       # rows that a sink refused for good
    "lost",            # rows in frames that did not pass their checks
    "unmoved_since_ms",  # monotonic ms since which rows are in it and none was taken, 0 when none are or some were
    "twice_at_most",   # rows that came twice after power cuts, at most
    "twice_unknown",   # power cuts after which nobody knows
    "lost_before",     # of lost, what was lost before the agent started
)  # fmt: skip


class Kind(IntEnum):
    """What an entry is about."""

    FREE = 0
    SOURCE = 1
    SINK = 2
    CHANNEL = 3


class State(IntEnum):
    """What a worker is doing, stored in the counter `state`.

    A worker need not store it: as long as the word is STARTING, a sample finds it out from the progress word (there is
    none yet: starting) and from the text (a source waits for room, a sink for its target); without a text it is BUSY,
    and the time accounts tell work from waiting for input.
    """

    STARTING = 0
    BUSY = 1
    WAITING_INPUT = 2
    WAITING_ROOM = 3
    WAITING_TARGET = 4
    STOPPING = 5
    FAILED = 6
    STOPPED = 7


@dataclass(frozen=True)
class WorkerSample:
    """The numbers of one worker at one moment.

    Attributes:
        state_since_ms: monotonic ms since which it is in `state`.
        waits_for: what it waits for, in its own words; "" when it said nothing.
        told: True when the worker stored its state itself, False when it was found out.
        channels: names of the channels that it puts into or takes from.
        trouble: what a source would read, or a sink bring on, and can't now, a sentence; "" when there is nothing.
    """

    kind: Kind
    name: str
    worker: int
    type: str
    pid: int
    start_ms: int
    stop_ms: int
    restarts: int
    state: State
    state_since_ms: int
    waits_for: str
    told: bool
    channels: tuple[str, ...]
    counters: Mapping[str, int]
    trouble: str = ""


@dataclass(frozen=True)
class Sample:
    """The numbers of an agent at one moment: what every view is made from.

    Attributes:
        at_ms: monotonic ms of the moment; machine-wide, so that samples of two processes can be compared.
        channels: name -> numbers under the names of `CHANNEL_NAMES`.
        failures: channel -> why its writer can't run; only those whose writer can't.
        refusals: channel -> why its writer takes nothing though it runs; likewise.
    """

    at_ms: int
    wall_ms: int
    agent: str
    start_ms: int
    workers: tuple[WorkerSample, ...]
    channels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    refusals: Mapping[str, str] = field(default_factory=dict)


def monotonic_ms() -> int:
    """Milliseconds of the clock that all processes of a machine share."""
    return time.monotonic_ns() // 1_000_000
