"""What an agent costs that has nothing to do: its memory, its rings, and the CPU it takes to watch 100 files.

::

    100 quiet files --> [TAILDIR r1] --> (memory c1) --> [file_roll k1]

Goal: the processes of one source and one sink take at most 60 MB (Pss_Anon + Pss_File), the ring at most 64 MiB, and
watching 100 files at most 0.5 % of a core. The ratio is of that CPU to the goal.
"""

from __future__ import annotations

import shutil
import time

from perf.harness import usage
from perf.harness.agent import Agent
from perf.harness.command import Settings, run
from perf.harness.lines import block
from perf.harness.results import Goal, Result
from perf.harness.transfer import Places
from perf.topology._files import file_roll, tail

FILES = 100
_RING_BYTES = 64 << 20
_PERCENT = 0.5


def benchmark(settings: Settings) -> None:
    """Looks at an agent for 30 seconds."""
    span_s = 2 if settings.short else 30
    places = Places(settings.fast / "in", settings.fast / "out", settings.disk / "state")
    for place in (places.incoming, places.outgoing, places.state, rings := settings.fast / "agent"):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    some = block(145, 100_000)[:20_000]
    lines = some[: some.rindex(b"\n") + 1]
    for number in range(FILES):
        (places.incoming / f"app-{number}.log").write_bytes(lines)
    with Agent({**tail(places), **file_roll(places)}, rings, places.state / "agent") as agent:
        agent.wait_delivered(FILES * lines.count(b"\n"))
        time.sleep(0.5 if settings.short else 5)  # what comes with the first second of quiet is over
        memory = usage.memory_bytes(agent.pid)
        with usage.Meter(agent.cpu_s) as meter:
            time.sleep(span_s)
        percent = meter.cost.cpu_s / meter.cost.wall_s * 100
        figures = {
            "processes": len(usage.tree(agent.pid)),
            "processes_MB": memory / 1e6,
            "run_directory_MB": usage.allocated_bytes(agent.run_dir) / 1e6,
            "ring_bytes": agent.ring_bytes(),
            "idle_percent_of_a_core": percent,
            "startup_s": agent.startup_s,
        }
    result = Result(
        "at_rest",
        f"{FILES} quiet files, {span_s} s",
        figures,
        goals=(
            Goal("processes_MB", 60, "MB", most=True),
            Goal("ring_bytes", _RING_BYTES * 1.01, "bytes (64 MiB and their first pages)", most=True),
            Goal("idle_percent_of_a_core", _PERCENT, "% of a core", most=True),
        ),
        ratio=(percent / _PERCENT, f"x {_PERCENT} % of a core"),
    )
    settings.report(result)


if __name__ == "__main__":
    run(benchmark)
