"""A description: what the declarations of a component say to a person, as a page of text or a file to start from.

Nothing is written by hand here. Options come from the dataclasses, sentences from the module docstrings, names from
the files; a component that is added is described.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shipper import registry
from shipper.config.field import REQUIRED, Declaration, Options, declarations
from shipper.config.flume_types import as_flume_spells
from shipper.config.options import POLLABLE, ChannelKeys, GroupKeys, PollableSourceKeys, SinkKeys, SourceKeys
from shipper.config.properties import written

#: family -> (where its keys stand in a file, keys that every one of it has).
PLACES: dict[str, tuple[str, type[Options] | None]] = {
    "source": ("a1.sources.r1.", SourceKeys),
    "interceptor": ("a1.sources.r1.interceptors.i1.", None),
    "selector": ("a1.sources.r1.selector.", None),
    "channel": ("a1.channels.c1.", ChannelKeys),
    "processor": ("a1.sinkgroups.g1.processor.", GroupKeys),
    "serializer": ("a1.sinks.k1.serializer.", None),
    "sink": ("a1.sinks.k1.", SinkKeys),
    "deserializer": ("a1.sources.r1.deserializer.", None),
}


@dataclass(frozen=True)
class Described:
    """One component.

    Attributes:
        family, name: `sink`, `file_roll`.
        sentence: what it is.
        promise: for sinks, how often an event arrives; empty for others.
        aliases: every other spelling of its type.
        options: what it declares itself.
        common: what all of its family have beside that.
    """

    family: str
    name: str
    sentence: str
    promise: str
    aliases: tuple[str, ...]
    options: tuple[Declaration, ...]
    common: tuple[Declaration, ...]

    @property
    def prefix(self) -> str:
        """How its keys begin in an example."""
        return PLACES[self.family][0]

    @property
    def choice(self) -> str:
        """The line that chooses it."""
        # Of these the key itself names the type, as in Flume: `serializer = TEXT`.
        named = self.family in ("serializer", "deserializer")
        return f"{self.prefix.removesuffix('.')} = {self.name}" if named else f"{self.prefix}type = {self.name}"


def described(family: str) -> list[Described]:
    """Every component of a family, in alphabetical order."""
    return [_describe(family, name, found) for name, found in registry.everything(family).items()]


def find(wanted: str) -> list[Described]:
    """The components that a person may mean: `hdfs`, `sink hdfs`, `sinks/hdfs`, a Flume class name, `sinks`."""
    words = wanted.replace("/", " ").split()
    families = [family for family in PLACES if words and words[0].lower().rstrip("s") == family]
    if families and len(words) == 1:
        return described(families[0])
    name = words[-1] if words else ""
    found = []
    for family in families or PLACES:
        if (component := registry.find(family, name)) is not None:
            package = registry.FAMILIES[family][0]
            found.append(_describe(family, component.__module__.removeprefix(f"{package}.").split(".")[0], component))
    return found


def page(one: Described, width: int = 100) -> str:
    """Everything about one component."""
    lines = [f"{one.name} ({one.family}): {one.sentence}"]
    if one.promise:
        lines.append(f"  Each event arrives {one.promise}.")
    others = [alias for alias in one.aliases if alias.lower() != one.name]
    if others:
        lines.append(f"  Also written as: {', '.join(others)}")
    lines += ["", f"  {one.choice}", ""]
    for title, options in (("Options", one.options), (f"Options of every {one.family}", one.common)):
        if options:
            lines += [f"  {title}", *_option_lines(options, width), ""]
    if not one.options:
        lines += ["  It has no options of its own.", ""]
    return "\n".join(lines)


def overview() -> str:
    """Every component in a line."""
    lines: list[str] = []
    for family in PLACES:
        components = described(family)
        if components:
            lines.append(f"{family}s")
            width = max(len(one.name) for one in components)
            lines += [f"  {one.name:<{width}}  {one.sentence}" for one in components]
            lines.append("")
    return "\n".join([*lines, "'describe TYPE' shows the options of one, 'describe --template' a file to start from."])


def template(one: Described, width: int = 100) -> str:
    """All keys of one component as lines of a file: required ones to be filled in, others as comments."""
    lines = [*_comment(f"{one.name} ({one.family}): {one.sentence}", width), one.choice]
    for declared in (*one.options, *one.common):
        if declared.refused is not None:
            continue
        lines += ["", *_comment(f"{declared.help}{_unit(declared)}", width)]
        key = declared.key.replace("*", "NAME")
        if declared.default is REQUIRED:
            lines.append(f"{one.prefix}{key} =")
        else:
            lines.append(f"#{one.prefix}{key} = {default_text(declared) or ''}".rstrip())
    return "\n".join(lines)


def starter(agent: str = "a1") -> str:
    """A whole file that runs once its two paths are filled in: a tail into files that roll."""
    text = """\
