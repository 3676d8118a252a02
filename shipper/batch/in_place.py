"""A batch in place: rows whose block was read straight to where their frame will be, so that nothing is copied.

::

    memory     | stream head, with room for the metadata |  block as it was read  | offsets | end |
               0                                     HEAD_BYTES

`room` is the part of a frame's memory in which a source reads its block. `complete` later writes around the block what
`wire.encode` would have written, in another order: an Arrow stream whose one record batch names the block as its body
column. Readers can't tell the two apart (`wire.decode`).

The head is one that Arrow itself wrote, with another batch's numbers in it. Where these stand is found by the layout
of Arrow's messages (Message.fbs, Schema.fbs of the Arrow format), once, when this module is imported.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from shipper.batch import wire
from shipper.batch.batch import EventBatch
from shipper.batch.schema import BODY_ONLY
from shipper.checksums import checksum_before, checksum_behind

#: What constants and origins may take, as JSON, before a batch has to be copied.
METADATA_BYTES = 2048
_ALIGN = 64
_OFFSET_BYTES = 4
_END = b"\xff\xff\xff\xff\0\0\0\0"
#: A block of 32 bytes a line or more leaves room enough for its offsets.
_OFFSETS_SHARE = 8


def _field(head: bytes, table: int, index: int) -> int:
    """Place of a field of a flatbuffer's table: the table names its vtable, the vtable the distance of each field."""
    vtable = table - int(struct.unpack_from("<i", head, table)[0])
    return table + int(struct.unpack_from("<H", head, vtable + 4 + 2 * index)[0])


def _behind(head: bytes, place: int) -> int:
    """Where the offset that stands at `place` leads."""
    return place + int(struct.unpack_from("<I", head, place)[0])


class _Head:
    """The bytes before the block, and where in them the numbers of a batch stand."""

    def __init__(self) -> None:
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, BODY_ONLY, options=wire.OPTIONS) as writer:
            records = pa.RecordBatch.from_arrays([pa.array([b"x"], pa.binary())], schema=BODY_ONLY)
            writer.write_batch(records, {wire.KEY: b" " * METADATA_BYTES})
        whole = stream.getvalue().to_pybytes()
        schema_end = 8 + struct.unpack_from("<I", whole, 4)[0]
        start = schema_end + 8
        size = start + struct.unpack_from("<I", whole, schema_end + 4)[0]
        assert size % 8 == 0
        self.size: int = size
        self.bytes = whole[:size]
        message = _behind(whole, start)
        batch = _behind(whole, _field(whole, message, 2))
        pair = _behind(whole, _behind(whole, _field(whole, message, 4)) + 4)
        self.body_length = _field(whole, message, 3)
        self.rows = _field(whole, batch, 0)
        self.node = _behind(whole, _field(whole, batch, 1)) + 4
        self.buffers = _behind(whole, _field(whole, batch, 2)) + 4
        self.metadata = _behind(whole, _field(whole, pair, 1)) + 4
        assert whole[self.metadata : self.metadata + METADATA_BYTES] == b" " * METADATA_BYTES


_HEAD = _Head()
HEAD_BYTES = _HEAD.size


def needed(block_bytes: int) -> int:
    """Bytes of memory for a frame whose block has so many."""
    return HEAD_BYTES + block_bytes + block_bytes // _OFFSETS_SHARE + 2 * _ALIGN + len(_END)


def room(memory: memoryview, block_bytes: int) -> memoryview:
    """The part of `memory` (`needed(block_bytes)` of it) that a block is to be read into."""
    return memory[HEAD_BYTES : HEAD_BYTES + block_bytes]


def lies_in(batch: EventBatch, memory: memoryview) -> bool:
    """True when the batch is nothing but a block that begins where the room of that memory begins."""
    if batch.records.num_columns != 1 or not batch.rows:
        return False
    body = batch.raw_body
    validity, _, block = body.buffers()
    if validity is not None or body.offset or block is None:
        return False
    address: int = pa.py_buffer(memory).address
    return bool(block.address == address + HEAD_BYTES)


def block_sum(frame: memoryview, checksum: int, batch: EventBatch) -> tuple[int, int] | None:
    """Bytes of the block of a batch that was decoded from a frame, and their CRC-32; None where it is not in place.

    Args:
        frame, checksum: what `complete` made, and its CRC-32, which was checked: the block is not looked at.
    """
    if not lies_in(batch, frame):
        return None
    block_bytes = int(np.frombuffer(batch.raw_body.buffers()[1], np.int32, batch.rows + 1)[-1])
    end = frame[HEAD_BYTES + block_bytes :]
    head_and_block = checksum_before(checksum, isal_zlib.crc32(end), len(end))
    return block_bytes, checksum_behind(head_and_block, isal_zlib.crc32(frame[:HEAD_BYTES]), block_bytes)


class Completed(NamedTuple):
    """A batch in place: the bytes used, those of its block, and the block's CRC-32 if it is known."""

    used: int
    block_bytes: int
    checksum: int | None


def complete(batch: EventBatch, memory: memoryview) -> Completed | None:
    """Writes what belongs around the block of a batch that `lies_in` memory; None: no room for it.

    The block itself, which the batch shares, is not touched, so this can be done again.
    """
    metadata = wire.metadata_of(batch)
    _, offsets, _ = batch.raw_body.buffers()
    offset_bytes = _OFFSET_BYTES * (batch.rows + 1)
    values = np.frombuffer(offsets, np.int32, batch.rows + 1)
    block_bytes = int(values[-1])
    offsets_at = -(-block_bytes // _ALIGN) * _ALIGN
    body_length = -(-(offsets_at + offset_bytes) // _ALIGN) * _ALIGN
    used: int = HEAD_BYTES + body_length + len(_END)
    if len(metadata) > METADATA_BYTES or used > len(memory):
        return None
    head = _HEAD
    memory[:HEAD_BYTES] = head.bytes
    # Nobody reads these bytes before the put is committed: `pack_into`, which clears them first, does no harm here.
    struct.pack_into("<q", memory, head.body_length, body_length)
    struct.pack_into("<q", memory, head.rows, batch.rows)
    struct.pack_into("<2q", memory, head.node, batch.rows, 0)
    struct.pack_into("<6q", memory, head.buffers, 0, 0, offsets_at, offset_bytes, 0, block_bytes)
    memory[head.metadata : head.metadata + len(metadata)] = metadata
    start = HEAD_BYTES + offsets_at
    memory[start : start + offset_bytes] = memoryview(values.data).cast("B")
    memory[used - len(_END) : used] = _END
    summed_bytes, checksum = batch.block_sum or (-1, 0)
    return Completed(used, block_bytes, checksum if summed_bytes == block_bytes else None)
