"""The dealer of a log: which of its lanes the rows of a put go to. A stream keeps its lane while it has rows there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shipper.batch import wire
from shipper.channels.file.feed import Feed
from shipper.channels.memory import overflow
from shipper.durable.board import Board
from shipper.durable.settings import Entry
from shipper.ring.layout import OVERFLOW, Frame

#: Streams of which it is remembered which lane of the log they are in.
_HOMES_MAX = 4096


class Dealer:
    """The dealer of one log.

    Args:
        board: of the log.
        lanes: ids of those that rows are dealt to.
    """

    def __init__(self, board: Board, lanes: Sequence[int]) -> None:
        self._board = board
        self._lanes = list(lanes)
        self._indices = board.lanes()
        self._dealt_bytes = {lane: board.tail(index).size_bytes for lane, index in self._indices.items()}
        self._homes: dict[str, tuple[int, int]] = {}
        self._turn = 0

    def deal(self, frame: Frame, feed: Feed) -> int | None:
        """The lane for the rows of a put: where their streams have rows still, else the emptiest. None: not now."""
        if feed.lane is not None:
            return feed.lane
        if len(self._lanes) == 1:
            return self._lanes[0]
        board = self._board
        streams = self._streams(frame, feed)
        homes = set()
        for stream in streams:
            lane, seq = self._homes.get(stream, (0, 0))
            if lane and board.head(self._indices[lane]).seq <= seq:
                homes.add(lane)
        if len(homes) > 1:
            return None  # they share a put and not a lane: wait until all but one are delivered
        if homes:
            return homes.pop()
        if len(self._homes) > _HOMES_MAX:
            self._homes = {
                s: (lane, seq) for s, (lane, seq) in self._homes.items() if board.head(self._indices[lane]).seq <= seq
            }  # fmt: skip
        self._turn += 1  # of lanes that are equally empty, each in its turn
        turn = self._turn % len(self._lanes)
        return min(
            self._lanes[turn:] + self._lanes[:turn],
            key=lambda lane: self._dealt_bytes[lane] - board.head(self._indices[lane]).size_bytes,
        )

    @staticmethod
    def _streams(frame: Frame, feed: Feed) -> Iterable[str]:
        if frame.flags & OVERFLOW:
            return [origin.stream for origin in overflow.origins(frame.payload)]
        return [origin.stream for origin in wire.decode(frame.payload).origins]

    def dealt(self, entry: Entry, seq: int) -> None:
        """Remembers that a record was appended, and which streams are in its lane up to that seq."""
        self._dealt_bytes[entry.lane] += entry.size_bytes
        if len(self._lanes) > 1:
            self._homes.update((origin[0], (entry.lane, seq)) for origin in entry.origins)
