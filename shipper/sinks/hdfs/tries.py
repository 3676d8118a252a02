"""Tries: how often a new file is made until DataNodes take its first bytes, and on how many of them.

Until a NameNode takes a dead DataNode for dead, ten minutes by its defaults, it gives it to new files. The library
can't say that it wants others, nor does it go on with those of a new block that answer; and of a file that is there
already the NameNode gives the same ones again. But for another file it draws anew. So the first flush of a file has
several tries, each with a file of its own under the one name, all within the time of one call.

The first two are on as many DataNodes as the file shall have; then on one less every second time, since of three, one
of them dead, no three will do. The NameNode hears of the full number before it has a byte: it makes the replicas that
are missing once the file is closed. The first try has a sixth of the time, and the others a fifteenth, because the
library may hang when a DataNode that is not the first one is dead, and hangs with each whose machine does not answer.

Seen with three DataNodes, one of them killed: of tries with three replicas none is taken, with two one of three, with
one two of three; one that is refused takes 10 to 130 ms, and of those with two or three every third one hangs.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import Any, TypeVar

from shipper.sinks.hdfs.file_system import FileSystem
from shipper.sinks.hdfs.troubles import Silent

T = TypeVar("T")
#: For three replicas: two tries with three, two with two and eight with one, all of which go to the dead one of three
#: DataNodes once in six thousand times.
TRIES_MAX = 12
_SAME_REPLICAS = 2
_FIRST_SHARE, _NEXT_SHARE = 6, 15
#: No try has less as long as there is as much: a busy DataNode needs some time for a new block.
_LEAST_S = 1.0
#: What a DataNode that is not there leads to. All else the NameNode has said, and would say again.
_OTHERS_MAY_DO = frozenset({
    errno.EIO, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH,
    errno.ENETUNREACH,
})  # fmt: skip


class Tries:
    """The tries of one new file."""

    def __init__(self, cluster: FileSystem, path: str) -> None:
        self._cluster = cluster
        self._path = path
        self._until_s: float | None = None
        self._failed = 0
        self._wanted = 0  # replicas; 0 before the NameNode was asked

    async def one(self, work: Coroutine[Any, Any, T]) -> T:
        """A try.

        Raises:
            Silent: it took too long.
        """
        share_s = self._cluster.timeout_s / (_NEXT_SHARE if self._failed else _FIRST_SHARE)
        return await self._within(work, min(self._left_s(), max(share_s, _LEAST_S)))

    async def between(self, work: Coroutine[Any, Any, T]) -> T:
        """What is done between two tries. Raises as `one`."""
        return await self._within(work, self._left_s())

    def again(self, problem: OSError) -> bool:
        """A try failed: True when another one may do."""
        self._failed += 1
        return problem.errno in _OTHERS_MAY_DO and self._failed < TRIES_MAX and self._left_s() > 0

    async def ask(self) -> None:
        """The NameNode says how many replicas the file shall have. While it is there."""
        self._wanted = self._wanted or await self._cluster.replicas(self._path)

    @property
    def replicas(self) -> int | None:
        """On how many DataNodes this try is; None = on as many as the file shall have."""
        return max(self._wanted - self._failed // _SAME_REPLICAS, 1) if self._wanted else None

    @property
    def owed(self) -> int:
        """How many replicas the file shall have when they are more than this try makes; else 0."""
        return 0 if self.replicas in (None, self._wanted) else self._wanted

    async def _within(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as problem:
            if isinstance(problem, Silent):
                raise
            raise Silent(self._cluster.timeout_s, self._path) from None

    def _left_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        if self._until_s is None:
            self._until_s = now_s + self._cluster.timeout_s
        return max(self._until_s - now_s, 0.0)
