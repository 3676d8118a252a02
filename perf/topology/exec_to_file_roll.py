"""The output of a command, read through a pipe as `exec` does when the command is none that our own tail can replace.

::

    cat access.log --> [exec r1] --> (memory c1) --> [file_roll k1] --> one file

Goal: at least 150 MB/s per core, the command counted with the agent. The ratio is to `cat in > out`.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import CAT
from perf.harness.transfer import Places, Transfer, measure, text_of
from perf.topology._files import command, file_roll


def benchmark(settings: Settings) -> None:
    """Measures in memory."""
    transfer = Transfer(
        name="exec_to_file_roll",
        case="145 B lines",
        properties=lambda places: {**_cat(places), **file_roll(places)},
        line_bytes=145,
        rival=CAT,
        read_back=text_of,
        goals=(Goal("MB_per_core_s", 150, "MB/s per core"),),
    )
    measure(settings, transfer)


def _cat(places: Places) -> dict[str, object]:
    """`cat` of the input, as soon as it is there."""
    name = places.incoming / "access.log"
    return command(f"until [ -e {name} ]; do sleep 0.01; done; cat {name}; sleep 3600")


if __name__ == "__main__":
    run(benchmark)
