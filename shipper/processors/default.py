"""`default`: exactly one sink, always that one. Used for every sink outside a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shipper.api import Options, Processor


@dataclass(frozen=True, kw_only=True)
class DefaultOptions(Options):
    """No options."""


class DefaultProcessor(Processor[DefaultOptions]):
    """Asks its only sink."""

    Options = DefaultOptions
    aliases = ("default", "org.apache.flume.sink.DefaultSinkProcessor")

    @classmethod
    def wiring_problems(cls, options: DefaultOptions, sinks: Sequence[str]) -> list[tuple[str, str]]:
        if len(sinks) == 1:
            return []
        return [("processor.type", f"the default processor takes exactly one sink, not {len(sinks)}")]

    def order(self) -> Sequence[str]:
        return self.sinks
