"""Deserializers by the name in the file of options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shipper.config.field import read_options, unknown_keys
from shipper.registry import find, nearest
from shipper.sources.deserializers.deserializer import Content, Deserializer, Reading

Maker = Callable[[Content], Deserializer[Any]]


def deserializer_problems(key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with `key = name` and the properties `key.*`: (key, sentence) pairs."""
    found = find("deserializer", name)
    if found is None:
        near = nearest("deserializer", name)
        return [(key, f"{key} = {name}: no deserializer has that name" + (f"; did you mean {near}?" if near else ""))]
    missing = found.needs()
    if missing is not None:
        return [(key, f"{key} = {name}: {missing}")]
    _, findings = read_options(found.Options, properties)
    return [(f"{key}.{f.key}", f"{key}.{f.message}") for f in findings if f.severity == "error"]


def deserializer_doubts(key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is doubtful about the properties `key.*`: (key, sentence) pairs."""
    found = find("deserializer", name)
    if found is None:
        return []
    _, findings = read_options(found.Options, properties)
    doubts = [(f"{key}.{f.key}", f"{key}.{f.message}") for f in findings if f.severity == "warning"]
    for unknown, near in unknown_keys(found.Options, list(properties)).items():
        guess = f"; did you mean {key}.{near}?" if near else ""
        doubts.append((f"{key}.{unknown}", f"{key}.{unknown} is not known to deserializer {name}{guess}"))
    return doubts


def deserializer_maker(name: str, properties: Mapping[str, str], reading: Reading) -> Maker:
    """Makes a deserializer for each file; name and properties have no problems."""
    found = find("deserializer", name)
    assert found is not None, "checked with the options"
    options, _ = read_options(found.Options, properties)
    assert options is not None, "checked with the options"
    return lambda content: found(options, content, reading)
