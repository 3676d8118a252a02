"""Setting a file right: it is closed, and as long as what counts of it, whoever wrote it and however that ended.

::

    seize             over HTTP: another name, by which a late request of its writer does not find it
    recover lease     until the NameNode says that the file is closed: 2 s after its writer died
    known again?      as long as what counts, and its last bytes that count are the ones that were written
    longer: cut       the NameNode's web port: 3 s for the last block
            or copy   what counts goes into `<path>.cut.tmp`, which then takes the place of the file in one step
    not recovered     copied as well, read at the web port, where a DataNode gives what counts of an open file, too

A lease may never be recovered: a DataNode whose receiver was interrupted between writing a packet and counting it has a
replica that is longer than it says, and refuses to recover it ("Block length mismatch") for as long as it lives.

All of it may be begun again at any place: a process that dies in here leaves what the next one sets right to the same
end, a half copy among it, whose name says whose it is.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable

from shipper.files.extent import Extent, bytes_in, tail_of
from shipper.files.store import Changed, Explained, FileStatus
from shipper.sinks.hdfs.file_system import FileSystem, Writer
from shipper.sinks.hdfs.web import WebPort

#: The NameNode begins once more after so long when the DataNode that it asked did not answer.
_RECOVERY_S = 60.0
_LOOK_EVERY_S = 0.25
#: A lease that is recovered at all is by now, unless a DataNode is away. Less than what a start waits for its files.
_COPY_AFTER_S = 10.0
_COPY_BYTES = 4 << 20
_COPY_SUFFIX = ".cut.tmp"


class Right:
    """Sets files of one cluster right.

    Attributes:
        waiting: files whose lease is being recovered at this moment.
        cut, copied: how many files were cut by either way.
    """

    def __init__(self, cluster: FileSystem, web: WebPort) -> None:
        self._cluster = cluster
        self._web = web
        self.waiting: set[str] = set()
        self.cut = self.copied = 0

    async def set_right(self, path: str, extent: Extent) -> tuple[str, int]:
        """Returns where the file is now, which is closed, and its length.

        Raises:
            FileNotFoundError: there is none.
            Changed: another file has its name, or it is shorter than what counts: nothing was done to it.
            TimeoutError: its lease is not recovered yet.
        """
        seized = await self._cluster.seize(path) if extent.length is not None else path
        try:
            return seized, await self._right(seized, extent)
        except Changed:
            await self._cluster.give_back(path)
            raise

    async def _right(self, path: str, extent: Extent) -> int:
        if extent.length and not await self._recovered(path, _COPY_AFTER_S) and await self._copy_open(path, extent):
            return extent.length
        await self._recover(path)
        there = await self._cluster.stat(path)
        if there is None:
            raise FileNotFoundError(errno.ENOENT, "it is gone", path)
        if extent.length is None:
            return there.length
        if there.length < extent.length:
            raise Changed(errno.ENOENT, f"it has {there.length} bytes of {extent.length}", path)
        if not await self.same(path, there, extent):
            raise Changed(errno.ENOENT, "another file has that name now", path)
        if there.length > extent.length:
            if not await self._cut_there(path, there.length, extent.length):
                await self._copy(path, extent.length, self._cluster.read)
                self.copied += 1
                return extent.length
            self.cut += 1
        await self._cluster.delete(path + _COPY_SUFFIX)  # of somebody who died while he copied, or could not read all
        return extent.length

    async def holds(self, path: str, extent: Extent) -> bool:
        """True when the file is there with all that counts of it. It is closed then, and otherwise as it was."""
        try:
            await self._recover(path)
        except (FileNotFoundError, TimeoutError):
            return False
        there = await self._cluster.stat(path)
        return there is not None and there.length >= (extent.length or 0) and await self.same(path, there, extent)

    async def same(self, path: str, there: FileStatus, extent: Extent) -> bool:
        """True when a closed file has the bytes that were written; one of which nothing counts, when it is as old."""
        if not extent.length or extent.tail is None:
            return extent.length is None or there.identity == extent.identity
        if there.length < extent.length:
            return False
        known = bytes_in(extent.tail)
        return tail_of(await self._cluster.read(path, extent.length - known, known)) == extent.tail

    async def _recover(self, path: str) -> None:
        if not await self._recovered(path, _RECOVERY_S):
            raise Unrecovered(path)

    async def _recovered(self, path: str, timeout_s: float) -> bool:
        until_s = asyncio.get_running_loop().time() + timeout_s
        self.waiting.add(path)
        try:
            while not await self._cluster.recover_lease(path):
                if asyncio.get_running_loop().time() > until_s:
                    return False
                await asyncio.sleep(_LOOK_EVERY_S)
            return True
        finally:
            self.waiting.discard(path)

    async def _cut_there(self, path: str, there: int, length: int) -> bool:
        try:
            if not await self._web.cut(path, there, length, _RECOVERY_S):
                return False
        except TimeoutError:
            raise Unrecovered(path) from None
        found = await self._cluster.stat(path)
        return found is not None and found.length == length

    async def _copy_open(self, path: str, extent: Extent) -> bool:
        """Puts what counts of a file that can't be closed in its place. False when it could not be had or written, or
        is not what was written before: the file is as it was, or is the copy."""
        assert extent.length
        if extent.tail is None:
            return False
        known = bytes_in(extent.tail)
        last = await self._web.read(path, extent.length - known, known)
        if last is None or tail_of(last) != extent.tail:
            return False
        try:
            await self._copy(path, extent.length, self._web.read)
        except OSError:
            return False
        self.copied += 1
        return True

    async def _copy(self, path: str, length: int, read: Callable[[str, int, int], Awaitable[bytes | None]]) -> None:
        fresh = path + _COPY_SUFFIX
        writer = await self._cluster.create(fresh, overwrite=True)
        for offset in range(0, length, _COPY_BYTES):
            piece = await read(path, offset, min(_COPY_BYTES, length - offset))
            if piece is None:
                raise Explained(errno.EIO, "no DataNode gives its bytes", "look at the DataNodes' logs", path)
            await writer.write(piece)
        await writer.hsync()
        await self._close(writer, fresh)
        copied = await self._cluster.stat(fresh)
        if copied is None or copied.length != length:
            raise Explained(errno.EIO, "what counts of it could not be copied", "look at the DataNodes' logs", path)
        await self._cluster.rename(fresh, path, overwrite=True)

    async def _close(self, writer: Writer, path: str) -> None:
        try:
            await writer.close()
        except OSError:
            await self._recover(path)  # it was flushed: the NameNode can close it as well


class Unrecovered(Explained, TimeoutError):
    """The NameNode could not close a file that its writer left, since it did not hear from the DataNodes."""

    def __init__(self, path: str, seconds: float = _RECOVERY_S) -> None:
        super().__init__(
            errno.ETIMEDOUT, f"its lease was not recovered within {seconds:g} s",
            "are the DataNodes up that it is on? hdfs fsck -openforwrite shows them", path,
        )  # fmt: skip
