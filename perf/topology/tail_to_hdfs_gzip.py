"""A growing file into gzip files: one worker reads, the other one compresses.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, CompressedStream gzip] --> FlumeData.*.gz

Goal: at most 0.35 of the wall time of `gzip -1` and 1.1 of that of `igzip -1` on the same file, outputs at most 5 %
larger than theirs; in memory and on a disk. The ratio is to `igzip -1`, the quickest gzip there is.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.rivals import GZIP, IGZIP
from perf.harness.transfer import gzip_text_of
from perf.topology._compressed import compressed
from perf.topology._files import tail


def benchmark(settings: Settings) -> None:
    """Measures in memory and on a disk."""
    compressed(settings, "tail_to_hdfs_gzip", tail, "gzip", {IGZIP: 1.1, GZIP: 0.35}, gzip_text_of)


if __name__ == "__main__":
    run(benchmark)
