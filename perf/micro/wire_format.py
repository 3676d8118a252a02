"""A batch becomes the bytes of a frame, and is read back as views of them.

::

    batch of 1 MiB --> [batch/wire.encode] --> bytes in a ring --> [batch/wire.decode] --> batch

Goal: 4,000 MB/s for both together, for rows of bodies alone. The ratio is to a copy of the bytes.
"""

from __future__ import annotations

import mmap

import pyarrow as pa

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.steps import batches, report, timed
from shipper.api import EventBatch, Origin
from shipper.batch import wire


def benchmark(settings: Settings) -> None:
    """Measures bodies alone, and bodies with two header columns."""
    for case in ("bodies, 145 B lines", "two header columns, 145 B lines"):
        items = [batch.with_origins((Origin("1:2", 0, 1, "crc"),)) for batch in batches(145, settings.short)]
        if "columns" in case:
            items = [_headed(batch) for batch in items]
        room = max(wire.bound(batch) for batch in items)
        ring = memoryview(mmap.mmap(-1, room * len(items)))
        places = [ring[n * room : (n + 1) * room] for n in range(len(items))]
        pairs = list(zip(items, places, strict=True))
        figures = timed(settings, "encode", case, lambda pair: wire.encode(*pair), pairs)
        frames = [place[: wire.encode(batch, place)] for batch, place in pairs]
        figures |= timed(settings, "decode", case, wire.decode, frames)
        figures |= timed(settings, "both", case, lambda pair: wire.decode(pair[1][: wire.encode(*pair)]), pairs)
        goal = Goal("both_MB_per_core_s", 4000 if "bodies" in case else 2000, "MB/s")
        report(settings, "wire_format", case, figures, goal, "the bodies")


def _headed(batch: EventBatch) -> EventBatch:
    kinds = pa.array(["access", "error", None, "audit"] * (batch.rows // 4 + 1))[: batch.rows]
    times = pa.array(["1340459193234"] * batch.rows)
    return batch.with_header("kind", kinds).with_header("timestamp", times)


if __name__ == "__main__":
    run(benchmark)
