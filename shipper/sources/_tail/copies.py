"""The copies that `copytruncate` leaves: the end of a truncated file that nobody had read yet lies in one of them.

A rotation by copy is seen in two steps: a file with a longer name and the same content appears beside the known one,
then the known one is truncated. Only both together make it a copy; equal content alone does not, because people do put
the same lines into two files. So a new file that looks like a copy waits a little, and what the truncated file had not
given yet is read from its copy, once; also when it was truncated while nobody ran.
"""

from __future__ import annotations

import os
import stat as stats
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from shipper.api import Clock, EventBatch, Origin
from shipper.sources._tail.files import NONE_LEFT, FileSet
from shipper.sources._tail.identity import HEAD_BYTES, Mark
from shipper.sources._tail.watched import WatchedFile


class Copies:
    """Which files are copies, and what to do about it.

    Args:
        wait_s: how long what looks like a copy waits for the truncation.
        queue: has a file read.

    Attributes:
        told: batches without rows that must be put before anything else is read.
    """

    def __init__(self, files: FileSet, clock: Clock, wait_s: float, queue: Callable[[WatchedFile], None]) -> None:
        self._files = files
        self._clock = clock
        self._wait_s = wait_s
        self._queue = queue
        self.told: deque[EventBatch] = deque()

    def go_on(self, file: WatchedFile, mark: Mark) -> bool:
        """What a truncated file had not given yet is read from its copy; False when there is none.

        That reading goes on there is the first thing the channels hear: a batch without rows. Dying before it is
        put, the channels still have the place in the old content, and the next start finds the copy by it; after it,
        they have the place in the copy. Nothing of the new content is put before.
        """
        path = self._find(file, mark)
        copy = None if path is None else self._files.adopt_copy(path, file, mark)
        if copy is not None:
            self._queue(copy)
            moved = Origin(copy.stream, copy.offset, copy.offset, copy.mark_text)
            self.told.append(EventBatch.of([]).with_origins([moved]))
        return copy is not None

    def _find(self, file: WatchedFile, mark: Mark) -> str | None:
        while True:
            try:
                return next(copies_of(file, mark), None)
            except OSError as problem:
                if not self._files.made_room(problem):
                    return None

    def suspect(self, file: WatchedFile, size: int) -> None:
        """Content that nobody has seen at this name may be the copy of a file that will be truncated in a moment."""
        file.copy_of = original_of(file, size, self._files)
        file.copy_until_s = self._clock.monotonic_s() + self._wait_s

    def waits(self, file: WatchedFile) -> bool:
        """True while a file may turn out to be the copy of another one that will be truncated in a moment."""
        original = file.copy_of
        if original is None:
            return False
        size = os.fstat(file.fd).st_size
        if self._clock.monotonic_s() < file.copy_until_s and looks_like(file, size, beginning(original)):
            if not original.queued and self._files.look(original):
                self._queue(original)  # it is looked at first; if it was truncated, that settles the copy
            return file.copy_of is not None
        file.copy_of = None
        return False


def original_of(file: WatchedFile, size: int, known: Iterable[WatchedFile]) -> WatchedFile | None:
    """The known file that a new, open one may be a copy of: its name is shorter, its first bytes are the same."""
    for other in known:
        longer = file.place is not None and other.place is not None and file.place.startswith(other.place)
        if longer and file.place != other.place and (head := beginning(other)) and looks_like(file, size, head):
            return other
    return None


def beginning(file: WatchedFile) -> bytes:
    """The first bytes of a file: those that were read; of one that was not read yet, those that will be, if any can."""
    if file.head or file.fd < 0:
        return file.head
    try:
        return os.pread(file.fd, HEAD_BYTES, 0)
    except OSError:  # whoever reads it says so; other files go on
        return b""


def looks_like(file: WatchedFile, size: int, head: bytes) -> bool:
    """True when an open file begins with `head`, or is the beginning of it."""
    length = min(size, len(head))
    return os.pread(file.fd, length, 0) == head[:length]


def copies_of(file: WatchedFile, mark: Mark) -> Iterator[str]:
    """Paths beside a truncated file at which the content of `mark` can be read on.

    A copy is written last, so it is no older than what we read of the original; that keeps out the rotated files of
    earlier days, which may well begin with the same lines. Of what was read before the last start no time is known:
    then the bytes must prove it.

    Raises:
        OSError: there are no descriptors left to look with.
    """
    name = os.path.basename(file.place or file.path)
    try:
        with os.scandir(file.directory) as entries:
            paths = [entry.path for entry in entries if entry.name.startswith(name) and entry.name != name]
    except OSError as problem:
        if problem.errno in NONE_LEFT:
            raise
        return
    for path in sorted(paths):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as problem:
            if problem.errno in NONE_LEFT:
                raise
            continue
        try:
            stat = os.fstat(fd)
            proven = mark.strong or file.group.matches(path)  # of those in the group we know whether we read them
            fresh = stat.st_mtime_ns >= file.read_ns if file.read_ns else proven
            if fresh and stats.S_ISREG(stat.st_mode) and mark.head_bytes and mark.fits(fd, stat.st_size):
                yield path
        finally:
            os.close(fd)
