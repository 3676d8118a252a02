"""A stage: rows that count already and wait in the state directory until a file of columns is made of them.

A file of columns can't be read before it is closed, and can't be gone on with by another process. So rows go to a stage
first, which can: an Arrow IPC stream of uncompressed record batches, one a piece of a transaction, with the columns
that the file will have, bodies as they came (`bodies.py`)::

    schema | record batch ... record batch | end (8 bytes, when the stage is whole)

It is a rolling file like others: `RollingFiles` writes it, the journal says how much of it counts, a death cuts it to
that. What counts is read back while the stage grows, a group of rows at a time, out of the page cache and without a
copy.

Compressing a stage with lz4 was tried: it costs a third more of the processor's time than writing the bytes as they
are, for half the room on the disk.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.config.field import Options
from shipper.files.columns.places import OPEN_SUFFIX, WHOLE_SUFFIX
from shipper.files.columns.rows import Rows
from shipper.files.columns.schema import Columns
from shipper.files.open_file import Recipe
from shipper.serializers.serializer import Bytes, Serializer

_END = b"\xff\xff\xff\xff\0\0\0\0"
_PAGE = mmap.ALLOCATIONGRANULARITY
_TRIM = b"shipper.trim"
#: Smaller pieces are joined: each one that is left is a system call.
_LARGE_BYTES = 256 << 10


class StageSerializer(Serializer[Options]):
    """Rows as the record batches of a stage.

    Its state is what the bodies of the stage end in: decided by the first rows, and said in the stage's schema.

    Args:
        messages: makes record batches.
    """

    Options = Options
    aliases = ()

    def __init__(self, rows: Rows, messages: _Messages, clock: Clock, state: str | None = None) -> None:
        super().__init__(Options(), clock, state)
        self._rows = rows
        self._messages = messages
        self._trim = None if state is None else int(state)

    def header(self) -> Bytes:
        return memoryview(self._rows.schema.with_metadata({_TRIM: str(self._trim)}).serialize())

    def serialize(self, batch: EventBatch) -> Bytes:
        return b"".join(self.pieces(batch))

    def pieces(self, batch: EventBatch) -> Sequence[Bytes]:
        """The rows as one record batch.

        Raises:
            Refused: some can't be rows of such a file.
        """
        trim = batch.trim if self._trim is None else self._trim
        found = self._messages.of(self._rows.of(batch, trim))
        self._trim = trim
        return found

    def footer(self) -> Bytes:
        return _END

    def state(self) -> str | None:
        return None if self._trim is None else str(self._trim)


class _Messages:
    """Record batches as Arrow's writer of streams makes them, with the columns where they lie: nothing is copied."""

    closed = False

    def __init__(self, schema: pa.Schema) -> None:
        self._found: list[Bytes] = []
        self._writer = pa.ipc.new_stream(pa.PythonFile(self, mode="w"), schema)
        self._writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema))  # the schema comes before the first

    def of(self, rows: pa.RecordBatch) -> Sequence[Bytes]:
        """One record batch, in pieces."""
        self._found = []
        self._writer.write_batch(rows)
        found, self._found = self._found, []
        pieces: list[Bytes] = []
        start = 0
        for place in [place for place, piece in enumerate(found) if len(piece) >= _LARGE_BYTES]:
            pieces += b"".join(found[start:place]), found[place]
            start = place + 1
        return [*pieces, b"".join(found[start:])]

    def write(self, data: Bytes | pa.Buffer) -> int:
        self._found.append(data if isinstance(data, bytes) else memoryview(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""


def stage_recipe(columns: Columns, unreadable: Callable[[str, int, str], None] = lambda *_: None) -> Recipe:
    """What the bytes of stages are. Stages with other columns are not gone on with, but made into files as they are.

    Args:
        unreadable: as for `Rows`.
    """
    rows = Rows(columns, unreadable)
    messages = _Messages(rows.schema)

    def make(clock: Clock, state: str | None) -> Serializer[Any]:
        return StageSerializer(rows, messages, clock, state)

    return Recipe(f"stage with delimiters({columns})", make)


class StageReader:
    """Reads what counts of a stage, from its start on.

    Args:
        path: of the stage, without its suffix.

    Attributes:
        position: bytes that were read.
        schema: of the rows.
        trim: bytes at the end of each body that do not belong to it.
    """

    def __init__(self, path: str) -> None:
        self.position = 0
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._descriptor = os.open(path + OPEN_SUFFIX, flags)
        except FileNotFoundError:  # it may have become whole just now
            self._descriptor = os.open(path + WHOLE_SUFFIX, flags)
        self.schema: pa.Schema | None = None
        self.trim = 0

    def read(self, end: int, bytes_max: int) -> list[pa.RecordBatch]:
        """The next record batches: so many that they have `bytes_max` bytes, or all up to `end`.

        Args:
            end: how much of the stage counts; what is behind it may change. The end of a record batch.

        Returns:
            Batches that lie in the page cache: whoever keeps them keeps it mapped.
        """
        found: list[pa.RecordBatch] = []
        if end <= self.position:
            return found
        start = self.position // _PAGE * _PAGE
        mapped = mmap.mmap(self._descriptor, end - start, offset=start, access=mmap.ACCESS_READ)
        source = pa.BufferReader(pa.py_buffer(mapped))
        source.seek(self.position - start)
        if self.schema is None:
            found_schema = pa.ipc.read_schema(source)
            self.trim = int((found_schema.metadata or {}).get(_TRIM, 0))
            self.schema = found_schema.remove_metadata()
            self.position = start + source.tell()
        size = 0
        while size < bytes_max and self.position < end:
            try:
                message = pa.ipc.read_message(source)
            except EOFError:  # the end of a stage that is whole
                self.position = end
                break
            found.append(pa.ipc.read_record_batch(message, self.schema))
            read = start + source.tell()
            size += read - self.position
            self.position = read
        return found

    def close(self) -> None:
        """Gives the descriptor back; safe to call twice."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
