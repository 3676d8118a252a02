"""An appended file: it grows record by record, and is replaced as a whole when it has grown too much."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from shipper import whole_file


class StateError(OSError):
    """A file of the agent's own state could not be written. It lies elsewhere than the files that it is about, on
    another disk perhaps, so whoever says it names this one: `filename`."""

    def __init__(self, problem: OSError, path: Path) -> None:
        super().__init__(problem.errno, problem.strerror, os.fspath(path))


class AppendedFile:
    """One that is open.

    Args:
        path: made when it is not there.
        descriptor: of the file, for who has it open to read and append.

    Attributes:
        size: bytes of it that are whole records.
    """

    def __init__(self, path: Path, descriptor: int = -1) -> None:
        self.path = path
        if descriptor < 0:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._descriptor = descriptor
        self.size = os.fstat(self._descriptor).st_size

    @classmethod
    def begun(cls, path: Path, pieces: Iterable[bytes], *, mode: int = 0o600) -> AppendedFile:
        """A new file in place of what has that name; until it has all of `pieces`, that is as it was.

        Raises:
            OSError: it names `path`.
        """
        return cls(path, whole_file.opened(path, pieces, mode=mode))

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
            StateError: nothing of it stands there.
        """
        try:
            whole_file.write_all(self._descriptor, record)
        except OSError as problem:
            # Half a record would hide all that come after it.
            os.ftruncate(self._descriptor, self.size)
            raise StateError(problem, self.path) from problem
        self.size += len(record)

    def replace(self, pieces: Iterable[bytes], *, synced: bool) -> None:
        """Puts a new file in place of this one. Dying anywhere in here: the old one or the new one is there.

        Args:
            synced: the new one's bytes survive the death of the machine; its name does behind `sync_name`.

        Raises:
            StateError: the old one stays.
        """
        try:
            descriptor = whole_file.opened(self.path, pieces, synced=synced)
        except OSError as problem:
            raise StateError(problem, self.path) from problem
        os.close(self._descriptor)
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def sync_name(self) -> None:
        """What was replaced does not come back with the death of the machine."""
        whole_file.sync_directory(self.path.parent)

    def set_aside(self) -> None:
        """It is not what it should be: it is kept under another name, and counts as empty until it is replaced."""
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
