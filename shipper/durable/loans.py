"""Loans: memory for copies that somebody looks at for a while, and that is used again when nobody does any more."""

from __future__ import annotations

import ctypes
import mmap
import weakref
from typing import Any

_SMALL_BYTES = 64 << 10
_KEPT_MAX = 4


class Loans:
    """Lends buffers. One comes back by itself, with the last view of it.

    Small ones are made anew: that costs less than to look after them.
    """

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lent: dict[int, tuple[weakref.ref[Any], mmap.mmap]] = {}

    def lend(self, size_bytes: int) -> memoryview:
        """A buffer of so many bytes; what is in it is nothing."""
        if size_bytes < _SMALL_BYTES:
            return memoryview(bytearray(size_bytes))
        room = 1 << (size_bytes - 1).bit_length()
        buffer = next((free for free in self._free if len(free) == room), None)
        if buffer is None:
            buffer = mmap.mmap(-1, room)
        else:
            self._free.remove(buffer)
        # Views keep what exports them, and all views of a view do: when this array goes, nobody looks any more.
        array = (ctypes.c_ubyte * room).from_buffer(buffer)
        key = id(array)
        self._lent[key] = weakref.ref(array, lambda _: self._back(key)), buffer
        return memoryview(array).cast("B")[:size_bytes]

    def _back(self, key: int) -> None:
        _, buffer = self._lent.pop(key)
        self._free.append(buffer)
        del self._free[:-_KEPT_MAX]  # the newest ones are as large as what comes now
