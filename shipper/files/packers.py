"""Packers: threads that make the parts of one large addition to a file smaller, all at the same time.

Codecs let go of the interpreter while they pack, so parts of a MiB and more take as many cores as there are threads.
Each part is a complete run of its codec, and the file has the runs in order: it is what it would be had the parts come
one after the other. A sink that keeps up adds little at a time, and no thread is ever begun.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shipper.files.compress import Codec
from shipper.serializers.serializer import Bytes

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

#: Below that, a part is not worth a thread, and its run not worth what begins and ends it.
_PART_BYTES = 1 << 20
_THREADS_MAX = 4


class Packers:
    """Threads of one sink worker.

    Args:
        threads: at most so many at once, the caller's included; None = one a core, at most four.
    """

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or min(len(os.sched_getaffinity(0)), _THREADS_MAX)
        self._pool: ThreadPoolExecutor | None = None

    def pack(self, codec: Codec, data: Bytes) -> list[bytes]:
        """The data as runs of the codec, in order; called by one thread at a time."""
        parts = min(self.threads, len(data) // _PART_BYTES)
        if parts < 2:
            return [codec.pack(data)]
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.threads - 1, "packer")
        view, each = memoryview(data), -(-len(data) // parts)
        others = [self._pool.submit(codec.pack, view[at : at + each]) for at in range(each, len(view), each)]
        return [codec.pack(view[:each]), *(other.result() for other in others)]

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
