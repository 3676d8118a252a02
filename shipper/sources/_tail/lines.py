"""The block, and the lines in it: one read, one scan, rows that share the block.

A read begins `ANCHOR_BYTES` before the place where it should, so that the same system call that brings new bytes also
proves that the old ones are still there. A long one comes in pieces (`LineReader._fill`). The unfinished line at the
end is not kept: it is read again when it is done.

The block lies where its frame will be, when the channel has room for it (`SourceContext.room`); else it is the reader's
own, and is used again for every batch. Both are safe because a source is not polled before its last batch is in the
channels. Only a line longer than the block gets a block of its own.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from shipper.batch import kernels as pc
from shipper.batch.framing import rows_of, strip_carriage_returns
from shipper.batch.line_scan import PIECE_BYTES, LineScan, Offsets
from shipper.batch.schema import BODY_ONLY
from shipper.sources._tail.identity import ANCHOR_BYTES, HEAD_BYTES
from shipper.sources._tail.watched import WatchedFile

LINE_END_BYTES = 2  # what may stand behind a line of the greatest length
_LEAST_BYTES = 64 << 10


class LineRule(Protocol):
    """What ends a line, and what of its end belongs to the event."""

    def ends(self, data: memoryview, scan: LineScan) -> Offsets:
        """0, then the place behind each line end in `data`, all of which the scan has seen."""

    def rows(self, data: memoryview, offsets: Offsets, *, has_return: bool = True) -> tuple[pa.RecordBatch, int]:
        """The lines between `offsets` as (records, trim); `has_return` is False when no `\\r` stands in `data`."""

    def last(self, data: memoryview) -> pa.RecordBatch:
        """One row: a line that nobody will end."""


class NewlineRule:
    """TAILDIR's rule: `\n` ends a line, one `\r` before it is taken off, a lone `\r` is data."""

    def ends(self, data: memoryview, scan: LineScan) -> Offsets:
        return scan.ends()

    def rows(self, data: memoryview, offsets: Offsets, *, has_return: bool = True) -> tuple[pa.RecordBatch, int]:
        return strip_carriage_returns(data, offsets, has_return=has_return)

    def last(self, data: memoryview) -> pa.RecordBatch:
        return rows_of(data, np.array([0, len(data)], np.int32))


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows that were read: `first` is the offset of the first one in the file, `starts` those of all, relative to it.

    `more` is False when the end of the file was seen behind them; `checksum` is the CRC-32 of all their bytes as they
    stand in the file, when the rows share these.
    """

    records: pa.RecordBatch
    trim: int
    first: int
    starts: Offsets
    more: bool
    checksum: int | None = None


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
        room, awaited_room: memory for a block in the channel (`SourceContext`).
    """

    def __init__(
        self,
        rule: LineRule,
        block_bytes: int,
        line_bytes_max: int,
        room: Callable[[int], memoryview | None] = lambda _: None,
        awaited_room: Callable[[int], memoryview | None] = lambda _: None,
    ) -> None:
        self._rule = rule
        self._line_bytes_max = line_bytes_max
        self._block_bytes = block_bytes
        self._room = room
        self._awaited_room = awaited_room
        self._own = memoryview(mmap.mmap(-1, block_bytes))  # costs no memory before it is read into
        self._before = memoryview(bytearray(ANCHOR_BYTES))
        self._scan = LineScan(asks_return=True, sums=True)
        self._row_bytes = block_bytes
        self.cut_lines = 0

    def read(self, file: WatchedFile, rows_max: int, *, finish: bool = False) -> Lines | None:
        """The next lines of an open file, and the file advanced behind them; None when no line is whole.

        Args:
            finish: nobody will end the last line: deliver what there is of it.

        Raises:
            FileChanged: nothing was read; the file has to be started over.
        """
        if file.seen_to - file.offset >= self._block_bytes and not finish and self._unfinished(file):
            return None
        whole, enlarged = self._whole(file), False
        block = whole[: self._enough(rows_max)]
        while True:
            data = self._fill(file, block)
            more = len(data) == len(block)
            has_return = self._scan.has_return()
            offsets = self._rule.ends(data, self._scan)
            if len(offsets) > 1:
                if file.skipping:
                    self._advance(file, data, int(offsets[1]))
                    continue
                if len(offsets) > rows_max + 1:
                    offsets, more = offsets[: rows_max + 1], True
                elif enlarged and len(offsets) > 2:
                    offsets, more = offsets[:2], True  # the long line alone; the usual block is for what follows
                return self._lines(file, data, offsets, more, has_return)
            if file.skipping:
                self._advance(file, data, len(data), skipping=True)
            elif len(data) >= self._line_bytes_max + LINE_END_BYTES:
                if self._pass_hole(file, data):
                    continue
                self.cut_lines += 1
                return self._piece(file, data, self._line_bytes_max, skipping=True)
            elif more and len(block) < len(whole):
                block = whole
                continue
            elif more:
                enlarged = True
                block = memoryview(bytearray(min(4 * len(data), self._line_bytes_max + LINE_END_BYTES)))
                continue
            else:
                file.seen_to = file.offset + len(data)
                if finish and len(data):
                    return self._piece(file, data, len(data), skipping=False)
            if not more:
                return None

    def _whole(self, file: WatchedFile) -> memoryview:
        """Where the next block is read to. Only for a whole one the channel's room is waited for: small ones fit."""
        room = self._room(self._block_bytes)
        if room is None and os.fstat(file.fd).st_size - file.offset >= self._block_bytes:
            room = self._awaited_room(self._block_bytes)
        return self._own if room is None else room

    def _enough(self, rows_max: int) -> int:
        """Bytes that hold so many rows like the last ones, and some more: what is read beyond is read again."""
        return min(max(rows_max * self._row_bytes * 17 // 16, _LEAST_BYTES), self._block_bytes)

    def _fill(self, file: WatchedFile, block: memoryview) -> memoryview:
        """What stands behind the file's offset, as much as the block holds; what stands before it is still there.

        It is read a piece at a time, and each piece is scanned before the next one drives it out of the cache. Each
        read begins in what is known already, and so proves that the file is still the one that it was.
        """
        self._scan.begin(block)
        anchor: bytes | memoryview = file.anchor
        filled = 0
        while filled < len(block):
            piece = block[filled : filled + PIECE_BYTES]
            before = self._before[: len(anchor)]
            count = os.preadv(file.fd, [before, piece], file.offset + filled - len(anchor)) - len(anchor)
            if count < 0 or before != anchor:
                if filled:
                    break  # what was read before still was the file; the next read finds out what it is now
                raise FileChanged(file.path)
            filled += count
            self._scan.see(filled)
            if count < len(piece):
                break
            anchor = block[max(0, filled - ANCHOR_BYTES) : filled]
        return block[:filled]

    def _lines(self, file: WatchedFile, data: memoryview, offsets: Offsets, more: bool, has_return: bool) -> Lines:
        first = file.offset
        length = int(offsets[-1])
        front = data[:length]
        self._row_bytes = length // (len(offsets) - 1) + 1
        records, trim = self._rule.rows(front, offsets, has_return=has_return)
        checksum = self._scan.checksum(front)
        if self._line_bytes_max < length:
            records, trim, cut = cut_long(records, trim, self._line_bytes_max)
            self.cut_lines += cut
        self._advance(file, data, length)
        file.seen_to = first + len(data)
        return Lines(records, trim, first, offsets[:-1], more, checksum)

    def _piece(self, file: WatchedFile, data: memoryview, length: int, skipping: bool) -> Lines:
        """One row without a line end: the beginning of an over-long line, or the last words of a file."""
        first = file.offset
        records = self._rule.last(data[:length])
        self._advance(file, data, length, skipping=skipping)
        return Lines(records, 0, first, np.zeros(1, np.int32), skipping)

    def _advance(self, file: WatchedFile, data: memoryview, length: int, *, skipping: bool = False) -> None:
        head = file.head
        if len(head) < HEAD_BYTES:
            head += bytes(data[: min(length, HEAD_BYTES - len(head))])
        anchor = bytes(data[max(0, length - ANCHOR_BYTES) : length])
        if length < ANCHOR_BYTES:
            anchor = (file.anchor + anchor)[-ANCHOR_BYTES:]
        file.advance(file.offset + length, anchor, head, skipping)

    def _unfinished(self, file: WatchedFile) -> bool:
        """True when what was added to a long unfinished line does not finish it: no need to read all of it again."""
        while file.seen_to - file.offset < self._line_bytes_max + LINE_END_BYTES and file.unmoved():
            filled = os.preadv(file.fd, [self._own], file.seen_to)
            if not filled:
                return True
            self._scan.begin(self._own)
            self._scan.see(filled)
            if len(self._rule.ends(self._own[:filled], self._scan)) > 1:
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
        block = os.pread(file.fd, self._block_bytes, file.offset)
        file.go_to(file.offset + len(block) - len(block.lstrip(b"\0")))
        return True
