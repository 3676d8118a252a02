"""One file that is being written: its bytes, and how many of them count.

`progress()` says how far it has got; what a transaction added is taken back by `cut_back()`, down to what the journal's
record of it says. A codec sees the rows of a whole transaction at once: the pieces are gathered, and become one
member of the file when it is flushed or finished. Where the store does not cut, everything is gathered, and reaches it
when the file is flushed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.files.compress import Codec
from shipper.files.extent import Extent, last_of, tail_of
from shipper.files.journal import FileRecord, Progress
from shipper.files.store import Store, StoreFile
from shipper.serializers.serializer import Bytes, Serializer


@dataclass(frozen=True)
class Recipe:
    """What the bytes of a sink's files are.

    Attributes:
        name: two recipes with one name can go on with each other's files.
        serializer: makes one for a file, from the state that was journalled (None for a new file).
        codec: None writes what the serializer says as it is.
    """

    name: str
    serializer: Callable[[Clock, str | None], Serializer[Any]]
    codec: Codec | None = None


class Point(NamedTuple):
    """A place in a file that is being written: what is in it, and what a codec has gathered for it."""

    length: int
    rows: int
    body_bytes: int
    state: str | None
    pieces: tuple[Bytes, ...] = ()


class OpenFile:
    """A file open for writing.

    Args:
        record: as the journal has it; `progress` is None for a new file, whose header is then to be written.

    Attributes:
        rows, body_bytes: what is in it, of this transaction too.
        due_s: when it is finished at the latest, on the monotonic clock; None = never.
        written_s: when the last rows came, on the monotonic clock.
        finished: it takes no more.
    """

    def __init__(
        self, store: Store, recipe: Recipe, clock: Clock, record: FileRecord, handle: StoreFile, due_s: float | None
    ) -> None:
        self.record = record
        self.due_s = due_s
        self.written_s = clock.monotonic_s()
        self.finished = False
        self._store = store
        self._recipe = recipe
        self._clock = clock
        self._handle: StoreFile | None = handle
        self._gathers = recipe.codec is not None or not store.cuts
        self._pieces: list[Bytes] = []
        self._last = b""  # of what was written, where the store knows a file by that
        self.rows = self.body_bytes = self.length = 0
        self._serializer: Serializer[Any]
        self._resume(_counted(record.progress) if record.progress is not None else Point(0, 0, 0, None))

    def write(self, batch: EventBatch) -> int:
        """Adds rows. Returns the bytes that reached the store now; 0 when a codec gathers.

        Raises:
            OSError: part of the rows may be in the file; `cut_back` takes them out.
            Refused: the serializer will never take some of them; none is in the file.
        """
        pieces = self._serializer.pieces(batch)  # it may refuse rows: then the file is as it was
        written = 0
        if self.length == 0 and not self._pieces and len(header := self._serializer.header()):
            written = self._put(header)
        self.rows += batch.rows
        return written + sum(map(self._put, pieces))

    def push(self) -> int:
        """What was gathered goes into the file, as one member if there is a codec; a finished file is then closed.

        Returns the bytes that reached the store.
        """
        written = 0
        codec = self._recipe.codec
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            if codec is not None:
                packed = codec.pack(data)
                data = packed if self.length else codec.begin + packed
            self._pieces.clear()
            written = self._append(data)
        if self.finished and self._handle is not None:
            if codec is not None and codec.end and self.length:
                written += self._append(codec.end)
            self.close()
        return written

    def finish(self) -> int:
        """Ends the file: its last bytes are written and it is closed, by the next `push` where the store does not cut.

        Returns the bytes that reached the store.
        """
        footer = self._serializer.footer()
        written = self._put(footer) if len(footer) else 0
        self.finished = True
        return written + self.push() if self._store.cuts else written

    def progress(self) -> Progress:
        """How far it has got, as the journal is to know it. Everything gathered must have been pushed."""
        return Progress(
            self.record.number, self.length, self.rows, self.body_bytes, self._serializer.state(), self.finished,
            None if self._store.cuts else self._tail(),
        )  # fmt: skip

    def _tail(self) -> str | None:
        before = self.record.progress
        return tail_of(self._last) or (before.tail if before is not None and before.length == self.length else None)

    def point(self) -> Point:
        """Where the file is now, to come back to."""
        return Point(self.length, self.rows, self.body_bytes, self._serializer.state(), tuple(self._pieces))

    def back_to(self, point: Point) -> None:
        """Takes out what was added behind a point.

        Raises:
            FileNotFoundError: the file is not there any more, or another one has its name.
            OSError: it is as it was; to be tried again.
        """
        if self._handle is None or self._handle.take_back() != point.length:
            self.close()
            self._handle = self._store.append(self.record.path, Extent(point.length, self.record.identity))
        if self.length != point.length:
            self._last = b""
        self._resume(point)
        self.finished = False

    def cut_back(self) -> None:
        """Takes out what does not count; the file must have something that does. Raises as `back_to`."""
        assert self.record.progress is not None, "a file of which nothing counts is removed, not cut"
        self.back_to(_counted(self.record.progress))

    def takes_back(self) -> bool:
        """True when nothing that does not count has reached the store, so that `cut_back` costs nothing."""
        progress = self.record.progress
        return progress is not None and self._handle is not None and self._handle.take_back() == progress.length

    def unlinked(self) -> bool:
        """True when somebody removed the file under us."""
        return self._handle is not None and self._handle.unlinked()

    def close(self) -> None:
        """Gives the descriptor back; what was gathered is forgotten. The file stays as it is."""
        self._pieces.clear()
        if self._handle is not None:
            handle, self._handle = self._handle, None
            handle.close()

    def _put(self, data: Bytes) -> int:
        if self._gathers:
            self._pieces.append(data)
            return 0
        return self._append(data)

    def _append(self, data: Bytes) -> int:
        assert self._handle is not None, "the file is finished"
        self._handle.write(data)
        self.length += len(data)
        if not self._store.cuts:
            self._last = last_of(self._last, data)
        return len(data)

    def _resume(self, point: Point) -> None:
        self.length, self.rows, self.body_bytes, state, pieces = point
        self._pieces = list(pieces)
        self._serializer = self._recipe.serializer(self._clock, state)


def _counted(progress: Progress) -> Point:
    return Point(progress.length, progress.rows, progress.body_bytes, progress.state)
