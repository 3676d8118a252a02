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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.config.plan import BATCH_BYTES

#: what agents write: batches of whole lines, so a little less than `batch.bytes` and never aligned
BATCHES = BATCH_BYTES - 77
#: what most programs write
FILTERS = 128 << 10
_READ_BYTES = 1 << 20
_PASSES_MAX = 6
#: The kernel reports all free memory two seconds after some was given back, and then waits for the next. What is held
#: until that is behind it has two seconds of its own when it is given back.
_HELD_S = 2.2
#: a pass that is that close to the best one finds its pages present
_NEAR = 1.15

#: the cheapest pass so far, by device and length of the writes
_best_s: dict[tuple[int, int], float] = {}


@dataclass(frozen=True)
class Writing:
    """Bytes that a program will write: so many in one directory, in pieces of that length."""

    directory: Path
    size_bytes: int
    piece_bytes: int


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


def warmed(output: Writing, source: Path, beside: Sequence[Writing] = (), short: bool = False) -> Floor:
    """Makes so much free memory present for the next writer, and says what a gigabyte of its output costs.

    Args:
        beside: what it writes elsewhere at the same time. All of it is there at once and then removed at once: memory
            that the one gives back before the other is done would be the host's again before the clock runs.
        short: one pass, and nothing is waited for.
    """
    read_s = _read_s(source)
    writings = [*beside, output]
    passes = 0
    while True:
        passes += 1
        try:
            seen_s = [_write_s(_path(number, writing), writing) for number, writing in enumerate(writings)]
            near = [_is_near(writing, spent_s) for writing, spent_s in zip(writings, seen_s, strict=True)]
            if short or all(near) or passes == _PASSES_MAX:
                time.sleep(0 if short else _HELD_S)
                return Floor(seen_s[-1], read_s, passes)
        finally:
            for number, writing in enumerate(writings):
                _path(number, writing).unlink(missing_ok=True)


def _path(number: int, writing: Writing) -> Path:
    return writing.directory / f"floor{number}"


def _is_near(writing: Writing, spent_s: float) -> bool:
    """True when a pass was as cheap as they get; it is remembered."""
    key = writing.directory.stat().st_dev, writing.piece_bytes
    best_s = _best_s.get(key)
    _best_s[key] = spent_s if best_s is None else min(best_s, spent_s)
    return best_s is not None and spent_s <= best_s * _NEAR


def _write_s(path: Path, writing: Writing) -> float:
    zeros = bytes(writing.piece_bytes)
    pieces = max(writing.size_bytes // writing.piece_bytes, 1)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        began_s = time.thread_time()
        for _ in range(pieces):
            os.write(descriptor, zeros)
        spent_s = time.thread_time() - began_s
    finally:
        os.close(descriptor)
    return spent_s * 1e9 / (pieces * writing.piece_bytes)


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
