"""The layout of a segment and of a checkpoint: offsets, widths. All numbers are little-endian; nothing wraps.

A segment is one preallocated file, `NUMBER.segment`; it has a size and a number that never change and are never used
twice. What it says of itself stands at both ends, so that a damaged or missing part does not cost the whole::

    offset     what
    ---------  --------------------------------------------------------------------------------------------------
            0  identity: magic, version (u32), checksum algorithm (u32: 1 = CRC-32 of RFC 1952), log id, segment id,
               number, size, cipher (u32: 0 none, 1 AES-256-GCM), key name (64 bytes), salt (32 bytes),
               key check (8 bytes), CRC
         2048  opening: magic, base seq, previous number, previous end, previous seq, previous chain (u32),
               segment id, CRC
         4096  records
    size-4096  identity again
    size-2048  opening again

The identity is synced, and the directory with it, before the segment is needed; it is not in use before it has its
opening, which is synced together with the first records. *Previous end* is where the records of the segment before
end, whatever stands behind; *previous seq* is the last of them, *previous chain* a CRC over all their header checksums.
All that is below *base seq* was synced, or given up, before the opening was written.

A record starts at a multiple of 64 and never crosses segments::

         0  magic (u32), version (u16), flags (u16: 1 = the same put continues in the next record)
         8  segment id        16  offset of this record       together they make a stale or copied header invalid
        24  length of the record, header and padding included
        32  stored bytes of the body (encrypted: nonce of 12, text, tag of 16, over segment id, seq, lane, rows too)
        40  seq: + 1 a record over the whole log
        48  durable seq when this was written
        56  lane (u32), CRC-32 of the stored body (u32)
        64  rows              72  bytes that the rows count as
        80  rows of the lane up to and with this record        88  bytes likewise
        96  producer         104  put number of that producer
       112  when it was put, wall ms; 0 = the channel has no maxAge       120  zero (u32)
       124  CRC-32 of the 124 bytes before (u32)
       128  body

A checkpoint is one preallocated file of two slots; the newer valid one counts::

         0  magic, version (u32), CRC of the payload (u32), generation, length of the payload, slot size, CRC (u32)
       128  payload: a JSON object (`checkpoint.py`)

Readers take version 1. A later version keeps the identity and the slot header as they are, but for their meaning.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from isal import isal_zlib

VERSION = 1
CHECKSUM_CRC32 = 1
CIPHER_NONE = 0
CIPHER_AES_256_GCM = 1

SEGMENT_MAGIC = b"SHPSEGM1"
OPENING_MAGIC = b"SHPOPEN1"
CHECKPOINT_MAGIC = b"SHPCHKP1"
RECORD_MAGIC = 0x44524352  # "RCRD"
RECORD_MAGIC_BYTES = RECORD_MAGIC.to_bytes(4, "little")

#: At either end of a segment: the block with its identity and, behind it, its opening.
BLOCK_BYTES = 4096
OPENING_IN_BLOCK = 2048
RECORDS_AT = BLOCK_BYTES
RECORD_ALIGN = 64
RECORD_HEADER_BYTES = 128
CONTINUES = 1
KEY_NAME_BYTES = 64
SALT_BYTES = 32
#: What a cipher adds to a body: nonce in front, tag behind.
NONCE_BYTES = 12
TAG_BYTES = 16

_IDENTITY = struct.Struct("<8sII16sQQQI64s32s8s")
_OPENING = struct.Struct("<8sQQQQIQ")
_RECORD = struct.Struct("<IHHQQQQQQIIQQQQQQQI")
_CRC = struct.Struct("<I")
_SLOT = struct.Struct("<8sIIQQQ")
SLOT_HEADER_BYTES = 128


class Identity(NamedTuple):
    """Which file this is. `key_name` is empty when the bodies are not encrypted."""

    log_id: bytes
    segment_id: int
    number: int
    size_bytes: int
    key_name: str = ""
    salt: bytes = bytes(SALT_BYTES)
    key_check: bytes = bytes(8)


class Opening(NamedTuple):
    """Where a segment goes on: see the drawing."""

    base_seq: int
    previous_number: int
    previous_end: int
    previous_seq: int
    previous_chain: int
    segment_id: int


class RecordHeader(NamedTuple):
    """What stands in front of a body."""

    segment_id: int
    offset: int
    length: int
    stored_bytes: int
    seq: int
    durable_seq: int
    lane: int
    body_crc: int
    rows: int
    size_bytes: int
    rows_after: int
    size_bytes_after: int
    producer: int
    put: int
    flags: int = 0
    put_ms: int = 0

    @property
    def continues(self) -> bool:
        """True when the next record belongs to the same put."""
        return bool(self.flags & CONTINUES)


class SlotHeader(NamedTuple):
    """What stands in front of a checkpoint's payload."""

    version: int
    payload_crc: int
    generation: int
    payload_bytes: int
    slot_bytes: int


def crc32(data: bytes | memoryview, before: int = 0) -> int:
    """CRC-32, going on from `before`."""
    found: int = isal_zlib.crc32(data, before)
    return found


