"""A growing file into compressed files as Hadoop reads them: one worker reads, the other one compresses.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, CompressedStream lz4] --> FlumeData.*.lz4

Goal: no more wall time than `lz4 -1` takes on the same file alone, and an output at most 5 % larger; in memory and on
a disk. The ratio is to `lz4 -1`, which writes frames with linked blocks; Hadoop's blocks stand alone.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.rivals import LZ4
from perf.harness.transfer import hadoop_lz4_text_of
from perf.topology._compressed import compressed
from perf.topology._files import tail


def benchmark(settings: Settings) -> None:
    """Measures in memory and on a disk."""
    compressed(settings, "tail_to_hdfs_lz4", tail, "lz4", {LZ4: 1.0}, hadoop_lz4_text_of)


if __name__ == "__main__":
    run(benchmark)
