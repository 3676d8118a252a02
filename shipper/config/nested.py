"""A component named in the options of another one, as a sink's serializer is: what is wrong or doubtful about it.

`key = name` names it, and the properties `key.*` are its options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shipper.config.field import read_options, unknown_keys
from shipper.registry import find, nearest


def problems_of(family: str, key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with the name and the properties: (key, sentence) pairs."""
    found = find(family, name)
    if found is None:
        near = nearest(family, name)
        return [(key, f"{key} = {name}: no {family} has that name" + (f"; did you mean {near}?" if near else ""))]
    if (missing := found.needs() if hasattr(found, "needs") else None) is not None:
        return [(key, f"{key} = {name}: {missing}")]
    _, findings = read_options(found.Options, properties)
    return [(f"{key}.{f.key}", f"{key}.{f.message}") for f in findings if f.severity == "error"]


def doubts_of(family: str, key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is doubtful about the properties: (key, sentence) pairs."""
    found = find(family, name)
    if found is None:
        return []
    _, findings = read_options(found.Options, properties)
    doubts = [(f"{key}.{f.key}", f"{key}.{f.message}") for f in findings if f.severity == "warning"]
    for unknown, near in unknown_keys(found.Options, list(properties)).items():
        guess = f"; did you mean {key}.{near}?" if near else ""
        doubts.append((f"{key}.{unknown}", f"{key}.{unknown} is not known to {family} {name}{guess}"))
    return doubts


def options_of(component: type[Any], properties: Mapping[str, str]) -> Any:
    """The options of a component whose properties have no problems."""
    options, _ = read_options(component.Options, properties)
    assert options is not None, "checked with the options"
    return options
