"""An open sink that writes files of this machine: its directory, its clock, and what it has said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipper.api import EventBatch, Sink, SinkContext
from shipper.config.field import read_options
from shipper.testing.fakes import ManualClock, sink_context


class RunningSink:
    """The sink of one process.

    Args:
        kind: its class.
        folder: of the test; what is delivered lies in `out`.
        given: its properties, as a file has them.
        sequence: that the channel's last commit has named.
        context: another one than that of a sink that is alone.
    """

    def __init__(
        self,
        kind: type[Sink[Any]],
        folder: Path,
        given: Mapping[str, str],
        *,
        clock: ManualClock | None = None,
        sequence: int = 0,
        context: SinkContext | None = None,
    ) -> None:
        self.out = folder / "out"
        options, findings = read_options(kind.Options, given)
        assert options is not None, findings
        self.said: list[tuple[str, str]] = []
        self.clock = clock or ManualClock()
        self.sequence = sequence
        self.context = context or sink_context(
            folder / "state", clock=self.clock, said=self.said, committed_sequence=sequence
        )
        self.sink: Any = kind(options)
        self.sink.open(self.context)

    def deliver(self, *bodies: bytes, headers: list[dict[str, str]] | None = None) -> int:
        """One transaction."""
        self.sink.deliver(EventBatch.of(list(bodies), headers))
        return self.commit()

    def commit(self) -> int:
        """The transaction ends; its sequence."""
        self.sequence = self.sink.flush()
        self.sink.committed()
        return self.sequence

    def after(self, seconds: float) -> None:
        """Time goes by, and the worker looks at its sink."""
        self.clock.advance(seconds)
        if self.sink.tick():
            self.commit()

    def counted(self, name: str) -> int:
        """One of its counters."""
        return self.context.counters.get(name)
