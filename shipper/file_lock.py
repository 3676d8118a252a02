"""A file lock: on a range of bytes, owned by an open file description.

The kernel gives it back when the last descriptor of that opening is closed, so the moment its holder is gone; a holder
that is only stopped still owns it. Another opening of the same file by the same process does not share it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct

# <fcntl.h> of Linux; the fcntl module has no names for these before 3.12
_F_OFD_GETLK, _F_OFD_SETLK, _F_OFD_SETLKW = 36, 37, 38
_FLOCK = struct.Struct("hhqqi4x")


def lock(descriptor: int, start: int, count: int, *, shared: bool = False, wait: bool = False) -> bool:
    """Takes the lock of a range, or changes its kind; False when another has it.

    Args:
        start, count: bytes; they may lie behind the end of the file, and a count of 0 is all from `start` on.
        shared: others may have it too who ask in the same way; for that, the descriptor has only to be open to read.

    Raises:
        OSError: the file system has no such locks, or the descriptor is not open for that kind.
    """
    return _set(descriptor, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, start, count, wait)


def unlock(descriptor: int, start: int, count: int) -> None:
    """Gives the lock of a range back."""
    _set(descriptor, fcntl.F_UNLCK, start, count, wait=False)


def is_locked(descriptor: int, start: int, count: int) -> bool:
    """True when another opening of the file has the range for itself alone."""
    # Asked for as a shared lock, which a descriptor that only reads may have.
    asked = _FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, start, count, 0)
    kind: int = _FLOCK.unpack(fcntl.fcntl(descriptor, _F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK


def _set(descriptor: int, kind: int, start: int, count: int, wait: bool) -> bool:
    request = _FLOCK.pack(kind, os.SEEK_SET, start, count, 0)
    try:
        fcntl.fcntl(descriptor, _F_OFD_SETLKW if wait else _F_OFD_SETLK, request)
    except OSError as problem:
        if problem.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True
