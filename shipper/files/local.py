"""The local store: files in directories of this machine, at the cost of one system call a verb.

Nothing is buffered here: what `write` took is in the kernel's page cache, and so outlives the process; `sync` makes it
outlive the machine.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Literal

from shipper.files.extent import Extent, bytes_in, tail_of
from shipper.files.path_rules import LOCAL
from shipper.files.store import Changed, FileStatus
from shipper.serializers.serializer import Bytes

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
#: A name that no rename without overwriting is known for on this file system (vfat, some network mounts).
_NOT_SUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


#: More files than this are not synced one by one, but with everything else that their file system has to write.
_SYNC_EACH = 64


class LocalFile:
    """A local file open for appending."""

    __slots__ = ("_descriptor", "identity")

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.identity = _identity(os.fstat(descriptor))

    def write(self, data: Bytes) -> None:
        wanted = len(data)
        written = os.write(self._descriptor, data)
        while written < wanted:  # a signal, a quota or 2 GiB in one call: the rest, until an error says why not
            written += os.write(self._descriptor, memoryview(data)[written:])

    def write_past(self, data: Bytes) -> int:
        """Appends blocks past the page cache, all or the first of them; how many bytes were written.

        Where that can't be done it is 0. Why no more can be written, `write` of what is left says.

        Args:
            data: begins with a block of the disk, in memory and in the file, and ends with one.
        """
        try:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND | os.O_DIRECT)
            return os.write(self._descriptor, data)
        except OSError:
            return 0
        finally:
            fcntl.fcntl(self._descriptor, fcntl.F_SETFL, os.O_APPEND)

    def take_back(self) -> int | None:
        return None

    def unlinked(self) -> bool:
        return os.fstat(self._descriptor).st_nlink == 0

    def close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class LocalStore:
    """Directories of this machine. Folders and files get the modes that the process' umask allows.

    Args:
        makes_folders: False where a missing directory is more likely a disk that is not mounted.
    """

    cuts: Literal[True] = True
    rules = LOCAL

    def __init__(self, makes_folders: bool = True) -> None:
        self._makes_folders = makes_folders
        self._grown: set[str] = set()  # folders in which others were made since the last sync

    def create(self, path: str) -> LocalFile:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return self._opened(os.open(path, flags, 0o666), path, 0)
        except FileNotFoundError:
            if not self._makes_folders:
                raise
            self.mkdirs(os.path.dirname(path))
        return self._opened(os.open(path, flags, 0o666), path, 0)

    def append(self, path: str, extent: Extent) -> LocalFile:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            length = found.st_size if extent.length is None else extent.length
            if _identity(found) != extent.identity or found.st_size < length:
                raise Changed(errno.ENOENT, "another file has that name now", path)
            if found.st_size > length:
                os.ftruncate(descriptor, length)
            return self._opened(descriptor, path, length)
        except BaseException:
            os.close(descriptor)
            raise

    def _opened(self, descriptor: int, path: str, length: int) -> LocalFile:
        """A file that has so many bytes."""
        return LocalFile(descriptor)

    def holds(self, files: Sequence[tuple[str, Extent]]) -> bool:
        return all(_holds(path, extent) for path, extent in files)

    def same(self, path: str, there: FileStatus, extent: Extent) -> bool:
        return there.identity == extent.identity

    def flush(self) -> None:
        """What the kernel has outlives the process already."""

    def rename(self, path: str, final: str) -> None:
        rename = _renameat2()
        if rename is not None:
            if rename(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(final), _RENAME_NOREPLACE) == 0:
                return
            number = ctypes.get_errno()
            if number not in _NOT_SUPPORTED:
                raise OSError(number, os.strerror(number), path, None, final)
        # Two names for a moment: dying between the calls leaves both, which `stat` shows to be one and the same file.
        os.link(path, final, follow_symlinks=False)
        os.unlink(path)

    def stat(self, path: str) -> FileStatus | None:
        try:
            found = os.stat(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return FileStatus(found.st_size, _identity(found), is_directory=(found.st_mode & 0o170000) == 0o040000)

    def list(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def mkdirs(self, folder: str) -> None:
        above = folder
        while above != "/" and not os.path.isdir(above):
            above = os.path.dirname(above)
            self._grown.add(above)
        os.makedirs(folder, exist_ok=True)

    def delete(self, path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass

    def sync(self, files: Sequence[tuple[str, str]], folders: Iterable[str]) -> None:
        folders = {*folders, *self._grown}
        self._grown -= folders
        # A file that has neither name was moved on by somebody: it has unwritten bytes all the same.
        if len(files) > _SYNC_EACH or not all(_sync_one(names) for names in files):
            for folder in _one_a_device(folders):
                _sync_file_system(folder)
        for folder in folders:
            _sync_path(folder, os.fsync)

    def set_permission(self, path: str, mode: int) -> None:
        os.chmod(path, mode)

    def close(self) -> None:
        """Holds nothing."""


def _identity(found: os.stat_result) -> str:
    return f"{found.st_dev:x}.{found.st_ino:x}"


def _holds(path: str, extent: Extent) -> bool:
    assert extent.length is not None, "what is not known can't be looked for"
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        found = os.fstat(descriptor)
        if _identity(found) != extent.identity or found.st_size < extent.length:
            return False
        if extent.tail is None:
            return True
        known = bytes_in(extent.tail)
        return tail_of(os.pread(descriptor, known, extent.length - known)) == extent.tail
    finally:
        os.close(descriptor)


def _sync_one(names: tuple[str, str]) -> bool:
    # Looked at in this order because a rename in between leads from the first to the second.
    return any(_sync_path(name, os.fdatasync) for name in dict.fromkeys(names))


def _sync_path(path: str, sync: Callable[[int], None]) -> bool:
    """Syncs a file or a folder; False when nothing has that name."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)
    return True


def _one_a_device(folders: Iterable[str]) -> Iterable[str]:
    found: dict[int, str] = {}
    for folder in folders:
        if os.path.isdir(folder):
            found.setdefault(os.stat(folder).st_dev, folder)
    return found.values()


def _sync_file_system(folder: str) -> None:
    sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if sync is None:
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if sync(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), folder)
    finally:
        os.close(descriptor)


@cache
def _renameat2() -> ctypes._NamedFuncPointer | None:
    """The C library's `renameat2`, which refuses to overwrite; None where it is too old to have it."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function