def record_length(stored_bytes: int) -> int:
    """Length of a record with so many bytes in its body."""
    return -(-(RECORD_HEADER_BYTES + stored_bytes) // RECORD_ALIGN) * RECORD_ALIGN


def identity_bytes(identity: Identity) -> bytes:
    """An identity block."""
    head = _IDENTITY.pack(
        SEGMENT_MAGIC, VERSION, CHECKSUM_CRC32, identity.log_id, identity.segment_id, identity.number,
        identity.size_bytes, CIPHER_AES_256_GCM if identity.key_name else CIPHER_NONE, identity.key_name.encode(),
        identity.salt, identity.key_check,
    )  # fmt: skip
    return head + _CRC.pack(crc32(head))


def read_identity(block: bytes) -> Identity | int | None:
    """The identity in a block; a number when it has a version that this build does not read; None when it is none."""
    if len(block) < _IDENTITY.size + _CRC.size:
        return None
    magic, version, algorithm, log_id, segment_id, number, size, cipher, key_name, salt, key_check = (
        _IDENTITY.unpack_from(block)
    )
    if magic != SEGMENT_MAGIC:
        return None
    (checksum,) = _CRC.unpack_from(block, _IDENTITY.size)
    if checksum != crc32(block[: _IDENTITY.size]):
        return None
    if version > VERSION or algorithm != CHECKSUM_CRC32:
        return int(version)
    name = key_name.rstrip(b"\0").decode("utf-8", "replace") if cipher == CIPHER_AES_256_GCM else ""
    return Identity(log_id, segment_id, number, size, name, salt, key_check)


def opening_bytes(opening: Opening) -> bytes:
    """An opening block."""
    head = _OPENING.pack(OPENING_MAGIC, *opening)
    return head + _CRC.pack(crc32(head))


def read_opening(block: bytes, segment_id: int) -> Opening | None:
    """The opening in a block; None when none is valid there for this segment."""
    if len(block) < _OPENING.size + _CRC.size:
        return None
    magic, *values = _OPENING.unpack_from(block)
    (checksum,) = _CRC.unpack_from(block, _OPENING.size)
    if magic != OPENING_MAGIC or checksum != crc32(block[: _OPENING.size]):
        return None
    opening = Opening(*values)
    return opening if opening.segment_id == segment_id else None


def record_header_bytes(
    segment_id: int, offset: int, length: int, stored_bytes: int, seq: int, durable_seq: int, lane: int, body_crc: int,
    rows: int, size_bytes: int, rows_after: int, size_bytes_after: int, producer: int, put: int, flags: int,
    put_ms: int = 0,
) -> bytes:  # fmt: skip
    """The 128 bytes in front of a body: the fields of `RecordHeader`, in its order."""
    head = _RECORD.pack(
        RECORD_MAGIC, VERSION, flags, segment_id, offset, length, stored_bytes, seq, durable_seq, lane, body_crc, rows,
        size_bytes, rows_after, size_bytes_after, producer, put, put_ms, 0,
    )  # fmt: skip
    return head + _CRC.pack(isal_zlib.crc32(head))


def read_record_header(block: bytes, segment_id: int, offset: int, end: int) -> RecordHeader | None:
    """The record header in a block if it belongs to this segment and this offset and its record ends before `end`."""
    if len(block) < RECORD_HEADER_BYTES or block[:4] != RECORD_MAGIC_BYTES:
        return None
    head = block[: _RECORD.size]
    (checksum,) = _CRC.unpack_from(block, _RECORD.size)
    if checksum != crc32(head):
        return None
    (
        _, version, flags, found_segment, found_offset, length, stored, seq, durable, lane, body_crc, rows, size,
        rows_after, size_after, producer, put, put_ms, _,
    ) = _RECORD.unpack(head)  # fmt: skip
    if version != VERSION or found_segment != segment_id or found_offset != offset:
        return None
    if length != record_length(stored) or offset + length > end:
        return None
    return RecordHeader(
        found_segment, offset, length, stored, seq, durable, lane, body_crc, rows, size, rows_after, size_after,
        producer, put, flags, put_ms,
    )  # fmt: skip


_ABOUT = struct.Struct("<QQIQ")


def about(segment_id: int, seq: int, lane: int, rows: int) -> bytes:
    """What is authenticated together with an encrypted body."""
    return _ABOUT.pack(segment_id, seq, lane, rows)


def slot_header_bytes(header: SlotHeader) -> bytes:
    """The 128 bytes in front of a checkpoint's payload."""
    head = _SLOT.pack(CHECKPOINT_MAGIC, *header)
    return (head + _CRC.pack(crc32(head))).ljust(SLOT_HEADER_BYTES, b"\0")


def read_slot_header(block: bytes) -> SlotHeader | None:
    """The slot header in a block, of whatever version; None when nothing valid is there."""
    if len(block) < SLOT_HEADER_BYTES:
        return None
    magic, *values = _SLOT.unpack_from(block)
    if magic != CHECKPOINT_MAGIC:
        return None
    header = SlotHeader(*values)
    (checksum,) = _CRC.unpack_from(block, _SLOT.size)
    return header if checksum == crc32(block[: _SLOT.size]) else None
