"""The command line of a benchmark: `python -m perf.topology.tail_to_file_roll --size 1GB --rounds 3 --no-record`."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perf.harness import machine, results
from shipper.units import parse_size

_MEMORY = Path("/dev/shm")


@dataclass(frozen=True)
class Settings:
    """What a run was asked for.

    Attributes:
        size_bytes: of the input; None: what the benchmark thinks right.
        rounds: how often everything is measured; medians are reported.
        fast: the directory in memory, made for this run.
        disk: the directory on a disk, made for this run.
        record: where results are kept; None: nowhere.
        short: True when a look at whether it runs is all that is wanted: no long waits.
        reported: what was reported so far.
    """

    size_bytes: int | None
    rounds: int
    fast: Path
    disk: Path
    record: Path | None
    short: bool = False
    reported: list[results.Result] = field(default_factory=list)

    def size(self, usual: int) -> int:
        """Bytes of input."""
        return usual if self.size_bytes is None else self.size_bytes

    def report(self, result: results.Result) -> None:
        """Prints and keeps a result."""
        results.report(result, self.record)
        self.reported.append(result)


Benchmark = Callable[[Settings], None]


def run(benchmark: Benchmark, arguments: Sequence[str] | None = None) -> None:
    """Parses the command line and runs a benchmark."""
    parser = argparse.ArgumentParser(description=benchmark.__doc__)
    add_arguments(parser)
    with settings_of(parser.parse_args(arguments)) as settings:
        benchmark(settings)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that all benchmarks have."""
    parser.add_argument("--size", type=_size, help="of the input, as in 1GB; powers of ten")
    parser.add_argument("--rounds", type=int, default=3, help="medians are taken over so many")
    parser.add_argument("--fast", type=Path, default=_MEMORY, help="a directory in memory")
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()), help="a directory on a disk")
    parser.add_argument("--results", type=Path, default=results.DIRECTORY, help="where results are kept")
    parser.add_argument("--no-record", action="store_true", help="keep no result")
    parser.add_argument("--short", action="store_true", help="see that it runs; the numbers mean nothing")


@contextlib.contextmanager
def settings_of(parsed: argparse.Namespace) -> Iterator[Settings]:
    """The settings, with working directories that are removed at the end."""
    with _working(parsed.fast) as fast, _working(parsed.disk) as disk:
        if machine.file_system(disk) == "tmpfs" and not parsed.short:
            print(f"note: {parsed.disk} is in memory too; --disk DIR names a directory on a disk")
        record = None if parsed.no_record else parsed.results
        yield Settings(parsed.size, 1 if parsed.short else parsed.rounds, fast, disk, record, parsed.short)


@contextlib.contextmanager
def _working(parent: Path) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="shipper-perf-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _size(text: str) -> int:
    """Sizes of inputs are counted as speeds are: 1 GB is 10^9 bytes."""
    lower = text.strip().lower()
    for unit, factor in (("kb", 10**3), ("mb", 10**6), ("gb", 10**9)):
        if lower.endswith(unit):
            return int(float(lower.removesuffix(unit)) * factor)
    return parse_size(text)
