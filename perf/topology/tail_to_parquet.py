"""A growing file into Parquet files: one worker reads, the other one stages the rows and packs them with zstd.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, Parquet] --> stage --> FlumeData.*.parquet

Goal: at least 250 MB/s of input per core for lines of 100 and of 527 bytes, and at most 400 MB of memory at the peak.
CPU is counted until the last file has its name; wall time until the last row is staged. The ratio is to the CPU time of
`zstd -1` on the same file, which does nothing but compress.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import ZSTD
from perf.harness.transfer import Transfer, measure
from perf.topology._files import hdfs, staged, tail

_IDLE_S = 1


def benchmark(settings: Settings) -> None:
    """Measures both lengths of line in memory and on a disk. Stages are on the disk in either case."""
    for line_bytes in (100, 527):
        for on_disk in (False, True):
            transfer = Transfer(
                name="tail_to_parquet",
                case=f"{line_bytes} B lines",
                properties=lambda places: {
                    **tail(places),
                    **hdfs(places, fileType="Parquet", rollSize=0, idleTimeout=_IDLE_S),
                },
                line_bytes=line_bytes,
                rival=ZSTD,
                by_cpu=True,
                ended=lambda places: not staged(places),
                read_back=_text_of,
                goals=(
                    Goal("MB_per_core_s", 250, "MB/s of input per core"),
                    Goal("peak_memory_MB", 400, "MB", most=True),
                ),
                on_disk=on_disk,
            )
            measure(settings, transfer)


def _text_of(path: Path) -> Iterator[bytes]:
    for batch in pq.ParquetFile(path).iter_batches(columns=["body"]):
        yield b"".join(line + b"\n" for line in batch.column(0).to_pylist())


if __name__ == "__main__":
    run(benchmark)
