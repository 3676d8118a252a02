"""A file as users have it: batches of 100 events and a channel of 10,000, taken to the letter where it matters.

::

    access.log --> [TAILDIR r1, batchSize 100] --> (memory c1, capacity 10000, transactionCapacity 100)
               --> [file_roll k1, batchSize 100] --> one file

Goal: at least 400 MB/s per core. The ratio is to `cat in > out`.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.rivals import CAT
from perf.harness.transfer import Transfer, measure, text_of
from perf.topology._files import file_roll, tail


def benchmark(settings: Settings) -> None:
    """Measures in memory."""
    transfer = Transfer(
        name="capacity_10000",
        case="145 B lines",
        properties=lambda places: {
            **tail(places, batchSize=100),
            **file_roll(places),
            "channels.c1.capacity": 10_000,
            "channels.c1.transactionCapacity": 100,
            "sinks.k1.sink.batchSize": 100,
        },
        line_bytes=145,
        rival=CAT,
        read_back=text_of,
        goals=(Goal("MB_per_core_s", 400, "MB/s per core"),),
    )
    measure(settings, transfer)


if __name__ == "__main__":
    run(benchmark)
