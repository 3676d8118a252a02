"""How long a line is on its way: from its write into the log to its byte in the output file, at 1,000 lines a second.

::

    writer, a line each ms --> app.log --> [TAILDIR r1] --> (memory c1) --> [file_roll k1] --> one file --> watcher

Goal: half of the lines in at most 3 ms, 99 % in at most 20 ms. Each line carries the time of its write; the watcher is
a process of its own, woken by inotify when the output grows. The ratio is of the median to its goal.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import shutil
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from perf.harness.agent import Agent
from perf.harness.command import Settings, run
from perf.harness.results import Goal, Result
from perf.harness.transfer import Places, files_below
from perf.topology._files import file_roll, tail
from shipper.sources._tail.inotify import CREATE, MODIFY, Inotify

LINES_S = 1000
_GOAL_MEDIAN_MS = 3.0
_GOAL_P99_MS = 20.0
_WARM_S = 2.0


def benchmark(settings: Settings) -> None:
    """Writes and watches for 20 seconds."""
    span_s = 1.0 if settings.short else 20.0
    places = Places(settings.fast / "in", settings.fast / "out", settings.disk / "state")
    for place in (places.incoming, places.outgoing, places.state, rings := settings.fast / "agent"):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    count = int((_WARM_S + span_s) * LINES_S)
    with Agent({**tail(places), **file_roll(places)}, rings, places.state / "agent") as agent:
        fork = multiprocessing.get_context("fork")
        told, tell = fork.Pipe(duplex=False)
        watcher = fork.Process(target=_watch, args=(places.outgoing, count, tell))
        writer = fork.Process(target=_write, args=(places.incoming / "app.log", count))
        before_s, began_s = agent.cpu_s(), time.monotonic()
        watcher.start()
        writer.start()
        if not told.poll(_WARM_S + span_s + 30):
            raise agent.failed("not all lines arrived")
        late_ms = told.recv()[int(_WARM_S * LINES_S) :]
        cpu_percent = (agent.cpu_s() - before_s) / (time.monotonic() - began_s) * 100
        writer.join()
        watcher.join()
    median, p99 = (float(value) for value in np.percentile(late_ms, (50, 99)))
    result = Result(
        "latency",
        f"{LINES_S} lines/s, {span_s:g} s",
        {
            "median_ms": median,
            "p90_ms": float(np.percentile(late_ms, 90)),
            "p99_ms": p99,
            "largest_ms": float(late_ms.max()),
            "agent_percent_of_a_core": cpu_percent,
        },
        goals=(
            Goal("median_ms", _GOAL_MEDIAN_MS, "ms", most=True),
            Goal("p99_ms", _GOAL_P99_MS, "ms", most=True),
        ),
        ratio=(median / _GOAL_MEDIAN_MS, f"x {_GOAL_MEDIAN_MS:g} ms"),
    )
    settings.report(result)


def _write(path: Path, count: int) -> None:
    """A line each ms: its time in ns, and text up to 145 bytes."""
    text = b" GET /index.html HTTP/1.1 200 5123".ljust(124, b".") + b"\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    due_ns = time.monotonic_ns()
    for _ in range(count):
        due_ns += 10**9 // LINES_S
        wait_ns = due_ns - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        os.write(descriptor, b"%020d" % time.monotonic_ns() + text)


def _watch(directory: Path, count: int, tell: Connection) -> None:
    """Sends how late each line was, in ms, when it has seen all."""
    watch = Inotify()
    watch.add(str(directory), CREATE | MODIFY)
    found: list[np.ndarray[Any, Any]] = []
    seen, descriptor, rest = 0, -1, b""
    while seen < count:
        select.select([watch.fileno], [], [], 0.1)
        now_ns = time.monotonic_ns()
        if descriptor < 0:
            files = files_below(directory)
            if not files:
                continue
            descriptor = os.open(files[0], os.O_RDONLY)
        data = rest + os.read(descriptor, 1 << 20)
        whole = data.rfind(b"\n") + 1
        written = np.array([int(line[:20]) for line in data[:whole].splitlines()], np.int64)
        rest = data[whole:]
        if len(written):
            found.append((now_ns - written) / 1e6)
            seen += len(written)
        watch.read()
    tell.send(np.concatenate(found))


if __name__ == "__main__":
    run(benchmark)
