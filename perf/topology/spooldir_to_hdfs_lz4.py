"""A finished file from a spool directory into compressed files as Hadoop reads them.

::

    access.log --> [spooldir r1] --> (memory c1) --> [hdfs k1, CompressedStream lz4] --> FlumeData.*.lz4

Goal: no more wall time than `lz4 -1` takes on the same file alone, and an output at most 5 % larger; in memory and on
a disk. The ratio is to `lz4 -1`.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.rivals import LZ4
from perf.harness.transfer import hadoop_lz4_text_of
from perf.topology._compressed import compressed
from perf.topology._files import spool


def benchmark(settings: Settings) -> None:
    """Measures in memory and on a disk."""
    compressed(settings, "spooldir_to_hdfs_lz4", spool, "lz4", {LZ4: 1.0}, hadoop_lz4_text_of)


if __name__ == "__main__":
    run(benchmark)
