"""An exported file: the events of one lane, written for a person. A file that can be found is whole."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shipper.batch.batch import EventBatch
from shipper.clock import SystemClock
from shipper.config.bind import component

_SUFFIXES = {"text": "log", "json_lines": "jsonl"}

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class ExportedFile:
    """One that is being written, under another name until it ends.

    Args:
        directory: where it is to be.
        name: of the lane.
        serializer: `text` or `json_lines`.

    Attributes:
        path: its name once it is whole.
        events: that are in it.
    """

    def __init__(self, directory: Path, name: str, serializer: str) -> None:
        kind, options = component("serializer", serializer, {})
        self.path = directory / f"{name}.{_SUFFIXES[serializer]}".replace("/", "_")
        self.events = 0
        self._serializer = kind(options, SystemClock())
        self._fresh = self.path.with_name(f".{self.path.name}.new")
        self._file: IO[bytes] = self._fresh.open("wb")
        self._file.write(self._serializer.header())

    def write(self, batch: EventBatch) -> None:
        """Adds the events of a batch. Raises OSError with the file's name, as `end` does."""
        self.events += batch.rows
        with self._named():
            self._file.write(self._serializer.serialize(batch))

    def end(self) -> int:
        """Gives the file its name; its bytes.

        Raises:
            FileExistsError: a file of that name is there already.
        """
        with self._named():
            self._file.write(self._serializer.footer())
            self._file.flush()
            os.fsync(self._file.fileno())
            size_bytes = self._file.tell()
        self._file.close()
        try:
            os.link(self._fresh, self.path)  # unlike a rename, never replaces what is there
        except FileExistsError:
            what = "is there already, and is not replaced; give another directory"
            raise FileExistsError(errno.EEXIST, what, str(self.path)) from None
        return size_bytes

    def close(self) -> None:
        """What has not ended is removed."""
        with contextlib.suppress(OSError):  # what was still to be written is not wanted any more
            self._file.close()
        self._fresh.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """What is raised inside names the file: a write knows only its number."""
        try:
            yield
        except OSError as problem:
            advice = "; free some room, or give a directory on another disk" if problem.errno in _NO_ROOM else ""
            raise OSError(problem.errno, f"{problem.strerror}{advice}", str(self.path)) from problem
