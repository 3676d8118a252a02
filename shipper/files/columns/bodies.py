"""Bodies: the first column of a stage, in which each body may still end in its delimiter, as its source read it.

Bodies lie in the channel as lines do in a file: one run of bytes, newlines and all. To take the newlines out is a pass
over all bytes and costs as much as writing them to the stage. So the stage has them too, and whoever writes the file
sees to it: with `views`, which are places and lengths in that run of bytes, nothing is copied at all.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.batch.batch import EventBatch, delimiter_of

#: A body that is so short stands in its view itself.
_INLINE_BYTES = 12


def delimited(batch: EventBatch, trim: int) -> pa.BinaryArray:
    """The bodies of a batch, each with a delimiter of so many bytes: without a copy when they have that already."""
    if batch.trim == trim:
        return batch.raw_body
    if not trim:
        return batch.body
    delimiter, nothing = (pa.scalar(text, pa.binary()) for text in (delimiter_of(trim), b""))
    return pc.binary_join_element_wise(batch.body, delimiter, nothing)


def stripped(table: pa.Table, trim: int) -> pa.Table:
    """The rows without their delimiters: a copy of all bodies."""
    if not trim:
        return table
    field = table.schema.field(0)
    chunks = [
        pc.binary_slice(chunk.view(pa.binary()), 0, -trim).view(field.type) for chunk in table.column(0).chunks
    ]  # fmt: skip
    return table.set_column(0, field, pa.chunked_array(chunks, field.type))


def viewed(schema: pa.Schema) -> pa.Schema:
    """The columns of `views`."""
    field = schema.field(0)
    return schema.set(0, field.with_type(pa.string_view() if field.type == pa.string() else pa.binary_view()))


def views(table: pa.Table, trim: int) -> pa.Table:
    """The rows without their delimiters: no body is copied, unless it is very short."""
    field = viewed(table.schema).field(0)
    chunks = [_views(chunk, trim, field.type) for chunk in table.column(0).chunks]
    return table.set_column(0, field, pa.chunked_array(chunks, field.type))


def _views(body: pa.Array, trim: int, kind: pa.DataType) -> pa.Array:
    _, offsets_buffer, data = body.buffers()
    rows = len(body)
    offsets = np.frombuffer(offsets_buffer, np.int32)[body.offset : body.offset + rows + 1]
    # Length, four bytes of the body (nobody compares these values, so they are left out), number of the buffer, place.
    found = np.zeros((rows, 4), np.int32)
    lengths = found[:, 0]
    np.subtract(offsets[1:], offsets[:-1], out=lengths)
    lengths -= trim
    found[:, 3] = offsets[:-1]
    short = np.flatnonzero(lengths <= _INLINE_BYTES)
    if len(short):
        places = np.arange(_INLINE_BYTES)
        taken = np.frombuffer(data, np.uint8).take(offsets[short][:, None] + places, mode="clip")
        taken[places >= lengths[short][:, None]] = 0
        found[short, 1:] = taken.view(np.int32)
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(found), data])
