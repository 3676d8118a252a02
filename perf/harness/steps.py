"""Steps: pieces of the walk in one process, timed by CPU seconds over many batches.

Batches are large enough in number that each comes from memory and not from a cache, as in a worker. A step is run in
rounds, and the median round is reported, in MB/s and in microseconds a batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from perf.harness.command import Settings
from perf.harness.lines import block
from perf.harness.results import Goal, Result
from shipper.api import EventBatch
from shipper.batch.framing import line_ends, rows_of

BATCH_BYTES = 1 << 20
_BATCHES = 24
_ROUNDS = 7


def blocks(line_bytes: int, short: bool = False) -> list[bytes]:
    """Runs of whole lines, a batch each."""
    count = 2 if short else _BATCHES
    data = block(line_bytes, (count + 1) * BATCH_BYTES)
    found, start = [], 0
    for _ in range(count):
        end = data.rindex(b"\n", start, start + BATCH_BYTES) + 1
        found.append(data[start:end])
        start = end
    return found


def batches(line_bytes: int, short: bool = False) -> list[EventBatch]:
    """The same as batches, with their newlines in place."""
    return [EventBatch(rows_of(data, line_ends(data)), trim=1) for data in blocks(line_bytes, short)]


def timed(
    settings: Settings, name: str, case: str, work: Callable[[Any], object], items: list[Any]
) -> dict[str, float]:
    """CPU cost of `work` on each item: figures per batch."""
    rounds = []
    for _ in range(1 if settings.short else _ROUNDS):
        began_s = time.process_time()
        for item in items:
            work(item)
        rounds.append((time.process_time() - began_s) / len(items))
    cost_s = max(statistics.median(rounds), 1e-9)
    return {f"{name}_us": cost_s * 1e6, f"{name}_MB_per_core_s": BATCH_BYTES / 1e6 / cost_s}


def report(settings: Settings, name: str, case: str, figures: dict[str, float], goal: Goal, of: str) -> None:
    """Prints and keeps; the ratio is of the goal's figure to a plain copy of as many bytes, measured here."""
    import numpy as np

    sources = [np.frombuffer(bytes([n]) * BATCH_BYTES, np.uint8) for n in range(2 if settings.short else _BATCHES)]
    target = np.empty(BATCH_BYTES, np.uint8)
    copy = timed(settings, "copy", case, lambda source: np.copyto(target, source), sources)
    figures = {**figures, **copy}
    stem = goal.figure.removesuffix("_MB_per_core_s").removesuffix("_us")
    ratio = figures[f"{stem}_us"] / figures["copy_us"]
    settings.report(Result(name, case, figures, goals=(goal,), ratio=(ratio, f"x the time to copy {of}")))
