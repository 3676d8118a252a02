"""inotify: the kernel's queue of what happened in watched directories.

Three system calls by way of ctypes. Packages that wrap them look for the C library with `ctypes.util`, which starts
`ldconfig` in each worker and brings 0.7 MB of modules that nobody needs.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import NamedTuple

#: Bits of a mask, named and valued as in <sys/inotify.h>.
MODIFY, ATTRIB, MOVED_FROM, MOVED_TO = 0x02, 0x04, 0x40, 0x80
CREATE, DELETE, DELETE_SELF, MOVE_SELF = 0x100, 0x200, 0x400, 0x800
UNMOUNT, Q_OVERFLOW, IGNORED = 0x2000, 0x4000, 0x8000
ONLYDIR, ISDIR = 0x0100_0000, 0x4000_0000

_EVENT = struct.Struct("iIII")
_READ_BYTES = 64 << 10


class Event(NamedTuple):
    """One event: at which watch, what (bits of a mask), which pair of a rename, and the name in the directory."""

    watch: int
    mask: int
    cookie: int
    name: str


class Inotify:
    """An open queue. Neither `add` nor `read` ever waits.

    Raises:
        OSError: the user has too many of them, or too many open files.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._library.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    @property
    def fileno(self) -> int:
        """Readable when there is an event."""
        return self._fd

    def add(self, path: str, mask: int) -> int:
        """Watches a path for what is in the mask; the number of the watch, the same for the same file.

        Raises:
            OSError: there is no such file, or the user has too many watches.
        """
        return self._checked(self._library.inotify_add_watch(self._fd, os.fsencode(path), ctypes.c_uint32(mask)))

    def remove(self, watch: int) -> None:
        """Ends a watch.

        Raises:
            OSError: there is none of this number, any more.
        """
        self._checked(self._library.inotify_rm_watch(self._fd, watch))

    def read(self) -> list[Event]:
        """What came since the last call, or the first part of it; empty when nothing did."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return []
        events = []
        position = 0
        while position < len(data):
            watch, mask, cookie, name_bytes = _EVENT.unpack_from(data, position)
            position += _EVENT.size
            name = data[position : position + name_bytes].partition(b"\0")[0]
            position += name_bytes
            events.append(Event(watch, mask, cookie, os.fsdecode(name)))
        return events

    def close(self) -> None:
        """Ends all watches."""
        os.close(self._fd)

    def _checked(self, answer: int) -> int:
        if answer < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return answer
