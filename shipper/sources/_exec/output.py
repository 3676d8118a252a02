"""The lines of a stream that comes once: what a command wrote and nobody can read again."""

from __future__ import annotations

import os

import numpy as np
import pyarrow as pa

from shipper.batch.line_scan import LineScan, Offsets
from shipper.sources._tail.lines import LINE_END_BYTES, LineRule, cut_long


class StreamLines:
    """Gathers a stream in a block and cuts whole lines off its front.

    The block is used again once the rows that share it were committed: `take` is called for the next rows only then.

    Args:
        line_bytes_max: what is longer is cut there and the rest dropped; `cut_lines` counts them.
    """

    def __init__(self, rule: LineRule, block_bytes: int, line_bytes_max: int) -> None:
        self._rule = rule
        self._line_bytes_max = line_bytes_max
        self._block_bytes = block_bytes
        self._block = bytearray(block_bytes)
        self._start = 0  # what lies before was taken
        self._end = 0  # what lies behind is free
        self._offsets: Offsets | None = None
        self._has_return = True
        self._skipping = False
        self.cut_lines = 0

    def fill(self, fd: int) -> bool:
        """Reads what is there, up to a block. False at the end of the stream."""
        self._make_room()
        view = memoryview(self._block)
        while self._end < len(self._block):
            try:
                count = os.readv(fd, [view[self._end :]])
            except BlockingIOError:
                return True
            if not count:
                return False
            self._end += count
            self._offsets = None
        return True

    @property
    def lines(self) -> int:
        """Whole lines that wait."""
        return len(self._found()) - 1

    @property
    def waiting_bytes(self) -> int:
        """Bytes that were read and not yet taken, the unfinished line among them."""
        return self._end - self._start

    @property
    def full(self) -> bool:
        """True when nothing more can be read before lines are taken."""
        return self._end - self._start >= self._block_bytes and self.lines > 0

    def take(self, rows_max: int, *, finish: bool = False) -> tuple[pa.RecordBatch, int] | None:
        """Up to `rows_max` lines as (records, trim), or None; with `finish` also a last line that has no end.

        The rows share the block: commit them before `fill` is called again.
        """
        found = self._found()
        if self._skipping:
            if len(found) == 1:
                self._drop(self._end - self._start)
                return None
            self._drop(int(found[1]))
            self._skipping = False
            found = self._found()
        if len(found) > 1:
            offsets = found[: rows_max + 1]
            length = int(offsets[-1])
            data = memoryview(self._block)[self._start : self._start + length]
            taken = self._rule.rows(data, offsets, has_return=self._has_return)
            self._drop(length)
            if self._line_bytes_max >= length:
                return taken
            records, trim, cut = cut_long(*taken, self._line_bytes_max)
            self.cut_lines += cut
            return records, trim
        waiting = self._end - self._start
        if waiting >= self._line_bytes_max + LINE_END_BYTES:
            self.cut_lines += 1
            self._skipping = True
            return self._piece(self._line_bytes_max)
        return self._piece(waiting) if finish and waiting else None

    def _piece(self, length: int) -> tuple[pa.RecordBatch, int]:
        records = self._rule.last(memoryview(self._block)[self._start : self._start + length])
        self._drop(length)
        return records, 0

    def _drop(self, length: int) -> None:
        self._start += length
        if self._offsets is not None:
            # What was found stays found: the same places, seen from the new start.
            index = int(np.searchsorted(self._offsets, length))
            known = index < len(self._offsets) and int(self._offsets[index]) == length
            self._offsets = self._offsets[index:] - np.int32(length) if known else None

    def _found(self) -> Offsets:
        if self._offsets is None:
            data = memoryview(self._block)[self._start : self._end]
            scan = LineScan.of(data)
            self._has_return = scan.has_return()
            self._offsets = self._rule.ends(data, scan)
        return self._offsets

    def _make_room(self) -> None:
        """Moves the unfinished line to the front; a line longer than the block gets a larger one."""
        waiting = self._end - self._start
        limit = self._line_bytes_max + LINE_END_BYTES
        if waiting == len(self._block) and self.lines == 0 and waiting < limit:
            larger = bytearray(min(4 * waiting, limit))
            larger[:waiting] = self._block[self._start : self._end]
            self._block = larger
        elif self._start:
            if len(self._block) > self._block_bytes and waiting < self._block_bytes:
                smaller = bytearray(self._block_bytes)
                smaller[:waiting] = self._block[self._start : self._end]
                self._block = smaller
            else:
                self._block[:waiting] = self._block[self._start : self._end]
        else:
            return
        self._start, self._end = 0, waiting
