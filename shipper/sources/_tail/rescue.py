"""The unread rest of a deleted file, which is there only as long as its reader holds it open.

An end in order copies it into the state directory. The next start reads it on there as a file of its own, under the
path that it had, from where the original was left, and it goes when it is durable that all of it was read::

    unread-<name>-<device.inode.generation>-<ns>        the bytes, each at its offset: the first ones, then from a
                                                        little before `start` to the end; a hole is between them
    unread-<name>-<device.inode.generation>-<ns>.note   JSON {"path", "start"}: the copy is whole, and on disk

The key in the name is the original's. It says whose the copy is, however many workers there are: the worker that knows
where the original was left. (The copy itself has a key of its own, as an inode that is free now may be used again.)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shipper import whole_file
from shipper.sources._tail.identity import ANCHOR_BYTES, HEAD_BYTES, FileKey, key_of

_CHUNK_BYTES = 1 << 20
_AT_ONCE_BYTES = 1 << 30
#: The kernel, or this file system, can't copy from one file to another by itself.
_NOT_HERE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class Rescued:
    """A copy that counts.

    Attributes:
        place: of the copy.
        key, original: of the copy, and of the file that it is the rest of.
        path: the original's.
        start: from here on the copy has all bytes; nothing before is wanted by anybody.
    """

    place: str
    key: FileKey
    original: FileKey
    path: str
    start: int


class Rescue:
    """The copies of one source's deleted files.

    Args:
        directory: where they lie.
        name: what positions belong to.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._stem = f"unread-{name}-"

    def found(self, mine: Callable[[tuple[int, int]], bool]) -> list[Rescued]:
        """The copies that are whole, in the order in which they were made; what is left of others is removed.

        Args:
            mine: says by the original's identity which belong to this worker.
        """
        found: list[tuple[int, Rescued]] = []
        for place in sorted(self._directory.glob(f"{self._stem}*")):
            key, _, time_ns = place.name.removeprefix(self._stem).partition("-")
            if not time_ns.isdigit():
                continue  # a note
            original = FileKey(*(int(part, 16) for part in key.split(".")))
            if not mine(original.identity):
                continue
            try:
                note = json.loads(Path(f"{place}.note").read_bytes())
            except FileNotFoundError:
                place.unlink()  # its writer died in it, or in removing it
                continue
            fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            try:
                copy = key_of(fd, os.fstat(fd))
            finally:
                os.close(fd)
            found.append((int(time_ns), Rescued(str(place), copy, original, note["path"], note["start"])))
        return [rescued for _, rescued in sorted(found, key=lambda pair: pair[0])]

    def keep(self, fd: int, key: FileKey, path: str, start: int) -> None:
        """Copies what stands in a file from `start` on.

        Dying before the note is there: the copy counts for nothing, what it was to save is lost, and the next start
        says that the file is gone. With it, that start reads the copy on from where the channels say, or our store:
        both know the original. What lies before `start` nobody wants.

        Raises:
            OSError: there is no copy.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        place = self._directory / f"{self._stem}{key.stream}-{time.time_ns()}"
        try:
            copy = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                stat = os.fstat(fd)
                _copy(fd, copy, 0, min(HEAD_BYTES, stat.st_size))
                _copy(fd, copy, max(0, start - ANCHOR_BYTES), stat.st_size)
                os.utime(copy, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # files are read in the order of their times
                os.fsync(copy)
            finally:
                os.close(copy)
            note = json.dumps({"path": path, "start": start}).encode("ascii")
            whole_file.write(Path(f"{place}.note"), [note], synced=True)
        except OSError:
            with contextlib.suppress(OSError):
                place.unlink()  # the room is wanted for the places
            raise

    def remove(self, place: str) -> None:
        """Nobody will read a copy again.

        Dying in here: there is a copy without a note, which the next start removes.

        Raises:
            OSError: it counts still.
        """
        for path in (f"{place}.note", place):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _copy(source: int, target: int, offset: int, end: int) -> None:
    """The bytes between two offsets, or as many as there are."""
    while offset < end and (count := _copied(source, target, offset, end)):
        offset += count


def _copied(source: int, target: int, offset: int, end: int) -> int:
    try:
        if count := os.copy_file_range(source, target, min(end - offset, _AT_ONCE_BYTES), offset, offset):
            return count
    except OSError as problem:
        if problem.errno not in _NOT_HERE:
            raise
    return os.pwrite(target, os.pread(source, min(end - offset, _CHUNK_BYTES), offset), offset)
