"""A config filter: fetches values that must not stand in the file, as in `${f1['password']}`.

::

    a1.configfilters = f1
    a1.configfilters.f1.type = env            the variable of that name
                             = external       the first line that `command KEY` prints
    a1.sinks.k1.password = pre${f1['key']}post

Filters see the values of sources, channels, sinks and sink groups, after placeholders and before anything is judged.
Where a filter has no answer, the text stays as it is, as in Flume, and a warning says so. What came out of a filter
is never shown.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace

from shipper.config.agents import Component, RawAgent
from shipper.config.problem import Problem
from shipper.likely import likely

#: A command that prints a password and takes longer than this hangs.
COMMAND_TIMEOUT_S = 30.0

#: Answers a key; None when it has no answer. Raises ValueError with the reason when asking failed.
Filter = Callable[[str], str | None]

_REFERENCE = re.compile(r"""\$\{(?P<filter>[^\[\]{}$'"]+)\[(?P<quote>['"]?)(?P<key>[-_a-zA-Z0-9]+)(?P=quote)\]\}""")
_TYPES = {
    "env": "env",
    "external": "external",
    "hadoop": "hadoop",
    "org.apache.flume.configfilter.environmentvariableconfigfilter": "env",
    "org.apache.flume.configfilter.externalprocessconfigfilter": "external",
    "org.apache.flume.configfilter.hadoopcredentialstoreconfigfilter": "hadoop",
}


def apply(raw: RawAgent, environment: Mapping[str, str]) -> list[Problem]:
    """Replaces the references in all values of an agent's components, in place."""
    problems: list[Problem] = []
    filters = _filters(raw, environment, problems)
    answers: dict[tuple[str, str], str | ValueError | None] = {}

    def ask(name: str, key: str) -> str | None:
        if (name, key) not in answers:
            try:
                answers[name, key] = filters[name](key)
            except ValueError as wrong:
                answers[name, key] = wrong
        answer = answers[name, key]
        if isinstance(answer, ValueError):
            raise answer
        return answer

    for list_name in ("sources", "channels", "sinks", "sinkgroups"):
        for component in raw.components[list_name].values():
            _apply_to(component, list(filters), ask, problems)
    return problems


def filtered(value: str, names: list[str], ask: Callable[[str, str], str | None]) -> tuple[str, list[str]]:
    """A value with its references answered, and a sentence for each that was not."""
    unanswered: list[str] = []

    def answer(match: re.Match[str]) -> str:
        name, key = match["filter"], match["key"]
        if name not in names:
            near = likely(name, names, 1, 0.5)
            meant = f"; did you mean {near[0]}?" if near else f" among {', '.join(names)}." if names else "."
            unanswered.append(f"There is no config filter {name}{meant}")
            return match[0]
        try:
            found = ask(name, key)
        except ValueError as wrong:
            unanswered.append(f"Config filter {name}: {wrong}")
            return match[0]
        if found is None:
            unanswered.append(f"Config filter {name} has no {key}.")
            return match[0]
        return found

    return _REFERENCE.sub(answer, value), unanswered


def external(command: str, charset: str = "UTF-8", timeout_s: float = COMMAND_TIMEOUT_S) -> Filter:
    """A filter that runs `command KEY`: the first line it prints, None when it ends with anything but 0."""
    import subprocess  # 0.5 MB of every agent, for the few that have such a filter

    words = command.split()

    def ask(key: str) -> str | None:
        try:
            # A session of its own, so that what the command started ends with it and nothing holds the pipe open.
            running = subprocess.Popen(
                [*words, key],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as wrong:
            raise ValueError(f"{words[0]} can't be run: {getattr(wrong, 'strerror', None) or wrong}.") from None
        try:
            printed, _ = running.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            raise ValueError(f"{words[0]} did not answer within {timeout_s:g} seconds.") from None
        if running.returncode != 0:
            raise ValueError(f"{command} {key} ended with {running.returncode}.")
        lines = printed.decode(charset, "replace").splitlines()
        return lines[0] if lines else None

    return ask


def _filters(raw: RawAgent, environment: Mapping[str, str], problems: list[Problem]) -> dict[str, Filter]:
    filters: dict[str, Filter] = {}
    for name in raw.names("configfilters"):
        component = raw.components["configfilters"].get(name)
        if component is None:
            setting = raw.lists["configfilters"]
            message = f"{setting.key} lists {name}, but no line {raw.name}.configfilters.{name}.* says what it is."
            problems.append(setting.problem("dropped", message, consequence=f"config filter {name} is left out"))
        elif (made := _filter(component, environment, problems)) is not None:
            filters[name] = made
    return filters


def _filter(component: Component, environment: Mapping[str, str], problems: list[Problem]) -> Filter | None:
    written = component.get("type") or ""
    kind = _TYPES.get(written.lower())
    where = component.settings.get("type") or component.first
    gone = f"{component.title} is left out, and what refers to it stays as it is written"
    known = {"external": ("type", "command", "charset")}.get(kind or "", ("type",))
    if kind == "hadoop":
        message = (
            "The hadoop config filter needs Hadoop's credential store, which only Java can open. Use type = external "
            "with a command that prints the password for the key it is given, or type = env."
        )
        problems.append(
            where.problem(
                "error", message, fix=(f"{component.prefix}type = external", f"{component.prefix}command = ...")
            )
        )
        return None
    if kind is None:
        near = likely(written.lower(), ("env", "external"), 1, 0.5)
        message = f"There is no config filter of type {written or '(none)'}; there is env and external."
        problems.append(where.problem("dropped", message, nearest=near[0] if near else None, consequence=gone))
        return None
    for key, setting in component.settings.items():
        if key not in known:
            near = likely(key, known, 1, 0.6)
            message = f"{setting.key}: the {kind} config filter has no such key, so the line has no effect."
            problems.append(setting.problem("warning", message, nearest=component.prefix + near[0] if near else None))
    if kind == "env":
        return environment.get
    command = component.get("command")
    if command is None or not command.split():
        problems.append(where.problem("dropped", f"{component.prefix}command is required.", consequence=gone))
        return None
    charset = component.get("charset") or "UTF-8"
    try:
        b"xx".decode(charset, "replace")
    except (LookupError, ValueError):
        setting = component.settings["charset"]
        problems.append(setting.problem("dropped", f"{setting.key}: there is no charset {charset}.", consequence=gone))
        return None
    return external(command, charset)


def _apply_to(
    component: Component, names: list[str], ask: Callable[[str, str], str | None], problems: list[Problem]
) -> None:
    for key, setting in component.settings.items():
        if "${" not in setting.value:
            continue
        value, unanswered = filtered(setting.value, names, ask)
        for sentence in unanswered:
            problems.append(setting.problem("warning", f"{sentence} {setting.key} keeps the text as it is."))
        if value != setting.value:
            component.settings[key] = replace(setting, value=value, secret=True)
