"""Memory that does not grow with the input, where files of columns are made: the peak after 1 GB and after 10 GB.

::

    1 GB of log, ten times --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, Parquet] --> stage --> FlumeData.*.parquet

One agent, one log after the other: each is removed when it was delivered, and finished files when their rows were
counted, so that some GB of disk are enough for any length. Goal: at most 400 MB at the peak (Pss_Anon + Pss_File of all
processes, and what the run directory holds), and after the whole length at most 1.10 x what it was after the first log,
which is the ratio.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pyarrow.parquet as pq

from perf.harness import machine, usage
from perf.harness.agent import Agent
from perf.harness.command import Settings, run
from perf.harness.lines import write_input
from perf.harness.results import Goal, Result, progress
from perf.harness.transfer import Places, files_below, wait_until
from perf.topology._files import hdfs, staged, tail

_LINE_BYTES = 100
_BYTES = 10 * 10**9
_LOGS = 10


def benchmark(settings: Settings) -> None:
    """Measures one agent over the whole length; `--size` is that of all logs."""
    base = settings.disk
    log = write_input(base / "input", settings.size(_BYTES) // _LOGS, _LINE_BYTES)
    places = Places(base / "in", base / "out", base / "state")
    for place in (places.incoming, places.outgoing, places.state):
        place.mkdir()
    properties = {**tail(places), **hdfs(places, fileType="Parquet", rollSize=0, idleTimeout=1)}
    agent = Agent(properties, settings.fast, places.state / "agent")
    rows = first_bytes = 0
    with agent, usage.Peak(agent.memory_bytes) as peak, usage.Meter(agent.cpu_s) as meter:
        for number in range(1, _LOGS + 1):
            progress(f"memory_flat_parquet: log {number} of {_LOGS}")
            hidden, shown = places.incoming / ".appearing", places.incoming / f"access-{number}.log"
            shutil.copyfile(log.path, hidden)
            os.rename(hidden, shown)
            agent.wait_delivered(number * log.lines)
            shown.unlink()
            rows += _counted(places.outgoing)
            first_bytes = first_bytes or peak.largest
        wait_until(lambda: not staged(places))
        cost = meter.stop()
    rows += _counted(places.outgoing)
    progress("")
    assert rows == _LOGS * log.lines, f"{rows} rows are in files of {_LOGS * log.lines}"
    size_bytes = _LOGS * log.size_bytes
    ratio = peak.largest / first_bytes
    figures = {
        "peak_first_MB": first_bytes / 1e6, "peak_MB": peak.largest / 1e6, "long_over_first": ratio,
        "MB_per_core_s": size_bytes / 1e6 / cost.cpu_s, "cores_used_by_others": cost.others,
    }  # fmt: skip
    result = Result(
        "memory_flat_parquet",
        f"{_LOGS} x {log.size_bytes / 1e9:g} GB, {machine.file_system(base)}",
        figures,
        goals=(Goal("peak_MB", 400, "MB", most=True), Goal("long_over_first", 1.1, "x the first log", most=True)),
        ratio=(ratio, "x the peak of the first log"),
    )
    settings.report(result)


def _counted(folder: Path) -> int:
    """The rows of the files that have their final names, which are removed."""
    rows = 0
    for path in files_below(folder):
        if path.suffix == ".parquet":
            rows += pq.read_metadata(path).num_rows
            path.unlink()
    return rows


if __name__ == "__main__":
    run(benchmark)
