"""`replicating`: every channel of the source gets every row; the default. Some of the channels may be optional."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shipper.api import EventBatch, Options, Route, Selector, option, words
from shipper.selectors._names import repeated, unknown_channels


@dataclass(frozen=True, kw_only=True)
class ReplicatingOptions(Options):
    """Options of the replicating selector."""

    optional: tuple[str, ...] = option(
        "optional", words, (), help="Channels that may miss rows when they have no room; separated by blanks."
    )

    def doubts(self) -> list[tuple[str, str]]:
        return repeated("optional", self.optional)


class ReplicatingSelector(Selector[ReplicatingOptions]):
    """Routes the same batch to each channel; nothing is copied."""

    Options = ReplicatingOptions
    aliases = ("replicating", "org.apache.flume.channel.replicatingchannelselector")

    def __init__(self, options: ReplicatingOptions, channels: Sequence[str]) -> None:
        super().__init__(options, channels)
        self._required = tuple(name for name in self.channels if name not in options.optional)
        self._optional = tuple(dict.fromkeys(options.optional))

    @classmethod
    def wiring_problems(cls, options: ReplicatingOptions, channels: Sequence[str]) -> list[tuple[str, str]]:
        return unknown_channels("optional", options.optional, channels)

    @property
    def required_channels(self) -> Sequence[str]:
        return self._required

    def route(self, batch: EventBatch) -> list[Route]:
        required = [Route(name, batch) for name in self._required]
        return required + [Route(name, batch, required=False) for name in self._optional]
