"""The floor: what this machine, at this minute, charges for a gigabyte that is only read and written.

A virtual machine returns free memory to its host, here after two seconds, and gets it back page by page at the first
write: a gigabyte of new pages then costs 1.9 to 2.9 s of CPU, and 0.3 s when the pages are still there. Whoever writes
first in a round pays, so no figure and no ratio means anything until somebody else has paid. Before anything is timed,
`warmed()` writes and removes as many bytes as the output will take, on the same file system, again and again until a
pass is no cheaper than the one before. The last pass is the write floor of the round, and is kept with its results.

It writes in pieces of the size that the measured program will use: ext4 takes memory in runs as long as the write, and
runs of another length are other memory, which may be cold (0.2 s of CPU for a gigabyte, and 2.3 s in the next pass with
another length).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from shipper.config.plan import BATCH_BYTES

#: what agents write: batches of whole lines, so a little less than `batch.bytes` and never aligned
BATCHES = BATCH_BYTES - 77
#: what most programs write
FILTERS = 128 << 10
_READ_BYTES = 1 << 20
_PASSES = 6
#: a pass that is that close to the best one finds its pages present
_NEAR = 1.15

#: the cheapest pass so far, by device and length of the writes
_best_s: dict[tuple[int, int], float] = {}


@dataclass(frozen=True)
class Floor:
    """CPU seconds for a gigabyte.

    Attributes:
        write_s: a plain loop of `os.write` into a new file, in pieces of that size.
        read_s: a plain loop of `os.readv` from the input, which is in the page cache.
        passes: how often the bytes were written until that was so.
    """

    write_s: float
    read_s: float
    passes: int

    def cpu_s(self, read_bytes: int, written_bytes: float) -> float:
        """What these bytes cost if nothing is done with them."""
        return (read_bytes * self.read_s + written_bytes * self.write_s) / 1e9


def warmed(directory: Path, size_bytes: int, source: Path, piece_bytes: int, passes_max: int = _PASSES) -> Floor:
    """Makes so many bytes of free memory present for the next writer in `directory`, and says what a gigabyte costs."""
    read_s = _read_s(source)
    key = directory.stat().st_dev, piece_bytes
    for passes in range(1, passes_max + 1):
        write_s = _write_s(directory / "floor", size_bytes, piece_bytes)
        best_s = _best_s.get(key, float("inf"))
        _best_s[key] = min(best_s, write_s)
        if write_s <= best_s * _NEAR and (passes > 1 or best_s < float("inf")):
            break
    return Floor(write_s, read_s, passes)


def _write_s(path: Path, size_bytes: int, piece_bytes: int) -> float:
    zeros = bytes(piece_bytes)
    pieces = max(size_bytes // piece_bytes, 1)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        began_s = time.thread_time()
        for _ in range(pieces):
            os.write(descriptor, zeros)
        spent_s = time.thread_time() - began_s
    finally:
        os.close(descriptor)
        path.unlink()
    return spent_s * 1e9 / (pieces * piece_bytes)


def _read_s(path: Path) -> float:
    block = bytearray(_READ_BYTES)
    read_bytes = 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        began_s = time.thread_time()
        while count := os.readv(descriptor, [block]):
            read_bytes += count
        spent_s = time.thread_time() - began_s
    finally:
        os.close(descriptor)
    return spent_s * 1e9 / max(read_bytes, 1)
