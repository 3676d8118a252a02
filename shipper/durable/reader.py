"""The take side of one lane of a log: peek, step, release; or rewind, and the same records come again.

It has the verbs of `ring.consumer.Consumer`. Records are copied from the window of the log's writer, or read where the
kernel keeps the file; a body is a view that stays valid as long as somebody holds it, also when the segment was removed
meanwhile. Where the next one stands is found by `search.py`.

Damage costs the records that it touches. How many rows that were is known exactly as soon as another record of the lane
comes, which says how many there were before it.

Who may take is said in `shared/hold.py`. The file is long because taking and losing are one cursor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.board import (
    HOLDER,
    READER_ASLEEP,
    READER_EPOCH,
    WANTED,
    Board,
    Head,
    Tail,
    head_checksum,
    lane_at,
)
from shipper.durable.catalog import Catalog
from shipper.durable.disk import Disk
from shipper.durable.keys import Keys
from shipper.durable.layout import RecordHeader, about
from shipper.durable.search import Search
from shipper.durable.window import Window
from shipper.errors import DamagedData
from shipper.shared.hold import HoldWords, TakeSide
from shipper.shared.words import full_fence

_LOST_MAX = 100


class Record(NamedTuple):
    """A record as a reader gets it; `body` is what the put's views were, as one view."""

    seq: int
    lane: int
    rows: int
    size_bytes: int
    rows_after: int
    size_bytes_after: int
    producer: int
    put: int
    body: memoryview
    put_ms: int = 0


def hold_words(board: Board, index: int) -> HoldWords:
    """Where a board says who takes from a lane."""
    at = lane_at(index)
    return HoldWords(
        board.segment, 1 + index, board.words, at + READER_EPOCH, at + READER_ASLEEP, at + HOLDER, at + WANTED
    )


def disown(board: Board, lane: int, sink: int) -> bool:
    """Frees a lane whose holder `sink` is dead and could not be settled: see `HoldWords.disown`."""
    return hold_words(board, board.index(lane)).disown(sink)


