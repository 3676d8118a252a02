"""Salvage: bytes of a lane that do not pass their checks are kept in a file before they are stepped over.

The reader goes on at the next whole frame. What it skipped may be of use to a person: text can be read in it as it
stands, and how many events it held is known from the counts around it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from shipper import whole_file


class Salvage:
    """Keeps what is skipped.

    Args:
        directory: for the files; made with the first.
        say: one line for the person.
    """

    def __init__(self, directory: Path, say: Callable[[str, str], None]) -> None:
        self._directory = directory
        self._say = say

    def __call__(self, lane: Path, position: int, pieces: Sequence[memoryview]) -> None:
        """Writes the bytes that stood at a position of a lane. A range that was kept before is not kept again."""
        path = self._directory / f"{lane.parent.name}.{lane.name}.{position}.damaged"
        size_bytes = sum(len(piece) for piece in pieces)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        except OSError as problem:
            return self._say("error", f"{size_bytes} damaged bytes of {lane} can't be kept: {path}: {problem.strerror}")
        try:
            for piece in pieces:
                whole_file.write_all(descriptor, piece)
            os.fsync(descriptor)
        except OSError as problem:
            self._say("error", f"{size_bytes} damaged bytes of {lane} can't be kept: {path}: {problem.strerror}")
        else:
            self._say("error", f"{size_bytes} bytes of {lane} at {position} do not pass their checks and are skipped; "
                      f"they are kept in {path}")  # fmt: skip
        finally:
            os.close(descriptor)
