"""A view of a log for those who put into its channel: how many rows are in it, and how far they were delivered."""

from __future__ import annotations

from pathlib import Path

from shipper.durable.board import Board, lane_id


class LogView:
    """What a source worker asks of a channel's log.

    Args:
        board: path of its board; the writer has opened the log.
    """

    def __init__(self, board: Path) -> None:
        self._board = Board.open(board)
        self._indices = self._board.lanes()

    def rows(self) -> int:
        """Events in the log that are not delivered."""
        board = self._board
        # The heads first would let what is delivered meanwhile count; a little too much is never too little room.
        return sum(board.tail(index).rows - board.head(index).rows for index in self._indices.values())

    def taken(self) -> int:
        """Events that ever left it, delivered or given up."""
        return sum(self._board.head(index).rows for index in self._indices.values())

    def delivered(self, name: str, seq: int) -> bool:
        """True when the lane of a sink worker has delivered all records up to a seq."""
        index = self._indices.get(lane_id(name))
        if index is None:
            return True
        head = self._board.head(index).seq
        return head > seq or self._board.tail(index).seq < max(head, 1)

    def close(self) -> None:
        """Lets go of the memory."""
        self._board.close()
