"""Stand-ins for what a worker gives a component: a clock that stands still, a waiter that never sleeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shipper.api import Counters, Origin, SinkContext, SourceContext
from shipper.sinks.sink import Takes


class ManualClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now_ms: int = 1_340_459_193_234) -> None:
        self.wall_ms = now_ms
        self.elapsed_s = 1000.0

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic_s(self) -> float:
        return self.elapsed_s

    def advance(self, seconds: float) -> None:
        """Moves both clocks."""
        self.wall_ms += round(seconds * 1000)
        self.elapsed_s += seconds


class FakeWaiter:
    """A waiter that does not sleep: it advances a manual clock instead, and runs `on_wait` if there is one."""

    def __init__(self, clock: ManualClock | None = None, on_wait: Callable[[], None] | None = None) -> None:
        self.clock = clock
        self.on_wait = on_wait
        self.waited_s: list[float] = []

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        self.waited_s.append(timeout_s)
        if self.clock is not None:
            self.clock.advance(timeout_s)
        if self.on_wait is not None:
            self.on_wait()
        return tuple(fds)

    @property
    def fileno(self) -> int:
        return -1


def source_context(
    state_dir: Path,
    *,
    clock: ManualClock | None = None,
    waiter: FakeWaiter | None = None,
    rows_max: int = 1 << 20,
    batch_bytes: int = 1 << 20,
    strict: bool = False,
    worker: int = 0,
    workers: int = 1,
    positions: dict[str, Origin] | None = None,
    said: list[tuple[str, str]] | None = None,
    agent: str = "",
    file: str = "",
) -> SourceContext:
    """A context for a source under test; lines for the person are appended to `said`."""
    clock = clock or ManualClock()
    lines = said if said is not None else []
    return SourceContext(
        name="r1", clock=clock, waiter=waiter or FakeWaiter(clock), counters=Counters.private(), state_dir=state_dir,
        worker=worker, workers=workers, rows_max=rows_max, batch_bytes=batch_bytes, strict=strict,
        positions=positions or {}, say=lambda level, line: lines.append((level, line)), agent=agent, file=file,
    )  # fmt: skip


def sink_context(
    state_dir: Path,
    *,
    clock: ManualClock | None = None,
    committed_sequence: int = 0,
    takes: Takes | None = None,
    said: list[tuple[str, str]] | None = None,
) -> SinkContext:
    """A context for a sink under test; lines for the person are appended to `said`."""
    lines = said if said is not None else []
    return SinkContext(
        name="k1", clock=clock or ManualClock(), counters=Counters.private(), state_dir=state_dir,
        say=lambda level, line: lines.append((level, line)), committed_sequence=committed_sequence,
        takes=takes,
    )  # fmt: skip
