"""Binding: the topology of an agent meets the classes that are there, and becomes a plan.

`load` is the whole way from files to a plan: properties -> placeholders -> agents -> config filters -> topology ->
options of every component. Each step tells all its problems and goes on, so that a person sees them at once.

What is left out follows Flume (a component whose options are wrong, a group whose processor can't work), with three
differences, all of them because Flume's answer helps nobody:

- a type, or a key, that Flume has and this build can't honour is an error: nothing starts. The file is right, and
  less than what it asks for must not run silently.
- when no source, or no sink, is left of those that the file asks for, that is an error. Flume stays up and does
  nothing.
- a sink that can't run is taken out of its group; Flume's whole load fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from shipper import registry
from shipper.config import agents, filters, placeholders, topology
from shipper.config.agents import RawAgent
from shipper.config.field import read_options
from shipper.config.plan import Plan
from shipper.config.problem import Problem, in_order, strictly
from shipper.config.properties import Property, read_files
from shipper.config.wiring import Wiring
from shipper.errors import ConfigurationError
from shipper.likely import likely


def load(
    files: Iterable[str | Path],
    agent: str,
    system_properties: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    strict: bool = False,
) -> tuple[Plan | None, list[Problem]]:
    """The plan of one agent, with everything there is to say about its files.

    Args:
        files: as on the command line; a later one overrides an earlier one key by key.
        system_properties: `-D` flags, for `${sys:...}` and the EnvVarResolverProperties switch.
        environment: for `${env:...}` and config filters; this process's own when None.
        strict: warnings are errors.

    Returns:
        The plan, None when a problem is an error; and the problems in the order of the lines.
    """
    paths = [str(file) for file in files]
    properties, problems = read_files(paths)
    system = {} if system_properties is None else system_properties
    env = dict(os.environ) if environment is None else environment
    resolved = placeholders.resolve(properties, system, env)
    problems += resolved.problems
    found, misplaced = agents.sort_by_agent(resolved.properties, resolved.variables)
    problems += misplaced
    plan = None
    if agent in found:
        real = tuple(os.path.realpath(path) for path in paths)
        plan, wrong = bind(found[agent], env, real)
        problems += wrong
    elif properties or not any(p.severity == "error" for p in problems):  # else it is said why nothing was read
        problems.append(_no_such_agent(agent, found, properties, paths))
    if found:
        problems = [p for p in problems if not p.agent or p.agent == agent] + _others(agent, found, problems)
    if strict:
        problems = strictly(problems)
    problems = in_order(problems)
    return (None if any(p.severity == "error" for p in problems) else plan), problems


def agent_names(files: Iterable[str | Path]) -> list[str]:
    """The agents that the files describe, in order."""
    return list(agents.sort_by_agent(read_files(files)[0], None)[0])


def component(family: str, type_name: str, properties: Mapping[str, str]) -> tuple[type[Any], Any]:
    """The class and the options of a part of a plan: how a worker makes what its spec names.

    Raises:
        ConfigurationError: the plan was made by another build, or by hand.
    """
    found = registry.find(family, type_name)
    if found is None:
        raise ConfigurationError(f"the {type_name} {family} is not in this build")
    options, findings = read_options(found.Options, properties)
    if options is None:
        raise ConfigurationError("; ".join(f.message for f in findings if f.severity == "error"))
    return found, options


def bind(raw: RawAgent, environment: Mapping[str, str], files: Sequence[str]) -> tuple[Plan, list[Problem]]:
    """What of an agent can run, and what is wrong with it. Whether it may run is for the caller to decide."""
    problems = filters.apply(raw, environment)
    agent, wrong = topology.judge(raw)
    problems += wrong
    wiring = Wiring(agent)
    plan = wiring.plan(tuple(files))
    problems += wiring.problems
    told = any(p.severity == "error" for p in problems)
    for list_name, left in (("sources", plan.sources), ("sinks", plan.groups)):
        if raw.components[list_name] and list_name in raw.lists and not left and not told:
            message = f"None of the {list_name} of agent {raw.name} can run, so nothing would ever arrive."
            problems.append(Problem("error", message, raw.lists[list_name].file))
    return plan, [replace(p, agent=raw.name) for p in problems]


def _no_such_agent(
    agent: str, found: Mapping[str, RawAgent], properties: Mapping[str, Property], paths: Sequence[str]
) -> Problem:
    """The name after `-n` is in no file."""
    where = ", ".join(paths)
    if found:
        names = ", ".join(found)
        near = likely(agent, found, 1, 0.5)
        only = next(iter(found)) if len(found) == 1 else None
        message = f"There is no agent {agent} in {where}, which has {names}."
        return Problem("error", message, where, nearest=f"-n {near[0]}" if near else f"-n {only}" if only else None)
    if not properties:
        return Problem("error", f"There is not one key in {where}.", where)
    which = f" {agent} in the file, nor any other" if agent else " in the file"
    message = f"There is no agent{which}: keys begin with the agent's name."
    fix = tuple(f"{agent or 'a1'}.{line}" for line in ("sources = r1", "channels = c1", "sinks = k1"))
    return Problem("error", message, where, fix=fix)


def _others(agent: str, found: Mapping[str, RawAgent], problems: Sequence[Problem]) -> list[Problem]:
    """One line for each other agent of the files that has problems."""
    notes = []
    for name, raw in found.items():
        if name == agent:
            continue
        wrong = len([p for p in problems if p.agent == name]) + len(topology.judge(raw)[1])
        if wrong:
            first = next(iter([*raw.lists.values(), *(c.first for c in raw.all_components())]))
            many = "1 problem" if wrong == 1 else f"{wrong} problems"
            message = f"Agent {name} of the same file has {many}; 'shipper check -n {name}' shows them."
            notes.append(Problem("note", message, first.file, first.line))
    return notes
