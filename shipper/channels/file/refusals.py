"""Refusals: puts that found no room because of what is in the log, as its writer hands them on to the sinks.

A sink does not see the lanes of the sources, only the board. There the writer counts, behind its own words::

    board     640  REFUSED         log writer: + 1 when puts found no room, and it has given no memory back since
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shipper.durable.board import Board
from shipper.shared.words import LINE_BYTES

if TYPE_CHECKING:  # sinks do not write logs
    from shipper.channels.file.feed import Feed

REFUSED = 5 * LINE_BYTES


def refusals(board: Board) -> int:
    """How often the writer has handed refusals on, ever."""
    return board.words.load(REFUSED)


def hand_on(board: Board, feeds: Iterable[Feed]) -> bool:
    """Hands on what is news; True when there was some. Only the log's writer may, when it has nothing to append."""
    news = False
    for feed in feeds:
        if (found := feed.refusals) != feed.refusals_seen:
            feed.refusals_seen, news = found, True
    if news:
        board.words.store(REFUSED, refusals(board) + 1)
    return news
