"""The wiring of an agent: what its topology names, found among the classes that are there, with options that work.

One walk: channels first, because sources and sinks need one that runs; then sources with their interceptors and
selectors; then sinks, alone or in groups. A component that can't work is left out, with a problem that says why.
One that is left out for want of a channel is read all the same, so that a person sees everything at once. The file is
long because it is one walk over every family of components.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from shipper import registry
from shipper.config import dead_letters, event_times, topology
from shipper.config.agents import Component
from shipper.config.field import Options, declarations
from shipper.config.lookup import Found, look_up
from shipper.config.options import (
    POLLABLE,
    ChannelKeys,
    Checked,
    GroupKeys,
    PollableSourceKeys,
    SinkKeys,
    SourceKeys,
    check_options,
)
from shipper.config.plan import ChannelPlan, ComponentPlan, Plan, SinkGroupPlan, SinkPlan, SourcePlan
from shipper.config.problem import Problem
from shipper.config.properties import Property

#: Two names, the numbers of their workers and the marks of an overflow file are one file name of 255 bytes at most.
NAME_BYTES_MAX = 100
#: The keys that hold a batch size, in all families.
_BATCH_KEYS = ("batchSize", "hdfs.batchSize", "sink.batchSize", "batch-size", "flumeBatchSize")


@dataclass
class Wiring:
    """One walk over a topology: channels, sources, sinks, groups."""

    agent: topology.Agent
    problems: list[Problem] = field(default_factory=list)
    _channels: dict[str, tuple[ChannelPlan, Any]] = field(default_factory=dict)
    _timed: dict[str, tuple[str, str]] = field(default_factory=dict)

    def plan(self, files: tuple[str, ...]) -> Plan:
        """What can run."""
        for name, component in self.agent.channels.items():
            self._channel(name, component)
        bound = (self._source(name, *parts) for name, parts in self.agent.sources.items())
        sources = tuple(source for source in bound if source is not None)
        groups = tuple(self._sinks())
        for component in self.agent.unlinked:
            self._unlinked(component)
        self._alone()
        self._names()
        asked = {channel for _, listed in self.agent.sources.values() for channel in listed}
        asked |= {channel for _, channel in self.agent.sinks.values()}
        asked |= {component.get("deadLetter") or "" for component, _ in self.agent.sinks.values()}
        used = {channel for source in sources for channel in source.channels} | {group.channel for group in groups}
        used |= {channel for group in groups for channel in group.dead_letters}
        self.problems += dead_letters.problems(self.agent, groups, self._channels)
        self.problems += event_times.problems(self.agent, sources, self._timed)
        for name, component in self.agent.channels.items():
            if name not in asked:
                self._drop(
                    component.first, f"{component.titled} has neither a source nor a sink.", component.title, "warning"
                )
        channels = tuple(plan for name, (plan, _) in self._channels.items() if name in used)
        return Plan(agent=self.agent.name, files=files, sources=sources, channels=channels, groups=groups)

    def _channel(self, name: str, component: Component) -> None:
        found = self._find("channel", component, "type")
        if found is None:
            return
        checked = self._check(component, found, ChannelKeys, topology=("type",), forgiving=found.name == "memory")
        if checked.options is not None:
            strict_batch = checked.keys.strict_batch or getattr(checked.options, "strict_batch", False)
            plan = ChannelPlan(name=name, type=found.name, properties=checked.properties, strict_batch=strict_batch)
            self._channels[name] = plan, checked.options

    def _alone(self) -> None:
        """No two channels may lie in the same directory."""
        owners: dict[Path, str] = {}
        for name, (plan, options) in self._channels.items():
            kind = registry.find("channel", plan.type)
            clashes = {}
            for place in kind.places(options) if kind is not None else ():
                if (owner := owners.setdefault(place, name)) != name:
                    clashes[owner] = place
            for owner, place in clashes.items():
                message = (
                    f"The channels {owner} and {name} would both lie in {place}: give each of them a checkpointDir and "
                    f"dataDirs of its own."
                )
                self.problems.append(self.agent.channels[name].first.problem("error", message))

    def _names(self) -> None:
        """Files are named for a source and a sink together: no name may be so long that they can't be."""
        sources = {name: component for name, (component, _) in self.agent.sources.items()}
        sinks = {name: component for name, (component, _) in (self.agent.sinks | self.agent.groups).items()}
        for name, component in [*sources.items(), *self.agent.channels.items(), *sinks.items()]:
            if (size_bytes := len(name.encode("utf-8", "replace"))) > NAME_BYTES_MAX:
                message = (
                    f"The name {name} has {size_bytes} bytes: a name has {NAME_BYTES_MAX} at most, because files are "
                    f"called by two of them. Give it a shorter one."
                )
                self.problems.append(component.first.problem("error", message))

    def _source(self, name: str, component: Component, listed: tuple[str, ...]) -> SourcePlan | None:
        found = self._find("source", component, "type")
        channels = tuple(channel for channel in listed if channel in self._channels)
        selector = self._selector(component, channels)
        interceptors = self._interceptors(component)
        if found is None:
            return None
        own = _source_keys(found)
        checked = self._check(component, found, own, topology=_source_links(component))
        if not channels:
            self._drop(component.first, f"{component.titled} has no channel that runs.", component.title)
        if checked.options is None or selector is None or interceptors is None or not channels:
            return None
        if not self._fits(component, found, checked.options, channels):
            return None
        keys = checked.keys
        if keys.workers > 1 and not (found.type.listens or found.type.replayable):
            message = f"A {found.name} source can't be shared by {keys.workers} workers: each would read everything."
            self.problems.append(component.settings["workers"].problem("error", message))
        return SourcePlan(
            name=name,
            type=found.name,
            properties=checked.properties,
            channels=channels,
            interceptors=interceptors,
            selector=selector,
            workers=keys.workers,
            batch_bytes=keys.batch_bytes,
            replayable=found.type.replayable,
            light=found.type.light,
            listens=found.type.listens,
        )

    def _unlinked(self, component: Component) -> None:
        """What is wrong within a component that is left out already: nothing of it is worse than that."""
        said = len(self.problems)
        is_source = component.list == "sources"
        found = self._find("source" if is_source else "sink", component, "type")
        if is_source:
            self._selector(component, ())
            self._interceptors(component)
            if found is not None:
                self._check(component, found, _source_keys(found), topology=_source_links(component))
        elif found is not None:
            self._check(component, found, SinkKeys, topology=_sink_links(component))
        for number, problem in enumerate(self.problems[said:], said):
            if problem.severity == "error":
                self.problems[number] = replace(problem, severity="dropped")

    def _selector(self, source: Component, channels: tuple[str, ...]) -> ComponentPlan | None:
        found = self._find("selector", source, "selector.type", default="replicating")
        if found is None:
            return None
        checked = self._check(source, found, None, prefix="selector.", topology=("type",))
        if checked.options is None or not channels:
            return None
        wrong = found.type.wiring_problems(checked.options, channels)
        for key, message in wrong:
            setting = source.settings.get(f"selector.{key}") or source.first
            self._drop(setting, f"{source.prefix}selector.{key}: {message}.", source.title)
        return None if wrong else ComponentPlan(type=found.name, properties=checked.properties)

    def _interceptors(self, source: Component) -> tuple[ComponentPlan, ...] | None:
        listed = tuple((source.get("interceptors") or "").split())
        plans: list[ComponentPlan | None] = []
        for name in listed:
            prefix = f"interceptors.{name}."
            found = self._find("interceptor", source, f"{prefix}type")
            if found is None:
                plans.append(None)
                continue
            checked = self._check(source, found, None, prefix=prefix, topology=("type",))
            usable = checked.options is not None
            plans.append(ComponentPlan(name=name, type=found.name, properties=checked.properties) if usable else None)
        unlisted = {
            key.split(".")[1]: s for key, s in reversed(source.settings.items()) if key.startswith("interceptors.")
        }
        for name, setting in unlisted.items():
            if name not in listed:
                message = (
                    f"Interceptor {name} of {source.title} does not run: {source.prefix}interceptors does not list it."
                )
                fix = (f"{source.prefix}interceptors = {' '.join([*listed, name])}",)
                self.problems.append(setting.problem("warning", message, fix=fix))
        usable_plans = tuple(plan for plan in plans if plan is not None)
        return usable_plans if len(usable_plans) == len(plans) else None

    def _sinks(self) -> Iterable[SinkGroupPlan]:
        bound: dict[str, tuple[SinkPlan, int]] = {}
        for name, (component, channel) in self.agent.sinks.items():
            if (made := self._sink(name, component, channel)) is not None:
                bound[name] = made
        grouped = {sink for _, sinks in self.agent.groups.values() for sink in sinks}
        for name, (plan, workers) in bound.items():
            if name not in grouped:
                default = ComponentPlan(type="default")
                yield SinkGroupPlan(name=None, processor=default, sinks=(plan,), channel=plan.channel, workers=workers)
        for name, (component, sinks) in self.agent.groups.items():
            there = {sink: bound[sink] for sink in sinks if sink in bound}
            if (group := self._group(name, component, there)) is not None:
                yield group

    def _sink(self, name: str, component: Component, channel: str) -> tuple[SinkPlan, int] | None:
        found = self._find("sink", component, "type")
        if found is None:
            return None
        checked = self._check(component, found, SinkKeys, topology=_sink_links(component))
        if channel not in self._channels:
            self._drop(component.first, f"Channel {channel} of {component.title} does not run.", component.title)
            return None
        if checked.options is None or not self._fits(component, found, checked.options, (channel,)):
            return None
        if (timed := found.type.needs_timestamp(checked.options)) is not None:
            self._timed[name] = timed
        keys = checked.keys
        plan = SinkPlan(
            name=name,
            type=found.name,
            properties=checked.properties,
            channel=channel,
            batch_bytes=keys.batch_bytes,
            linger_s=keys.linger_s,
            quarantine_bytes=keys.quarantine_bytes,
            dead_letter=keys.dead_letter or "",
        )
        return plan, keys.workers

    def _group(self, name: str, group: Component, sinks: dict[str, tuple[SinkPlan, int]]) -> SinkGroupPlan | None:
        loser = f"{group.title} with its sinks"
        found = self._find("processor", group, "processor.type", default="default", loser=loser)
        if found is None:
            return None
        checked = check_options(group, found.type.Options, None, prefix="processor.", topology=("type",), loser=loser)
        self.problems += checked.problems
        # The group's own keys are judged apart: everything else in it belongs to the processor.
        own = check_options(group, Options, GroupKeys, topology=("type", "sinks", "processor."))
        self.problems += own.problems
        if not sinks:
            self._drop(group.first, f"No sink of {group.title} can run.", group.title)
            return None
        channels = {plan.channel: plan.name for plan, _ in sinks.values()}
        if len(channels) > 1:
            pairs = " and ".join(f"{sink} from {channel}" for channel, sink in channels.items())
            message = f"The sinks of a group take from one channel here, but {pairs}. Make a group for each channel."
            self.problems.append(group.settings["sinks"].problem("error", message))
            return None
        if checked.options is None:
            return None
        wrong = found.type.wiring_problems(checked.options, tuple(sinks))
        for key, message in wrong:
            setting = group.settings.get(key) or group.settings.get(f"processor.{key}") or group.first
            self._drop(setting, f"{group.titled}: {message}.", loser)
        if wrong:
            return None
        return SinkGroupPlan(
            name=name,
            processor=ComponentPlan(type=found.name, properties=checked.properties),
            sinks=tuple(plan for plan, _ in sinks.values()),
            channel=next(iter(channels)),
            workers=own.keys.workers or max(workers for _, workers in sinks.values()),
        )

    def _fits(self, component: Component, found: Found, options: Options, channels: Sequence[str]) -> bool:
        """Says it when the batch size is more than a transaction of the channel; False under `strictBatch`."""
        batch = _number(found.type.Options, options, _BATCH_KEYS)
        if batch is None:
            return True
        key, rows = batch
        fits = True
        for name in channels:
            plan, channel_options = self._channels[name]
            limit = _number(type(channel_options), channel_options, ("transactionCapacity",))
            if limit is None or rows <= limit[1]:
                continue
            setting = component.settings.get(key) or component.first
            message = (
                f"{component.prefix}{key} = {rows} is more than transactionCapacity = {limit[1]} of channel {name}"
            )
            if plan.strict_batch:
                message += ", and strictBatch of the channel is on."
                fits = False
            else:
                message += f". Flume would leave {component.title} out; here both are only numbers of its counters."
            fix = (f"{self.agent.channels[name].prefix}transactionCapacity = {rows}",)
            consequence = f"{component.title} is left out" if plan.strict_batch else ""
            severity = "dropped" if plan.strict_batch else "warning"
            self.problems.append(setting.problem(severity, message, fix=fix, consequence=consequence))
        return fits

    def _find(
        self, family: str, component: Component, key: str, default: str | None = None, loser: str | None = None
    ) -> Found | None:
        found, problem = look_up(family, component, key, default, loser or component.title)
        if problem is not None:
            self.problems.append(problem)
        return found

    def _check(self, component: Component, found: Found, keys: type[Options] | None, **more: Any) -> Checked:
        checked = check_options(component, found.type.Options, keys, **more)
        self.problems += checked.problems
        return checked

    def _drop(self, setting: Property, message: str, loser: str, severity: str = "dropped") -> None:
        self.problems.append(setting.problem(severity, message, consequence=f"{loser} is left out"))


def _source_keys(found: Found) -> type[Options]:
    return PollableSourceKeys if found.name in POLLABLE else SourceKeys


def _source_links(source: Component) -> tuple[str, ...]:
    """The keys of a source that are no options of its class."""
    link = "channels" if "channels" in source.settings else "channel"
    return ("type", link, "interceptors", "interceptors.", "selector.")


def _sink_links(sink: Component) -> tuple[str, ...]:
    return ("type", "channel" if "channel" in sink.settings else "channels")


def _number(declared_by: type[Options], options: Options, keys: Sequence[str]) -> tuple[str, int] | None:
    """The key and value of the first whole number among the options, None when there is none."""
    for name, declared in declarations(declared_by).items():
        if declared.key in keys and isinstance(value := getattr(options, name), int):
            return declared.key, value
    return None
