"""A growing file into compressed files as Hadoop reads them: one worker reads, the other one compresses.

::

    access.log --> [TAILDIR r1] --> (memory c1) --> [hdfs k1, CompressedStream lz4] --> FlumeData.*.lz4

Goal: no more wall time than `lz4 -1` takes on the same file alone, and an output at most 5 % larger; in memory and on
a disk. The ratio is to `lz4 -1`, which writes frames with linked blocks; Hadoop's blocks stand alone.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import LZ4
from perf.harness.transfer import Transfer, hadoop_lz4_text_of, measure
from perf.topology._files import hdfs, tail


def benchmark(settings: Settings) -> None:
    """Measures in memory and on a disk."""
    for on_disk in (False, True):
        transfer = Transfer(
            name="tail_to_hdfs_lz4",
            case="145 B lines",
            properties=lambda places: {
                **tail(places),
                **hdfs(places, fileType="CompressedStream", codeC="lz4", useLocalTimeStamp="true"),
            },
            line_bytes=145,
            rival=LZ4,
            read_back=hadoop_lz4_text_of,
            goals=(
                Goal("wall_over_lz4", 1.0, "x the wall time of lz4 -1", most=True),
                Goal("output_over_lz4", 1.05, "x the output of lz4 -1", most=True),
            ),
            on_disk=on_disk,
        )
        measure(settings, transfer)


if __name__ == "__main__":
    run(benchmark)
