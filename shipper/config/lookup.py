"""Looking a type up: the class behind a `type` line, or what to tell the person whose type nobody has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shipper import registry
from shipper.config.agents import Component
from shipper.config.flume_types import flume_name, known_names, meant
from shipper.config.problem import Problem
from shipper.config.properties import written
from shipper.likely import likely

#: What Flume does about a type that it does not know: the whole load fails, or the source or group is left out.
_FATAL = ("source", "channel", "sink")


@dataclass(frozen=True)
class Found:
    """A class with the name of its file."""

    name: str
    type: type[Any]


def look_up(
    family: str, component: Component, key: str, default: str | None, loser: str
) -> tuple[Found | None, Problem | None]:
    """The class that the line `key` of `component` names.

    Args:
        key: `type`, `selector.type`, `interceptors.i1.type`, `processor.type`.
        default: the type when there is no such line.
        loser: what is left out when the type is wrong in a way that Flume survives.
    """
    setting = component.settings.get(key)
    type_name = default if setting is None else setting.value
    if type_name is None:
        part = key.rpartition(".")[0]
        message = f"{component.prefix}{key} is missing: nothing says what {part} is."
        fix = (f"{component.prefix}{key} = ...",)
        where = component.settings.get("interceptors") or component.first
        return None, where.problem("dropped", message, consequence=f"{loser} is left out", fix=fix)
    try:
        found = registry.find(family, type_name)
    except ImportError as wrong:
        message = f"The {type_name} {family} can't be loaded: {wrong}. A package that it needs is not installed."
        return None, (setting or component.first).problem("error", message)
    if found is not None:
        package = registry.FAMILIES[family][0]
        return Found(found.__module__.removeprefix(f"{package}.").split(".")[0], found), None
    where = setting or component.first
    flume = flume_name(family, type_name)
    if flume is not None:
        message = f"The {flume} {family} is not in this build. {_there(family)}"
        return None, where.problem("error", message)
    severity = "error" if family in _FATAL else "dropped"
    consequence = "" if severity == "error" else f"{loser} is left out"
    what = f"There is no {family} of type {type_name}."
    values = [written("", s.value).removeprefix(" = ") for s in component.settings.values()]
    if family in _FATAL and (hint := meant(family, type_name, component.prefix, values)) is not None:
        sentence, lines = hint
        return None, where.problem(severity, f"{what} Here {sentence}:", fix=lines, consequence=consequence)
    names = [*registry.modules(family), *known_names(family)]
    near = likely(type_name.lower(), names, 1, 0.6)
    if "." in type_name and not near:
        what += " It looks like a Java class, and there is no Java here: components of your own are Python plugins."
    message = what if near else f"{what} {_there(family)}"
    nearest = f"{component.prefix}{key} = {near[0]}" if near else None
    return None, where.problem(severity, message, nearest=nearest, consequence=consequence)


def _there(family: str) -> str:
    names = registry.modules(family)
    return f"This build has {', '.join(names)}." if names else f"This build has no {family}."
