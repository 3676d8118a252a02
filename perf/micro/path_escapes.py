"""Which file each row belongs to, for a path with a time and a header in it.

::

    batch of 1 MiB --> [files/bucket.groups] --> (path, rows) for each path that occurs

Goal: 2,000 MB/s where all rows of a batch have one path, which is what a tail gives. The ratio is to a copy of the
bytes.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.steps import batches, report, timed
from shipper.api import EventBatch, SystemClock
from shipper.files.bucket import Buckets
from shipper.files.escapes import Template

PATH = "/logs/%{kind}/%Y-%m-%d/%H"
_FIRST_MS = 1_340_459_193_000


def benchmark(settings: Settings) -> None:
    """Measures one path, four, and times that are a column."""
    items = batches(145, settings.short)
    buckets = Buckets([Template(PATH)], SystemClock(), use_clock=False, remedy="")
    one = [b.with_header("kind", "access").with_header("timestamp", str(_FIRST_MS)) for b in items]
    times = [b.with_header("kind", "access").with_header("timestamp", _times(b)) for b in items]
    four = [b.with_header("kind", _kinds(b)) for b in times]
    figures = timed(settings, "one_path", "", buckets.groups, one)
    figures |= timed(settings, "one_path_times_in_a_column", "", buckets.groups, times)
    figures |= timed(settings, "four_paths", "", buckets.groups, four)
    goal = Goal("one_path_MB_per_core_s", 2000, "MB/s")
    report(settings, "path_escapes", PATH, figures, goal, "the bodies")


def _times(batch: EventBatch) -> pa.StringArray:
    return pa.array((_FIRST_MS + np.arange(batch.rows) // 20).astype(str), pa.string())


def _kinds(batch: EventBatch) -> pa.StringArray:
    return pa.array(["access", "error", "audit", "debug"]).take(pa.array(np.arange(batch.rows) // 7 % 4))


if __name__ == "__main__":
    run(benchmark)
