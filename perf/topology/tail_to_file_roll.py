"""A growing file, read by TAILDIR and written by file_roll as it is: what the crossing itself costs.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [file_roll k1] --> one file

Goal: at least 700 MB/s per core for lines of 100 bytes and 900 for lines of 527, all processes counted.
The ratio is to `cat in > out`, in memory and on a disk.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import CAT
from perf.harness.transfer import Transfer, measure, text_of
from perf.topology._files import file_roll, tail

GOALS = {100: 700, 527: 900}


def benchmark(settings: Settings) -> None:
    """Measures both lengths of line in memory and on a disk."""
    for line_bytes, goal in GOALS.items():
        for on_disk in (False, True):
            transfer = Transfer(
                name="tail_to_file_roll",
                case=f"{line_bytes} B lines",
                properties=lambda places: {**tail(places), **file_roll(places)},
                line_bytes=line_bytes,
                rival=CAT,
                read_back=text_of,
                goals=(Goal("MB_per_core_s", goal, "MB/s per core"),),
                on_disk=on_disk,
            )
            measure(settings, transfer)


if __name__ == "__main__":
    run(benchmark)
