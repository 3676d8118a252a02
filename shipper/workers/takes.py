"""A worker's takes, as its sinks see them: what the next commit will say, and one that a dead process left half done.

A commit upon which dead letters depend is finished only while their promise stands: they become visible by the same
word, and where the promise was forgotten (an agent that starts settles those of all its workers first) they would be
nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from shipper.channels.channel import TakeSide
from shipper.ring import promise as promises


class WorkerTakes:
    """The take commits of one sink worker.

    Args:
        side: its way out of its channel.
        page: its put page for dead letters; None when it has none.
    """

    def __init__(self, side: TakeSide, page: Path | None) -> None:
        self._side = side
        self._promise = None if page is None else promises.path_of(page)

    def coming(self) -> list[Any] | None:
        """What the commit of the transaction under way will say; None when nobody could finish it."""
        coming = self._side.coming()
        return None if coming is None else [coming, self._promised, self._side.rows_coming()]

    def finish(self, take: list[Any], sequence: int) -> bool:
        """Stores a commit that a dead process of this worker had announced; False when it never will be."""
        coming, promised, *_ = take
        return (self._promised or not promised) and self._side.finish(coming, sequence)

    def rows_taken(self) -> dict[str, int]:
        """Rows that were ever taken from each lane of the channel, by whomever."""
        return self._side.rows_taken()

    @property
    def _promised(self) -> bool:
        return self._promise is not None and self._promise.exists()
