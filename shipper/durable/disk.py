"""The file operations of a log, in one object, so that tests can put a disk of their own under it.

Offsets are given with each call; a handle has no position. Operations raise `OSError` and translate nothing: what a
failed one means is decided by who called it.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from shipper import whole_file
from shipper.durable.board import Board, boot_id

_F_OFD_SETLK = 37  # <fcntl.h> of Linux; the fcntl module has no names for these before 3.12
_F_OFD_GETLK = 36
_FLOCK = struct.Struct("hhqqi4x")
_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_MADV_POPULATE_READ = 22
_GIVE_BACK_BYTES = 16 << 20
_IOV_MAX = 1024
_SEARCH_BYTES = 1 << 20
_PAGE_BYTES = mmap.PAGESIZE
_ZEROS = bytes(_SEARCH_BYTES)

_libc = ctypes.CDLL(None, use_errno=True)


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

        Raises:
            OSError: the disk can't read it.
        """
        page = start - start % _PAGE_BYTES
        end = min(end, len(self.memory))
        if end <= page:
            return
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


class Disk:
    """The machine's files."""

    # --- directories

    def make_directory(self, path: Path) -> None:
        """Makes a directory with its parents, readable for its owner only, when it is not there."""
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.sync_directory(path.parent)

    def names(self, path: Path) -> list[str]:
        """Names in a directory, sorted; none when it is not there."""
        try:
            return sorted(os.listdir(path))
        except FileNotFoundError:
            return []

    def free_bytes(self, path: Path) -> int:
        """What a process without privileges may still take."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def sync_directory(self, path: Path) -> None:
        """Makes names that were added, removed and renamed durable."""
        whole_file.sync_directory(path)

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file another name, in place of what had it."""
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Removes a name."""
        os.unlink(path)

    def lock(self, path: Path) -> int | None:
        """Takes a lock file for as long as the handle is open; None when another process has it."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.fcntl(handle, _F_OFD_SETLK, _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
        except OSError as problem:
            os.close(handle)
            if problem.errno in (errno.EAGAIN, errno.EACCES):
                return None
            raise
        return handle

    def locked(self, path: Path) -> bool:
        """True when another process has the lock."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Asked for as a shared lock, which a handle that only reads may have.
            asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            kind: int = _FLOCK.unpack(fcntl.fcntl(handle, _F_OFD_GETLK, asked))[0]
            return kind != fcntl.F_UNLCK
        finally:
            os.close(handle)

    # --- files

    def create(self, path: Path) -> int:
        """Makes an empty file in place of whatever has that name; a handle to read and write."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(path, flags, 0o600)

    def open(self, path: Path, *, write: bool = False) -> int:
        """Opens a file that is there."""
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW)

    def close(self, handle: int) -> None:
        """Gives a handle back."""
        os.close(handle)

    def size_bytes(self, handle: int) -> int:
        """Length of a file."""
        return os.fstat(handle).st_size

    def allocate(self, handle: int, size_bytes: int) -> None:
        """Takes the blocks of the whole file now, so that no later write needs any."""
        os.posix_fallocate(handle, 0, size_bytes)

    def release(self, handle: int, start: int, end: int) -> None:
        """Gives the blocks of a range back that nobody reads any more; the file keeps its length. A wish."""
        start = -(-start // _PAGE_BYTES) * _PAGE_BYTES
        if end > start:
            size = ctypes.c_int64(end - start)
            _libc.fallocate(handle, _PUNCH_HOLE_KEEP_SIZE, ctypes.c_int64(start), size)

    def read(self, handle: int, size_bytes: int, offset: int) -> bytes:
        """So many bytes from an offset; fewer when the file ends before."""
        found = os.pread(handle, size_bytes, offset)
        while found and len(found) < size_bytes:
            more = os.pread(handle, size_bytes - len(found), offset + len(found))
            if not more:
                break
            found += more
        return found

    def write(self, handle: int, views: Sequence[memoryview | bytes], offset: int) -> None:
        """Writes pieces one behind the other, all of them or an error."""
        for start in range(0, len(views), _IOV_MAX):
            some = views[start : start + _IOV_MAX]
            size = sum(map(len, some))
            written = os.pwritev(handle, some, offset)
            offset += written
            if written < size:
                offset = self._write_rest(handle, some, written, offset)

    @staticmethod
    def _write_rest(handle: int, views: Sequence[memoryview | bytes], written: int, offset: int) -> int:
        for view in views:
            rest = memoryview(view)[min(written, len(view)) :]
            written = max(written - len(view), 0)
            while rest:
                count = os.pwrite(handle, rest, offset)
                if not count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rest, offset = rest[count:], offset + count
        return offset

    def sync(self, handle: int) -> None:
        """Makes what was written durable."""
        os.fdatasync(handle)

    def map(self, handle: int) -> FileView:
        """A file as memory."""
        return FileView(handle, self.size_bytes(handle))

    def view(self, path: Path) -> FileView:
        """A file as memory, by its name."""
        handle = self.open(path)
        try:
            return self.map(handle)
        finally:
            self.close(handle)

    # --- what else differs in tests

    def random(self, count: int) -> bytes:
        """Bytes that nobody can guess."""
        return os.urandom(count)

    def boot_id(self) -> bytes:
        """16 bytes that change with each boot of the machine."""
        return boot_id()

    def open_board(self, path: Path) -> Board:
        """Opens the board that is there."""
        return Board.open(path)

    def create_board(self, path: Path, log_id: bytes, lanes_max: int = 64) -> Board:
        """Makes an empty board."""
        return Board.create(path, log_id, self.boot_id(), lanes_max)
