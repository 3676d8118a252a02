"""One file that is being written: its bytes, and how many of them count.

What a transaction adds is gathered, and a codec sees all of it at once: it becomes one member of the file. In three
steps: `write` and `finish` gather, `pack` makes the bytes, so that it is known how long the file will be, and `push`
hands them to the store. Dying before `push` nobody has seen any of them.

`progress()` says how far the file gets; what a transaction added is taken back by `cut_back()`, down to what the
journal's record of it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from shipper.batch.batch import EventBatch
from shipper.checksums import checksum_together
from shipper.clock import Clock
from shipper.files.compress import Codec
from shipper.files.extent import Extent, last_of, tail_of
from shipper.files.journal_record import FileRecord, Progress
from shipper.files.packers import Packers
from shipper.files.store import Store, StoreFile
from shipper.serializers.serializer import Bytes, Serializer

#: Pieces that are smaller than that are written in one call.
_SMALL_BYTES = 64 << 10


@dataclass(frozen=True)
class Recipe:
    """What the bytes of a sink's files are.

    Attributes:
        name: two recipes with one name can go on with each other's files.
        serializer: makes one for a file, from the state that was journalled (None for a new file).
        codec: None writes what the serializer says as it is.
        packers: run the codec; None = the caller does.
    """

    name: str
    serializer: Callable[[Clock, str | None], Serializer[Any]]
    codec: Codec | None = None
    packers: Packers | None = None


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
        self._pieces: list[Bytes] = []  # as they were serialized
        self._checksum: int | None = None  # CRC-32 of them all, where nobody has to look at them for it
        self._place: tuple[str, int] | None = None  # of the frame whose block is all that was gathered
        self._packed: list[Bytes] = []  # as they will be in the file
        self._has_end = False
        self._last = b""  # of what was packed
        self.rows = self.body_bytes = self.length = 0
        self._serializer: Serializer[Any]
        self._resume(_counted(record.progress) if record.progress is not None else Point(0, 0, 0, None))

    def write(self, batch: EventBatch) -> None:
        """Adds rows: views of the batch, for all that anybody knows, until they were pushed.

        Raises:
            Refused: the serializer will never take some of them; none is in the file.
        """
        pieces = self._serializer.pieces(batch)  # it may refuse rows: then the file is as it was
        if self.length == 0 and not self._pieces and len(header := self._serializer.header()):
            self._pieces.append(header)
        if (codec := self._recipe.codec) is not None:
            self._place = None if self._pieces or len(pieces) > 1 or not batch.is_block(pieces[0]) else batch.place
            if codec.parts is not None and codec.parts.sums:
                self._checksum = self._sum_with(batch, pieces)
        self.rows += batch.rows
        self._pieces += pieces

    @property
    def packs_blocks(self) -> bool:
        """True when what is gathered is the block of a frame as it is, and the next one could be packed ahead."""
        return self._place is not None and bool(self._pieces) and self._recipe.packers is not None

    def pack_ahead(self, batch: EventBatch) -> None:
        """Begins to pack the block of a batch that is likely to be written next; it is not in the file by that."""
        codec, packers = self._recipe.codec, self._recipe.packers
        block = batch.lines() if batch.trim == 1 else b""
        if codec is None or packers is None or batch.place is None or not batch.is_block(block):
            return
        summed = codec.parts is None or not codec.parts.sums or batch.sum_of(block) is not None
        if summed:
            packers.ahead(codec, block, batch.place)

    def _sum_with(self, batch: EventBatch, pieces: Sequence[Bytes]) -> int | None:
        """CRC-32 of what is gathered with these pieces of a batch behind it, where both are known."""
        known = batch.sum_of(pieces[0]) if len(pieces) == 1 else None
        if known is None or not self._pieces:
            return known
        return None if self._checksum is None else checksum_together(self._checksum, known, len(pieces[0]))

    def finish(self) -> None:
        """Ends the file: its last bytes are gathered, and the next `push` closes it."""
        footer = self._serializer.footer()
        if len(footer):
            self._pieces.append(footer)
            self._checksum = self._place = None
        self.finished = True

    def pack(self) -> None:
        """What was gathered gets the form that it will have in the file, as one member if there is a codec."""
        codec, packers = self._recipe.codec, self._recipe.packers
        packed: list[Bytes] = self._pieces
        if self._pieces and codec is not None:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            run = packers.pack(codec, data, self._checksum, self._place) if packers is not None else codec.pack(data)
            packed = [run if self.length else codec.begin + run]
        if self.finished and codec is not None and codec.end and (packed or self.length) and not self._has_end:
            packed = [*packed, codec.end]
            self._has_end = True
        self._pieces = []
        if not packed:
            return
        size = sum(map(len, packed))
        if len(packed) > 1 and size < len(packed) * _SMALL_BYTES:
            packed = [b"".join(packed)]
        self._packed += packed
        self.length += size
        # Where the store knows a file by its number, the last bytes are of use to who finds an entry that is half done.
        self._last = last_of(b"" if self._store.cuts else self._last, packed)

    def push(self) -> int:
        """What was gathered goes into the file; a finished one is then closed.

        Returns:
            The bytes that reached the store.

        Raises:
            OSError: part of them may be in the file; `cut_back` takes them out.
        """
        self.pack()
        pieces, self._packed = self._packed, []
        written = 0
        for piece in pieces:
            assert self._handle is not None, "the file is finished"
            self._handle.write(piece)
            written += len(piece)
        if self.finished:
            self.close()
        return written

    def progress(self) -> Progress:
        """How far it gets with what is packed, as the journal is to know it."""
        assert not self._pieces, "what is gathered has no length before it is packed"
        return Progress(
            self.record.number, self.length, self.rows, self.body_bytes, self._serializer.state(), self.finished,
            self._tail(),
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

    @property
    def identity(self) -> str:
        """Of the file that was made, or taken up. While it is open."""
        assert self._handle is not None, "the file is closed"
        return self._handle.identity

    def unlinked(self) -> bool:
        """True when somebody removed the file under us."""
        return self._handle is not None and self._handle.unlinked()

    def close(self) -> None:
        """Gives the descriptor back; what was gathered is forgotten. The file stays as it is."""
        self._pieces, self._packed = [], []
        if self._handle is not None:
            handle, self._handle = self._handle, None
            handle.close()

    def _resume(self, point: Point) -> None:
        self.length, self.rows, self.body_bytes, state, pieces = point
        self._pieces, self._packed, self._has_end = list(pieces), [], False
        self._checksum = self._place = None
        self._serializer = self._recipe.serializer(self._clock, state)


def _counted(progress: Progress) -> Point:
    return Point(progress.length, progress.rows, progress.body_bytes, progress.state)
