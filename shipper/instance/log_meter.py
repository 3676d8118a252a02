"""The meter of a log: how many rows and bytes went in and out, by its board, or by its checkpoint before it has one."""

from __future__ import annotations

import os
from typing import NamedTuple

from shipper.channels.file import tally
from shipper.durable.board import Board
from shipper.durable.checkpoint import load_newest
from shipper.durable.disk import Disk
from shipper.durable.segment import NewerVersion
from shipper.durable.settings import LogSettings
from shipper.errors import DamagedData, ShipperError


class LogCounts(NamedTuple):
    """Rows and bytes since the log was made: put into it, and taken; of those, rows that no sink got, and why."""

    rows_in: int = 0
    bytes_in: int = 0
    rows_out: int = 0
    bytes_out: int = 0
    expired: int = 0
    dropped: int = 0
    lost: int = 0


class LogMeter:
    """The meter of one log. It waits for nobody: what is not known yet is as the checkpoint had it.

    Args:
        settings: where the log lies.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._boot = Disk().boot_id()
        self._board: Board | None = None
        self._inode = 0
        self._known = self._stored()

    def counts(self) -> LogCounts:
        """How much went in and out so far."""
        self._look()
        board = self._board
        if board is not None:
            try:
                indices = board.lanes().values()
                # The heads first: what is taken was put.
                heads, books = zip(*(tally.read(board, index) for index in indices), strict=True)
                tails = [board.tail(index) for index in indices]
            except DamagedData:
                return self._known
            self._known = LogCounts(
                sum(tail.rows for tail in tails), sum(tail.size_bytes for tail in tails),
                sum(head.rows for head in heads), sum(head.size_bytes for head in heads),
                sum(book.expired for book in books), sum(book.dropped for book in books),
                sum(book.lost for book in books),
            )  # fmt: skip
        return self._known

    def close(self) -> None:
        """Lets go of the board."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _look(self) -> None:
        """The writer makes another board when there is none of this boot."""
        try:
            inode = os.stat(self._settings.board).st_ino
            if inode == self._inode:
                return
            board = Board.open(self._settings.board)
        except (OSError, DamagedData):
            return
        if board.boot_id != self._boot:
            board.close()
            return
        self.close()
        self._board, self._inode = board, inode

    def _stored(self) -> LogCounts:
        try:
            found = load_newest(Disk(), self._settings.checkpoint_dirs)
        except (OSError, ShipperError):
            return LogCounts()
        if found is None or isinstance(found, NewerVersion):
            return LogCounts()
        lanes = found.state.lanes.values()
        return LogCounts(
            sum(lane.tail.rows for lane in lanes), sum(lane.tail.size_bytes for lane in lanes),
            sum(lane.head.rows for lane in lanes), sum(lane.head.size_bytes for lane in lanes),
        )  # fmt: skip
