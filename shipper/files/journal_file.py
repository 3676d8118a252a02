"""The file of a sink's journal: appended to record by record, replaced as a whole when it has grown."""

from __future__ import annotations

import os
from pathlib import Path


class JournalFile:
    """An open journal.

    Args:
        path: made when it is not there.

    Attributes:
        size: bytes of it that are whole records.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._descriptor).st_size

    def read(self, start: int = 0) -> bytes:
        """What stands there from `start` on."""
        pieces = []
        while start < self.size and (piece := os.pread(self._descriptor, self.size - start, start)):
            pieces.append(piece)
            start += len(piece)
        return b"".join(pieces)

    def cut(self, size: int) -> None:
        """Forgets what stands behind `size`: the torn end of a record that was being written."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def append(self, record: bytes) -> None:
        """Dying in here, the record is torn, and never was.

        Raises:
            OSError: it names the journal, which lies on another disk than the files that it is about.
        """
        try:
            _write_all(self._descriptor, record)
        except OSError as problem:
            problem.filename = os.fspath(self.path)
            # Half a record would hide all that come after it.
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(record)

    def replace(self, content: bytes, *, synced: bool) -> bool:
        """Puts a new journal in place of this one; False when there is no room, and the old one stays.

        Dying anywhere in here: the old journal or the new one is there.

        Args:
            synced: the new one survives the death of the machine.

        Raises:
            OSError: as `append`; there was nothing before, so that what follows would not be read again.
        """
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = -1
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _write_all(descriptor, content)
            if synced:
                os.fsync(descriptor)
            os.rename(fresh, self.path)
        except OSError as problem:
            problem.filename = os.fspath(self.path)
            if descriptor >= 0:
                os.close(descriptor)
            if not self.size:
                raise
            return False
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.size = len(content)
        if synced:
            _sync_folder(self.path.parent)
        return True

    def set_aside(self) -> None:
        """It is no journal: it is kept under another name, and counts as empty until it is replaced."""
        os.rename(self.path, self.path.with_name(f"{self.path.name}.damaged"))
        self.size = 0

    def sync(self) -> None:
        """What stands there survives the death of the machine. May be called from a thread of its own."""
        os.fdatasync(self._descriptor)

    @property
    def closed(self) -> bool:
        """True behind `close`."""
        return self._descriptor < 0

    def close(self) -> None:
        """Gives the descriptor back; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
