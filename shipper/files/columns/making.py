"""A file in the making: the groups of rows that were read from its stage so far, packed, behind a name in use."""

from __future__ import annotations

import contextlib

import pyarrow as pa

from shipper.files.columns.format import ColumnsFormat, ColumnsWriter
from shipper.files.columns.room import Room
from shipper.files.columns.stage import StageReader
from shipper.files.extent import last_of, tail_of
from shipper.files.store import StoreFile


class Making:
    """Makes one file.

    Args:
        kind: of file.
        group_bytes: what a group of rows has at least in the stage, but for the last one.
        stage: path of the stage, without its suffix.
        room: where some of the stage may lie.
        handle: the file, empty.

    Attributes:
        rows: that are in it.
    """

    def __init__(
        self, kind: ColumnsFormat, codec: str, group_bytes: int, stage: str, room: Room, handle: StoreFile
    ) -> None:
        self._kind = kind
        self._codec = codec
        self._group_bytes = group_bytes
        self._output = _Output(handle)
        self._native = pa.PythonFile(self._output, mode="w")
        self._writer: ColumnsWriter | None = None
        self.rows = 0
        try:
            self._stage = StageReader(stage, room)
        except BaseException:
            handle.close()
            raise

    @property
    def read_bytes(self) -> int:
        """How much of the stage is in it."""
        return self._stage.position

    @property
    def written_bytes(self) -> int:
        """How large it is."""
        return self._output.length

    def add(self, end: int) -> None:
        """Adds one group of the rows that the stage has up to `end`: all of them when they are not enough for one.

        Raises:
            OSError: the store or the stage failed; `abandon` must follow.
        """
        batches = self._stage.read(end, self._group_bytes)
        assert self._stage.schema is not None, "what counts of a stage has its schema"
        if self._writer is None:
            self._writer = self._kind.open_writer(self._native, self._stage.schema, self._codec, self._group_bytes)
        if batches:
            table = pa.Table.from_batches(batches)
            self._writer.write(table, self._stage.trim)
            self.rows += table.num_rows
        self._output.check()

    def finish(self) -> None:
        """Ends the file. Raises as `add`."""
        assert self._writer is not None, "a stage with rows was read"
        self._writer.close()
        self._output.check()
        self._stage.close()

    def flushed(self) -> None:
        """The store has what was written safe: the file is closed."""
        self._output.handle.close()

    @property
    def tail(self) -> str | None:
        """Of the file, as `Extent` has it."""
        return tail_of(self._output.last)

    def abandon(self) -> None:
        """Gives everything back; what is written of the file is of no use."""
        # Arrow's writers end their files when they are forgotten, whatever happened before.
        self._output.dead = True
        with contextlib.suppress(Exception):
            if self._writer is not None:
                self._writer.close()
        self._stage.close()
        with contextlib.suppress(OSError):
            self._output.handle.take_back()
            self._output.handle.close()


class _Output:
    """What Arrow writes to.

    An error is kept until `check`: Arrow's writer of ORC ends the process when one is raised while it closes a file.
    """

    closed = False

    def __init__(self, handle: StoreFile) -> None:
        self.handle = handle
        self.length = 0
        self.last = b""
        self.dead = False
        self._error: BaseException | None = None

    def write(self, data: bytes) -> int:
        if not self.dead:
            try:
                self.handle.write(data)
            except BaseException as error:
                self.dead, self._error = True, error
            self.length += len(data)
            self.last = last_of(self.last, [data])
        return len(data)

    def check(self) -> None:
        """Raises what `write` could not."""
        if self._error is not None:
            raise self._error

    def tell(self) -> int:
        return self.length

    def flush(self) -> None:
        """What was written is in the store already."""

    def close(self) -> None:
        """Ends nothing: the one who opened the file closes it."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
