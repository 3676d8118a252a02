"""The crossing of a memory channel, both transactions in one process: what a batch costs from commit to commit.

::

    batch --> [put: claim, encode, checksum, one stored word] --> lane --> [take: check, decode, one stored word]

Goal: 2,000 MB/s for batches of 1 MiB. The ratio is to a copy of the bytes.
"""

from __future__ import annotations

from pathlib import Path

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.steps import batches, report, timed
from shipper.api import EventBatch
from shipper.channels.memory.channel import MemoryChannel, MemoryOptions, lane_name
from shipper.channels.memory.put import LaneRoute, PutSide, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage

_RING_BYTES = 64 << 20


def benchmark(settings: Settings) -> None:
    """Measures whole batches, and batches of 100 rows."""
    put_side, take_side = _sides(settings.fast)

    def put(batch: EventBatch) -> None:
        transaction = put_side.transaction()
        transaction.begin()
        assert transaction.put("c1", batch)
        transaction.commit()
        transaction.close()

    def take() -> None:
        transaction = take_side.transaction()
        transaction.begin()
        assert transaction.take() is not None
        transaction.commit()
        transaction.close()

    def put_and_take(batch: EventBatch) -> None:
        put(batch)
        take()

    items = batches(145, settings.short)
    figures = timed(settings, "put_and_take", "", put_and_take, items)
    small = [batch.slice(0, 100) for batch in items]
    figures["put_and_take_100_rows_us"] = timed(settings, "small", "", put_and_take, small)["small_us"]
    goal = Goal("put_and_take_MB_per_core_s", 2000, "MB/s")
    report(settings, "put_and_take", "1 MiB of 145 B lines", figures, goal, "the bodies")
    put_side.close()
    take_side.close()


def _sides(directory: Path) -> tuple[PutSide, TakeSide]:
    options = MemoryOptions()
    MemoryChannel("c1", options).prepare(directory / "c1", ["r1.0"], ["k1.0"], _RING_BYTES)
    lane, page, bell = directory / "c1" / lane_name("r1.0", "k1.0"), directory / "page", directory / "bell"
    registered = PutPage.ensure(page)
    registered.register(lane_key("c1", lane.name))
    registered.close()
    put_side = open_put_side(page, {"c1": (options, [LaneRoute(lane, bell)])}, {})
    take_side = TakeSide([TakeRoute("c1", lane, page, bell)], 1)
    take_side.settle()
    return put_side, take_side


if __name__ == "__main__":
    run(benchmark)
