"""The topology of an agent: which sources, channels, sinks and groups it has, by Flume's rules of what is left out.

One rule set for all: what Flume leaves out with a line in its log is left out here too, and told as loudly as an
error. Three things are better than in Flume, each with a warning that shows the line which should be there:

- a source or sink without a channel, in an agent that has exactly one, is linked to that one;
- `channels` of a sink is read as `channel`;
- `channel` of a source is read as `channels`.

Whether a type exists and what its options mean is not asked here: see `bind.py`. The file is long because every way to
be left out has a sentence of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from shipper.config.agents import LISTS, Component, RawAgent
from shipper.config.problem import Problem
from shipper.likely import likely


@dataclass
class Agent:
    """An agent with what is left of it.

    Attributes:
        valid: False when Flume would build nothing of it.
        channels: name -> component.
        sources: name -> (component, names of its channels).
        sinks: name -> (component, name of its channel).
        groups: name -> (component, names of its sinks).
        unlinked: sources and sinks that are left out for want of a channel; their options are looked at all the same.
    """

    name: str
    valid: bool = True
    channels: dict[str, Component] = field(default_factory=dict)
    sources: dict[str, tuple[Component, tuple[str, ...]]] = field(default_factory=dict)
    sinks: dict[str, tuple[Component, str]] = field(default_factory=dict)
    groups: dict[str, tuple[Component, tuple[str, ...]]] = field(default_factory=dict)
    unlinked: list[Component] = field(default_factory=list)


def judge(raw: RawAgent) -> tuple[Agent, list[Problem]]:
    """What is left of an agent, and everything that is wrong between its components."""
    judging = _Judging(raw)
    judging.run()
    return judging.agent, judging.problems


class _Judging:
    """One walk over one agent, in Flume's order: channels, sources, sinks, groups."""

    def __init__(self, raw: RawAgent) -> None:
        self.raw = raw
        self.agent = Agent(raw.name)
        self.problems: list[Problem] = []

    def run(self) -> None:
        self._unlisted()
        self.agent.channels = dict(self._listed("channels"))
        if not self.agent.channels:
            self._no_channels()
            for list_name in ("sources", "sinks"):
                there = self.raw.components[list_name]
                named = [there[name] for name in self.raw.names(list_name) if name in there]
                self.agent.unlinked += [component for component in named if component.get("type") is not None]
            return
        for name, source in self._listed("sources"):
            if channels := self._channels_of_source(source):
                self.agent.sources[name] = source, channels
            else:
                self.agent.unlinked.append(source)
        for name, sink in self._listed("sinks"):
            if channel := self._channel_of_sink(sink):
                self.agent.sinks[name] = sink, channel
            else:
                self.agent.unlinked.append(sink)
        self._groups()
        for list_name in ("sources", "sinks"):
            if list_name not in self.raw.lists:
                self._missing_list(list_name)
        if not self.agent.sources and not self.agent.sinks:
            message = f"Agent {self.raw.name} has neither a source nor a sink that could run."
            self._invalid(message, empty=("sources", "sinks"))

    def _listed(self, list_name: str) -> Iterable[tuple[str, Component]]:
        """The components of a list that are there and have a type."""
        configured = self.raw.components[list_name]
        names = self.raw.names(list_name)
        for name in names:
            component = configured.get(name)
            if component is None:
                self._not_configured(list_name, name)
            elif component.get("type") is None and list_name != "sinkgroups":
                wrong = [key for key in component.settings if key.lower() == "type"]
                self._drop(
                    component,
                    f"{component.titled} has no type.",
                    flume=(f"ERROR ATTRS_MISSING component={name} key=type",),
                    nearest=f"{component.prefix}type (not {wrong[0]})" if wrong else None,
                    fix=() if wrong else (f"{component.prefix}type = ...",),
                )
            else:
                yield name, component

    def _not_configured(self, list_name: str, name: str) -> None:
        setting = self.raw.lists[list_name]
        configured = self.raw.components[list_name]
        agent = self.raw.name
        flume = (f"ERROR CONFIG_ERROR component={agent} key={name}",)
        kind = LISTS[list_name]
        if "," in setting.value and any(part in configured for part in name.split(",")):
            names = " ".join(dict.fromkeys(setting.value.replace(",", " ").split()))
            message = f"{setting.key}: names are separated by blanks; Flume takes '{name}' for one name."
            self._add(setting.problem("dropped", message, flume=flume, fix=(f"{setting.key} = {names}",)))
            return
        listed = self.raw.names(list_name)
        near = likely(name, [n for n in configured if n not in listed], 1, 0.5)
        message = f"{setting.key} lists {name}, but no line {agent}.{list_name}.{name}.* says what it is."
        self._add(
            setting.problem(
                "dropped",
                message,
                flume=flume,
                nearest=near[0] if near else None,
                consequence=f"{kind} {name} is left out",
            )
        )

    def _unlisted(self) -> None:
        """Configured but not listed: Flume is silent about it, though half of all mistakes look like this."""
        for list_name in LISTS:
            listed = self.raw.names(list_name)
            there = self.raw.components[list_name]
            if list_name not in self.raw.lists and list_name in ("sources", "sinks", "channels"):
                continue  # the missing list itself is told
            for name, component in there.items():
                if name not in listed and not any(name in entry.split(",") for entry in listed):
                    line = f"{self.raw.name}.{list_name} = {' '.join([*listed, name])}"
                    message = f"{component.titled} does not run: {self.raw.name}.{list_name} does not list it."
                    near = likely(name, [n for n in listed if n not in there], 1, 0.5)
                    self._add(
                        component.first.problem("warning", message, nearest=near[0] if near else None, fix=(line,))
                    )

    def _no_channels(self) -> None:
        agent = self.raw.name
        configured = self.raw.components["channels"]
        setting = self.raw.lists.get("channels")
        fix: tuple[str, ...] = ()
        if setting is not None:
            message = f"None of the channels that {setting.key} lists can run, so nothing of agent {agent} can."
        elif configured:
            message, fix = f"Agent {agent} does not list its channels.", (f"{agent}.channels = {' '.join(configured)}",)
        else:
            message = f"Agent {agent} has no channel: every source puts into one, every sink takes from one."
            fix = (f"{agent}.channels = c1", f"{agent}.channels.c1.type = memory")
        self._invalid(message, fix, empty=("channels",))

    def _missing_list(self, list_name: str) -> None:
        agent = self.raw.name
        flume = (f"WARNING PROPERTY_VALUE_NULL component={agent} key={list_name}",)
        configured = self.raw.components[list_name]
        if configured:
            first = next(iter(configured.values())).first
            message = f"The line that lists the {list_name} of agent {agent} is missing, so none of them runs."
            fix = (f"{agent}.{list_name} = {' '.join(configured)}",)
            self._add(first.problem("dropped", message, flume=flume, fix=fix))
        else:
            other = "nothing comes in" if list_name == "sources" else "nothing goes out"
            self._add(Problem("warning", f"Agent {agent} has no {list_name}: {other}.", flume=flume))

    def _only_channel(self) -> str | None:
        """The one channel of an agent that lists exactly one."""
        names = self.raw.names("channels")
        return names[0] if len(names) == 1 and names[0] in self.agent.channels else None

    def _channels_of_source(self, source: Component) -> tuple[str, ...]:
        key = "channels" if "channels" in source.settings else "channel"
        setting = source.settings.get(key)
        only = self._only_channel()
        if setting is None:
            message = f"{source.titled} has no channels."
            if only is None:
                self._drop(
                    source,
                    message,
                    flume=(f"ERROR PROPERTY_VALUE_NULL component={source.name} key=channel",),
                    fix=(f"{source.prefix}channels = {' '.join(self.agent.channels)}",),
                )
                return ()
            self._link(source, "channels", only)
            return (only,)
        names = tuple(dict.fromkeys(setting.value.split()))
        if key == "channel":
            message = (
                f"A source has channels, not channel: {setting.value} is taken, where Flume would drop {source.name}."
            )
            self._add(setting.problem("warning", message, fix=(f"{source.prefix}channels = {setting.value}",)))
        known = tuple(name for name in names if name in self.agent.channels)
        for name in names:
            if name not in self.agent.channels:
                message = f"{source.titled} puts into {name}, but there is no channel {name} that runs."
                consequence = f"channel {name} is not one of its channels" if known else f"{source.title} is left out"
                self._add(
                    setting.problem("dropped", message, nearest=self._near_channel(name), consequence=consequence)
                )
        return known

    def _channel_of_sink(self, sink: Component) -> str | None:
        key = "channel" if "channel" in sink.settings else "channels"
        setting = sink.settings.get(key)
        only = self._only_channel()
        if setting is None:
            if only is None:
                self._drop(
                    sink,
                    f"{sink.titled} has no channel.",
                    flume=(f"ERROR PROPERTY_VALUE_NULL component={sink.name} key=channel",),
                    fix=tuple(f"{sink.prefix}channel = {name}" for name in self.agent.channels),
                )
                return None
            self._link(sink, "channel", only)
            return only
        name = setting.value
        if name not in self.agent.channels:
            consequence = f"{sink.title} is left out"
            if len(names := name.split()) > 1:
                message = f"A sink takes from exactly one channel, and {setting.key} names {len(names)}."
                fix = (f"{sink.prefix}channel = {names[0]}",)
                self._add(setting.problem("dropped", message, fix=fix, consequence=consequence))
            else:
                message = f"{sink.titled} takes from {name}, but there is no channel {name} that runs."
                near = self._near_channel(name)
                self._add(setting.problem("dropped", message, nearest=near, consequence=consequence))
            return None
        if key == "channels":
            message = (
                f"A sink has one channel, so its key is channel: {name} is taken, where Flume would drop {sink.name}."
            )
            self._add(setting.problem("warning", message, fix=(f"{sink.prefix}channel = {name}",)))
        return name

    def _link(self, component: Component, key: str, channel: str) -> None:
        message = f"{component.titled} names no channel. It is linked to {channel}, the only one; Flume would drop it."
        self._add(component.first.problem("warning", message, fix=(f"{component.prefix}{key} = {channel}",)))

    def _near_channel(self, name: str) -> str | None:
        near = likely(name, self.agent.channels, 1, 0.5)
        return near[0] if near else self._only_channel()

    def _groups(self) -> None:
        used: dict[str, str] = {}
        for name, group in self._listed("sinkgroups"):
            setting = group.settings.get("sinks")
            sinks: list[str] = []
            for sink in () if setting is None else dict.fromkeys(setting.value.split()):
                assert setting is not None
                if sink in used:
                    self._add(
                        setting.problem(
                            "dropped",
                            f"Sink {sink} is already in sink group {used[sink]}; it stays there.",
                            flume=(f"ERROR PROPERTY_PART_OF_ANOTHER_GROUP component={self.raw.name} key={name}",),
                        )
                    )
                elif sink not in self.agent.sinks:
                    near = likely(sink, self.agent.sinks, 1, 0.5)
                    self._add(
                        setting.problem(
                            "dropped",
                            f"{group.titled} lists {sink}, but there is no sink {sink} that runs.",
                            nearest=near[0] if near else None,
                            flume=(f"ERROR INVALID_PROPERTY component={self.raw.name} key={sink}",),
                        )
                    )
                else:
                    used[sink] = name
                    sinks.append(sink)
            if sinks:
                self.agent.groups[name] = group, tuple(sinks)
            else:
                self._drop(
                    group,
                    f"{group.titled} has no sink left." if setting else f"{group.titled} lists no sinks.",
                    flume=(f"ERROR CONFIG_ERROR component={self.raw.name} key={name}",),
                    fix=() if setting else (f"{group.prefix}sinks = {' '.join(self.agent.sinks) or '...'}",),
                )

    def _drop(self, component: Component, message: str, **more: object) -> None:
        consequence = f"{component.title} is left out"
        self._add(component.first.problem("dropped", message, consequence=consequence, **more))

    def _invalid(self, message: str, fix: tuple[str, ...] = (), *, empty: tuple[str, ...]) -> None:
        self.agent.valid = False
        name = self.raw.name
        flume = tuple(f"ERROR PROPERTY_VALUE_NULL component={name} key={list_name}" for list_name in empty)
        flume += (f"ERROR AGENT_CONFIGURATION_INVALID component={name} key=",)
        places = [*self.raw.lists.values(), *(component.first for component in self.raw.all_components())]
        first = min(places, key=lambda p: p.line)
        self._add(Problem("error", message, first.file, first.line, fix=fix, flume=flume))

    def _add(self, problem: Problem) -> None:
        self.problems.append(replace(problem, agent=self.raw.name))
