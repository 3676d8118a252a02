"""Where lines end in a block, and whether it is ASCII: both asked of a piece while it is in the cache.

A block of a megabyte has been pushed out of the nearest cache by the time it is full, and a pass over it costs three
times what it costs over bytes that are near. So the block is brought in once, a piece at a time; what is asked of a
piece becomes one bit a byte, and offsets are made of those bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_NEWLINE = 10
_PIECE_BYTES = 256 << 10
#: Bytes that one word of the bitmap stands for; the length of a block is a multiple of it.
WORD_BYTES = 64
_SHORT_LINES = 18  # with shorter ones the plain scan is quicker
_ONE = np.uint64(1)
_FLOAT_BIAS = 1023

#: The comparison of one piece before it becomes bits: nobody's between two calls.
_compared = np.empty(_PIECE_BYTES, np.bool_)


class LineScan:
    """The scan, with the memory that it needs again and again."""

    def __init__(self) -> None:
        self._bitmap = np.empty(0, np.uint64)

    def scan(self, block: memoryview, end: int) -> tuple[np.ndarray[Any, np.dtype[np.int32]], bool]:
        """Arrow offsets of the lines in a block up to `end`, where the last one ends; True when all bytes are ASCII.

        Offsets are 0, then the place behind each `\\n`.

        Args:
            block: its length is a multiple of `WORD_BYTES`; what lies between `end` and the next one is overwritten.
        """
        whole = -(-end // WORD_BYTES) * WORD_BYTES
        if whole // WORD_BYTES > len(self._bitmap):
            self._bitmap = np.empty(len(block) // WORD_BYTES, np.uint64)
        flags = self._bitmap.view(np.uint8)
        data = np.frombuffer(block, np.uint8)
        data[end:whole] = 0
        highest = 0
        for begin in range(0, whole, _PIECE_BYTES):
            stop = min(begin + _PIECE_BYTES, whole)
            piece = data[begin:stop]
            compared = np.equal(piece, _NEWLINE, out=_compared[: stop - begin])
            flags[begin >> 3 : stop >> 3] = np.packbits(compared, bitorder="little")
            highest = max(highest, np.maximum.reduce(piece))
        places = _set_bits(self._bitmap[: whole // WORD_BYTES])
        if places is None:
            places = np.flatnonzero(data[:end] == _NEWLINE) + 1
        offsets = np.empty(len(places) + 1, np.int32)
        offsets[0] = 0
        offsets[1:] = places
        return offsets, highest < 128


def _set_bits(words: np.ndarray[Any, np.dtype[np.uint64]]) -> np.ndarray[Any, Any] | None:
    """1 + the index of each bit that is set, in order; None when there are so many that this is the longer way.

    A round takes the lowest set bit of each word that has one. A word with this bit alone is a power of two; as a
    floating point number its exponent is the place of the bit. Lines over 64 bytes need two rounds at most.
    """
    indices = np.flatnonzero(words != 0)
    left = words.take(indices)
    rounds = []
    budget = len(words) * WORD_BYTES // _SHORT_LINES
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
    if len(rounds) == 1:
        return rounds[0]
    found = np.concatenate([np.empty(0, np.int64), *rounds])
    found.sort(kind="stable")  # runs that are in order already: they are merged
    return found
