"""Dead letters in a file: what can be wrong with the `deadLetter` of a sink."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from shipper.config import topology
from shipper.config.plan import SinkGroupPlan
from shipper.config.problem import Problem


def problems(agent: topology.Agent, groups: Sequence[SinkGroupPlan], channels: Collection[str]) -> Iterator[Problem]:
    """What is wrong with the dead-letter channels of these groups.

    Args:
        channels: names of those that run.
    """
    ways: dict[str, set[str]] = {}
    for group in groups:
        ways.setdefault(group.channel, set()).update(group.dead_letters)
    taken = {group.channel for group in groups}
    for sink in (sink for group in groups for sink in group.sinks if sink.dead_letter):
        component = agent.sinks[sink.name][0]
        key, into = f"{component.prefix}deadLetter", sink.dead_letter
        setting = component.settings["deadLetter"]
        if into not in channels:
            known = ", ".join(name for name in channels if name != sink.channel) or "none"
            yield setting.problem("error", f"{key} = {into} is no channel that runs. Others that do: {known}.")
        elif into == sink.channel:
            yield setting.problem(
                "error", f"{key} = {into} is the channel that {component.title} takes from: what it refuses would come "
                f"to it for ever. Give dead letters a channel of their own."
            )  # fmt: skip
        elif (way := _way_back(ways, into, sink.channel)) is not None:
            yield setting.problem(
                "error", f"{key} = {into} makes a circle of dead letters ({' -> '.join((sink.channel, *way))}): an "
                f"event that all of its sinks refuse would go round for ever."
            )  # fmt: skip
        elif into not in taken:
            yield setting.problem(
                "warning", f"{key} = {into}: no sink takes from that channel. When it is full, {component.title} "
                f"waits, and with it all of channel {sink.channel}."
            )  # fmt: skip


def _way_back(ways: dict[str, set[str]], start: str, end: str) -> tuple[str, ...] | None:
    """The channels from `start` to `end` by dead letters; None when there is no such way."""
    seen = {start}
    open_ways: list[tuple[str, ...]] = [(start,)]
    while open_ways:
        way = open_ways.pop()
        if way[-1] == end:
            return way
        for following in sorted(ways.get(way[-1], set()) - seen):
            seen.add(following)
            open_ways.append((*way, following))
    return None
