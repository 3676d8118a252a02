"""Finding events in a block of bytes: offsets, no event objects.

A block is cut at its delimiters by one numpy scan; the rows of the batch then *are* the block, with an offset a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from shipper.batch import kernels as pc
from shipper.batch.line_scan import LineScan, Offsets
from shipper.batch.schema import BODY_ONLY


def line_ends(block: memoryview | bytes | bytearray) -> Offsets:
    """Arrow offsets of the lines in a block that is whole already; see `LineScan.ends`."""
    return LineScan.of(block).ends()


def rows_of(block: pa.Buffer | memoryview | bytes | bytearray, offsets: Offsets) -> pa.RecordBatch:
    """The rows between `offsets` of `block`, as a record batch that shares both."""
    buffer = block if isinstance(block, pa.Buffer) else pa.py_buffer(block)
    array = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), buffer])
    return pa.RecordBatch.from_arrays([array], schema=BODY_ONLY)


def strip_carriage_returns(
    block: memoryview | bytes | bytearray, offsets: Offsets, *, has_return: bool = True
) -> tuple[pa.RecordBatch, int]:
    """The lines of `block` without `\\n` and one preceding `\\r`: (records, trim).

    No copy when no line ends in `\\r\\n` (trim 1) or every line does (trim 2); else the bodies are copied (trim 0).

    Args:
        has_return: False when it is known that no `\\r` stands in the block.
    """
    records = rows_of(block, offsets)
    ends = offsets[1:]
    if not has_return:
        return records, 1
    view = np.frombuffer(block, np.uint8)
    # A line of one byte is the bare newline; its "byte before" would belong to the line before it.
    ends_in_cr = view.take(ends - 2, mode="clip") == 13
    if not ends_in_cr.any():
        return records, 1
    ends_in_cr &= np.diff(offsets) > 1
    if ends_in_cr.all():
        return records, 2
    if not ends_in_cr.any():
        return records, 1
    stops = ends - 1 - ends_in_cr
    return rows_between(block, offsets[:-1], stops), 0


def rows_between(
    block: memoryview | bytes | bytearray | pa.Buffer,
    starts: np.ndarray[Any, Any],
    stops: np.ndarray[Any, Any],
) -> pa.RecordBatch:
    """The rows `block[starts[i]:stops[i]]`, copied together into a body column of their own.

    `starts` must not decrease and rows must not overlap.
    """
    # Interleave wanted and unwanted runs as rows of one array, then keep the wanted ones: a filter is one copy in C.
    edges = np.empty(2 * len(starts) + 1, np.int32)
    edges[0:-1:2] = starts
    edges[1::2] = stops
    edges[-1] = stops[-1] if len(stops) else 0
    buffer = block if isinstance(block, pa.Buffer) else pa.py_buffer(block)
    runs = pa.Array.from_buffers(pa.binary(), len(edges) - 1, [None, pa.py_buffer(edges), buffer])
    wanted = np.zeros(len(edges) - 1, np.bool_)
    wanted[0::2] = True
    return pa.RecordBatch.from_arrays([pc.filter(runs, pa.array(wanted))], schema=BODY_ONLY)
