"""The block, and the lines in it: one read, one scan, rows that share the block.

A read begins `ANCHOR_BYTES` before the place where it should, so that the same system call that brings new bytes also
proves that the old ones are still there. The unfinished line at the end is not kept: it is read again when it is done.

The block is used again for every batch of the source; that is safe because a source is not polled before its last batch
is committed, which copies it. Only a line longer than the block gets a block of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.batch.framing import line_ends, rows_of, strip_carriage_returns
from shipper.batch.schema import BODY_ONLY
from shipper.sources._tail.identity import ANCHOR_BYTES, HEAD_BYTES
from shipper.sources._tail.watched import WatchedFile

Offsets = np.ndarray[Any, np.dtype[np.int32]]
LINE_END_BYTES = 2  # what may stand behind a line of the greatest length


class LineRule(Protocol):
    """What ends a line, and what of its end belongs to the event. `returns` says whether `data` has a `\r` at all."""

    def ends(self, data: memoryview, returns: bool) -> Offsets:
        """0, then the place behind each line end in `data`."""

    def rows(self, data: memoryview, offsets: Offsets, returns: bool) -> tuple[pa.RecordBatch, int]:
        """The lines between `offsets` as (records, trim)."""

    def last(self, data: memoryview) -> pa.RecordBatch:
        """One row: a line that nobody will end."""


class NewlineRule:
    """TAILDIR's rule: `\n` ends a line, one `\r` before it is taken off, a lone `\r` is data."""

    def ends(self, data: memoryview, returns: bool) -> Offsets:
        return line_ends(data)

    def rows(self, data: memoryview, offsets: Offsets, returns: bool) -> tuple[pa.RecordBatch, int]:
        return strip_carriage_returns(data, offsets) if returns else (rows_of(data, offsets), 1)

    def last(self, data: memoryview) -> pa.RecordBatch:
        return rows_of(data, np.array([0, len(data)], np.int32))


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows that were read: `first` is the offset of the first one in the file, `starts` those of all, relative to it.

    `more` is False when the end of the file was seen behind them.
    """

    records: pa.RecordBatch
    trim: int
    first: int
    starts: Offsets
    more: bool


def cut_long(records: pa.RecordBatch, trim: int, bytes_max: int) -> tuple[pa.RecordBatch, int, int]:
    """The rows with no body longer than `bytes_max`, their trim, and how many had to be cut. Copies only then."""
    body = records.column(0)
    offsets = np.frombuffer(body.buffers()[1], np.int32, body.offset + len(body) + 1)[body.offset :]
    cut = int(np.count_nonzero(np.diff(offsets) - trim > bytes_max))
    if not cut:
        return records, trim, 0
    whole = pc.binary_slice(body, 0, -trim) if trim else body
    return pa.RecordBatch.from_arrays([pc.binary_slice(whole, 0, bytes_max)], schema=BODY_ONLY), 0, cut


class FileChanged(Exception):
    """The bytes before the offset are not those that were read: the file was truncated or written anew."""


class LineReader:
    """Reads whole lines of any file into one block.

    Args:
        block_bytes: how much one read brings; about the size of a batch.
        line_bytes_max: what is longer is cut there and the rest dropped; `cut_lines` counts them.
    """

    def __init__(self, rule: LineRule, block_bytes: int, line_bytes_max: int) -> None:
        self._rule = rule
        self._line_bytes_max = line_bytes_max
        self._block = bytearray(ANCHOR_BYTES + block_bytes)
        self._view = memoryview(self._block)
        self.cut_lines = 0

    def read(self, file: WatchedFile, rows_max: int, *, finish: bool = False) -> Lines | None:
        """The next lines of an open file, and the file advanced behind them; None when no line is whole.

        Args:
            finish: nobody will end the last line: deliver what there is of it.

        Raises:
            FileChanged: nothing was read; the file has to be started over.
        """
        block, view = self._block, self._view
        if file.seen_to - file.offset >= len(block) and not finish and self._unfinished(file):
            return None
        while True:
            anchor_bytes = len(file.anchor)
            filled = os.preadv(file.fd, [view], file.offset - anchor_bytes)
            if filled < anchor_bytes or not block.startswith(file.anchor):
                raise FileChanged(file.path)
            data = view[anchor_bytes:filled]
            more = filled == len(view)
            returns = block.find(b"\r", anchor_bytes, filled) >= 0
            offsets = self._rule.ends(data, returns)
            if len(offsets) > 1:
                if file.skipping:
                    self._advance(file, view, anchor_bytes, int(offsets[1]))
                    continue
                if len(offsets) > rows_max + 1:
                    offsets, more = offsets[: rows_max + 1], True
                elif view is not self._view and len(offsets) > 2:
                    offsets, more = offsets[:2], True  # the long line alone; the usual block is for what follows
                return self._lines(file, view, anchor_bytes, offsets, filled, returns, more)
            if file.skipping:
                self._advance(file, view, anchor_bytes, len(data), skipping=True)
            elif len(data) >= self._line_bytes_max + LINE_END_BYTES:
                if self._pass_hole(file, data):
                    continue
                self.cut_lines += 1
                return self._piece(file, view, anchor_bytes, self._line_bytes_max, skipping=True)
            elif more:
                block = bytearray(ANCHOR_BYTES + min(4 * len(data), self._line_bytes_max + LINE_END_BYTES))
                view = memoryview(block)
                continue
            else:
                file.seen_to = file.offset + len(data)
                if finish and len(data):
                    return self._piece(file, view, anchor_bytes, len(data), skipping=False)
            if not more:
                return None

    def _lines(
        self, file: WatchedFile, view: memoryview, anchor_bytes: int, offsets: Offsets, filled: int, returns: bool,
        more: bool,
    ) -> Lines:  # fmt: skip
        first = file.offset
        length = int(offsets[-1])
        records, trim = self._rule.rows(view[anchor_bytes : anchor_bytes + length], offsets, returns)
        if self._line_bytes_max < length:
            records, trim, cut = cut_long(records, trim, self._line_bytes_max)
            self.cut_lines += cut
        self._advance(file, view, anchor_bytes, length)
        file.seen_to = first + filled - anchor_bytes
        return Lines(records, trim, first, offsets[:-1], more)

    def _piece(self, file: WatchedFile, view: memoryview, anchor_bytes: int, length: int, skipping: bool) -> Lines:
        """One row without a line end: the beginning of an over-long line, or the last words of a file."""
        first = file.offset
        records = self._rule.last(view[anchor_bytes : anchor_bytes + length])
        self._advance(file, view, anchor_bytes, length, skipping=skipping)
        return Lines(records, 0, first, np.zeros(1, np.int32), skipping)

    def _advance(
        self, file: WatchedFile, view: memoryview, anchor_bytes: int, length: int, *, skipping: bool = False
    ) -> None:
        end = anchor_bytes + length
        head = file.head
        if len(head) < HEAD_BYTES:
            head += bytes(view[anchor_bytes : min(end, anchor_bytes + HEAD_BYTES - len(head))])
        file.advance(file.offset + length, bytes(view[max(0, end - ANCHOR_BYTES) : end]), head, skipping)

    def _unfinished(self, file: WatchedFile) -> bool:
        """True when what was added to a long unfinished line does not finish it: no need to read all of it again."""
        while file.seen_to - file.offset < self._line_bytes_max + LINE_END_BYTES and file.unmoved():
            filled = os.preadv(file.fd, [self._view], file.seen_to)
            if not filled:
                return True
            if len(self._rule.ends(self._view[:filled], True)) > 1:
                return False
            file.seen_to += filled
        return False

    def _pass_hole(self, file: WatchedFile, data: memoryview) -> bool:
        """Goes behind a run of NULs that is longer than a line may be: the hole that a truncated log leaves.

        The line that stands behind the hole begins at its first byte that is not NUL, and is not lost.
        """
        values = np.frombuffer(data, np.uint8)
        if values.any():
            return False
        try:
            file.go_to(os.lseek(file.fd, file.offset + len(data), os.SEEK_DATA))
        except OSError:  # no data behind the hole, or a file system that does not know holes
            file.go_to(file.offset + len(data))
        block = os.pread(file.fd, len(self._view), file.offset)
        file.go_to(file.offset + len(block) - len(block.lstrip(b"\0")))
        return True
