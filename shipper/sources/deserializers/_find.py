"""Deserializers by the name in the file of options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shipper.config.nested import doubts_of, options_of, problems_of
from shipper.registry import find
from shipper.sources.deserializers.deserializer import Content, Deserializer, Reading

Maker = Callable[[Content], Deserializer[Any]]


def deserializer_problems(key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with `key = name` and the properties `key.*`: (key, sentence) pairs."""
    return problems_of("deserializer", key, name, properties)


def deserializer_doubts(key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is doubtful about the properties `key.*`: (key, sentence) pairs."""
    return doubts_of("deserializer", key, name, properties)


def deserializer_maker(name: str, properties: Mapping[str, str], reading: Reading) -> Maker:
    """Makes a deserializer for each file; name and properties have no problems."""
    found = find("deserializer", name)
    assert found is not None, "checked with the options"
    options = options_of(found, properties)
    return lambda content: found(options, content, reading)
