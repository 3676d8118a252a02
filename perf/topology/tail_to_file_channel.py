"""The growing file of `tail_to_file_roll` through a channel on disk: what it costs to outlive the machine.

::

    access.log --> [TAILDIR r1] --> (file c1: synced before the source is told) --> [file_roll k1] --> one file

Goal: at least 0.6 of what the memory channel makes per core in the same run, 400 MB/s per core for lines of 527 bytes
and 250 for 100 bytes, all processes counted. Input and output are in memory, so that the log is all that the disk has
to do. The ratio is to the memory channel.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.transfer import Places, Transfer, rounds_of, text_of
from perf.topology._files import durable, file_roll, tail

#: MB/s per core, by length of line.
GOALS = {100: 250, 527: 400}
_SHARE = 0.6


def benchmark(settings: Settings) -> None:
    """Measures both lengths of line through both channels."""
    for line_bytes, wanted in GOALS.items():

        def transfer(case: str, durable_keys: bool, line_bytes: int = line_bytes, wanted: int = wanted) -> Transfer:
            def properties(places: Places) -> dict[str, object]:
                return {**tail(places), **file_roll(places), **(durable(places) if durable_keys else {})}

            return Transfer(
                name="tail_to_file_channel",
                case=f"{line_bytes} B lines, {case}",
                properties=properties,
                line_bytes=line_bytes,
                read_back=text_of,
                logged=durable_keys,
                goals=(Goal("MB_per_core_s", wanted, "MB/s per core"),) if durable_keys else (),
            )

        memory = rounds_of(settings, transfer("memory channel", False), 10**9)
        result = rounds_of(settings, transfer("file channel", True), 10**9)
        share = result.figures["MB_per_core_s"] / memory.figures["MB_per_core_s"]
        result.figures["memory_MB_per_core_s"] = memory.figures["MB_per_core_s"]
        result.figures["over_memory"] = share
        result.goals += (Goal("over_memory", _SHARE, "x the memory channel, per core"),)
        result.ratio = (share, "x the MB/s per core of the memory channel")
        settings.report(result)


if __name__ == "__main__":
    run(benchmark)
