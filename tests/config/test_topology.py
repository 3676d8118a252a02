"""What is left of an agent, by Flume's rules and by our better ones."""

from __future__ import annotations

from typing import Any

import pytest

from shipper.config.agents import RawAgent, sort_by_agent
from shipper.config.problem import Problem
from shipper.config.properties import parse
from shipper.config.topology import Agent, judge

BASE = """\
a.sources=r
a.channels=c
a.sinks=k
a.sources.r.type=seq
a.sources.r.channels=c
a.channels.c.type=memory
a.sinks.k.type=null
a.sinks.k.channel=c
"""


def sorted_agents(text: str) -> tuple[dict[str, RawAgent], list[Problem]]:
    return sort_by_agent({p.key: p for p in parse(text.encode(), "f")[0]})


def judged(text: str) -> tuple[Agent, list[Problem]]:
    agents, misplaced = sorted_agents(text)
    agent, problems = judge(agents["a"])
    return agent, misplaced + problems


def without(line_start: str, *more: str) -> str:
    return "\n".join([line for line in BASE.splitlines() if not line.startswith(line_start)] + list(more))


def in_java(names: Any) -> str:
    return f"[{', '.join(names)}]"


@pytest.mark.vectors("config_validation")
def test_agents_are_judged_as_in_flume(row: dict[str, Any]) -> None:
    """Flume tells some errors twice, for instance of a group; each is told once here, so sets are compared."""
    raw_agents, problems = sorted_agents(row["in"]["text"])
    for name, expected in row["out"]["agents"].items():
        if name not in raw_agents:
            assert expected is None
            continue
        raw = raw_agents[name]
        agent, wrong = judge(raw)
        problems += wrong
        if not agent.valid:
            assert expected is None
            continue
        # Without a list of sources Flume keeps what it knows about them, though none of them runs.
        kept = agent.sources if "sources" in raw.lists else raw.components["sources"]
        components = [raw.components["sources"][source] for source in kept]
        contexts = {
            component.name: "{" + ", ".join(f"{k}={s.value}" for k, s in sorted(component.settings.items())) + "}"
            for component in components
        }
        assert expected == {
            "sources": in_java(agent.sources),
            "channels": in_java(agent.channels),
            "sinks": in_java(agent.sinks),
            "sinkgroups": in_java(agent.groups),
            "sourceContext": contexts,
            "sourceChannels": {},
            "groupSinks": {group: in_java(sinks) for group, (_, sinks) in agent.groups.items()},
        }
    assert set(row["out"]["errors"]) == {said for problem in problems for said in problem.flume}


def test_a_complete_file_has_no_problems() -> None:
    agent, problems = judged(BASE)
    assert problems == []
    assert (list(agent.sources), list(agent.channels), list(agent.sinks)) == (["r"], ["c"], ["k"])


@pytest.mark.parametrize(
    ("missing", "line"),
    [("a.sources.r.channels", "a.sources.r.channels = c"), ("a.sinks.k.channel", "a.sinks.k.channel = c")],
)
def test_the_only_channel_is_linked_with_the_missing_line(missing: str, line: str) -> None:
    agent, problems = judged(without(missing))
    assert (agent.sources["r"][1], agent.sinks["k"][1]) == (("c",), "c")
    assert [("warning", (line,))] == [(p.severity, p.fix) for p in problems]


@pytest.mark.parametrize("missing", ["a.sources.r.channels", "a.sinks.k.channel"])
def test_with_two_channels_nothing_is_guessed(missing: str) -> None:
    text = without(missing).replace("a.channels=c", "a.channels=c c2") + "\na.channels.c2.type=memory"
    agent, problems = judged(text)
    assert [p.severity for p in problems] == ["dropped"]
    assert len(agent.sources) + len(agent.sinks) == 1


def test_channels_of_a_sink_is_read_as_channel() -> None:
    agent, problems = judged(BASE.replace("k.channel=", "k.channels="))
    assert agent.sinks["k"][1] == "c"
    assert [(p.severity, p.fix) for p in problems] == [("warning", ("a.sinks.k.channel = c",))]


def test_channel_of_a_source_is_read_as_channels() -> None:
    agent, problems = judged(BASE.replace("r.channels=", "r.channel="))
    assert agent.sources["r"][1] == ("c",)
    assert [(p.severity, p.fix) for p in problems] == [("warning", ("a.sources.r.channels = c",))]


def test_a_sink_with_two_channels_is_left_out() -> None:
    agent, problems = judged(BASE.replace("k.channel=c", "k.channel=c d"))
    assert agent.sinks == {}
    assert [p.severity for p in problems] == ["dropped"]
    assert "exactly one channel" in problems[0].message


def test_a_source_keeps_the_channels_that_are_there() -> None:
    agent, problems = judged(BASE.replace("r.channels=c", "r.channels=cc c"))
    assert agent.sources["r"][1] == ("c",)
    assert [(p.severity, p.nearest) for p in problems] == [("dropped", "c")]


