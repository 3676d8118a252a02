"""A placeholder: `${...}` in a value, replaced before anything else looks at the values.

::

    ${key}            the value of another key of the merged files
    ${env:NAME}       an environment variable          ${sys:name}   a system property (-Dname=value)
    ${date:yyyy-MM}   the time of the load             ${java:os}    the machine, as Java describes it
    ${a:-default}     `default` when a has no value    $${a}         the text ${a}
    ${${env:STAGE}_HOST}                               names may have placeholders of their own

What has no value stays as it is written, without an error, as in Flume. Unlike Flume 1.10 and 1.11, which look at the
keys once in the order of a hash map, a key that refers to a key that refers to a third is always resolved; keys that
refer to each other in a ring are an error.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from shipper.config.java_date import format_java_date
from shipper.config.problem import Problem
from shipper.config.properties import Property
from shipper.likely import likely

#: `-DpropertiesImplementation=` this makes a bare `${NAME}` look into the environment too.
ENVIRONMENT_SWITCH = "org.apache.flume.node.EnvVarResolverProperties"

#: Lookups that commons-text has and Flume does not switch on.
_INACTIVE = (
    "base64decoder", "base64encoder", "const", "dns", "file", "localhost", "properties", "resourcebundle", "script",
    "url", "urldecoder", "urlencoder", "xml",
)  # fmt: skip

#: Keys whose values have `${...}` of their own: a shell's, or a group of a regular expression.
_OWN_DOLLARS = re.compile(r"(?i)(command|shell|replaceString|pattern|regex)\Z")

_BRACES = re.compile(r"\$\{|\}")
_NESTED = re.compile(r"\$\{[^}]*\$\{")
_DEPTH_MAX = 64
_LEVELS_MAX = 100
_TOO_DEEP = f"placeholders stand in each other more than {_LEVELS_MAX} levels deep; give a part of it a key of its own"


class _Loop(Exception):
    """A key refers to itself by way of others."""


@dataclass(frozen=True)
class Resolved:
    """What `resolve` gives.

    Attributes:
        properties: with their final values.
        variables: keys that some placeholder refers to; None when names hold placeholders, so that it may be any.
        problems: loops, wrong patterns, names without a value.
    """

    properties: dict[str, Property]
    variables: frozenset[str] | None
    problems: list[Problem]


def resolve(
    properties: Mapping[str, Property],
    system: Mapping[str, str],
    environment: Mapping[str, str],
    now: datetime | None = None,
) -> Resolved:
    """All values with their placeholders replaced.

    Args:
        system: the `-D` flags.
        now: for `${date:...}`, with a zone; the machine's time when None.
    """
    resolver = _Resolver(properties, system, environment, now or datetime.now().astimezone())
    found: dict[str, Property] = {}
    for key, setting in properties.items():
        found[key] = setting if "${" not in setting.value else replace(setting, value=resolver.value_of(setting))
    if "lookups" in system:
        message = f"-Dlookups={system['lookups']} has no effect: lookups of one's own are Java classes."
        resolver.problems.append(Problem("warning", message))
    dynamic = any(_NESTED.search(setting.value) for setting in properties.values())
    return Resolved(found, None if dynamic else frozenset(resolver.referred), resolver.problems)


class _Resolver:
    """Resolves keys on demand and remembers them. One object a load."""

    def __init__(
        self,
        properties: Mapping[str, Property],
        system: Mapping[str, str],
        environment: Mapping[str, str],
        now: datetime,
    ) -> None:
        self._properties = properties
        self._system = {**_machine_properties(), **system}
        # Bytes that are no UTF-8 come as lone surrogates, which no JSON can carry: they become what Java makes of them.
        self._environment = {
            name: value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            for name, value in environment.items()
        }
        self._bare_environment = system.get("propertiesImplementation") == ENVIRONMENT_SWITCH
        self._now = now
        self._done: dict[str, str] = {}
        self._open: list[str] = []
        self.referred: set[str] = set()
        self.problems: list[Problem] = []

    def value_of(self, setting: Property) -> str:
        """The final value of a property that has placeholders; the value as written when it is in a loop."""
        if setting.key not in self._done:
            self._open = [setting.key]
            try:
                self._done[setting.key] = self._replaced(setting.value, setting)
            except (_Loop, ValueError) as wrong:
                self._leave(setting, str(wrong))
            except RecursionError:  # of several keys together
                self._leave(setting, _TOO_DEEP)
            self._open = []
        return self._done[setting.key]

    def _leave(self, setting: Property, why: str) -> None:
        self.problems.append(setting.problem("error", f"{setting.key}: {why}."))
        self._done[setting.key] = setting.value

    def _replaced(self, text: str, setting: Property) -> str:
        """`text` with every placeholder replaced. The scan is commons-text's, so that odd texts come out the same."""
        at = text.find("${")
        if at < 0:
            return text
        written: list[str] = []
        start = 0
        while at >= 0:
            if at > start and text[at - 1] == "$":
                written.append(text[start : at - 1] + "${")
                start = at + 2
            elif (end := _end_of(text, at + 2)) is None:
                break  # nothing closes it, and what stands behind it is a part of it
            else:
                whole = text[at : end + 1]
                value = self._lookup(text[at + 2 : end], whole, setting)
                written.append(text[start:at] + (whole if value is None else value))
                start = end + 1
            at = text.find("${", start)
        return "".join(written) + text[start:]

    def _lookup(self, expression: str, whole: str, setting: Property) -> str | None:
        """The value of what stands between the braces, None when it has none."""
        name, delimiter, default = self._nested(expression, setting).partition(":-")
        if name in self._open or len(self._open) > _DEPTH_MAX:
            ring = " -> ".join([*self._open, name])
            raise _Loop(f"placeholders refer to each other in a ring ({ring})")
        value, final = self._value(name, setting)
        if value is not None and not final and "${" in value:
            self._open.append(name)
            value = self._replaced(value, setting)
            self._open.pop()
        if value is not None:
            return value
        if delimiter:
            return self._replaced(default, setting)
        self._tell_unresolved(name, whole, setting)
        return None

    def _nested(self, expression: str, setting: Property) -> str:
        return self._replaced(expression, setting) if "${" in expression else expression

    def _value(self, name: str, setting: Property) -> tuple[str | None, bool]:
        """The value behind a name, and whether its own placeholders are replaced already."""
        prefix, colon, rest = name.partition(":")
        if colon:
            found = self._by_prefix(prefix.lower(), rest)
            if found is not None:
                return found, False
        self.referred.add(name)
        if (other := self._properties.get(name)) is not None:
            return self._of_other(other), True
        if self._bare_environment:
            return self._environment.get(name), False
        return None, False

    def _by_prefix(self, prefix: str, name: str) -> str | None:
        if prefix == "env":
            return self._environment.get(name)
        if prefix == "sys":
            return self._system.get(name)
        if prefix == "date":
            return format_java_date(name, self._now)
        if prefix == "java":
            return _java(name)
        return None

    def _of_other(self, other: Property) -> str:
        if other.key not in self._done:
            self._open.append(other.key)
            self._done[other.key] = self._replaced(other.value, other)
            self._open.pop()
        return self._done[other.key]

    def _tell_unresolved(self, name: str, whole: str, setting: Property) -> None:
        """Says that a text stays as it is, unless it is meant for a shell, a regular expression or a config filter."""
        if "[" in name or _OWN_DOLLARS.search(setting.key) or not name:
            return
        prefix, colon, rest = name.partition(":")
        message = f"{whole} has no value and stays as it is written, as in Flume."
        nearest = None
        if colon and prefix.lower() in _INACTIVE:
            message = (
                f"{whole} stays as it is written: of the lookups only sys, env, java and date are active, as in Flume."
            )
        elif colon and prefix.lower() == "env":
            message = f"There is no environment variable {rest}: {message}"
        elif colon and prefix.lower() == "sys":
            message = f"There is no system property {rest} (-D{rest}=...): {message}"
        elif name in self._environment:
            nearest = f"${{env:{name}}}"
        else:
            near = likely(name, self._properties, 1, 0.7)
            nearest = f"${{{near[0]}}}" if near else None
        self.problems.append(setting.problem("warning", message, nearest=nearest))


