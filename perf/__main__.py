"""`python -m perf`: all benchmarks, one after the other; `python -m perf tail latency` those whose names have a word.

A benchmark that can't run (its component is not there, the output is wrong) is named at the end, with the reason, and
the others go on. A table of all goals comes last. The exit code is 0 when all ran, whatever their goals say.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
from collections.abc import Sequence

import perf.micro
import perf.topology
from perf.harness import machine
from perf.harness.command import add_arguments, settings_of
from perf.harness.results import Result, table


def names() -> list[str]:
    """Modules of all benchmarks, in the order in which they run."""
    found = []
    for package in (perf.micro, perf.topology):
        found += [m.name for m in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")]
    return [name for name in found if not name.rpartition(".")[2].startswith("_")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m perf", description="Runs benchmarks.")
    parser.add_argument("words", nargs="*", help="only benchmarks that have one of these in their name")
    add_arguments(parser)
    parsed = parser.parse_args(arguments)
    wanted = [name for name in names() if not parsed.words or any(word in name for word in parsed.words)]
    facts = ", ".join(f"{key} {value}" for key, value in machine.facts().items())
    print(f"{facts}\nload {machine.load()}, revision {machine.revision()}", flush=True)
    failures = []
    reported: list[Result] = []
    for name in wanted:
        with settings_of(parsed) as settings:
            try:
                importlib.import_module(name).benchmark(settings)
            except Exception as problem:
                failures.append(f"{name}: {type(problem).__name__}: {problem}")
                print(f"\n{failures[-1]}", flush=True)
            reported += settings.reported
    print(f"\n{table(reported)}")
    print(f"\n{len(wanted) - len(failures)} of {len(wanted)} benchmarks ran")
    for failure in failures:
        print(failure.splitlines()[0])
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
