"""A take mark: the name of a take commit that has not happened yet, for who makes something depend on it."""

from __future__ import annotations

from typing import NamedTuple


class TakeMark(NamedTuple):
    """A take commit.

    Attributes:
        channel, lane: where it is taken.
        board: of the channel's log, "" when it is in memory.
        generation: of the lane before the commit.
        sink: id of the sink worker.
        run_id: names the lane's commits.
    """

    channel: str
    lane: str
    board: str
    generation: int
    sink: int
    run_id: str = ""
