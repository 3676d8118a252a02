"""The heap of a process: what its start or its work took, and rest does not need, goes back to the system.

That is memory which the C library keeps for later, and the pages of libraries' code that the process ran through: of
those, whatever runs on comes back with its first call, 64 KiB at a time, out of the page cache. Arrow's IPC alone is
1.5 MB of code, scattered over 60.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc

_MADV_DONTNEED = 4
_WORKED_NS = 50_000_000
_RESTED_NS = 2_000_000_000


def tidy() -> None:
    """To be called when everything is imported and open, and by whoever has come to rest. Takes some milliseconds."""
    gc.collect()
    library = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):  # not every C library can do that: musl's can't
        library.malloc_trim(0)
    with contextlib.suppress(OSError), open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            addresses, rights, _, _, inode, *_ = line.split()
            if rights == "r-xp" and inode != "0":  # code of a file, which nobody has written to
                begin, end = (int(address, 16) for address in addresses.split("-"))
                library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


class Rest:
    """Says when a process that has worked has come to rest: then it is time to tidy, once."""

    def __init__(self) -> None:
        self._worked_ns = _WORKED_NS  # its start was work
        self._slept_ns = 0

    def slept(self, busy_ns: int, asleep_ns: int, woken: bool) -> bool:
        """Counts one sleep, and what was done before it; True when this process has come to rest with it.

        Args:
            woken: something came before the time was over.
        """
        self._worked_ns += busy_ns
        self._slept_ns = 0 if woken else self._slept_ns + asleep_ns
        if self._slept_ns < _RESTED_NS or self._worked_ns < _WORKED_NS:
            return False
        self._worked_ns = self._slept_ns = 0
        return True
