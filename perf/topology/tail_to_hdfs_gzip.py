"""A growing file into gzip files: one worker reads, the other one compresses.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, CompressedStream gzip] --> FlumeData.*.gz

Goal: at most 0.35 of the wall time of `gzip -1` and 1.1 of that of `igzip -1` on the same file, outputs at most 5 %
larger than theirs; in memory and on a disk. The ratio is to `igzip -1`, the quickest gzip there is.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import GZIP, IGZIP
from perf.harness.transfer import Transfer, gzip_text_of, measure
from perf.topology._files import hdfs, tail


def benchmark(settings: Settings) -> None:
    """Measures in memory and on a disk."""
    for on_disk in (False, True):
        transfer = Transfer(
            name="tail_to_hdfs_gzip",
            case="145 B lines",
            properties=lambda places: {
                **tail(places),
                **hdfs(places, fileType="CompressedStream", codeC="gzip", useLocalTimeStamp="true"),
            },
            line_bytes=145,
            rival=IGZIP,
            more_rivals=(GZIP,),
            read_back=gzip_text_of,
            goals=(
                Goal("wall_over_gzip", 0.35, "x the wall time of gzip -1", most=True),
                Goal("wall_over_igzip", 1.1, "x the wall time of igzip -1", most=True),
                Goal("output_over_gzip", 1.05, "x the output of gzip -1", most=True),
                Goal("output_over_igzip", 1.05, "x the output of igzip -1", most=True),
            ),
            on_disk=on_disk,
        )
        measure(settings, transfer)


if __name__ == "__main__":
    run(benchmark)
