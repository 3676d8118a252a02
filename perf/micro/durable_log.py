"""The durable log in one process: what a frame costs from append to read, and what a sync costs that many share.

::

    frame --> [append] --> [flush: write] --> [sync] --> [read: check, a view of the file] --> commit

Goal: 1,000 MB/s of CPU for frames of 1 MiB; 64 small puts that share a sync are at least 20 x as fast as one sync each,
or 100,000 a second. The ratio is to a copy of the bytes.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from perf.harness.command import Settings, run
from perf.harness.results import Goal, Result
from perf.harness.steps import BATCH_BYTES, blocks, report, timed
from shipper.durable.board import Board, lane_id
from shipper.durable.log import Log
from shipper.durable.reader import Reader
from shipper.durable.settings import Entry, LogSettings

_LANE = lane_id("k1.0")
_SHARED = 64
_SYNC_EVERY = 8
_SMALL_BYTES = 700  # a frame of one event


def benchmark(settings: Settings) -> None:
    """Measures 1 MiB frames, then single events with and without company."""
    directory = settings.disk / "durable_log"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        _frames(settings, directory / "frames")
        _small(settings, directory / "small")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _open(directory: Path) -> tuple[Log, Reader]:
    chosen = LogSettings(
        checkpoint_dir=directory / "c", data_dirs=(directory / "d",), segment_bytes=64 << 20, minimum_free_bytes=0
    )
    log = Log.open(chosen, ["k1.0"], lambda body: [])
    reader = Reader(Board.open(chosen.board), chosen.data_dirs, _LANE, 1)
    assert reader.try_hold()
    return log, reader


def _frames(settings: Settings, directory: Path) -> None:
    log, reader = _open(directory)
    items = [memoryview(data) for data in blocks(145, settings.short)]
    count = 0

    def append(data: memoryview) -> None:
        nonlocal count
        count += 1
        while log.append(1, count, [Entry(_LANE, (data,), 7000, len(data))]) is None:
            log.tick(time.monotonic())
        if count % _SYNC_EVERY == 0:
            log.sync()

    def read(_: memoryview) -> None:
        if reader.peek() is not None:
            reader.step()
            reader.release(1)

    def both(data: memoryview) -> None:
        append(data)
        if count % _SYNC_EVERY == 0:
            for _ in range(_SYNC_EVERY):
                read(data)
            log.tick(time.monotonic())

    figures = timed(settings, "append_sync_read", "", both, items)
    began_s = time.perf_counter()
    for data in items:
        append(data)
    log.sync()
    figures["append_sync_MB_s"] = len(items) * BATCH_BYTES / 1e6 / (time.perf_counter() - began_s)
    figures |= timed(settings, "read", "", read, items[: len(items)] if settings.short else items[:3])
    goal = Goal("append_sync_read_MB_per_core_s", 1000, "MB/s")
    report(settings, "durable_log", "1 MiB frames, a sync for 8", figures, goal, "the bodies")
    reader.close()
    log.close()


def _small(settings: Settings, directory: Path) -> None:
    log, reader = _open(directory)
    body = memoryview(bytes(_SMALL_BYTES))
    put = 0
    rates = []
    for together in (1, _SHARED):
        syncs = 4 if settings.short else 300
        began_s = time.perf_counter()
        for _ in range(syncs):
            for _ in range(together):
                put += 1
                assert log.append(1, put, [Entry(_LANE, (body,), 1, 100, (("s", 0, put, ""),))]) is not None
            log.sync()
        rates.append(syncs * together / (time.perf_counter() - began_s))
    alone, shared = rates
    figures = {"alone_puts_s": alone, "shared_puts_s": shared, "gain": shared / alone}
    goal = Goal("gain", 20, "x") if shared < 100_000 else Goal("shared_puts_s", 100_000, "puts/s")
    ratio = (shared / alone, f"x the puts of one sync each, when {_SHARED} share one")
    settings.report(Result("durable_log", "single events", figures, goals=(goal,), ratio=ratio))
    reader.close()
    log.close()


if __name__ == "__main__":
    run(benchmark)
