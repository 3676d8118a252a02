"""A growing file, read by TAILDIR and written by file_roll as it is: what the crossing itself costs.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [file_roll k1] --> one file

Goal: at least 700 MB/s per core for lines of 100 bytes and 900 for lines of 527, all processes counted, on the machine
where a tuned Flume made 250 and 350; so on any machine 2.8 and 2.57 times what Flume makes there, per core.
The ratio is to `cat in > out`, in memory and on a disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from perf.harness.command import Settings, run
from perf.harness.flume import tail_figure
from perf.harness.results import Goal
from perf.harness.rivals import CAT
from perf.harness.transfer import Transfer, rounds_of, text_of
from perf.topology._files import file_roll, tail


@dataclass(frozen=True)
class Wanted:
    """MB/s per core: what is wanted, and what Flume made on the machine where that was said."""

    mb: float
    flume_mb: float


GOALS = {100: Wanted(700, 250), 527: Wanted(900, 350)}


def benchmark(settings: Settings) -> None:
    """Measures both lengths of line in memory and on a disk, and Flume in memory."""
    for line_bytes, wanted in GOALS.items():
        for on_disk in (False, True):
            transfer = Transfer(
                name="tail_to_file_roll",
                case=f"{line_bytes} B lines",
                properties=lambda places: {**tail(places), **file_roll(places)},
                line_bytes=line_bytes,
                rival=CAT,
                read_back=text_of,
                goals=(Goal("MB_per_core_s", wanted.mb, "MB/s per core"),),
                on_disk=on_disk,
            )
            result = rounds_of(settings, transfer, 10**9)
            if not on_disk:
                tail_figure(settings, line_bytes).beside(result, wanted.mb / wanted.flume_mb)
            settings.report(result)


if __name__ == "__main__":
    run(benchmark)
