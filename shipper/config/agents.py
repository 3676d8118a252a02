"""The agents of a file: its keys sorted by agent, kind and component, as Flume sorts them before it judges any.

::

    <agent>.<list> = names                   list: sources, channels, sinks, sinkgroups, configfilters
    <agent>.<list>.<name>.<key> = value

Lines that fit neither form are told and left out, as Flume does; what the rest means is the topology's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from shipper.config.problem import Problem
from shipper.config.properties import Property, java_trim, written
from shipper.likely import likely

#: list name -> what one of it is called.
LISTS = {
    "sources": "source",
    "channels": "channel",
    "sinks": "sink",
    "sinkgroups": "sink group",
    "configfilters": "config filter",
}


@dataclass
class Component:
    """The keys of one component.

    Attributes:
        agent, list: `a1`, `sources`.
        settings: key below the name -> property, whose value is trimmed and whose key is the whole key of the file.
    """

    agent: str
    list: str
    name: str
    settings: dict[str, Property] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What a person calls it: `source`, `sink group`."""
        return LISTS[self.list]

    @property
    def title(self) -> str:
        """`source r1`."""
        return f"{self.kind} {self.name}"

    @property
    def titled(self) -> str:
        """`Source r1`, to begin a sentence with."""
        return self.title[0].upper() + self.title[1:]

    @property
    def prefix(self) -> str:
        """`a1.sources.r1.`, which begins all of its keys."""
        return f"{self.agent}.{self.list}.{self.name}."

    @property
    def first(self) -> Property:
        """The line where the component begins, for problems that no single key is to blame for."""
        return self.settings.get("type") or next(iter(self.settings.values()))

    def get(self, key: str) -> str | None:
        """The value of a key, None when the file does not set it."""
        setting = self.settings.get(key)
        return None if setting is None else setting.value

    def below(self, prefix: str) -> dict[str, str]:
        """The values of all keys that begin with `prefix`, without it."""
        return {
            key[len(prefix) :]: s.value for key, s in self.settings.items() if key.startswith(prefix) and key != prefix
        }


@dataclass
class RawAgent:
    """One agent as its lines are, before anything is judged."""

    name: str
    lists: dict[str, Property] = field(default_factory=dict)
    components: dict[str, dict[str, Component]] = field(default_factory=lambda: {name: {} for name in LISTS})

    def names(self, list_name: str) -> tuple[str, ...]:
        """The names that a list has, each once, in order."""
        setting = self.lists.get(list_name)
        return () if setting is None else tuple(dict.fromkeys(setting.value.split()))

    def all_components(self) -> Iterator[Component]:
        """Every configured component, listed or not."""
        for components in self.components.values():
            yield from components.values()


def sort_by_agent(
    properties: Mapping[str, Property], variables: frozenset[str] | None = frozenset()
) -> tuple[dict[str, RawAgent], list[Problem]]:
    """The agents of the merged files.

    Args:
        variables: keys that placeholders refer to; they need no agent. None when that can't be told.
    """
    agents: dict[str, RawAgent] = {}
    problems: list[Problem] = []
    for found in properties.values():
        name, value = java_trim(found.key), java_trim(found.value)
        setting = replace(found, key=name, value=value)
        agent_name, dot, key = name.partition(".")
        if not dot and (variables is None or found.key in variables) and value:
            continue
        problem = _unfit(setting, agent_name, dot, key)
        if problem is None:
            agent = agents.setdefault(agent_name, RawAgent(agent_name))
            problem = _place(agent, key, setting)
        if problem is not None:
            problems.append(problem)
    return {name: a for name, a in agents.items() if a.lists or any(a.components.values())}, problems


def _unfit(setting: Property, agent: str, dot: str, key: str) -> Problem | None:
    """What keeps a line from being a property of any agent."""
    name = setting.key
    if not setting.value:
        message = f"{name or 'The line'} has no value, so the line is ignored, as in Flume, as if it were not there."
        return setting.problem(
            "warning", message, agent=agent if dot else "", flume=(f"ERROR PROPERTY_VALUE_NULL component={name} key=",)
        )
    if not dot:
        message = (
            f"{name or 'The line'} has no dot: a key begins with the agent's name, as in a1.sources. It is ignored."
        )
        return setting.problem("warning", message, flume=(f"ERROR AGENT_NAME_MISSING component={name} key=",))
    if not agent:
        message = f"The agent's name is missing before {name}: write AGENT{name}. The line is ignored."
        return setting.problem("warning", message, flume=(f"ERROR AGENT_NAME_MISSING component={name} key=",))
    if not key:
        message = (
            f"Nothing stands behind {name}: a key is AGENT.sources, AGENT.sources.NAME.KEY and so on. It is ignored."
        )
        return setting.problem("warning", message, flume=(f"ERROR PROPERTY_NAME_NULL component={name} key=",))
    return None


def _place(agent: RawAgent, key: str, setting: Property) -> Problem | None:
    if key in LISTS:
        agent.lists[key] = setting
        return None
    list_name, _, rest = key.partition(".")
    # A component's name may begin with a dot in Flume's own reading; nobody means that.
    name, dot, own_key = rest.partition(".")
    name = java_trim(name)
    if list_name in LISTS and name and dot and own_key:
        components = agent.components[list_name]
        components.setdefault(name, Component(agent.name, list_name, name)).settings[own_key] = setting
        return None
    return _misplaced(agent.name, key, setting)


def _misplaced(agent: str, key: str, setting: Property) -> Problem:
    """A key that is in no list of the agent."""
    list_name, _, rest = key.partition(".")
    flume = (f"ERROR INVALID_PROPERTY component={agent} key={key}",)
    if list_name in LISTS:
        message = f"{setting.key} names a {LISTS[list_name]} but no key of it, so the line is ignored."
        fix = (written(f"{setting.key}.type", setting.value),) if rest and setting.value[0].isalpha() else ()
        return setting.problem("warning", message, agent=agent, flume=flume, fix=fix)
    if (missing := agent.lower().rstrip("s")) in ("source", "channel", "sink"):
        message = f"{setting.key} begins with {agent} where the agent's name should be. The line is ignored."
        return setting.problem(
            "warning",
            message,
            agent=agent,
            flume=flume,
            nearest=f"AGENT.{missing}s.{key if '.' in key else f'{key}.type'}",
        )
    lists = {name.lower(): name for name in LISTS}
    lists |= {name.lower()[:-1]: name for name in LISTS}
    near = lists.get(list_name.lower()) or next(iter(likely(list_name, LISTS, 1, 0.6)), None)
    nearest = None if near is None else f"{agent}.{near}" + (f".{rest}" if rest else "")
    message = (
        f"{setting.key}: behind the agent's name comes one of {', '.join(LISTS)}, in small letters, "
        f"not {list_name}. The line is ignored, as in Flume."
    )
    return setting.problem("warning", message, agent=agent, flume=flume, nearest=nearest)
