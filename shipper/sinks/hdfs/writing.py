"""A file of a cluster that is being written: what it was given, until a flush brings it there.

`write` only keeps the bytes; the store's `flush` writes and syncs those of all files at once. Behind a `close`, and the
flush if there was something to flush, the library's close begins, which waits half a second for the NameNode to hear of
the last block; nobody waits for it but `end`. A writer that failed, or whose call was given up, is never used again:
what is in the file behind what counts is then seen to by `right.py`. But a file of which no byte has been flushed keeps
what it was given when its first flush fails, and may be made anew (`tries.py`).
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from shipper.files.store import Explained
from shipper.serializers.serializer import Bytes
from shipper.sinks.hdfs.file_system import Writer
from shipper.sinks.hdfs.tries import Tries

#: Between two closings. A hundred of them at once keep the servers and the thread beside the loop from the flush of the
#: next transaction, now and when they are asked again half a second later.
_CLOSINGS_APART_S = 0.002
#: So much of a new file is flushed on its own: what the library sends at once.
_TRIED_BYTES = 64 << 10


class Touched:
    """The files of a store that have something to flush, or to close.

    Args:
        closes: begins to close a file that has nothing to flush.
    """

    def __init__(self, closes: Callable[[HdfsFile], None]) -> None:
        self.closes = closes
        self._files: set[HdfsFile] = set()
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Until it is this closing's turn."""
        async with self._turn:
            await asyncio.sleep(_CLOSINGS_APART_S)

    def add(self, file: HdfsFile) -> None:
        self._files.add(file)

    def discard(self, file: HdfsFile) -> None:
        self._files.discard(file)

    def taken(self) -> tuple[HdfsFile, ...]:
        """All of them; none is left."""
        files = tuple(self._files)
        self._files.clear()
        return files


class HdfsFile:
    """A file open for appending.

    Args:
        touched: it adds itself there when it has something to flush.
        length: that it has.
        tries: of its first flush; None = it may not be made anew.
    """

    def __init__(
        self, path: str, identity: str, writer: Writer, touched: Touched, length: int = 0, tries: Tries | None = None
    ) -> None:
        self.path = path
        self.identity = identity
        self.tries = tries
        self._sound = True
        self._ended = False
        self._length = length  # of what was flushed
        self._writer = writer
        self._touched = touched
        self._pending: list[bytes] = []
        self._closing: asyncio.Task[bool] | None = None

    # --- in the sink's loop

    def write(self, data: Bytes) -> None:
        if not self._sound:
            raise Explained(errno.EIO, "it can't be written any more", "", self.path)
        # Of anything but bytes the library makes a copy an item at a time.
        self._pending.append(data if isinstance(data, bytes) else bytes(data))
        self._touched.add(self)

    def take_back(self) -> int | None:
        self._pending.clear()
        return self._length if self._sound and not self._ended else None

    def unlinked(self) -> bool:
        return False  # the NameNode says so at the next flush

    def close(self) -> None:
        if not self._ended:
            self._ended = True
            if not self._pending:
                self._touched.closes(self)

    def remade(self, identity: str, writer: Writer) -> None:
        """It is another file of that name, and the next flush brings what was kept there."""
        self.identity = identity
        self._writer = writer
        self._sound = True
        self._touched.add(self)

    def drop(self) -> None:
        """It is about to be deleted."""
        self._ended = True
        self._sound = False
        self._pending.clear()
        self._touched.discard(self)

    # --- beside it

    async def flush(self) -> None:
        """Writes and syncs what waits, and begins to close a file that takes no more."""
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self._pending.clear()
            rest = data
            try:
                if self.tries is not None:
                    # A try is short, and a large addition may take its time: only its beginning is tried.
                    await self.tries.one(self._begin(data[:_TRIED_BYTES], self.tries.owed))
                    self.tries, rest = None, data[_TRIED_BYTES:]
                if rest:
                    await self._bring(rest)
            except BaseException:
                self._sound = False
                if self.tries is not None:
                    self._pending = [data]
                raise
            self._length += len(data)
        if self._ended:
            self._begin_close()

    async def _bring(self, data: bytes) -> None:
        await self._writer.write(data)
        await self._writer.hsync()

    async def _begin(self, data: bytes, owed: int) -> None:
        if owed:
            # The first byte makes the library ask for a block, on as few DataNodes as this file was made for, and stays
            # in its buffer. Dying before the next line: the file is empty, and is removed. Behind it: whatever of the
            # file comes to count, the NameNode knows how many replicas it owes.
            await self._writer.write(data[:1])
            await self._writer.owe(owed)
            data = data[1:]
        await self._bring(data)

    async def closed(self, length: int | None) -> bool:
        """True when it is closed and has just that length; False when that is still to be seen to."""
        self._ended = True
        self._pending.clear()
        return await asyncio.shield(self._begin_close()) and length in (None, self._length)

    def _begin_close(self) -> asyncio.Task[bool]:
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        return self._closing

    async def _close(self) -> bool:
        await self._touched.turn()
        if self._sound:
            try:
                await self._writer.close()
                return True
            except OSError:
                self._sound = False
        return False
