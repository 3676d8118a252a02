"""The file operations of a log, in one object, so that tests can put a disk of their own under it.

Offsets are given with each call; a handle has no position. Operations raise `OSError` and translate nothing: what a
failed one means is decided by who called it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from shipper import file_lock, whole_file
from shipper.durable.board import Board, boot_id
from shipper.durable.file_view import FileView

_PUNCH_HOLE_KEEP_SIZE = 0x02 | 0x01
_IOV_MAX = 1024
_PAGE_BYTES = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)


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
            if file_lock.lock(handle, 0, 0):
                return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)
        return None

    def locked(self, path: Path) -> bool:
        """True when another process has the lock."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return file_lock.is_locked(handle, 0, 0)
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

    def direct(self, handle: int, wanted: bool) -> bool:
        """Has whole blocks that are written go past the page cache, or through it again. True: they go past it now."""
        flags = fcntl.fcntl(handle, fcntl.F_GETFL) & ~os.O_DIRECT
        try:
            fcntl.fcntl(handle, fcntl.F_SETFL, flags | (os.O_DIRECT if wanted else 0))
        except OSError:  # the file system can't
            return False
        return wanted

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
