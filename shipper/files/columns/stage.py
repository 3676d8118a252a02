"""A stage: rows that count already and wait in the state directory until a file of columns is made of them.

A file of columns can't be read before it is closed, and can't be gone on with by another process. So rows go to a stage
first, which can: an Arrow IPC stream of uncompressed record batches, one a piece of a transaction, with the columns
that the file will have, bodies as they came (`bodies.py`)::

    schema | record batch ... record batch | end (8 bytes, when the stage is whole)

It is a rolling file like others: `RollingFiles` writes it, the journal says how much of it counts, a death cuts it to
that. What counts is read while the stage grows, a group of rows at a time and without a copy: large record batches
where they lie still (`room.py`), others out of the page cache.

So that they can be written from there, large record batches begin and end with a block of the disk: there are zeros
behind what Arrow says of their columns. A stage of small ones, which are written when rows trickle in, has none.

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
from shipper.files.columns.room import BLOCK_BYTES, Room
from shipper.files.columns.rows import Rows
from shipper.files.columns.schema import Columns
from shipper.files.open_file import Recipe
from shipper.serializers.serializer import Bytes, Serializer

_END = b"\xff\xff\xff\xff\0\0\0\0"
_PAGE = mmap.ALLOCATIONGRANULARITY
_TRIM = b"shipper.trim"
#: Smaller pieces are joined: each one that is left is a system call. A record batch with a larger one is made blocks.
_LARGE_BYTES = 256 << 10
#: At the start of each part of a stream, and of the size of what Arrow says next.
_MARK_BYTES, _SIZE_BYTES = 4, 4


class StageSerializer(Serializer[Options]):
    """Rows as the record batches of a stage.

    Its state is what the bodies of the stage end in, which is decided by the first rows and said in the stage's schema,
    and how far the stage reaches into its last block.

    Args:
        messages: makes record batches.
    """

    Options = Options
    aliases = ()

    def __init__(self, rows: Rows, messages: _Messages, clock: Clock, state: str | None = None) -> None:
        super().__init__(Options(), clock, state)
        self._rows = rows
        self._messages = messages
        self._trim: int | None = None
        self._over = 0
        if state is not None:
            self._trim, self._over = map(int, state.split())

    def header(self) -> Bytes:
        schema = bytes(self._rows.schema.with_metadata({_TRIM: str(self._trim)}).serialize())
        return b"".join(filled([schema], -len(schema) % BLOCK_BYTES))

    def serialize(self, batch: EventBatch) -> Bytes:
        return b"".join(self.pieces(batch))

    def pieces(self, batch: EventBatch) -> Sequence[Bytes]:
        """The rows as one record batch.

        Raises:
            Refused: some can't be rows of such a file.
        """
        trim = batch.trim if self._trim is None else self._trim
        found, size = self._messages.of(self._rows.of(batch, trim), self._over)
        self._trim, self._over = trim, (self._over + size) % BLOCK_BYTES
        return found

    def footer(self) -> Bytes:
        return _END

    def state(self) -> str | None:
        return None if self._trim is None else f"{self._trim} {self._over}"


class _Messages:
    """Record batches as Arrow's writer of streams makes them.

    Args:
        room: where large ones are laid down. Of others the columns stay where they lie.
    """

    closed = False

    def __init__(self, schema: pa.Schema, room: Room) -> None:
        self._room = room
        self._found: list[Bytes] = []
        self._writer = pa.ipc.new_stream(pa.PythonFile(self, mode="w"), schema)
        self._writer.write_batch(pa.RecordBatch.from_pylist([], schema=schema))  # the schema comes before the first

    def of(self, rows: pa.RecordBatch, over: int) -> tuple[Sequence[Bytes], int]:
        """One record batch, in pieces, and the bytes of all.

        Args:
            over: how far what is before it reaches into its last block.
        """
        self._found = []
        self._writer.write_batch(rows)
        found, self._found = self._found, []
        size = sum(map(len, found))
        if max(map(len, found)) >= _LARGE_BYTES:
            fill = -(over + size) % BLOCK_BYTES
            found, size = filled(found, fill), size + fill
            if not over and (laid := self._room.lay(found, size)) is not None:
                return [laid], size
        pieces: list[Bytes] = []
        start = 0
        for place in [place for place, piece in enumerate(found) if len(piece) >= _LARGE_BYTES]:
            pieces += b"".join(found[start:place]), found[place]
            start = place + 1
        return [*pieces, b"".join(found[start:])], size

    def write(self, data: Bytes | pa.Buffer) -> int:
        self._found.append(data if isinstance(data, bytes) else memoryview(data).cast("B"))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""


def filled(pieces: Sequence[Bytes], fill: int) -> list[Bytes]:
    """A part of a stream with so many zeros more behind what Arrow says of its columns, before the columns."""
    begin, head, place = _MARK_BYTES + _SIZE_BYTES, b"", 0
    end = begin
    while len(head) < end or end == begin:
        head += bytes(pieces[place])
        place += 1
        end = begin + int.from_bytes(head[_MARK_BYTES:begin], "little")
    size = (end - begin + fill).to_bytes(_SIZE_BYTES, "little")
    return [head[:_MARK_BYTES], size, head[begin:end], bytes(fill), head[end:], *pieces[place:]]


def stage_recipe(columns: Columns, room: Room, unreadable: Callable[[str, int, str], None] = lambda *_: None) -> Recipe:
    """What the bytes of stages are. Stages with other columns are not gone on with, but made into files as they are.

    Args:
        unreadable: as for `Rows`.
    """
    rows = Rows(columns, unreadable)
    messages = _Messages(rows.schema, room)

    def make(clock: Clock, state: str | None) -> Serializer[Any]:
        return StageSerializer(rows, messages, clock, state)

    return Recipe(f"stage of blocks({columns})", make)


class StageReader:
    """Reads what counts of a stage, from its start on.

    Args:
        path: of the stage, without its suffix.
        room: where some of it may lie still.

    Attributes:
        position: bytes that were read.
        schema: of the rows.
        trim: bytes at the end of each body that do not belong to it.
    """

    def __init__(self, path: str, room: Room) -> None:
        self.position = 0
        self._path = path
        self._room = room
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
            Batches that lie in the room or in the page cache: whoever keeps them keeps it there.
        """
        found: list[pa.RecordBatch] = []
        mapped: _Mapped | None = None
        last = min(end, self.position + bytes_max)
        while self.position < last:
            if (laid := self._room.take(self._path, self.position)) is not None:
                message = pa.ipc.read_message(pa.py_buffer(laid))
                self.position += len(laid)
            else:
                mapped = mapped or _Mapped(self._descriptor, self.position, end)
                try:
                    self.position, message = mapped.message(self.position)
                except EOFError:  # the end of a stage that is whole
                    self.position = end
                    break
            if self.schema is None:
                schema = pa.ipc.read_schema(message)
                self.trim = int((schema.metadata or {}).get(_TRIM, 0))
                self.schema = schema.remove_metadata()
                last = min(end, self.position + bytes_max)
            else:
                found.append(pa.ipc.read_record_batch(message, self.schema))
        return found

    def close(self) -> None:
        """Gives the descriptor back; safe to call twice."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class _Mapped:
    """What a file has from one place to another one, as it is in the page cache."""

    def __init__(self, descriptor: int, position: int, end: int) -> None:
        self._start = position // _PAGE * _PAGE
        mapped = mmap.mmap(descriptor, end - self._start, offset=self._start, access=mmap.ACCESS_READ)
        self._source = pa.BufferReader(pa.py_buffer(mapped))

    def message(self, position: int) -> tuple[int, pa.ipc.Message]:
        """Where the one ends that begins at a position, and it. Raises EOFError at the end of the stream."""
        self._source.seek(position - self._start)
        message = pa.ipc.read_message(self._source)
        return self._start + self._source.tell(), message
