"""What is in a file: a serializer by its name in the file of options, and the recipe that it makes.

The classes are asked for by name when a sink is made, so that a sink can write what a plugin brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shipper.clock import Clock
from shipper.config.nested import doubts_of, options_of, problems_of
from shipper.files.compress import Codec
from shipper.files.open_file import Recipe
from shipper.registry import find
from shipper.serializers.serializer import Serializer


def serializer_problems(key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is wrong with `key = name` and the properties `key.*`: (key, sentence) pairs."""
    return problems_of("serializer", key, name, properties)


def serializer_doubts(key: str, name: str, properties: Mapping[str, str]) -> list[tuple[str, str]]:
    """What is doubtful about the properties `key.*`: (key, sentence) pairs."""
    return doubts_of("serializer", key, name, properties)


def serializer_recipe(name: str, properties: Mapping[str, str], codec: Codec | None = None) -> Recipe:
    """The recipe of a serializer that has no problems, with a codec behind it or none."""
    serializer_class = find("serializer", name)
    assert serializer_class is not None, "checked with the options"
    return recipe_of(serializer_class, properties, codec)


def recipe_of(
    serializer_class: type[Serializer[Any]], properties: Mapping[str, str], codec: Codec | None = None
) -> Recipe:
    """The recipe of a serializer class whose properties have no problems."""
    options = options_of(serializer_class, properties)
    settings = ",".join(f"{key}={value}" for key, value in sorted(properties.items()))
    identity = (
        f"{serializer_class.__module__}.{serializer_class.__qualname__}({settings})|{codec.name if codec else ''}"
    )

    def make(clock: Clock, state: str | None) -> Serializer[Any]:
        return serializer_class(options, clock, state)

    return Recipe(identity, make, codec)
