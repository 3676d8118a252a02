"""Packers: threads that make the parts of one large addition to a file smaller, all at the same time.

Codecs let go of the interpreter while they pack, so parts of a MiB take as many cores as there are threads. Who is done
with a part takes the next one: a thread whose core is wanted by somebody else, such as the source, packs fewer of them,
and nobody waits for more than one part. The parts become one run, whole or not there like any other (`Parts`). A sink
that takes less than 2 MiB at a time begins no thread, nor does a codec that has no parts.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from shipper.files.compress import Codec, Part, Parts
from shipper.serializers.serializer import Bytes

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

#: A part is so large and less than twice that: below, it is not worth a thread; above, others wait for it.
_PART_BYTES = 1 << 20
_THREADS_MAX = 4
_NOTHING = Part(b"", 0, 0)


class Packers:
    """Threads of one sink worker.

    Args:
        threads: at most so many at once, the caller's included, and not more than there are cores; None = at most four.
        cores: how many there are; None = those that this process may use.
    """

    def __init__(self, threads: int | None = None, cores: int | None = None) -> None:
        self.threads = min(threads or _THREADS_MAX, cores or len(os.sched_getaffinity(0)))
        self._pool: ThreadPoolExecutor | None = None

    def pack(self, codec: Codec, data: Bytes) -> bytes:
        """The data as one run of the codec; called by one thread at a time."""
        count, parts = len(data) // _PART_BYTES, codec.parts
        threads = min(self.threads, count)
        if threads < 2 or parts is None:
            return codec.pack(data)
        from concurrent.futures import ThreadPoolExecutor, wait

        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads - 1, "packer")
        work = _Work(parts, data, count)
        others = [self._pool.submit(work.go) for _ in range(threads - 1)]
        try:
            work.go()
        finally:  # behind this line the data is the caller's again: nobody may still look at it
            begun = [other for other in others if not other.cancel()]
            wait(begun)
        for other in begun:
            other.result()
        return parts.run(work.packed)

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class _Work:
    """One run that is being packed.

    Attributes:
        packed: the parts in order, once nobody is at work any more.
    """

    def __init__(self, parts: Parts, data: Bytes, count: int) -> None:
        each = -(-len(data) // count)
        each += -each % parts.multiple_bytes
        self._view = memoryview(data)
        self._parts = parts
        self._each = each
        self._left = deque(range(-(-len(data) // each)))
        self.packed: list[Part] = [_NOTHING] * len(self._left)

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
                self.packed[index] = self._parts.pack(self._view[start:end], end >= len(self._view))
            except BaseException:
                self._left.clear()
                raise