@pytest.mark.parametrize(
    ("old", "new", "loser"),
    [
        ("r.channels=c", "r.channels=d", "source r is left out"),
        ("k.channel=c", "k.channel=d", "sink k is left out"),
        ("sources.r.type=seq", "sources.r.batchSize=1", "source r is left out"),
        ("sinks.k.type=null", "sinks.k.batchSize=1", "sink k is left out"),
    ],
)
def test_what_flume_leaves_out_is_told_with_the_consequence(old: str, new: str, loser: str) -> None:
    agent, problems = judged(BASE.replace(old, new))
    assert agent.valid
    assert [("dropped", loser)] == [(p.severity, p.consequence) for p in problems]


def test_a_misspelled_type_key_is_recognised() -> None:
    _, problems = judged(BASE.replace("r.type=", "r.Type="))
    assert problems[0].nearest == "a.sources.r.type (not Type)"


@pytest.mark.parametrize(
    "text", ["a.sources=r\na.sources.r.type=seq", without("a.channels=c"), without("a.channels.c.")]
)
def test_an_agent_without_a_channel_is_no_agent(text: str) -> None:
    agent, problems = judged(text)
    assert not agent.valid
    assert "error" in {p.severity for p in problems}


def test_a_list_that_is_missing_is_told_with_its_line() -> None:
    _, problems = judged(without("a.sinks=k"))
    assert [(p.severity, p.fix) for p in problems] == [("dropped", ("a.sinks = k",))]


def test_a_component_that_no_list_names_is_told_with_the_list() -> None:
    _, problems = judged(BASE + "a.sinks.k2.type=null\na.sinks.k2.channel=c")
    assert [(p.severity, p.line, p.fix) for p in problems] == [("warning", 9, ("a.sinks = k k2",))]


def test_a_name_that_is_listed_and_not_configured_shows_what_was_meant() -> None:
    _, problems = judged(BASE.replace("a.sinks=k", "a.sinks=sink1").replace("sinks.k.", "sinks.snk1."))
    assert (problems[1].severity, problems[1].nearest) == ("dropped", "snk1")


def test_commas_between_names_are_explained() -> None:
    text = BASE.replace("a.sources=r", "a.sources=r, r2") + "a.sources.r2.type=seq\na.sources.r2.channels=c"
    agent, problems = judged(text)
    assert list(agent.sources) == ["r2"]
    assert [(p.severity, p.fix) for p in problems] == [("dropped", ("a.sources = r r2",))]


def test_a_channel_is_enough_for_sources_alone_and_for_sinks_alone() -> None:
    for kind in ("sources", "sinks"):
        agent, problems = judged(without(f"a.{kind}"))
        assert agent.valid
        assert [p.severity for p in problems] == ["warning"]


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("a.Sources = r", "a.sources"),
        ("a.source.r.type = seq", "a.sources.r.type"),
        ("a.chanels.c.type = memory", "a.channels.c.type"),
        ("a.sink = k", "a.sinks"),
        ("a.sinkgroup.g.sinks = k", "a.sinkgroups.g.sinks"),
        ("sources.r.type = seq", "AGENT.sources.r.type"),
        ("a.whatever.x = y", None),
    ],
)
def test_a_line_in_no_list_is_told_with_the_spelling_that_was_meant(line: str, nearest: str | None) -> None:
    _, problems = sorted_agents(line)
    assert [("warning", nearest)] == [(p.severity, p.nearest) for p in problems]


def test_a_component_with_a_value_of_its_own_is_probably_its_type() -> None:
    _, problems = sorted_agents("a.sources.r = seq")
    assert [p.fix for p in problems] == [("a.sources.r.type = seq",)]


@pytest.mark.parametrize("line", ["key = 1", ".sources = r", "a. = 1", "a.sources.r.x =", "= 1"])
def test_a_line_that_fits_nowhere_is_told_and_ignored(line: str) -> None:
    agents, problems = sorted_agents(line)
    assert agents == {}
    assert [p.severity for p in problems] == ["warning"]


def test_a_key_without_a_dot_may_be_a_variable() -> None:
    properties = {p.key: p for p in parse(b"DIR=/d\nOTHER=1", "f")[0]}
    assert [p.key for p in sort_by_agent(properties, frozenset({"DIR"}))[1]] == ["OTHER"]
    assert sort_by_agent(properties, None)[1] == []


@pytest.mark.parametrize(
    ("lines", "groups", "severities"),
    [
        ("a.sinkgroups.g.sinks=k k2\n", {"g": ("k", "k2")}, []),
        ("a.sinkgroups.g.sinks=k2 none\n", {"g": ("k2",)}, ["dropped"]),
        ("a.sinkgroups.g.sinks=none\n", {}, ["dropped", "dropped"]),
        ("a.sinkgroups.g.processor.type=failover\n", {}, ["dropped"]),
        ("", {}, ["dropped"]),
    ],
)
def test_a_group_keeps_the_sinks_that_run(lines: str, groups: dict[str, Any], severities: list[str]) -> None:
    text = BASE.replace("a.sinks=k", "a.sinks=k k2") + "a.sinks.k2.type=null\na.sinks.k2.channel=c\na.sinkgroups=g\n"
    agent, problems = judged(text + lines)
    assert groups == {name: sinks for name, (_, sinks) in agent.groups.items()}
    assert severities == [p.severity for p in problems]
    assert list(agent.sinks) == ["k", "k2"]