class Reader(TakeSide):
    """One process's take side of one lane.

    Args:
        board: of the log; may be shared by the readers of one process.
        data_dirs: of the log.
        lane: id of the lane.
        sink: id of this sink worker, not 0.
        keys: needed when the log is encrypted.
        window: of the log; may be shared by the readers of one process. None = all is read from the files.

    Attributes:
        lost_rows, lost_bytes: rows of this lane that are damaged or missing and were stepped over (bytes as they were
            counted when they were put), since this object was made. A rewind takes back what is not committed.
        lost: for the person: what, where and why, the newest 100.
    """

    def __init__(
        self, board: Board, data_dirs: Sequence[Path], lane: int, sink: int, *, keys: Keys | None = None,
        window: Window | None = None, disk: Disk | None = None,
    ) -> None:  # fmt: skip
        self.board = board
        self.lane = lane
        self.index = board.index(lane)
        super().__init__(hold_words(board, self.index), sink)
        self.lost: deque[str] = deque(maxlen=_LOST_MAX)
        self._search = Search(board, Catalog(disk or Disk(), data_dirs, board.log_id, keys), lane, window)
        self._lost_committed = (0, 0)
        self._lost = (0, 0)
        self._head = board.head(self.index)
        self._after = self._head
        self._seq = self._head.seq
        self._peeked: Record | None = None
        self._peeked_header: RecordHeader | None = None

    @property
    def lost_rows(self) -> int:
        """See the class."""
        return self._lost[0]

    @property
    def lost_bytes(self) -> int:
        """See the class."""
        return self._lost[1]

    # --- taking

    @property
    def waiting(self) -> bool:
        """True when a record of the lane stands at or behind the cursor."""
        return self.board.tail(self.index).seq >= max(self._seq, 1)

    def peek(self) -> Record | None:
        """The record at the cursor, checked; None when there is none yet. The same one until `step` or `rewind`.

        Damaged and missing records are stepped over and counted; a commit takes that along.

        Raises:
            ConfigurationError: the key of a segment is not given.
        """
        if self._peeked is not None:
            return self._peeked
        while True:
            tail = self.board.tail(self.index)
            if tail.seq < max(self._seq, 1):
                return None
            header = self._search.find(self._seq, tail.seq, self._head, self._say)
            if header is None:
                self._give_up(tail)
                return None
            record = self._accept(header)
            if record is not None:
                self._peeked, self._peeked_header = record, header
                return record

    @property
    def cursor(self) -> int:
        """Seq that the next record of the lane has at least."""
        return self._seq

    @property
    def rows_taken(self) -> int:
        """Rows of the lane before the cursor."""
        return self._after.rows

    def look(self) -> Record | None:
        """The lane's first record that is not delivered, whoever holds it; None when there is none. Between takes.

        Of a lane that another process holds it may be one of a moment ago.
        """
        if self.held:
            return self.peek()
        self._head = self.board.head(self.index)
        self.rewind()
        said = list(self.lost)
        record = self.peek()
        self.rewind()  # what seems lost here may just have been delivered, and its segment removed
        self.lost = deque(said, maxlen=_LOST_MAX)
        return record

    @property
    def rows_done(self) -> int:
        """Rows of the record at the cursor that were delivered before, by a commit inside the record."""
        return self._after.rows_done

    def step(self) -> None:
        """Moves the cursor behind the peeked record."""
        record, header = self._peeked, self._peeked_header
        assert record is not None and header is not None, "step without peek"
        self._pass(header)

    def release(self, sequence: int, *, synced: bool = True) -> bool:
        """Commits: everything before the cursor is delivered. True when the writer sleeps and wants to know.

        Dying before the last store leaves the commit before; dying after it leaves this one.

        Args:
            sequence: of the entry in the sink's journal that belongs to this commit; never goes back.
            synced: the target would still have the rows after a power cut. When False, `mark_synced` says it later.
        """
        return self._release(self._where(), sequence, synced=synced)

    def coming(self) -> list[list[int]]:
        """What `release` will store, and upon what: for `finish`, by whoever comes after a death in between."""
        return [self._base(), list(self._where())]

    @property
    def rows_coming(self) -> int:
        """Rows that will have been taken since the lane was made, once what is before the cursor is committed."""
        return self._after.rows

    def finish(self, coming: list[list[int]], sequence: int) -> bool:
        """Stores the commit that a dead process of this sink was about to store; False when it can't be any more.

        That process held the lane; nobody else could since, unless it was disowned. Dying in here: as in `release`.

        Args:
            coming: as `coming` said it.
        """
        if not self.held or coming[0] != self._base():
            return False
        self._release(Head(*coming[1]), sequence, synced=False)
        self.rewind()
        return True

    def _base(self) -> list[int]:
        return [self.board.generation(self.index), head_checksum(self._head)]

    def _where(self) -> Head:
        """What is before the cursor, and where the cursor is."""
        number, offset = self._search.place
        return self._after._replace(segment=number, offset=offset)

    def _release(self, head: Head, sequence: int, *, synced: bool) -> bool:
        assert self.held, "release of a lane that is not held"
        if self._head.sink == self.sink:
            sequence = max(sequence, self._head.sequence)
        head = head._replace(sink=self.sink, sequence=sequence, epoch=self._epoch)
        self.board.store_head(self.index, head)
        self._search.give_back()
        self._head = self._after = head
        self._lost_committed = self._lost
        if synced:
            # Dying here leaves rows that come twice if the machine dies as well.
            self.board.store_synced_head(self.index, head)
        full_fence()
        return self.board.writer_sleeps()

    def release_rows(self, rows: int, sequence: int, *, synced: bool = True) -> bool:
        """Commits the first `rows` rows of the peeked record: for sinks whose requests are smaller than a record."""
        header = self._peeked_header
        assert header is not None, "release_rows without peek"
        started = header.rows_after - header.rows
        self._after = self._after._replace(seq=header.seq, rows_done=rows, rows=started + rows)
        return self.release(sequence, synced=synced)

    def mark_synced(self, head: Head | None = None) -> bool:
        """What was committed up to `head` (None: up to now) would survive a power cut: the target has synced it.

        Args:
            head: `committed` of a while ago, as this reader gave it.

        Returns:
            True when that is news.
        """
        head = head or self._head
        before = self.board.synced_head(self.index)
        if not self.held or (head.seq, head.rows_done) <= (before.seq, before.rows_done):
            return False
        self.board.store_synced_head(self.index, head)
        return True

    @property
    def moved(self) -> bool:
        """True when there is something to commit: records were stepped over, or lost ones counted."""
        return (self._after.seq, self._after.rows_done) != (self._head.seq, self._head.rows_done)

    def rewind(self) -> None:
        """Goes back to the last commit: rollback."""
        self._after = self._head
        self._seq = self._head.seq
        self._peeked = self._peeked_header = None
        self._lost = self._lost_committed
        self._search.forget()

    @property
    def committed(self) -> Head:
        """The last take commit of the lane."""
        return self._head

    def close(self) -> None:
        """Lets go of the files. A lane that is held stays named as held: let go first when the stop is clean."""
        self._peeked = self._peeked_header = None
        self._search.close()
        self._unlock()

    # --- inside

    def _begin(self) -> None:
        self._head = self.board.head(self.index)
        self.rewind()

    # --- inside: counting

    def _accept(self, header: RecordHeader) -> Record | None:
        """The record, and what was lost before it; None when its body is damaged, which loses it too."""
        mapped, after = self._search.mapped, self._after
        assert mapped is not None
        started, started_bytes = header.rows_after - header.rows, header.size_bytes_after - header.size_bytes
        begun_rows = after.rows - after.rows_done
        if header.seq != after.seq and begun_rows <= started:
            # Rows of a record that was committed in part are lost without that part.
            self._lose(started - after.rows, started_bytes - after.size_bytes, f"before record {header.seq}")
        if header.seq != after.seq or begun_rows != started:
            rows_done = after.rows_done if header.seq == after.seq else 0
            after = after._replace(rows=started + rows_done, size_bytes=started_bytes, rows_done=rows_done)
        # Records of other lanes may stand between: the cursor is at this one now.
        self._after = after._replace(seq=header.seq)
        self._seq = header.seq
        stored = self._search.stored_body(mapped, header)
        why = "its body is damaged or can't be read"
        if stored is not None and mapped.cipher is not None:
            try:
                stored = mapped.cipher.decrypt(stored, about(header.segment_id, header.seq, header.lane, header.rows))
            except DamagedData as problem:
                stored, why = None, str(problem)
        if stored is None:
            self._lose(header.rows - self._after.rows_done, header.size_bytes, f"record {header.seq}: {why}")
            self._pass(header)
            return None
        return Record(
            header.seq, header.lane, header.rows, header.size_bytes, header.rows_after, header.size_bytes_after,
            header.producer, header.put, stored, header.put_ms,
        )  # fmt: skip

    def _pass(self, header: RecordHeader) -> None:
        """The cursor stands behind this record."""
        self._seq = header.seq + 1
        self._search.offset = header.offset + header.length
        self._after = self._after._replace(
            seq=self._seq, rows_done=0, rows=header.rows_after, size_bytes=header.size_bytes_after
        )
        self._peeked = self._peeked_header = None

    def _give_up(self, tail: Tail) -> None:
        """Nothing of the lane is left up to its tail, though something should be: it is lost."""
        after = self._after
        rows, size_bytes = max(tail.rows, after.rows), max(tail.size_bytes, after.size_bytes)
        self._lose(rows - after.rows, size_bytes - after.size_bytes, f"records {self._seq} to {tail.seq} are missing")
        self._seq = tail.seq + 1
        self._after = after._replace(seq=self._seq, rows_done=0, rows=rows, size_bytes=size_bytes)
        self._search.forget()

    def _lose(self, rows: int, size_bytes: int, what: str) -> None:
        if rows > 0 or size_bytes > 0:
            where = self._search.mapped.file.path if self._search.mapped is not None else "the log"
            self._say(f"{where}: {rows} rows are lost, {what}")
            self._lost = (self._lost[0] + max(rows, 0), self._lost[1] + max(size_bytes, 0))

    def _say(self, text: str) -> None:
        if text not in self.lost:
            self.lost.append(text)