# A file for: shipper agent -n a1 -f THIS_FILE
# Every line of the tailed files goes into files below DIRECTORY; a new one every 30 seconds.
a1.sources = r1
a1.channels = c1
a1.sinks = k1

# The last part of the path is a regular expression, as in Flume.
a1.sources.r1.type = TAILDIR
a1.sources.r1.filegroups = f1
a1.sources.r1.filegroups.f1 = /var/log/.*log
a1.sources.r1.channels = c1

a1.channels.c1.type = memory

a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = DIRECTORY
a1.sinks.k1.channel = c1
"""
    return text.replace("a1", agent)


def default_text(declared: Declaration) -> str | None:
    """The default as a person would write it into the file; None when there is none."""
    return _written(declared, declared.default)


def _written(declared: Declaration, value: Any) -> str | None:
    if value is REQUIRED or value is None or declared.kind.many:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return (", " if "comma" in declared.kind.name else " ").join(map(str, value)) or None
    if isinstance(value, float):
        number = value * 1000 if declared.kind.name == "milliseconds" else value
        return f"{number:.15g}"
    if isinstance(value, str):
        return written("", value).removeprefix(" = ") or None
    return str(value)


def _describe(family: str, name: str, component: type[Any]) -> Described:
    common = PLACES[family][1]
    if family == "source" and name in POLLABLE:
        common = PollableSourceKeys
    own = tuple(declarations(component.Options).values())
    known = {key for declared in own for key in (declared.key, *declared.aliases)}
    return Described(
        family,
        name,
        _sentence(component, name),
        getattr(component, "promise", "") if family == "sink" else "",
        tuple(as_flume_spells(family, alias) for alias in component.aliases),
        own,
        tuple(d for d in declarations(common).values() if d.key not in known) if common is not None else (),
    )


def _sentence(component: type[Any], name: str) -> str:
    """The first sentence of the module, without the name that begins it; of the package for a folder."""
    module = sys.modules[component.__module__]
    package = sys.modules[component.__module__.rpartition(".")[0]]
    text = next((t for t in (module.__doc__, package.__doc__) if t and t.startswith("`")), module.__doc__ or "")
    first = " ".join(text.split("\n\n")[0].split())
    head, colon, rest = first.partition(": ")
    return rest[0].upper() + rest[1:] if colon and head.startswith("`") and rest else first


def _option_lines(options: Sequence[Declaration], width: int) -> Iterator[str]:
    for declared in options:
        if declared.default is REQUIRED:
            default = "required"
        else:
            text = default_text(declared)
            default = "no default" if text is None else f"default {text}"
        yield f"    {declared.key}  ({declared.kind.name}; {default})"
        facts = [declared.help]
        if declared.aliases:
            facts.append(f"Also written as {', '.join(declared.aliases)}.")
        if declared.ours:
            facts.append("Not in Flume.")
        if declared.refused is not None:
            facts = [f"Refused: {declared.refused}."]
        yield from textwrap.wrap(" ".join(facts), width - 8, initial_indent=" " * 8, subsequent_indent=" " * 8)


def _comment(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width - 2, initial_indent="# ", subsequent_indent="# ")


def _unit(declared: Declaration) -> str:
    return "" if declared.kind.name == "text" else f" ({declared.kind.name})"
