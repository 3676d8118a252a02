"""A search: where the next record of a lane stands among the records of all lanes, segment after segment.

What other lanes hold is stepped over by the headers, and not read. Damage costs the records that it touches: the search
goes on at the next header that certifies itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from shipper.durable.board import Board, Head
from shipper.durable.catalog import Catalog, Mapped
from shipper.durable.layout import (
    RECORD_ALIGN,
    RECORD_HEADER_BYTES,
    RECORDS_AT,
    RecordHeader,
    read_record_header,
)
from shipper.durable.segment import header_at, next_record, stored_body
from shipper.durable.window import Window

#: How long bytes that do not fit are looked at again before they are judged damaged.
_REREAD_S = 0.002
_WINDOW_BYTES = 64 << 10


class Search:
    """The search of one reader.

    Args:
        window: where the newest records are found without the disk.

    Attributes:
        mapped: the segment of the cursor; None when it is to be found anew.
        offset: of the cursor in it.
    """

    def __init__(self, board: Board, catalog: Catalog, lane: int, window: Window | None = None) -> None:
        self._board = board
        self._catalog = catalog
        self._lane = lane
        self._window = window
        self.mapped: Mapped | None = None
        self.offset = RECORDS_AT
        self._end = self._end_known = self._ensured_to = 0

    def forget(self) -> None:
        """The cursor is somewhere else: the next `find` looks for its segment."""
        self.mapped = None

    def give_back(self) -> None:
        """What stands before the cursor was delivered, and is not looked at again."""
        if self.mapped is not None:
            self.mapped.view.give_back(self.offset)

    @property
    def place(self) -> tuple[int, int]:
        """Number of the segment, and offset in it: for the hint of a commit."""
        return (0 if self.mapped is None else self.mapped.file.number), self.offset

    def close(self) -> None:
        """Lets go of the files."""
        self.mapped = None
        self._catalog.close()

    def find(self, seq: int, tail_seq: int, hint: Head, say: Callable[[str], None]) -> RecordHeader | None:
        """The first header of the lane at or behind the cursor; None when none is left up to `tail_seq`.

        Args:
            seq: that the record has at least.
            hint: a commit that says where the cursor was.
            say: what is damaged, for the person.
        """
        if self.mapped is None and not self._locate(seq, hint):
            return None
        while self.mapped is not None:
            mapped, offset = self.mapped, self.offset
            segment_id, end = mapped.file.identity.segment_id, self._end_of(mapped)
            header = self._newest(segment_id, offset, end) or self._filed(mapped, offset, end)
            if header is None:
                if not self._stumble(mapped, end, say):
                    return None
                continue
            if header.seq > tail_seq:
                return None
            if header.lane == self._lane and header.seq >= seq:
                return header
            self.offset += header.length
        return None

    def _locate(self, seq: int, hint: Head) -> bool:
        """Finds the segment of the cursor: where the last commit says, or by its first seq."""
        file = None
        while self.mapped is None:
            self._catalog.refresh()
            file = self._catalog.holding(seq)
            if file is None:
                return False
            self.mapped = self._catalog.map(file)  # None when it was removed since the directory was read
        assert file is not None
        self._ensured_to = 0
        here = file.number == hint.segment and hint.seq <= seq
        self.offset = hint.offset if here and hint.offset >= RECORDS_AT else RECORDS_AT
        return True

    def stored_body(self, mapped: Mapped, header: RecordHeader) -> memoryview | None:
        """The stored bytes of a record that `find` gave; None when they are damaged or can't be read."""
        if self._newest(header.segment_id, header.offset, mapped.file.end) == header:
            assert self._window is not None
            start = header.offset + RECORD_HEADER_BYTES
            stored = self._window.copy(start, header.stored_bytes, header.body_crc)
            if stored is not None:
                return stored
        return stored_body(mapped.view, header)

    def _newest(self, segment_id: int, offset: int, end: int) -> RecordHeader | None:
        """The record header at an offset if the window still has it."""
        if self._window is None:
            return None
        return read_record_header(self._window.peek(offset, RECORD_HEADER_BYTES), segment_id, offset, end)

    def _filed(self, mapped: Mapped, offset: int, end: int) -> RecordHeader | None:
        """The record header at an offset of the file, if one is valid there."""
        if offset + RECORD_HEADER_BYTES > self._ensured_to and not self._ensure(mapped, offset, end):
            return None
        return header_at(mapped.view, mapped.file.identity.segment_id, offset, end)

    def _ensure(self, mapped: Mapped, offset: int, end: int) -> bool:
        """Brings the header at the cursor into memory, and some that may stand behind it."""
        self._ensured_to = 0
        for until in (min(offset + _WINDOW_BYTES, end), offset + RECORD_HEADER_BYTES):
            try:
                mapped.view.ensure(offset, until)
            except OSError:
                continue
            self._ensured_to = until
            return True
        return False

    def _end_of(self, mapped: Mapped) -> int:
        """Where the records of a segment end at the latest.

        What stands behind the end may look like records: they were given up, in a recovery or after a failed sync.
        While the segment is the active one nothing is known of it but that what the tail covers counts.
        """
        number = mapped.file.number
        if self._end_known != number:
            if self._board.active() == number:
                return mapped.file.end
            after = self._catalog.successor(number)
            if after is None or after.inferred:
                self._catalog.refresh()
                after = self._catalog.successor(number)
            self._end, self._end_known = mapped.file.end, number if after is not None else 0
            if after is not None and after.opening is not None and after.opening.previous_number == number:
                self._end = min(self._end, after.opening.previous_end)
        return self._end

    def _stumble(self, mapped: Mapped, end: int, say: Callable[[str], None]) -> bool:
        """No record stands at the cursor: the segment ends here, or is damaged. False when nothing is left."""
        number, segment_id = mapped.file.number, mapped.file.identity.segment_id
        after = self._catalog.successor(number) if self._end_known == number else None
        if self.offset < end:
            found = self._reread(mapped, end) if after is None else None
            if found is None:
                found = next_record(mapped.view, segment_id, self.offset + RECORD_ALIGN, end)
            if found is not None:
                if found != self.offset:
                    say(f"{mapped.file.path}: bytes {self.offset} to {found} are damaged")
                    self.offset, self._ensured_to = found, 0
                return True
            if after is None:
                return False
            if mapped.view.find_written(self.offset, end):
                say(f"{mapped.file.path}: bytes {self.offset} to {end} are damaged")
        while after is not None:
            self.mapped = self._catalog.map(after)
            self.offset, self._ensured_to = RECORDS_AT, 0
            if self.mapped is not None:
                return True
            # It was delivered by all lanes and removed since the directory was read.
            self._catalog.refresh()
            after = self._catalog.successor(number)
        return False

    def _reread(self, mapped: Mapped, end: int) -> int | None:
        """On machines that reorder stores the bytes may be a moment behind the word: look again before judging."""
        deadline_s = time.monotonic() + _REREAD_S
        while time.monotonic() < deadline_s:
            if header_at(mapped.view, mapped.file.identity.segment_id, self.offset, end) is not None:
                return self.offset
        return None
