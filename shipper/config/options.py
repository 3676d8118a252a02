"""The options of one component of a file: texts checked against the declarations, each finding with its line.

Beside the keys that a component declares, every source, channel, sink and group has the keys of our own that stand
here. A component that declares such a key itself gets it itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from shipper.config.agents import Component
from shipper.config.field import (
    Finding,
    Options,
    at_least,
    declarations,
    flag,
    integer,
    milliseconds,
    option,
    read_options,
    seconds,
    size,
    text,
    unknown_keys,
)
from shipper.config.plan import BATCH_BYTES, QUARANTINE_BYTES
from shipper.config.problem import Problem
from shipper.config.properties import HIDDEN, Property, written
from shipper.likely import likely

#: Sources that Flume polls; all others have threads of their own there and ignore the back-off keys.
POLLABLE = ("seq", "taildir", "jms", "kafka", "stress")

_workers = at_least(integer, 1, 256)
_batch_bytes = at_least(size, 1 << 12, 1 << 28)


@dataclass(frozen=True, kw_only=True)
class SourceKeys(Options):
    """Keys of every source."""

    workers: int = option("workers", _workers, 1, ours=True, help="Processes that share the work of this source.")
    batch_bytes: int = option(
        "batch.bytes", _batch_bytes, BATCH_BYTES, ours=True, help="Bytes that one transaction aims to carry."
    )


@dataclass(frozen=True, kw_only=True)
class PollableSourceKeys(SourceKeys):
    """Keys of the sources that Flume polls."""

    backoff_increment_s: float | None = option(
        "backoffSleepIncrement", milliseconds, None, help="Nothing to tune: a source is woken, it does not poll."
    )
    backoff_max_s: float | None = option(
        "maxBackoffSleep", milliseconds, None, help="Nothing to tune: a source is woken, it does not poll."
    )

    def doubts(self) -> list[tuple[str, str]]:
        given = {"backoffSleepIncrement": self.backoff_increment_s, "maxBackoffSleep": self.backoff_max_s}
        message = "has no effect here: this source is woken when there is something, it does not sleep between polls"
        return [(key, f"{key} {message}") for key, value in given.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class ChannelKeys(Options):
    """Keys of every channel."""

    strict_batch: bool = option(
        "strictBatch",
        flag,
        False,
        ours=True,
        help="Take batchSize and transactionCapacity to the letter, as Flume does; slow.",
    )


@dataclass(frozen=True, kw_only=True)
class SinkKeys(Options):
    """Keys of every sink."""

    workers: int = option("workers", _workers, 1, ours=True, help="Processes that share the work of this sink.")
    batch_bytes: int = option(
        "batch.bytes", _batch_bytes, BATCH_BYTES, ours=True, help="Bytes that one transaction aims to carry."
    )
    linger_s: float | None = option(
        "batch.linger",
        at_least(seconds, 0, 3600),
        None,
        ours=True,
        help="Seconds that fewer bytes may wait for more; when absent, what suits the sink.",
    )
    quarantine_bytes: int = option(
        "quarantine.maxBytes",
        at_least(size, 1 << 16),
        QUARANTINE_BYTES,
        ours=True,
        help="Bytes of events that this sink has refused for good, kept in files; when it is reached, the sink waits.",
    )
    dead_letter: str | None = option(
        "deadLetter",
        text,
        None,
        ours=True,
        help="Channel that gets the events which this sink refuses for good, with headers that say why; when absent, "
        "they go to quarantine files.",
    )


@dataclass(frozen=True, kw_only=True)
class GroupKeys(Options):
    """Keys of every sink group."""

    workers: int | None = option(
        "workers", _workers, None, ours=True, help="Processes that share the work; when absent, the most of its sinks."
    )


O = TypeVar("O", bound=Options)


@dataclass
class Checked:
    """What `Checker.check` found.

    Attributes:
        options: None when the component can't work.
        keys: our own keys; their defaults where they are wrong.
        properties: what the component gets in the plan.
        problems: all of them; those that leave the component out have severity "dropped" or "error".
    """

    options: Any
    keys: Any
    properties: dict[str, str]
    problems: list[Problem]


def check_options(
    component: Component,
    options: type[Options],
    keys: type[Options] | None,
    prefix: str = "",
    topology: tuple[str, ...] = (),
    loser: str | None = None,
    forgiving: bool = False,
) -> Checked:
    """Reads and judges the settings of `component` that begin with `prefix`.

    Args:
        options: what the class declares.
        keys: our own keys beside them; None for parts of a component (interceptors, selectors, processors).
        topology: keys, or prefixes ending in a dot, that are not options.
        loser: what is left out when an option is wrong; the component itself when None.
        forgiving: numbers that can't be read become the default with a warning, as in Flume's memory channel.
    """
    part = Part(component, prefix, loser or component.title)
    given = {
        key: setting.value
        for key, setting in part.settings().items()
        if key not in topology and not key.startswith(tuple(t for t in topology if t[-1] == ".") or ("\0",))
    }
    declared = {key for d in declarations(options).values() for key in (d.key, *d.aliases)}
    own_names = (
        {d.key: name for name, d in declarations(keys).items() if d.key not in declared} if keys is not None else {}
    )
    own = {key: value for key, value in given.items() if key in own_names}
    rest = {key: value for key, value in given.items() if key not in own_names}
    problems: list[Problem] = []
    read_keys = None
    if keys is not None:
        read_keys, findings = read_options(keys, own)
        if read_keys is None:
            read_keys = keys()
        problems += [part.problem(finding, "error") for finding in findings]
    made, findings = read_options(options, rest)
    if made is None and forgiving:
        unread = [f.key for f in findings if f.severity == "error" and f.key in rest and _unreadable(options, f)]
        for key in unread:
            del rest[key]
        made, again = read_options(options, rest)
        findings = [
            _forgiven(f) if f.key in unread else f for f in findings if f.key in unread or f not in again
        ] + again
    refused = {d.key for d in declarations(options).values() if d.refused is not None}
    problems += [part.problem(f, "error" if f.key in refused else "dropped") for f in findings]
    for key, near in unknown_keys(options, list(rest), (*topology, *own_names)).items():
        problems.append(part.unknown(key, near, options, topology, tuple(own_names)))
    return Checked(made, read_keys, rest, problems)


@dataclass(frozen=True)
class Part:
    """A component, or a part of it (`interceptors.i1.`), as something that messages are about."""

    component: Component
    prefix: str
    loser: str

    def settings(self) -> Mapping[str, Property]:
        """The settings of the part, without its prefix."""
        cut = len(self.prefix)
        return {key[cut:]: s for key, s in self.component.settings.items() if key.startswith(self.prefix) and key[cut:]}

    def problem(self, finding: Finding, when_error: str) -> Problem:
        """A finding with its line."""
        setting = self.component.settings.get(self.prefix + finding.key)
        severity = when_error if finding.severity == "error" else "warning"
        consequence = f"{self.loser} is left out" if severity == "dropped" else ""
        full_key = self.component.prefix + self.prefix + finding.key
        message = finding.message.replace(f"{finding.key} ", f"{full_key} ", 1)
        if setting is not None:
            if setting.shown == HIDDEN and finding.value:
                message = message.replace(finding.value, HIDDEN)
            return setting.problem(severity, message, consequence=consequence)
        first = self.component.settings.get(self.prefix + "type") or self.component.first
        value = "" if finding.value else finding.value
        return first.problem(severity, message, key=full_key, value=value, consequence=consequence)

    def unknown(
        self, key: str, near: str | None, options: type[Options], topology: tuple[str, ...], own: tuple[str, ...]
    ) -> Problem:
        """A key that nobody declared."""
        known = [k for d in declarations(options).values() for k in (d.key, *d.aliases)]
        if near is None or near.count(".") != key.count("."):
            near = _below(key, [name[:-1] for name in known if name[-1] == "*"]) or near
        near = _nearest(key, [*known, *own], topology) or near
        setting = self.component.settings[self.prefix + key]
        type_name = self.component.get(self.prefix + "type") or ""
        whose = f"{self.prefix.rstrip('.')} of {self.component.title}" if self.prefix else self.component.title
        whose += f" ({type_name})" if type_name else ""
        message = f"{setting.key} has no effect: {whose} has no such key."
        full = None if near is None else self.component.prefix + self.prefix + near
        return setting.problem("warning", message, nearest=full if full is None else written(full, setting.shown))


def _below(key: str, prefixes: list[str]) -> str | None:
    """The key of a family (`filegroups.*`) that was meant: the family's name mistyped, and what stands behind it."""
    words = key.split(".")
    heads = {count: ".".join([*words[:count], ""]) for count in range(1, len(words))}
    for prefix in prefixes:
        head = heads.get(prefix.count("."))
        if head is not None and likely(head.lower(), [prefix.lower()], 1, 0.75):
            return prefix + key[len(head) :]
    return None


