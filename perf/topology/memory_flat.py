"""Memory that does not grow with the input: the peak of a small run and that of one forty times as long.

::

    access.log of 0.1 GB, then of 4 GB --> [TAILDIR r1] --> (memory c1) --> [file_roll k1] --> one file

Goal: at most 300 MB at the peak (Pss_Anon + Pss_File of all processes, and what the run directory holds), and the long
run at most 1.10 x the short one, which is the ratio.
"""

from __future__ import annotations

from perf.harness import machine
from perf.harness.command import Settings, run
from perf.harness.lines import write_input
from perf.harness.results import Goal, Result, progress
from perf.harness.transfer import Rounds, Transfer, run_round
from perf.topology._files import file_roll, tail

_SHORT_BYTES = 10**8
_LONG_BYTES = 4 * 10**9


def benchmark(settings: Settings) -> None:
    """Measures both lengths; `--size` is the long one."""
    transfer = Transfer(
        name="memory_flat",
        case="",
        properties=lambda places: {**tail(places), **file_roll(places)},
        line_bytes=145,
        on_disk=True,
    )
    long_bytes = settings.size(_LONG_BYTES)
    short_bytes = min(_SHORT_BYTES, long_bytes // 4)
    peaks = {}
    for name, size_bytes in (("short", short_bytes), ("long", long_bytes)):
        progress(f"memory_flat: {size_bytes / 1e9:g} GB")
        source = write_input(settings.disk / "input", size_bytes, transfer.line_bytes)
        rounds = Rounds()
        run_round(settings, transfer, source, settings.disk, rounds)
        source.path.unlink()
        peaks[name] = max(rounds.peak_bytes)
    progress("")
    ratio = peaks["long"] / peaks["short"]
    result = Result(
        "memory_flat",
        f"{short_bytes / 1e9:g} and {long_bytes / 1e9:g} GB, {machine.file_system(settings.disk)}",
        {"peak_short_MB": peaks["short"] / 1e6, "peak_MB": peaks["long"] / 1e6, "long_over_short": ratio},
        goals=(Goal("peak_MB", 300, "MB", most=True), Goal("long_over_short", 1.1, "x the short run", most=True)),
        ratio=(ratio, "x the peak of the short run"),
    )
    settings.report(result)


if __name__ == "__main__":
    run(benchmark)
