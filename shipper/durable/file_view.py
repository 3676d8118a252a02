"""A view of a file: all of it as memory, of which a range is brought in before it is touched."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Iterator

_MADV_POPULATE_READ = 22
_GIVE_BACK_BYTES = 16 << 20
_LONG_BYTES = 256 << 10
_SEARCH_BYTES = 1 << 20
_PAGE_BYTES = mmap.PAGESIZE
_ZEROS = bytes(_SEARCH_BYTES)


class FileView:
    """A file as memory.

    Attributes:
        memory: all of it, read only. Views of it keep the file's bytes, also when the file is removed.
    """

    def __init__(self, handle: int, size_bytes: int) -> None:
        self._handle = os.dup(handle)
        os.set_inheritable(self._handle, False)
        try:
            self._mapping = mmap.mmap(handle, size_bytes, mmap.MAP_SHARED, mmap.PROT_READ)
        except BaseException:
            os.close(self._handle)
            raise
        self.memory = memoryview(self._mapping)
        self._given_back = 0

    def ensure(self, start: int, end: int) -> None:
        """Brings a range into memory. Touching what the disk can't read would end the process with SIGBUS.

        Of a long one, as much again is asked for ahead.

        Raises:
            OSError: the disk can't read it.
        """
        page = start - start % _PAGE_BYTES
        end = min(end, len(self.memory))
        if end <= page:
            return
        if end - page >= _LONG_BYTES:
            self._mapping.madvise(mmap.MADV_WILLNEED, page, min(2 * (end - page), len(self.memory) - page))
        try:
            self._mapping.madvise(_MADV_POPULATE_READ, page, end - page)
        except OSError as problem:
            if problem.errno != errno.EINVAL:
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from problem
            # A kernel before 5.14: reading it is what tells, and leaves the pages where the mapping finds them.
            for at in range(page, end, 1 << 20):
                os.pread(self._handle, min(1 << 20, end - at), at)

    def give_back(self, end: int) -> None:
        """What stands before `end` is not looked at again: it counts as this process's memory no longer.

        The kernel keeps the pages as long as it likes. No view of them should be in use any more: a page that the disk
        can't read again would end the process.
        """
        end -= end % _GIVE_BACK_BYTES
        if end > self._given_back:
            self._mapping.madvise(mmap.MADV_DONTNEED, self._given_back, end - self._given_back)
            self._given_back = end

    def find(self, pattern: bytes, start: int, end: int) -> int | None:
        """Offset of the first such bytes from `start` on; None when there are none. What can't be read is left out."""
        for at, until in self._written(start, end):
            # A copy: searching the mapping itself is many times slower.
            found = bytes(self.memory[at : min(until + len(pattern) - 1, end)]).find(pattern)
            if found >= 0:
                return at + found
        return None

    def find_written(self, start: int, end: int) -> bool:
        """True when a byte in the range is not zero."""
        return any(bytes(self.memory[at:until]) != _ZEROS[: until - at] for at, until in self._written(start, end))

    def _written(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Stretches of the range that were written and can be read, each brought into memory."""
        at = start
        while at < end:
            data = self._next_data(at)
            if data is None or data >= end:
                return
            at = max(at, data)
            until = min(at - at % _SEARCH_BYTES + _SEARCH_BYTES, end)
            try:
                self.ensure(at, until)
            except OSError:
                until = min(at - at % _PAGE_BYTES + _PAGE_BYTES, end)
                try:
                    self.ensure(at, until)
                except OSError:
                    at = until
                    continue
            yield at, until
            at = until

    def _next_data(self, offset: int) -> int | None:
        try:
            return os.lseek(self._handle, offset, os.SEEK_DATA)
        except OSError as problem:
            return None if problem.errno == errno.ENXIO else offset

    def close(self) -> None:
        """Lets go of the file; what views are still out keep is freed with the last of them."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            self.memory.release()
            with contextlib.suppress(BufferError):
                self._mapping.close()
