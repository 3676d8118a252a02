"""The copies that `copytruncate` leaves: the end of a truncated file that nobody had read yet lies in one of them.

A rotation by copy is seen in two steps: a file with a longer name and the same content appears beside the known one,
then the known one is truncated. Only both together make it a copy; equal content alone does not, because people do put
the same lines into two files. So a new file that looks like a copy waits a little, and what the truncated file had not
given yet is read from its copy, once.
"""

from __future__ import annotations

import os
import stat as stats
from collections.abc import Iterable, Iterator

from shipper.sources._tail.identity import Mark
from shipper.sources._tail.watched import WatchedFile


def original_of(file: WatchedFile, size: int, known: Iterable[WatchedFile]) -> WatchedFile | None:
    """The known file that a new, open one may be a copy of: its name is shorter, its first bytes are the same."""
    for other in known:
        longer = file.place is not None and other.place is not None and file.place.startswith(other.place)
        if longer and file.place != other.place and other.head and looks_like(file, size, other.head):
            return other
    return None


def looks_like(file: WatchedFile, size: int, head: bytes) -> bool:
    """True when an open file begins with `head`, or is the beginning of it."""
    length = min(size, len(head))
    return os.pread(file.fd, length, 0) == head[:length]


def copies_of(file: WatchedFile, mark: Mark) -> Iterator[str]:
    """Paths beside a truncated file at which the content of `mark` can be read on.

    A copy is written last, so it is no older than what we read of the original; that keeps out the rotated files of
    earlier days, which may well begin with the same lines. Of what was read before the last start no time is known: then
    the bytes must prove it.
    """
    name = os.path.basename(file.place or file.path)
    try:
        with os.scandir(file.directory) as entries:
            paths = [entry.path for entry in entries if entry.name.startswith(name) and entry.name != name]
    except OSError:
        return
    for path in sorted(paths):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            stat = os.fstat(fd)
            fresh = stat.st_mtime_ns >= file.read_ns if file.read_ns else mark.strong
            if fresh and stats.S_ISREG(stat.st_mode) and mark.head_bytes and mark.fits(fd, stat.st_size):
                yield path
        finally:
            os.close(fd)
