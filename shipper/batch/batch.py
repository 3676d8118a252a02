"""A batch: the unit of data. Rows of one body column and a column a header, immutable.

The body column may share its source's block with the delimiters still in place (`trim` says how many bytes each row
carries at its end); whether it does is the batch's secret. `lines()` gives a text sink the block as it is, `body`
gives everybody else the bodies alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from shipper.batch import kernels as pc
from shipper.batch.schema import BODY, BODY_ONLY, HEADER, NULL_HEADER

Headers = Mapping[str, str | None]
_DELIMITERS = (b"", b"\n", b"\r\n")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows came from, as their source can find the place again.

    Attributes:
        stream: what is read (a file's identity, a connection); the source's own words.
        start: position of the first byte (or number) that these rows cover.
        end: position behind the last one; reading goes on here.
        anchor: what must still be true of the stream for `end` to be used (a checksum of bytes before it, a path).
    """

    stream: str
    start: int
    end: int
    anchor: str = ""


class EventBatch:
    """Rows of events.

    A batch that came out of a channel is a *view*: its buffers lie in the channel and are valid until the take
    transaction ends. What must live longer calls `own()`.

    Args:
        records: a `body` column (pa.binary) and any of the columns of `schema`.
        trim: 0, 1 or 2: each body still ends in nothing, `\\n` or `\\r\\n`.
        constants: headers that all rows have with the same value.
        origins: where the rows came from, in order; empty for sources that can't be replayed.
    """

    __slots__ = (
        "_body", "_body_bytes", "_raw_body", "block_sum",
        "constants", "find_sum", "origins", "place", "records", "rows", "trim",
    )  # fmt: skip

    def __init__(
        self,
        records: pa.RecordBatch,
        *,
        trim: int = 0,
        constants: Headers | None = None,
        origins: Sequence[Origin] = (),
    ) -> None:
        self.records = records
        #: Events in the batch.
        self.rows = int(records.num_rows)
        self.trim = trim
        self.constants: dict[str, str | None] = dict(constants) if constants else {}
        self.origins = tuple(origins)
        #: How many bytes of the block that the bodies share with their source have which CRC-32, when that is known.
        self.block_sum: tuple[int, int] | None = None
        #: Finds that where it is not worth the time before somebody asks.
        self.find_sum: Callable[[EventBatch], tuple[int, int] | None] | None = None
        #: Lane and position of the frame that the rows are all of, where they came out of one.
        self.place: tuple[str, int] | None = None
        self._body: pa.BinaryArray | None = None
        self._body_bytes = -1
        self._raw_body: pa.BinaryArray | None = None

    @classmethod
    def of(cls, bodies: Sequence[bytes] | pa.BinaryArray, headers: Sequence[Headers] | None = None) -> EventBatch:
        """A batch from Python values: for tests, tools and sources of single events, not for the data path."""
        body = bodies if isinstance(bodies, pa.Array) else pa.array(bodies, pa.binary())
        names: dict[str, None] = {}
        for row in headers or ():
            names.update(dict.fromkeys(row))
        columns = {BODY: body}
        for name in names:
            columns[HEADER + name] = pa.array([row.get(name) for row in headers or ()], pa.string())
            missing = [name in row and row[name] is None for row in headers or ()]
            if any(missing):
                columns[NULL_HEADER + name] = pa.array(missing)
        if len(columns) == 1:
            return cls(pa.RecordBatch.from_arrays([body], schema=BODY_ONLY))
        return cls(pa.RecordBatch.from_pydict(columns))

    # --- what is in it

    @property
    def body(self) -> pa.BinaryArray:
        """The bodies without their delimiters. Costs one pass over the bytes when the delimiters are in place."""
        if self._body is None:
            raw = self.raw_body
            self._body = pc.binary_slice(raw, 0, -self.trim) if self.trim and self.rows else raw
        return self._body

    @property
    def raw_body(self) -> pa.BinaryArray:
        """The bodies as they lie in memory, with `trim` bytes of delimiter at each end."""
        if self._raw_body is None:
            self._raw_body = self.records.column(0)
        return self._raw_body

    @property
    def body_bytes(self) -> int:
        """Sum of the lengths of the bodies, without delimiters."""
        if self._body_bytes < 0:
            start, end = self._span()
            self._body_bytes = end - start - self.trim * self.rows
        return self._body_bytes

    @property
    def size_bytes(self) -> int:
        """What the batch takes in a frame, about: body, offsets, headers."""
        return int(self.records.nbytes)

    def body_lengths(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Length of each body in bytes, without its delimiter: int32, one a row."""
        lengths = np.diff(self._offsets())
        return lengths - np.int32(self.trim) if self.trim else lengths

    def lines(self) -> memoryview:
        """The bodies, each followed by `\\n`, as one run of bytes. No copy when the block still has its newlines."""
        if self.trim == 1:
            start, end = self._span()
            return self._data()[start:end]
        if not self.rows:
            return memoryview(b"")
        joined = pc.binary_join_element_wise(self.body, pa.scalar(b"\n", pa.binary()), pa.scalar(b"", pa.binary()))
        # binary_join_element_wise(a, b, separator=b"") is a + b: the joined column's data buffer is the text.
        return _run(joined)

    def concatenated(self) -> memoryview:
        """The bodies one after the other with nothing between them, as one run of bytes."""
        return _run(self.body)

    # --- what is known of its bytes

    def is_block(self, run: bytes | bytearray | memoryview) -> bool:
        """True for bytes that this batch gave (`lines`), if they are all of the block that its bodies lie in."""
        block = self.raw_body.buffers()[2]
        return bool(block and block.size == len(run) and block.address == pa.py_buffer(run).address)

    def sum_of(self, run: bytes | bytearray | memoryview) -> int | None:
        """The CRC-32 of its whole block, where it is known without looking at it; None for anything else."""
        size_bytes, checksum = self.block_sum or (self.find_sum and self.find_sum(self)) or (-1, 0)
        return checksum if size_bytes == len(run) and self.is_block(run) else None

    def _with_sum(self, same: EventBatch) -> EventBatch:
        same.block_sum, same.find_sum, same.place = self.block_sum, self.find_sum, self.place
        return same

    # --- headers

    @property
    def header_names(self) -> list[str]:
        """Names of all headers that a row may have: the constants, then the columns, each in order of arrival."""
        names = dict.fromkeys(self.constants)
        names.update(dict.fromkeys(n[len(HEADER) :] for n in self.records.schema.names if n.startswith(HEADER)))
        return list(names)

    def has_header(self, name: str) -> bool:
        """True when some row may have the header."""
        return name in self.constants or self._index(HEADER + name) >= 0

    def header(self, name: str) -> pa.StringArray | None:
        """The values of a header, one a row, null where absent; None when no row has it.

        A constant is spread over all rows: ask `constants` first where one value will do.
        """
        index = self._index(HEADER + name)
        if index >= 0:
            return self.records.column(index)
        if name in self.constants:
            return pa.repeat(pa.scalar(self.constants[name], pa.string()), self.rows)
        return None

    def null_header(self, name: str) -> pa.BooleanArray | None:
        """True in rows where the header is present with a null value; None when no row is like that."""
        index = self._index(NULL_HEADER + name)
        return self.records.column(index) if index >= 0 else None

    def headers_of(self, row: int) -> dict[str, str | None]:
        """All headers of one row: for logs, tests and quarantine files, not for the data path."""
        found: dict[str, str | None] = dict(self.constants)
        for position, name in enumerate(self.records.schema.names):
            if name.startswith(HEADER):
                value = self.records.column(position)[row].as_py()
                mask = self.null_header(name[len(HEADER) :])
                if value is not None or (mask is not None and mask[row].as_py()):
                    found[name[len(HEADER) :]] = value
        return found

    def with_header(self, name: str, values: str | pa.StringArray | None) -> EventBatch:
        """A batch whose header `name` is `values`: one string for all rows, or one value a row (null = absent)."""
        bare = self.without_header(name)
        if not isinstance(values, pa.Array):
            bare.constants[name] = values
            return bare
        records = bare.records.append_column(pa.field(HEADER + name, pa.string()), values)
        return bare._like(records)

    def with_null_header(self, name: str, mask: pa.BooleanArray) -> EventBatch:
        """A batch in which the rows of `mask` have the header with a null value."""
        return self._like(self.records.append_column(pa.field(NULL_HEADER + name, pa.bool_()), mask))

    def without_header(self, name: str) -> EventBatch:
        """A batch in which no row has the header."""
        constants = {k: v for k, v in self.constants.items() if k != name}
        records = self.records
        for column in (HEADER + name, NULL_HEADER + name):
            if (index := records.schema.get_field_index(column)) >= 0:
                records = records.remove_column(index)
        bare = EventBatch(records, trim=self.trim, constants=constants, origins=self.origins)
        return self._with_sum(bare) if records is self.records else bare

    # --- other batches from this one

    def with_body(self, body: pa.BinaryArray) -> EventBatch:
        """A batch with other bodies (without delimiters), the same headers and origins."""
        columns = [body, *self.records.columns[1:]]
        records = pa.RecordBatch.from_arrays(columns, schema=self.records.schema)
        return EventBatch(records, trim=0, constants=self.constants, origins=self.origins)

    def with_origins(self, origins: Sequence[Origin]) -> EventBatch:
        """The same rows, with other origins."""
        return self._with_sum(EventBatch(self.records, trim=self.trim, constants=self.constants, origins=origins))

    def slice(self, start: int, rows: int | None = None) -> EventBatch:
        """Rows `start` to `start + rows` (to the end when None), sharing memory. Origins are not cut."""
        return self._like(self.records.slice(start, rows))

    def filter(self, mask: pa.BooleanArray) -> EventBatch:
        """The rows where `mask` is true, in order. Origins stay whole: they say what was read, not what was kept."""
        return self._like(self.records.filter(mask))

    def take(self, indices: pa.Array) -> EventBatch:
        """The rows at `indices`, in that order."""
        return self._like(self.records.take(indices))

    def own(self) -> EventBatch:
        """A copy that shares nothing with a channel's memory and so outlives the take transaction."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.records.schema) as writer:
            writer.write_batch(self.records)
        copied = pa.ipc.open_stream(sink.getvalue()).read_next_batch()
        return self._like(copied)

    # --- inside

    def _like(self, records: pa.RecordBatch) -> EventBatch:
        return EventBatch(records, trim=self.trim, constants=self.constants, origins=self.origins)

    def _index(self, column: str) -> int:
        return int(self.records.schema.get_field_index(column))

    def _offsets(self) -> np.ndarray[Any, np.dtype[np.int32]]:
        body = self.raw_body
        offsets = np.frombuffer(body.buffers()[1], np.int32, len(body) + 1 + body.offset) if len(body) else _NO_OFFSETS
        return offsets[body.offset :] if len(body) else offsets

    def _span(self) -> tuple[int, int]:
        offsets = self._offsets()
        return int(offsets[0]), int(offsets[-1])

    def _data(self) -> memoryview:
        data = self.raw_body.buffers()[2]
        return memoryview(data).cast("B") if data is not None else memoryview(b"")


_NO_OFFSETS = np.zeros(1, np.int32)


def _run(array: pa.BinaryArray) -> memoryview:
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not len(array) or array.buffers()[2] is None:
        return memoryview(b"")
    offsets = np.frombuffer(array.buffers()[1], np.int32, array.offset + len(array) + 1)
    return memoryview(array.buffers()[2]).cast("B")[int(offsets[array.offset]) : int(offsets[-1])]


def delimiter_of(trim: int) -> bytes:
    """The bytes that each body of a batch with this `trim` still ends in."""
    return _DELIMITERS[trim]
