"""A reload: what has to end and what to begin so that another configuration runs, and what goes on untouched.

A worker goes on when it would be told exactly what it was told already: `difference` compares the specs of the two
grids. So a source starts again when its own settings, its interceptors, its selector, its channels or their sinks (its
lanes) changed; a sink group when its settings or the sources of its channel did; and everybody around a channel whose
own settings did. Nobody else notices, and a sink that starts again leaves its sources reading: what they put waits.

::

    make the new lanes beside the old ones      no room: the new file is refused, nothing has happened
    changed and removed sources end             in order, as at a stop
    changed and removed sinks end at once       what waits, waits for who comes next
    ... but those of a removed channel          empty it first, for as long as a stop would let them
    the others begin

Dying anywhere in here is dying as ever: the next start reads the new file, and finds every segment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from shipper.config.plan import Plan
from shipper.supervisor.fleet import Worker
from shipper.workers.grid import Grid
from shipper.workers.spec import ChannelSpec, Common, WorkerSpec

_NOTHING = Common("", "")


@dataclass(frozen=True)
class Difference:
    """What becomes of the workers of an agent.

    Attributes:
        stays: those that go on.
        ends: those that end now, because they changed or are not in the new configuration.
        drains: sinks of channels that are not in it: they end when their channel is empty.
        begins: specs of those that begin.
    """

    stays: tuple[Worker, ...]
    ends: tuple[Worker, ...]
    drains: tuple[Worker, ...]
    begins: tuple[WorkerSpec, ...]

    @property
    def is_nothing(self) -> bool:
        """True when both configurations mean the same to every worker."""
        return not (self.ends or self.drains or self.begins)

    def __str__(self) -> str:
        begins = {spec.bell: spec.label for spec in self.begins}
        ended = {worker.spec.bell: worker.spec.label for worker in (*self.ends, *self.drains) if not worker.leaving}
        parts = [
            _said([label for bell, label in begins.items() if bell in ended], "starts again", "start again"),
            _said([label for bell, label in begins.items() if bell not in ended], "is started", "are started"),
            _said([label for bell, label in ended.items() if bell not in begins], "is stopped", "are stopped"),
            _said([worker.spec.label for worker in self.stays], "goes on", "go on"),
        ]
        return "; ".join(part for part in parts if part)


def difference(workers: Sequence[Worker], before: Plan, grid: Grid, after: Plan) -> Difference:
    """What has to happen to `workers`, which run plan `before`, so that the grid of plan `after` runs."""
    changed = {
        channel.name for channel in before.channels if channel.name not in _names(after)
        or after.channel(channel.name) != channel
    }  # fmt: skip
    wanted = {spec.bell: spec for spec in grid.workers}
    stays, ends, drains = [], [], []
    for worker in workers:
        spec = wanted.get(worker.spec.bell)
        if spec is not None and not worker.leaving and _same(worker.spec, spec) and not _touches(spec, changed):
            stays.append(worker)
        elif spec is None and worker.spec.channel and worker.spec.channel not in _names(after):
            drains.append(worker)
        else:
            ends.append(worker)
    going_on = {worker.spec.bell for worker in stays}
    begins = [spec for spec in grid.workers if spec.bell not in going_on]
    return Difference(tuple(stays), tuple(ends), tuple(drains), tuple(begins))


def restart_needed(before: Plan, after: Plan) -> str:
    """Why all of the agent has to start again, in order; "" when a reload will do."""
    for channel in after.channels:
        if channel.name in _names(before) and before.channel(channel.name).type != channel.type:
            was = before.channel(channel.name).type
            return f"channel {channel.name} was of type {was} and is of type {channel.type} now"
    return ""


def _names(plan: Plan) -> set[str]:
    return {channel.name for channel in plan.channels}


def _touches(spec: WorkerSpec, channels: Collection[str]) -> bool:
    into = (channel for member in spec.members for channel in (*member.channels, *member.letters))
    touched = {spec.channel, *(channel.name for channel in into)}
    return not touched.isdisjoint(channels)


def _same(one: WorkerSpec, other: WorkerSpec) -> bool:
    return _told(one) == _told(other)


def _told(spec: WorkerSpec) -> WorkerSpec:
    """A spec without what differs from run to run and means nothing to the work."""
    return replace(
        spec, line=0, common=_NOTHING, source=replace(spec.source, metrics=-1) if spec.source else None,
        sinks=tuple(replace(sink, metrics=-1) for sink in spec.sinks),
        channels=_unrivalled(spec.channels), letters=_unrivalled(spec.letters),
        shares=tuple(_told(share) for share in spec.shares),
    )  # fmt: skip


def _unrivalled(channels: Sequence[ChannelSpec]) -> tuple[ChannelSpec, ...]:
    """Who else puts into a channel is only asked where the file bounds all of them together."""
    bounds = {"capacity", "byteCapacity", "memoryCapacity", "overflowCapacity", "spill.capacity"}
    return tuple(channel if bounds & channel.properties.keys() else replace(channel, rivals=()) for channel in channels)


def _said(labels: Sequence[str], verb: str, verbs: str) -> str:
    if len(labels) > 8:
        return f"{len(labels)} others {verbs}" if verb == "goes on" else f"{len(labels)} workers {verbs}"
    return f"{', '.join(labels)} {verb if len(labels) == 1 else verbs}" if labels else ""
