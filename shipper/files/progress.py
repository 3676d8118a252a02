"""Progress: what a sink worker shows of its files, in a page of the run directory that anybody can read at any moment.

The worker writes it about once a second; `shipper files` reads it without asking anybody, also while the worker hangs
and after it died. It holds sums over all files, and the few that matter most: first those that wait for something, then
those that were begun longest ago.

::

    page     two halves of 16 KiB, written by turns, so that one of them is always whole

    half     0    number of the writing, 1, 2, ...            (little-endian, 8 bytes each)
             8    CRC-32 (of the number and the text) << 32 | length of the text
             16   JSON
"""

from __future__ import annotations

import heapq
import mmap
import os
import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from shipper.clock import Clock
from shipper.metrics.counters import Counters
from shipper.shared.segment import Segment

_HALF_BYTES = 16 << 10
_HEAD_BYTES = 16
FILES_SHOWN = 20
_PATH_MOST = 400
_EVERY_S = 1.0
#: A survey of many files takes this part of the worker's time at most.
_SHARE = 100

OPEN, ENDING, CLOSING, RENAMING, LEASED, CUTTING = "open", "ending", "closing", "renaming", "leased", "cutting back"
#: Its rows are staged, and it could not be made at its target.
UNMADE = "waiting for target"
_STATES = (OPEN, ENDING, CLOSING, RENAMING, LEASED, CUTTING, UNMADE)


@dataclass(frozen=True, slots=True)
class FileState:
    """One file.

    Attributes:
        state: one of the words above.
        begun_ms: wall clock.
        written_s: when rows came the last time, on the worker's monotonic clock; 0 when nobody knows.
        tries: how often what it waits for has failed.
        retry_s: when that is tried again, on that clock; 0 when it is under way, or will not be.
    """

    path: str
    state: str
    rows: int
    size_bytes: int
    begun_ms: int
    written_s: float = 0.0
    tries: int = 0
    retry_s: float = 0.0


class Page:
    """The page of one worker, as its writer sees it."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self._segment = Segment.create(path, 2 * _HALF_BYTES, lambda memory: None)
        self._number = 0

    def write(self, text: bytes) -> None:
        """Takes the place of the text before the last one. `text` must fit."""
        number = self._number = self._number + 1
        at = number % 2 * _HALF_BYTES
        half = self._segment.memory[at : at + _HALF_BYTES]
        words = half[:_HEAD_BYTES].cast("Q")
        words[1] = 0  # nobody reads a half-written half
        half[_HEAD_BYTES : _HEAD_BYTES + len(text)] = text
        words[0] = number
        words[1] = _checksum(number, text) << 32 | len(text)

    def close(self) -> None:
        """Lets go of the memory. The file stays as it is."""
        self._segment.close()


def read_page(path: Path) -> dict[str, Any] | None:
    """What a worker shows; None when it has not shown anything yet.

    Raises:
        OSError: there is no such page, or it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with mmap.mmap(descriptor, 2 * _HALF_BYTES, prot=mmap.PROT_READ) as mapping:
            for _ in range(8):
                found = [_read_half(mapping[at : at + _HALF_BYTES]) for at in (0, _HALF_BYTES)]
                newest = max((one for one in found if one is not None), default=None)
                if newest is not None:
                    data: dict[str, Any] = orjson.loads(newest[1])
                    return data
    except ValueError:  # a file that is none of ours, or not yet as long as it will be
        return None
    finally:
        os.close(descriptor)
    return None


class Progress:
    """Keeps a page up to date.

    Args:
        page: None when there is nobody to look: the counters are kept all the same.
        where: the target, as the person wrote it.
    """

    def __init__(self, page: Page | None, sink: str, worker: int, where: str, clock: Clock, counters: Counters) -> None:
        self._page = page
        self._about = {"sink": sink, "worker": worker, "where": where, "pid": os.getpid()}
        self._clock = clock
        self._counters = counters
        self._next_s = 0.0
        self.committed_s = self.synced_s = 0.0

    def due(self) -> bool:
        """True about once a second."""
        return self._clock.monotonic_s() >= self._next_s

    def show(self, files: Iterable[FileState]) -> None:
        """Shows these files: all that are not done."""
        began_s = time.monotonic()
        now_s = self._clock.monotonic_s()
        counts = dict.fromkeys(_STATES, 0)
        rows = size_bytes = 0
        oldest_ms = 0
        every = list(files)
        for file in every:
            counts[file.state] += 1
            rows += file.rows
            size_bytes += file.size_bytes
            if not oldest_ms or file.begun_ms < oldest_ms:
                oldest_ms = file.begun_ms
        self._counters.set("files_renaming", counts[RENAMING])
        self._counters.set("files_closing", counts[CLOSING] + counts[ENDING])
        self._counters.set("files_leased", counts[LEASED])
        self._counters.set("files_unmade", counts[UNMADE])
        if self._page is not None:
            get = self._counters.get
            first = heapq.nsmallest(FILES_SHOWN, every, key=_rank)
            data = {
                **self._about, "at_s": now_s, "committed_s": self.committed_s, "synced_s": self.synced_s,
                "counts": counts, "rows": rows, "size_bytes": size_bytes, "oldest_ms": oldest_ms,
                "begun": get("ConnectionCreatedCount"), "closed": get("ConnectionClosedCount"),
                "retries": get("file_retries"), "reports_waiting": get("reports_waiting"),
                "buckets_waiting": get("buckets_waiting"), "buckets_done": get("buckets_done"),
                "rows_late": get("rows_late"), "files": [],
            }  # fmt: skip
            self._page.write(_fitted(data, first))
        self._next_s = now_s + max(_EVERY_S, _SHARE * (time.monotonic() - began_s))

    def close(self, left: Iterable[FileState] = ()) -> None:
        """Shows the files that are left for the next start, and lets go of the page."""
        if self._page is not None:
            self.show(left)
            self._page.close()
            self._page = None


def _rank(file: FileState) -> tuple[bool, int, int]:
    return (file.state == OPEN, -file.tries, file.begun_ms)


def _fitted(data: dict[str, Any], files: list[FileState]) -> bytes:
    """As many of the files as the page has room for."""
    shown = [asdict(file) | {"path": _short(file.path)} for file in files]
    while len(text := orjson.dumps(data | {"files": shown})) > _HALF_BYTES - _HEAD_BYTES and shown:
        shown.pop()
    return text


def _short(path: str) -> str:
    return path if len(path) <= _PATH_MOST else f"...{path[3 - _PATH_MOST :]}"


def _checksum(number: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(number.to_bytes(8, "little")))


def _read_half(half: bytes) -> tuple[int, bytes] | None:
    number, word = (int.from_bytes(half[at : at + 8], "little") for at in (0, 8))
    length = word & 0xFFFF_FFFF
    text = half[_HEAD_BYTES : _HEAD_BYTES + length]
    if not word or length > _HALF_BYTES - _HEAD_BYTES or _checksum(number, text) != word >> 32:
        return None
    return number, text