def _nearest(key: str, known: list[str], topology: tuple[str, ...]) -> str | None:
    """The key that was meant, by the mistakes that people make: a part of the key left out, or another sink's part."""
    prefixes = [name for name in topology if name[-1] == "."]
    if f"{key}." in prefixes:
        return f"{key}.type"
    head, dot, rest = key.partition(".")
    if dot:
        near = likely(head.lower() + dot, prefixes, 1, 0.75) or (["processor."] if head == "policy" else [])
        if near and near[0] in prefixes:
            return near[0] + rest
    longer = [name for name in known if name.lower().endswith("." + key.lower())]
    last = key.lower().rpartition(".")[2]
    same = [name for name in known if name.lower().rpartition(".")[2] == last]
    return next((found[0] for found in (longer, same) if len(found) == 1), None)


def _unreadable(options: type[Options], finding: Finding) -> bool:
    """True when the text is no number, or none within the bounds; False when it only clashes with another option."""
    found = next((d for d in declarations(options).values() if finding.key in (d.key, *d.aliases)), None)
    if found is None or found.refused is not None:
        return False
    try:
        found.kind.parse(finding.value)
    except ValueError:
        return found.kind.name in ("whole number", "number", "size in bytes", "seconds")
    return False


def _forgiven(finding: Finding) -> Finding:
    return dataclasses.replace(
        finding, severity="warning", message=f"{finding.message}; the default is used, as in Flume"
    )
