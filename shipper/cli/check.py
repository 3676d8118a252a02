"""`check`: everything that is wrong or doubtful in a file, said at once, with the lines that would mend it.

Exit code 0: the file runs as it stands (there may be warnings). 1: it does not start, or parts of it are left out.
What Flume leaves out with a line in its log counts as much as an error here: a check that passes a file half of which
does not run is of no use.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

from shipper.config.bind import agent_names, load
from shipper.config.plan import Plan
from shipper.config.problem import SEVERITIES, Problem, in_order, printable
from shipper.config.properties import written

_TITLES = {"error": "error", "dropped": "left out", "warning": "warning", "note": "note"}
_PLURALS = {"error": "errors", "dropped": "left out", "warning": "warnings", "note": "notes"}
_COLOURS = {"error": "31;1", "dropped": "31", "warning": "33", "note": "2"}


def check(
    files: Sequence[str | Path],
    agent: str | None = None,
    strict: bool = False,
    system_properties: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    out: TextIO | None = None,
    colour: bool | None = None,
) -> int:
    """Prints what is wrong with one agent of the files, or with all of them; the exit code.

    Args:
        agent: None for every agent that the files have.
        out: standard output when None.
        colour: None decides by whether `out` is a terminal, and by NO_COLOR.
    """
    page = _Page(sys.stdout if out is None else out, colour)
    names = [agent] if agent is not None else agent_names(files) or [""]
    problems: list[Problem] = []
    plans: dict[str, Plan | None] = {}
    for name in names:
        plans[name], found = load(files, name, system_properties, environment, strict)
        problems += [p for p in found if len(names) == 1 or p.severity != "note"]
    problems = in_order(problems)
    for severity, meaning in SEVERITIES.items():
        these = [problem for problem in problems if problem.severity == severity]
        if these:
            page.heading(_PLURALS[severity] if len(these) > 1 else _TITLES[severity], meaning, severity)
            for problem in these:
                page.problem(problem)
    for name, plan in plans.items():
        page.line(printable(_verdict(name, plan, [p for p in problems if len(names) == 1 or p.agent in ("", name)])))
    return 1 if any(problem.severity in ("error", "dropped") for problem in problems) else 0


def _verdict(name: str, plan: Plan | None, problems: Sequence[Problem]) -> str:
    """One line about an agent: what of it runs, and how much is wrong."""
    counts = {s: sum(p.severity == s for p in problems) for s in ("error", "dropped", "warning")}
    many = [_count(n, _TITLES[s], _PLURALS[s]) for s, n in counts.items() if n]
    trouble = ", ".join(many) or "nothing to complain about"
    if plan is None:
        return f"Agent {name} does not start: {trouble}." if name else f"Nothing can be started: {trouble}."
    sinks = sum(len(group.sinks) for group in plan.groups)
    parts = [
        _count(len(plan.sources), "source", "sources"),
        _count(len(plan.channels), "channel", "channels"),
        _count(sinks, "sink", "sinks"),
    ]
    return f"Agent {name} runs {parts[0]}, {parts[1]} and {parts[2]}: {trouble}."


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


class _Page:
    """Lines for a person: folded and coloured on a terminal, plain in a pipe."""

    def __init__(self, out: TextIO, colour: bool | None) -> None:
        self._out = out
        terminal = out.isatty()
        self._colour = terminal and "NO_COLOR" not in os.environ if colour is None else colour
        self._width = shutil.get_terminal_size().columns if terminal else 0

    def heading(self, title: str, meaning: str, severity: str) -> None:
        self.line(f"{self._painted(title.upper(), _COLOURS[severity])} ({meaning})")

    def problem(self, problem: Problem) -> None:
        """The place and the sentence; below them the line as it is, and the line as it should be."""
        place = f"{problem.place}: " if problem.place else ""
        self._folded(f"  {place}", problem.text)
        if problem.key:
            self._aside("found", _cut(written(problem.key, problem.value, ascii_only=False)))
        if problem.nearest:
            self._aside("meant?", _cut(problem.nearest))
        for number, line in enumerate(problem.fix):
            self._aside("" if number else "write", line)
        self.line("")

    def line(self, text: str) -> None:
        printable = text.encode("utf-8", "replace").decode("utf-8")
        encoding = self._out.encoding or "utf-8"
        self._out.write(printable.encode(encoding, "backslashreplace").decode(encoding) + "\n")

    def _folded(self, indent: str, text: str) -> None:
        if not self._width:
            self.line(indent + text)
            return
        folded = textwrap.wrap(text, max(self._width - 2, 40), initial_indent=indent, subsequent_indent="    ") or [
            indent
        ]
        for line in folded:
            self.line(line)

    def _aside(self, what: str, text: str) -> None:
        self.line(f"      {self._painted(f'{what:<7}', '2')} {printable(text)}")

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def _cut(line: str, most: int = 160) -> str:
    return line if len(line) <= most else f"{line[:most]}..."
