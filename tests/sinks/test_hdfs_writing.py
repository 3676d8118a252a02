"""A file of a cluster that is being written: how it is closed."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from shipper.sinks.hdfs.writing import HdfsFile, Touched

_FILES = 20


class Writer:
    """Notes when it is closed, and is done when all others are being closed, too."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self._all = asyncio.Event()

    async def write(self, data: bytes) -> None: ...

    async def hsync(self) -> None: ...

    async def close(self) -> None:
        self.begun.append(asyncio.get_running_loop().time())
        if len(self.begun) == _FILES:
            self._all.set()
        await self._all.wait()


def test_closings_begin_one_after_the_other_and_none_waits_for_the_end_of_another() -> None:
    """So that the flush of the next transaction comes in between."""

    async def close_all() -> list[float]:
        writer, touched = Writer(), Touched(lambda file: None)
        files = [HdfsFile(f"/{number}", "", writer, touched) for number in range(_FILES)]
        assert all(await asyncio.gather(*(file.closed(0) for file in files)))
        return writer.begun

    begun = asyncio.run(close_all())
    assert len(begun) == _FILES
    assert all(later - earlier > 0.0015 for earlier, later in pairwise(begun))