def _end_of(text: str, at: int) -> int | None:
    """The brace that closes what begins at `at`, None when none does."""
    depth = deepest = 0
    for brace in _BRACES.finditer(text, at):
        if brace[0] != "}":
            depth += 1
            deepest = max(depth, deepest)
        elif depth == 0:
            if deepest > _LEVELS_MAX:
                raise ValueError(_TOO_DEEP)
            return brace.start()
        else:
            depth -= 1
    return None


def _machine_properties() -> dict[str, str]:
    """System properties that Java has without any `-D`, as far as they say something about this machine."""
    machine = os.uname()
    return {
        "user.name": os.environ.get("USER", ""),
        "user.home": os.path.expanduser("~"),
        "user.dir": os.path.abspath("."),
        "java.io.tmpdir": "/tmp",
        "file.separator": "/",
        "path.separator": ":",
        "line.separator": "\n",
        "os.name": machine.sysname,
        "os.version": machine.release,
        "os.arch": {"x86_64": "amd64"}.get(machine.machine, machine.machine),
        "file.encoding": "UTF-8",
    }


def _java(name: str) -> str:
    """What `${java:name}` says where there is no Java: the same facts about the machine, and Python in Java's place."""
    machine = os.uname()
    version = platform.python_version()
    answers = {
        "version": f"Python version {version}",
        "runtime": f"{platform.python_implementation()} {version}",
        "vm": f"{platform.python_implementation()} {sys.version.split()[0]}",
        "os": f"{machine.sysname} {machine.release}, architecture: {machine.machine}",
        "hardware": f"processors: {os.cpu_count()}, architecture: {machine.machine}",
        "locale": "default locale: en_US, platform encoding: UTF-8",
    }
    if name not in answers:
        raise ValueError(f"${{java:{name}}} says nothing; there is {', '.join(answers)}")
    return answers[name]
