"""Packers: threads that make the parts of one large addition to a file smaller, all at the same time.

Codecs let go of the interpreter while they pack, so parts of a MiB and more take as many cores as there are threads.
The parts become one run, whole or not there like any other (`Parts`). A sink that takes less than 2 MiB at a time
begins no thread, nor does a codec that has no parts.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shipper.files.compress import Codec
from shipper.serializers.serializer import Bytes

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

#: Below that, a part is not worth a thread.
_PART_BYTES = 1 << 20
_THREADS_MAX = 4


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
        count, parts = min(self.threads, len(data) // _PART_BYTES), codec.parts
        if count < 2 or parts is None:
            return codec.pack(data)
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self.threads - 1, "packer")
        view, each = memoryview(data), -(-len(data) // count)
        each += -each % parts.multiple_bytes
        starts = range(each, len(view), each)
        others = [self._pool.submit(parts.pack, view[at : at + each], at == starts[-1]) for at in starts]
        return parts.run([parts.pack(view[:each], not others), *(other.result() for other in others)])

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
