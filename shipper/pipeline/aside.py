"""Aside: where rows go that a sink refuses for good, a file (`quarantine.py`) or a channel (`dead_letters.py`).

It takes part in the sink's transaction: what was added counts once the take is committed, and not at all otherwise::

    add ... -> prepare -> (the sink flushes, the take commits) -> committed
                             rolled_back, instead of any of these
"""

from __future__ import annotations

from typing import Protocol

from shipper.batch.batch import EventBatch

#: Which transaction added a row: (lane, its generation before the commit).
Mark = tuple[str, int]


class Aside(Protocol):
    """Where one sink worker puts the rows aside that one of its sinks refuses."""

    @property
    def place(self) -> str:
        """Where a person finds them."""

    @property
    def ends_transaction(self) -> bool:
        """True when the transaction under way shall take no more."""

    def add(self, batch: EventBatch, reason: str, mark: Mark) -> None:
        """Takes rows; a view of them is read until the transaction ends.

        Raises:
            OSError: no room; nothing of them is kept then.
            RetryLater: not now; likewise.
        """

    def prepare(self, mark: Mark) -> None:
        """Finds room for all that was added. Whatever dies from here on: the take commit decides what becomes of it.

        Raises:
            RetryLater: there is none now; roll back.
        """

    def committed(self) -> None:
        """The take is committed."""

    def rolled_back(self) -> None:
        """The rows come again."""
