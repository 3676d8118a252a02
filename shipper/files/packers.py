"""Packers: threads that make the parts of one large addition to a file smaller, all at the same time.

Codecs let go of the interpreter while they pack, so parts of a MiB take as many cores as there are threads. Who is done
with a part takes the next one: a thread whose core is wanted by somebody else, such as the source, packs fewer of them,
and nobody waits for more than one part. The parts become one run, whole or not there like any other (`Parts`). A sink
that takes less than 2 MiB at a time begins no thread, nor does a codec that has no parts. While one transaction is
flushed, the block of the next one may be packed `ahead`.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from isal import isal_zlib

from shipper.checksums import checksum_together
from shipper.files.compress import Codec, Parts
from shipper.serializers.serializer import Bytes

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Place = tuple[str, int]

#: A part is so large and less than twice that: below, it is not worth a thread; above, others wait for it.
_PART_BYTES = 1 << 20
_THREADS_MAX = 4
#: What was begun ahead is kept over so many runs that are something else: those of a transaction that came again.
_MISSED_MAX = 2


class Packers:
    """Threads of one sink worker.

    Args:
        threads: at most so many at once, the caller's included, and not more than there are cores; None = at most four.
        cores: how many there are; None = those that this process may use.
    """

    def __init__(self, threads: int | None = None, cores: int | None = None) -> None:
        self.threads = min(threads or _THREADS_MAX, cores or len(os.sched_getaffinity(0)))
        self._pool: ThreadPoolExecutor | None = None
        self._next: tuple[Codec, Bytes, Place] | None = None
        self._ahead: tuple[Place, _Work] | None = None
        self._missed = 0

    def pack(self, codec: Codec, data: Bytes, checksum: int | None = None, place: Place | None = None) -> bytes:
        """The data as one run of the codec; called by one thread at a time.

        Args:
            checksum: the CRC-32 of the data, where it is known; else it is found where the codec wants it.
            place: of the frame whose block the data is; None where it is something else.
        """
        if checksum is None and codec.parts is not None and codec.parts.sums:
            place = None  # what was begun ahead has made no checksum
        work = self._begun_ahead(place) or self._begin(codec, data, sums=checksum is None)
        if work is None:
            run = codec.pack(data)
        else:
            work.finish()
            run = work.parts.run(work.packed, work.checksum() if checksum is None else checksum, len(data))
        self._begin_next()
        return run

    def ahead(self, codec: Codec, data: Bytes, place: Place) -> None:
        """What is likely to be packed after the next run: it is begun behind that one, beside what the caller does
        then. It waits for a disk or a cluster, and cores are free.

        Its checksum must be known. The data may be overwritten as soon as somebody else has it; what came of it is
        used for the same place only, where it is the same.
        """
        self._next = codec, data, place

    def close(self) -> None:
        """Ends the threads."""
        self._forget()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _begin(self, codec: Codec, data: Bytes, sums: bool) -> _Work | None:
        """Has the others begin; None where the caller does it alone."""
        count, parts = len(data) // _PART_BYTES, codec.parts
        threads = min(self.threads, count)
        if threads < 2 or parts is None:
            return None
        from concurrent.futures import ThreadPoolExecutor

        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads - 1, "packer")
        work = _Work(parts, data, count, parts.sums and sums)
        work.others = [self._pool.submit(work.go) for _ in range(threads - 1)]
        return work

    def _begin_next(self) -> None:
        if self._next is None or self._ahead is not None:
            return
        (codec, data, place), self._next = self._next, None
        if (work := self._begin(codec, data, sums=False)) is not None:
            self._ahead, self._missed = (place, work), 0

    def _begun_ahead(self, place: Place | None) -> _Work | None:
        """What was begun for that place. What is not asked for soon is forgotten: another sink has taken it."""
        if self._ahead is None:
            return None
        found, work = self._ahead
        if found == place:
            self._ahead = None
            return work
        self._missed += 1
        if self._missed > _MISSED_MAX:
            self._forget()
        return None

    def _forget(self) -> None:
        self._next = None
        if self._ahead is not None:
            self._ahead[1].stop()
            self._ahead = None


class _Work:
    """One run that is being packed.

    Attributes:
        packed: the parts in order, once nobody is at work any more.
        others: who was asked to help.
    """

    def __init__(self, parts: Parts, data: Bytes, count: int, sums: bool) -> None:
        each = -(-len(data) // count)
        each += -each % parts.multiple_bytes
        self._view = memoryview(data)
        self.parts = parts
        self.others: list[Future[None]] = []
        self._each = each
        self._left = deque(range(-(-len(data) // each)))
        self.packed = [b""] * len(self._left)
        self._checksums = [0] * len(self._left) if sums else []

    def finish(self) -> None:
        """Packs with the others until all is packed. Raises what failed, of whomever."""
        try:
            self.go()
        finally:  # behind this line the data is the caller's again: nobody may still look at it
            begun = self._wait()
        for other in begun:
            other.result()

    def stop(self) -> None:
        """Nobody wants it any more. Behind this nobody looks at the data."""
        self._left.clear()
        self._wait()

    def _wait(self) -> list[Future[None]]:
        from concurrent.futures import wait

        begun = [other for other in self.others if not other.cancel()]
        wait(begun)
        return begun

    def go(self) -> None:
        """Packs the next part that nobody has taken, until there is none; what fails ends the others' work too."""
        while self._left:
            try:
                index = self._left.popleft()
            except IndexError:  # somebody was quicker
                return
            try:
                start = index * self._each
                end = start + self._each
                part = self._view[start:end]
                self.packed[index] = self.parts.pack(part, end >= len(self._view))
                if self._checksums:
                    self._checksums[index] = isal_zlib.crc32(part)
            except BaseException:
                self._left.clear()
                raise

    def checksum(self) -> int:
        """CRC-32 of all of it, from those of the parts; 0 where they were not asked for."""
        whole, last = 0, len(self._checksums) - 1
        for index, checksum in enumerate(self._checksums):
            size_bytes = self._each if index < last else len(self._view) - last * self._each
            whole = checksum_together(whole, checksum, size_bytes)
        return whole
