"""Results: a table for a person, a line of JSON for the next run to be compared with.

`perf/results/<name>.json` holds the last runs, newest last. A run is compared with the last one before it of the same
machine and the same size of input.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from perf.harness import machine

DIRECTORY = Path(__file__).resolve().parents[1] / "results"
_KEPT = 20
_SAME = ("cpu", "cores", "kernel")


@dataclass(frozen=True)
class Goal:
    """What a figure must be: `Goal("mb_per_core_s", 700, "MB/s per core")`.

    Attributes:
        most: True when the figure must be at most that large, False when at least.
    """

    figure: str
    value: float
    unit: str
    most: bool = False

    def met(self, figures: Mapping[str, float]) -> bool:
        """True when the figure is as good as it must be."""
        found = figures[self.figure]
        return found <= self.value if self.most else found >= self.value

    def sentence(self, figures: Mapping[str, float]) -> str:
        """The goal beside what came of it."""
        what = "at most" if self.most else "at least"
        if self.figure not in figures:
            return f"goal: {what} {self.value:g} {self.unit}: not measured"
        verdict = "met" if self.met(figures) else "MISSED"
        return f"goal: {what} {self.value:g} {self.unit}: {figures[self.figure]:.4g}, {verdict}"


@dataclass
class Result:
    """One benchmark's outcome.

    Attributes:
        name: of the benchmark; the file of its results.
        case: what was measured of it (`100 B lines, tmpfs`); results are compared within one case.
        figures: numbers under names that end in their unit.
        ratio: the one ratio, and the sentence that says of what to what.
        notes: lines for the person.
    """

    name: str
    case: str
    figures: dict[str, float]
    goals: tuple[Goal, ...] = ()
    ratio: tuple[float, str] | None = None
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What is kept."""
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": machine.revision(),
            "machine": machine.facts(),
            "load": machine.load(),
            "case": self.case,
            "figures": {name: _rounded(value) for name, value in self.figures.items()},
            "goals": [goal.sentence(self.figures) for goal in self.goals],
            "ratio": {"value": _rounded(self.ratio[0]), "of": self.ratio[1]} if self.ratio else None,
        }


def report(result: Result, record: Path | None) -> None:
    """Prints a result beside the last one of its case, and appends it to the file in `record` unless that is None."""
    path = (record or DIRECTORY) / f"{result.name}.json"
    kept: list[dict[str, Any]] = orjson.loads(path.read_bytes()) if path.exists() else []
    mine = result.as_json()
    before = next((old for old in reversed(kept) if _comparable(old, mine)), None)
    print(f"\n{result.name}: {result.case}")
    for name, value in result.figures.items():
        old = before["figures"].get(name) if before else None
        print(f"  {_label(name):<34}{_shown(value):>12}  {_change(value, old)}".rstrip())
    for goal in result.goals:
        print(f"  {goal.sentence(result.figures)}")
    if result.ratio:
        old = before["ratio"]["value"] if before and before["ratio"] else None
        print(f"  ratio: {result.ratio[0]:.3f} {result.ratio[1]}  {_change(result.ratio[0], old)}".rstrip())
    for note in result.notes:
        print(f"  {note}")
    print(f"  machine load {mine['load']}, revision {mine['revision']}", flush=True)
    if record is not None:
        kept = [old for old in kept if old["case"] != result.case] + _last(kept, result.case, _KEPT - 1) + [mine]
        record.mkdir(parents=True, exist_ok=True)
        path.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2) + b"\n")


def table(results: Sequence[Result]) -> str:
    """All goals of several results, a row each, in Markdown: what was wanted, what was seen, met or missed."""
    rows = ["| benchmark | case | goal | seen | |", "|---|---|---|---|---|"]
    for result in results:
        for goal in result.goals:
            what = f"{'at most' if goal.most else 'at least'} {goal.value:.4g} {goal.unit}"
            seen = result.figures.get(goal.figure)
            verdict = "not measured" if seen is None else "met" if goal.met(result.figures) else "**missed**"
            rows.append(
                f"| {result.name} | {result.case} | {what} | {'' if seen is None else _shown(seen)} | {verdict} |"
            )
    return "\n".join(rows)


def progress(text: str) -> None:
    """A line about what is going on, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _last(kept: list[dict[str, Any]], case: str, count: int) -> list[dict[str, Any]]:
    return [old for old in kept if old["case"] == case][-count:]


def _comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return old["case"] == new["case"] and all(old["machine"].get(key) == new["machine"].get(key) for key in _SAME)


def _label(name: str) -> str:
    return name.replace("_per_core_s", "/s per core").replace("_", " ")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _change(value: float, old: float | None) -> str:
    return f"({(value / old - 1) * 100:+.0f} %)" if old else ""


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
