"""The walk without processes: real channels, an interceptor, a selector and a sink that do what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shipper.api import Counters, EventBatch, Interceptor, Options, Origin, Refused, RetryLater, Route, Selector, Sink
from shipper.metrics.tied import TiedToTakes
from shipper.pipeline.deliver import Delivery
from shipper.pipeline.group_sink import GroupSink
from shipper.pipeline.ingest import Ingest
from shipper.pipeline.quarantine import Quarantine
from shipper.processors.default import DefaultOptions, DefaultProcessor
from shipper.testing.fakes import FakeWaiter, ManualClock
from tests.channels.conftest import Memory


class Told(Interceptor[Options]):
    """Does to each batch what it is told."""

    Options = Options
    aliases = ("told",)

    def __init__(self, change: Callable[[EventBatch], EventBatch]) -> None:
        super().__init__(Options(), ManualClock())
        self.change = change

    def intercept(self, batch: EventBatch) -> EventBatch:
        return self.change(batch)


class Routes(Selector[Options]):
    """Sends each batch to the required channels, and to the optional ones."""

    Options = Options
    aliases = ("routes",)

    def __init__(self, channels: Sequence[str], required: Sequence[str], optional: Sequence[str]) -> None:
        super().__init__(Options(), channels)
        self.required, self.optional = tuple(required), tuple(optional)

    def route(self, batch: EventBatch) -> list[Route]:
        return [Route(c, batch) for c in self.required] + [Route(c, batch, required=False) for c in self.optional]


@dataclass
class Left:
    """The left half: what a test may do with it, and what it said."""

    memory: Memory
    clock: ManualClock
    counters: Counters
    waiter: FakeWaiter
    said: list[str]
    stop: list[bool]
    ingest: Ingest

    def put(self, *bodies: bytes, start: int = 0) -> bool:
        """Puts one batch as a tail would."""
        origin = Origin("f", start, start + len(bodies))
        return self.ingest.put(EventBatch.of(bodies).with_origins([origin]))

    def count(self, *names: str) -> list[int]:
        """Counters of the source."""
        return [self.counters.get(name) for name in names]


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Callable[..., Left]]:
    """Makes left halves."""
    made: list[Memory] = []

    def make(
        properties: dict[str, str] | None = None,
        *,
        required: Sequence[str] = ("c1",),
        optional: Sequence[str] = (),
        interceptors: Sequence[Callable[[EventBatch], EventBatch]] = (),
        rows_max: int = 1000,
        keep_alive_s: float = 3.0,
        optional_first: bool = False,
    ) -> Left:
        names = (*optional, *required) if optional_first else (*required, *optional)
        memory = Memory(tmp_path, properties, channels=names)
        made.append(memory)
        clock, counters, said, stop = ManualClock(), Counters.private(), [], [False]
        waiter = FakeWaiter(clock)
        ingest = Ingest(
            [Told(change) for change in interceptors], Routes(names, required, optional), memory.put_side(), counters,
            waiter.wait, rows_max=rows_max, keep_alive_s=keep_alive_s, stopping=lambda: stop[0],
            waiting_for=said.append, clock=clock,
        )  # fmt: skip
        return Left(memory, clock, counters, waiter, said, stop, ingest)

    yield make
    for memory in made:
        memory.kill()


class Target(Sink[Options]):
    """A target that refuses, fails and rolls when it is told to, and remembers what it was asked."""

    Options = Options
    aliases = ("target",)

    def __init__(self) -> None:
        super().__init__(Options())
        self.safe: list[bytes] = []
        self.buffered: list[bytes] = []
        self.verbs: list[str] = []
        self.failing: set[str] = set()
        self.poison: set[bytes] = set()
        self.knows_which = True
        self.prepares = False
        self.to_roll = False
        self.brings_on = True
        self.after_s = 0.0
        self.sequence = 0

    def open(self, context: object) -> None:
        """Nothing to acquire."""

    def deliver(self, batch: EventBatch) -> None:
        self.verbs.append(f"deliver {batch.rows}")
        if "deliver" in self.failing:
            raise RetryLater("the target is down", self.after_s)
        bodies = batch.body.to_pylist()
        if bad := tuple(row for row, body in enumerate(bodies) if body in self.poison):
            raise Refused("not a number", bad if self.knows_which else None)
        self.buffered += bodies

    @property
    def wants_ahead(self) -> bool:
        return self.prepares

    def ahead(self, batch: EventBatch) -> None:
        self.verbs.append(f"ahead {batch.rows}")

    def flush(self) -> int:
        self.verbs.append("flush")
        if "flush" in self.failing:
            raise RetryLater("the target is full")
        self.safe += self.buffered
        self.buffered.clear()
        self.sequence += 1
        return self.sequence

    def committed(self) -> None:
        self.verbs.append("committed")

    def rolled_back(self) -> None:
        self.verbs.append("rolled_back")
        self.buffered.clear()

    def trouble(self) -> str:
        return "" if self.brings_on else "a file can't be made"

    def tick(self) -> bool:
        if "tick" in self.failing:
            raise RetryLater("the target is away")
        rolls, self.to_roll = self.to_roll, False
        return rolls

    def releasing(self) -> None:
        self.verbs.append("releasing")

    def close(self) -> None:
        """Nothing to give back."""


@dataclass
class Right:
    """The right half: what a test may do with it, and what it said."""

    memory: Memory
    clock: ManualClock
    waiter: FakeWaiter
    target: Target
    counters: Counters
    quarantine: Path
    said: list[tuple[str, str]]
    waits: list[str]
    troubles: list[tuple[str, str]]
    stop: list[bool]
    delivery: Delivery
    tied: TiedToTakes
    worker: int = 0
    batches: list[EventBatch] = field(default_factory=list)

    def count(self, *names: str) -> list[int]:
        """Counters of the sink."""
        return [self.counters.get(name) for name in names]


@pytest.fixture
def right(tmp_path: Path) -> Iterator[Callable[..., Right]]:
    """Makes right halves."""
    made: list[Memory] = []

    def make(
        memory: Memory | None = None,
        *,
        worker: int = 0,
        sinks: int = 1,
        batch_bytes: int = 1 << 20,
        linger_s: float = 0,
        limit_bytes: int = 1 << 20,
    ) -> Right:
        memory = memory or Memory(tmp_path, {"ring.bytes": "256k"}, sinks=sinks)
        made.append(memory)
        clock, target, counters = ManualClock(), Target(), Counters.private()
        said: list[tuple[str, str]] = []
        waits: list[str] = []
        troubles: list[tuple[str, str]] = []
        stop = [False]
        waiter = FakeWaiter(clock)
        quarantine = tmp_path / "state" / f"quarantine{worker}.jsonl"
        member = GroupSink(
            "k1",
            target,
            counters,
            Quarantine(
                quarantine, clock, sink="k1", channel="c1", run_id="run", limit_bytes=limit_bytes, file_bytes=4096
            ),
        )
        tied = member.tied
        delivery = Delivery(
            {"k1": member}, DefaultProcessor(DefaultOptions(), ["k1"], clock), memory.take_side(worker), waiter,
            batch_bytes=batch_bytes, linger_s=linger_s, stopping=lambda: stop[0], waiting_for=waits.append,
            say=lambda level, line: said.append((level, line)), clock=clock,
            troubled=lambda name, trouble: troubles.append((name, trouble)),
        )  # fmt: skip
        return Right(
            memory, clock, waiter, target, counters, quarantine, said, waits, troubles, stop, delivery, tied, worker
        )

    yield make
    for memory in made:
        memory.kill()
