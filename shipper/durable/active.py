"""The active segment: the one that records are appended to. They are gathered, and written together."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from shipper.durable.board import Tail
from shipper.durable.disk import Disk
from shipper.durable.keys import Cipher, Keys, cipher_of
from shipper.durable.layout import (
    BLOCK_BYTES,
    CONTINUES,
    RECORD_HEADER_BYTES,
    RECORDS_AT,
    Opening,
    about,
    crc32,
    record_header_bytes,
    record_length,
)
from shipper.durable.segment import write_opening
from shipper.durable.settings import Entry
from shipper.durable.state import Place
from shipper.durable.supply import Prepared
from shipper.durable.window import Window

_PADDING = bytes(64)


class Active:
    """A segment in use.

    Args:
        prepared: the segment.
        opening: what goes on in it.
        window: of the log.
        direct: what is written goes past the page cache, where the file system can do that.

    Attributes:
        gathered_bytes: appended and not written yet.

    Raises:
        OSError: the opening can't be written.
    """

    def __init__(
        self, disk: Disk, prepared: Prepared, opening: Opening, keys: Keys | None, window: Window, *, direct: bool
    ) -> None:  # fmt: skip
        self._disk = disk
        self._window = window
        self.path = prepared.path
        self.identity = identity = prepared.identity
        self._end = identity.size_bytes - BLOCK_BYTES
        self._cipher: Cipher | None = cipher_of(identity, keys, disk.random, prepared.path)
        self._offset, self._seq, self._chain = RECORDS_AT, opening.base_seq - 1, 0
        self._written = RECORDS_AT
        self._gathered: list[memoryview | bytes] = []
        self.gathered_bytes = 0
        self._handle = disk.open(prepared.path, write=True)
        try:
            write_opening(disk, self._handle, identity.size_bytes, opening)
        except OSError:
            disk.close(self._handle)
            raise
        self._direct = direct and disk.direct(self._handle, True)

    @property
    def place(self) -> Place:
        """Behind the last record that was appended, gathered ones included."""
        return Place(self.identity.number, self._offset, self._seq, self._chain, False)

    def has_room(self, records_bytes: int) -> bool:
        """True when records of so many bytes still fit."""
        return self._offset + records_bytes <= self._end

    @property
    def half_full(self) -> bool:
        """True when the next segment should be prepared."""
        return self._offset * 2 > self._end

    def append(
        self, entry: Entry, tail: Tail, durable_seq: int, producer: int, put: int, *, more: bool
    ) -> None:  # fmt: skip
        """Gathers a record; its views must stay until `write`.

        Args:
            tail: of its lane, this record included.
            more: the same put continues in the next record.
        """
        lane, views, rows, size_bytes, _, checksum, put_ms = entry
        seq, rows_after, size_bytes_after = tail
        offset, segment_id = self._offset, self.identity.segment_id
        if self._cipher is not None:
            views, checksum = (self._cipher.encrypt(views, about(segment_id, seq, lane, rows)),), None
        if checksum is None:
            checksum = 0
            for view in views:
                checksum = crc32(view, checksum)
        stored = sum(map(len, views))
        length = record_length(stored)
        head = record_header_bytes(
            segment_id, offset, length, stored, seq, durable_seq, lane, checksum, rows, size_bytes, rows_after,
            size_bytes_after, producer, put, CONTINUES if more else 0, put_ms,
        )  # fmt: skip
        gathered = self._gathered
        gathered.append(head)
        gathered.extend(views)
        padding = length - RECORD_HEADER_BYTES - stored
        if padding:
            gathered.append(_PADDING[:padding])
        self.gathered_bytes += length
        self._offset = offset + length
        self._seq = seq
        self._chain = crc32(head[-4:], self._chain)

    def write(self) -> None:
        """Writes what was gathered.

        Raises:
            OSError: it failed; what stands behind the last synced record is not known.
        """
        if self._gathered:
            self._window.store(self._gathered, self._written, self._write)
            self._gathered.clear()
            self.gathered_bytes = 0
            self._written = self._offset

    def _write(self, blocks: Sequence[memoryview], offset: int) -> None:
        try:
            self._disk.write(self._handle, blocks, offset)
        except OSError as problem:
            if problem.errno != errno.EINVAL or not self._direct:
                raise
            # A device whose blocks are larger than ours takes nothing past the cache.
            self._direct = self._disk.direct(self._handle, False)
            self._disk.write(self._handle, blocks, offset)

    def sync(self) -> None:
        """Makes what was written durable.

        Raises:
            OSError: it failed: never ask again, what the kernel had not stored is forgotten.
        """
        self._disk.sync(self._handle)

    def close(self) -> None:
        """Gives the file back."""
        if self._handle >= 0:
            self._disk.close(self._handle)
            self._handle = -1
        self._gathered.clear()

    def release_rest(self, offset: int) -> None:
        """Gives back the space behind the last record that counts."""
        self._disk.release(self._handle, offset, self._end)
