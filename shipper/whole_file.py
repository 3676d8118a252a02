"""A whole file: it has all of its bytes under its name, or it is as it was before; wherever its writer dies.

::

    write NAME.new           died: NAME is as it was; what is half there is written over the next time
    sync it, if asked to     without this, the machine's death may leave NAME empty, or with some of its bytes
    rename it to NAME        died: NAME is new
    sync the directory       without this, the machine's death may bring the old one back
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path


def write(
    path: Path, pieces: Iterable[bytes | memoryview], *, synced: bool = False, mode: int = 0o600, beside: str = ""
) -> None:
    """Puts a file with this content in place of what has that name.

    Args:
        synced: it survives the death of the machine, too.
        mode: of a file that others than its owner may read.
        beside: the other name, where several processes may write the same file at the same time.

    Raises:
        OSError: it names `path`; what was there is there.
    """
    os.close(opened(path, pieces, synced=synced, mode=mode, beside=beside))
    if synced:
        sync_directory(path.parent)


def opened(
    path: Path, pieces: Iterable[bytes | memoryview], *, synced: bool = False, mode: int = 0o600, beside: str = ""
) -> int:
    """As `write`, for who goes on with the file: its descriptor, to read and append. Its directory is not synced."""
    fresh = beside or f"{path}.new"
    descriptor = -1
    try:
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, mode)
        for piece in pieces:
            write_all(descriptor, piece)
        if synced:
            os.fsync(descriptor)
        os.rename(fresh, path)
    except OSError as problem:
        problem.filename = os.fspath(path)  # a descriptor has no name, and a person needs to know which disk
        if descriptor >= 0:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(fresh)  # what is half there takes room that is missing
        raise
    return descriptor


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes all of it, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(directory: str | Path) -> None:
    """Names that were made, changed or removed in a directory survive the death of the machine."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
