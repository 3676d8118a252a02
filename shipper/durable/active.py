"""The active segment: the one that records are appended to. They are gathered, and written together."""

from __future__ import annotations

from collections.abc import Sequence

from shipper.durable.disk import Disk
from shipper.durable.keys import Cipher, Keys, cipher_of
from shipper.durable.layout import (
    BLOCK_BYTES,
    CONTINUES,
    NONCE_BYTES,
    RECORD_HEADER_BYTES,
    RECORDS_AT,
    TAG_BYTES,
    Opening,
    RecordHeader,
    about,
    crc32,
    record_header_bytes,
    record_length,
)
from shipper.durable.segment import write_opening
from shipper.durable.state import Place
from shipper.durable.supply import Prepared

_PADDING = bytes(64)


class Active:
    """A segment in use.

    Args:
        prepared: the segment.
        opening: what goes on in it.

    Attributes:
        place: behind the last record that was appended, gathered ones included.
        gathered_bytes: appended and not written yet.

    Raises:
        OSError: the opening can't be written.
    """

    def __init__(self, disk: Disk, prepared: Prepared, opening: Opening, keys: Keys | None) -> None:
        self._disk = disk
        self.path = prepared.path
        self.identity = identity = prepared.identity
        self._end = identity.size_bytes - BLOCK_BYTES
        self._cipher: Cipher | None = cipher_of(identity, keys, disk.random, prepared.path)
        self.place = Place(identity.number, RECORDS_AT, opening.base_seq - 1, 0, False)
        self._written = RECORDS_AT
        self._gathered: list[memoryview | bytes] = []
        self.gathered_bytes = 0
        self._handle = disk.open(prepared.path, write=True)
        try:
            write_opening(disk, self._handle, identity.size_bytes, opening)
        except OSError:
            disk.close(self._handle)
            raise

    def stored_bytes(self, body_bytes: int) -> int:
        """What a body of so many bytes takes in a record."""
        return body_bytes + NONCE_BYTES + TAG_BYTES if self._cipher is not None else body_bytes

    def has_room(self, records_bytes: int) -> bool:
        """True when records of so many bytes still fit."""
        return self.place.offset + records_bytes <= self._end

    @property
    def half_full(self) -> bool:
        """True when the next segment should be prepared."""
        return self.place.offset * 2 > self._end

    def append(
        self, header: RecordHeader, views: Sequence[memoryview | bytes], checksum: int | None, *, more: bool
    ) -> None:
        """Gathers a record. Its place, length and checksums are filled in here; the views must stay until `write`."""
        header = header._replace(
            segment_id=self.identity.segment_id, offset=self.place.offset, flags=CONTINUES if more else 0
        )
        if self._cipher is not None:
            views, checksum = [self._cipher.encrypt(views, about(header))], None
        stored = sum(map(len, views))
        if checksum is None:
            checksum = 0
            for view in views:
                checksum = crc32(view, checksum)
        header = header._replace(stored_bytes=stored, length=record_length(stored), body_crc=checksum)
        head = record_header_bytes(header)
        self._gathered.append(head)
        self._gathered.extend(views)
        padding = header.length - RECORD_HEADER_BYTES - stored
        if padding:
            self._gathered.append(_PADDING[:padding])
        self.gathered_bytes += header.length
        self.place = self.place.behind(header, head[-4:])

    def write(self) -> None:
        """Writes what was gathered.

        Raises:
            OSError: it failed; what stands behind the last synced record is not known.
        """
        if self._gathered:
            self._disk.write(self._handle, self._gathered, self._written)
            self._gathered.clear()
            self.gathered_bytes = 0
            self._written = self.place.offset

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
