"""The lease of a lane of a log: how one sink worker sees it, held or not.

Who has which lane when is in `channels/_leases.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from shipper.channels._lease import Lease
from shipper.channels.file import tally
from shipper.channels.file.refusals import refusals
from shipper.durable.board import Head, log_key
from shipper.durable.reader import Reader
from shipper.ring.wait import Bell
from shipper.shared.tally import TakeTally


class LogLane(NamedTuple):
    """A lane of the log as a sink worker is told of it.

    Attributes:
        lane: its id.
        name: of the sink worker that it was made for.
        home: True when that is this one.
    """

    lane: int
    name: str
    home: bool


class LogLease(Lease):
    """A lane of the log as its sink worker sees it."""

    def __init__(self, route: LogLane, reader: Reader, writer: Bell) -> None:
        super().__init__(route.name, route.home, reader, log_key(reader.board.log_id, route.lane))
        self.reader = reader
        self._writer = writer
        self._inherits = False
        self._tally = self._tally_after = TakeTally()
        self._lost_rows = 0
        #: Asked by a record's producer and put: True when older rows of it are elsewhere and not delivered.
        self.older_elsewhere: Callable[[int, int], bool] | None = None

    @property
    def synced(self) -> bool:
        """True when all that was committed survives the death of the machine."""
        head, synced = self.reader.committed, self.reader.board.synced_head(self.reader.index)
        return (synced.seq, synced.rows_done) >= (head.seq, head.rows_done)

    def may_go(self) -> bool:
        if self.older_elsewhere is None:
            return True
        record = self.reader.peek()
        return record is None or not self.older_elsewhere(record.producer, record.put)

    def try_hold(self) -> bool:
        reader = self.reader
        if not reader.held and reader.try_hold():
            head, synced = reader.committed, reader.board.synced_head(reader.index)
            # Another sink committed here, and died before it had said that what it wrote is durable.
            self._inherits = head.sink not in (0, reader.sink) and synced.seq < head.seq
            self._tally = self._tally_after = tally.read(reader.board, reader.index)[1]
            self._lost_rows = reader.lost_rows
        return reader.held

    def count(self, *, expired: int = 0, dropped: int = 0) -> None:
        """Says of rows before the cursor that no sink gets them, and why. Stored with the commit."""
        after = self._tally_after
        self._tally_after = after._replace(expired=after.expired + expired, dropped=after.dropped + dropped)

    def book(self, sink: int, rows: int, size_bytes: int, aside: int) -> None:
        self._tally_after = self._tally_after.booked(sink, rows, size_bytes, aside)

    def release(self, sequence: int) -> None:
        """Commits, with the tally. Dying between the two: the tally is of a generation that never was."""
        self._write_tally()
        # Whether the target still has the rows after a power cut is said later (`publish_durable`).
        self._committed(self.reader.release(sequence, synced=False))

    def release_rows(self, rows: int) -> None:
        """Commits the first `rows` rows of the record at the cursor."""
        self._write_tally()
        self._committed(self.reader.release_rows(rows, 0, synced=False))

    def _write_tally(self) -> None:
        self._tally_after = self._tally_coming()
        tally.write_next(self.reader.board, self.reader.index, self._tally_after)

    def _tally_coming(self) -> TakeTally:
        lost = self.reader.lost_rows - self._lost_rows
        return self._tally_after._replace(lost=self._tally_after.lost + lost)

    def _committed(self, writer_sleeps: bool) -> None:
        self._tally = self._tally_after
        self._lost_rows = self.reader.lost_rows
        if writer_sleeps:
            self._writer.ring()

    def coming(self) -> list[Any]:
        return [self._tally_coming().packed(), *self.reader.coming()]

    def finish(self, coming: list[Any], sequence: int) -> bool:
        if self.holder != self.reader.sink or not self.try_hold():
            return False
        counted, *of_reader = coming
        # Dying before the commit: it is the tally of a generation that never was.
        tally.write_next(self.reader.board, self.reader.index, TakeTally.unpacked(counted))
        if not self.reader.finish(of_reader, sequence):
            return False
        self._tally = self._tally_after = TakeTally.unpacked(counted)
        self._lost_rows = self.reader.lost_rows
        return True

    @property
    def refusals(self) -> int:
        return refusals(self.reader.board)

    def rows(self) -> int:
        return self.reader.board.head(self.reader.index).rows

    def rewind(self) -> None:
        self.reader.rewind()
        self._tally_after = self._tally

    def publish_durable(self, committed: Head | None = None) -> bool:
        if self.reader.held and self._inherits:
            os.sync()  # what the dead sink wrote is somewhere: seldom, and then all of it
            self._inherits = False
        return self.reader.mark_synced(committed)

    def ring(self) -> None:
        """Nobody waits: a source's rows were safe when they were in the log."""

    def generation(self) -> int:
        return self.reader.board.generation(self.reader.index)

    def lost_rows(self) -> int:
        return self.reader.lost_rows

    def close(self) -> None:
        self.reader.close()
