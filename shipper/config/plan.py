"""A plan: one agent, checked and complete, as plain data that travels to the workers as JSON.

::

    Plan
    |-- sources    SourcePlan      -> channels (names), interceptors, selector
    |-- channels   ChannelPlan
    `-- groups     SinkGroupPlan   -> channel (name), processor, sinks: SinkPlan

Properties are the raw texts of the file below the component's own name, after placeholders and config filters, without
the keys of the topology (`type`, `channels`, ...) and without the keys that every component has here (`workers`,
`batch.bytes`, ...). A worker turns them into typed options with `shipper.config.bind.component`. `type` is the file
name of the component in its family, whatever spelling or Flume class name the person used.

This module imports neither Arrow nor a component: the supervisor reads plans too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

#: What a transaction aims to carry when the file does not say `batch.bytes`.
BATCH_BYTES = 8 << 20
#: What the files of rows that a sink has refused may have when the file does not say `quarantine.maxBytes`.
QUARANTINE_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class ComponentPlan:
    """An interceptor, a selector or a processor: `name` is empty for the latter two."""

    name: str = ""
    type: str
    properties: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SourcePlan(ComponentPlan):
    """One source.

    Attributes:
        channels: names, in the order of the file; never empty.
        interceptors: in the order in which they run.
        selector: `replicating` when the file says nothing.
        workers: how many processes share the work.
        replayable, light, listens: what the class says of itself, for a supervisor that can't import it.
    """

    channels: tuple[str, ...]
    interceptors: tuple[ComponentPlan, ...] = ()
    selector: ComponentPlan
    workers: int = 1
    batch_bytes: int = BATCH_BYTES
    replayable: bool = False
    light: bool = False
    listens: bool = False


@dataclass(frozen=True, kw_only=True)
class ChannelPlan(ComponentPlan):
    """One channel.

    Attributes:
        strict_batch: `strictBatch`: Flume's batch sizes and transactionCapacity are meant to the letter.
    """

    strict_batch: bool = False


@dataclass(frozen=True, kw_only=True)
class SinkPlan(ComponentPlan):
    """One sink.

    Attributes:
        channel: the channel that it takes from.
        linger_s: `batch.linger`; None leaves it to the sink.
        quarantine_bytes: `quarantine.maxBytes`.
        dead_letter: `deadLetter`: the channel of what it refuses for good; "" = it goes to quarantine files.
    """

    channel: str
    batch_bytes: int = BATCH_BYTES
    linger_s: float | None = None
    quarantine_bytes: int = QUARANTINE_BYTES
    dead_letter: str = ""


@dataclass(frozen=True, kw_only=True)
class SinkGroupPlan:
    """Sinks that one worker asks in turn. A sink outside all groups is a group of one without a name.

    Attributes:
        name: None for a sink outside all groups.
        sinks: in the order of the file; never empty.
        channel: the one channel that all of them take from.
    """

    name: str | None
    processor: ComponentPlan
    sinks: tuple[SinkPlan, ...]
    channel: str
    workers: int = 1

    @property
    def title(self) -> str:
        """The group's name, or its only sink's."""
        return self.name or self.sinks[0].name

    @property
    def dead_letters(self) -> tuple[str, ...]:
        """The channels that its sinks put dead letters into."""
        return tuple(dict.fromkeys(sink.dead_letter for sink in self.sinks if sink.dead_letter))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All of one agent.

    Attributes:
        agent: its name in the file.
        files: the configuration files, absolute and without symbolic links, in the order of the command line.
    """

    agent: str
    files: tuple[str, ...]
    sources: tuple[SourcePlan, ...]
    channels: tuple[ChannelPlan, ...]
    groups: tuple[SinkGroupPlan, ...]

    def encode(self) -> bytes:
        """The plan as JSON."""
        return orjson.dumps(self)

    @staticmethod
    def decode(data: bytes) -> Plan:
        """The plan that `encode` wrote."""
        raw: dict[str, Any] = orjson.loads(data)
        return Plan(
            agent=raw["agent"],
            files=tuple(raw["files"]),
            sources=tuple(_source(source) for source in raw["sources"]),
            channels=tuple(ChannelPlan(**channel) for channel in raw["channels"]),
            groups=tuple(_group(group) for group in raw["groups"]),
        )

    def source(self, name: str) -> SourcePlan:
        """The source of that name."""
        return next(source for source in self.sources if source.name == name)

    def channel(self, name: str) -> ChannelPlan:
        """The channel of that name."""
        return next(channel for channel in self.channels if channel.name == name)


def _source(raw: dict[str, Any]) -> SourcePlan:
    return SourcePlan(
        **{
            **raw,
            "channels": tuple(raw["channels"]),
            "interceptors": tuple(ComponentPlan(**interceptor) for interceptor in raw["interceptors"]),
            "selector": ComponentPlan(**raw["selector"]),
        }
    )


def _group(raw: dict[str, Any]) -> SinkGroupPlan:
    sinks = tuple(SinkPlan(**sink) for sink in raw["sinks"])
    return SinkGroupPlan(**{**raw, "processor": ComponentPlan(**raw["processor"]), "sinks": sinks})
