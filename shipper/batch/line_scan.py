"""Where lines end in a block, what else is in it, and its checksum: all asked of a piece while it is in the cache.

A block of a megabyte has been pushed out of the nearest cache by the time it is full, and a pass over it costs two to
three times what it costs over bytes that are near. So a scan follows the filling of its block: whoever reads into it
says how far it is filled, and each piece is looked at once. What is asked of a piece becomes one bit a byte, in memory
that is used again and again; offsets are made of those bits in the end.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from isal import isal_zlib

Offsets = np.ndarray[Any, np.dtype[np.int32]]
#: How much is looked at at once: read so much, say so, read on.
PIECE_BYTES = 256 << 10
_NEWLINE, _RETURN = 10, 13
_SPARSE_FROM = 128 << 10  # below this many bytes one plain scan is as quick
_WORD_BYTES = 64  # what one word of the bitmap stands for
_SHORT_LINES = 18  # with shorter ones the plain scan is quicker
_ONE = np.uint64(1)
_FLOAT_BIAS = 1023


@functools.cache
def _scratch() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The comparison of one piece before it becomes bits: nobody's between two calls, and taken when one comes."""
    return np.empty(PIECE_BYTES, np.bool_)


@functools.cache
def _find_byte() -> Callable[[int, int, int], int | None]:
    """C's `memchr`: three times as quick as a comparison and its `any`. Imported when there is much to look at."""
    import ctypes  # half a megabyte

    find = ctypes.PyDLL(None).memchr
    find.restype, find.argtypes = ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    found: Callable[[int, int, int], int | None] = find
    return found


class LineScan:
    """The scan of one block after another. In one thread of a process.

    Args:
        asks_ascii: asks of each piece whether it is ASCII, too.
        asks_return: and whether a `\\r` stands in it.
        sums: and what its checksum is.
    """

    def __init__(self, *, asks_ascii: bool = False, asks_return: bool = False, sums: bool = False) -> None:
        self._asks_ascii = asks_ascii
        self._asks_return = asks_return
        self._sums = sums
        self._bitmap = np.empty(0, np.uint64)
        self.begin(b"")

    @classmethod
    def of(cls, block: memoryview | bytes | bytearray) -> LineScan:
        """A scan that has seen the whole of a block."""
        scan = cls(asks_return=True)
        scan.begin(block)
        scan.see(len(block))
        return scan

    def begin(self, block: memoryview | bytes | bytearray) -> None:
        """What is seen from now on stands in this block, from its first byte."""
        self._data = np.frombuffer(block, np.uint8)
        self._end = 0
        self._looked = 0
        self._highest = 0
        self._returns = False
        self._summed: list[tuple[int, int]] = []  # so many bytes from the first one on, and their checksum

    def see(self, end: int) -> None:
        """The block is filled up to `end`; what is below it will not change any more."""
        self._end = end
        if end - self._looked >= PIECE_BYTES:
            self._look()

    def ends(self) -> Offsets:
        """Arrow offsets of the lines that were seen: 0, then the place behind each `\\n`; int32, one more than lines.

        The last offset is where the unfinished line begins: where the seeing ended, if that was behind a `\\n`. The
        block is forgotten with this, but for its `checksum`.
        """
        if self._end >= _SPARSE_FROM:
            self._look()
        data, looked = self._data[: self._end], self._looked
        places = _set_bits(self._bitmap[: looked // _WORD_BYTES])
        if places is None:
            places, looked = np.flatnonzero(data == _NEWLINE) + 1, self._end
        last = np.flatnonzero(data[looked:] == _NEWLINE)
        offsets = np.empty(1 + len(places) + len(last), np.int32)
        offsets[0] = 0
        offsets[1 : 1 + len(places)] = places
        np.add(last, looked + 1, out=offsets[1 + len(places) :], casting="unsafe")
        summed = self._summed
        self.begin(b"")
        self._summed = summed
        return offsets

    def has_return(self) -> bool:
        """True when a `\\r` was seen; only of a scan that asks for it."""
        return self._returns or bool((self._data[self._looked : self._end] == _RETURN).any())

    def checksum(self, front: memoryview) -> int:
        """CRC-32 of the front of the block that was seen last; only of a scan that sums."""
        at, found = next((known for known in reversed(self._summed) if known[0] <= len(front)), (0, 0))
        return int(isal_zlib.crc32(front[at:], found))

    def is_ascii(self) -> bool:
        """True when no byte that was seen is over 127; only of a scan that asks for it."""
        rest = self._data[self._looked : self._end]
        return self._highest < 128 and (not len(rest) or int(np.maximum.reduce(rest)) < 128)

    def _look(self) -> None:
        """Brings the bitmap up to the last whole word that was seen."""
        data = self._data
        whole = self._end // _WORD_BYTES * _WORD_BYTES
        if len(data) // _WORD_BYTES > len(self._bitmap):
            self._bitmap = np.empty(len(data) // _WORD_BYTES, np.uint64)  # nothing is in it yet: a block comes whole
        flags = self._bitmap.view(np.uint8)
        for begin in range(self._looked, whole, PIECE_BYTES):
            stop = min(begin + PIECE_BYTES, whole)
            piece = data[begin:stop]
            compared = np.equal(piece, _NEWLINE, out=_scratch()[: stop - begin])
            flags[begin >> 3 : stop >> 3] = np.packbits(compared, bitorder="little")
            if self._asks_ascii:
                self._highest = max(self._highest, int(np.maximum.reduce(piece)))
            if self._asks_return and not self._returns:
                address = piece.__array_interface__["data"][0]
                self._returns = _find_byte()(address, _RETURN, len(piece)) is not None
            if self._sums:
                before = self._summed[-1][1] if self._summed else 0
                self._summed.append((stop, isal_zlib.crc32(piece, before)))
        self._looked = whole


def _set_bits(words: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, Any] | None:
    """1 + the index of each bit that is set, in order; None when there are so many that this is the longer way.

    A round takes the lowest set bit of each word that has one. A word with this bit alone is a power of two; as a
    floating point number its exponent is the place of the bit. Lines over 64 bytes need two rounds at most.
    """
    indices = np.flatnonzero(words != 0)
    left = words.take(indices)
    rounds = [np.empty(0, np.int64)]
    budget = len(words) * _WORD_BYTES // _SHORT_LINES
    while len(indices):
        budget -= len(indices)
        if budget < 0:
            return None
        others = left & (left - _ONE)
        left ^= others
        places = left.astype(np.float64).view(np.int64)
        places >>= 52
        places += (indices << 6) - (_FLOAT_BIAS - 1)
        rounds.append(places)
        several = others.nonzero()[0]
        indices, left = indices.take(several), others.take(several)
    if len(rounds) <= 2:
        return rounds[-1]
    found = np.concatenate(rounds)
    found.sort(kind="stable")  # runs that are in order already: they are merged
    return found
