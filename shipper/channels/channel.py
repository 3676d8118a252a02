"""The contract of a channel: transactions on both sides, with Flume's states and Flume's verbs.

::

    transaction = side.transaction()
    transaction.begin()                      NEW -> OPEN
    transaction.put(...) / .take()           only when OPEN
    transaction.commit() | .rollback()       OPEN -> COMPLETED
    transaction.close()                      COMPLETED -> CLOSED; while OPEN it is an error

A transaction is a position that is not stored yet: commit stores it, rollback forgets it, and a process that dies
leaves nothing to repair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from shipper.config.field import Options
from shipper.errors import TransactionMisused

O = TypeVar("O", bound=Options)


class Transaction(ABC):
    """The states of a transaction; the two kinds fill in what a state change does (Flume's do-methods)."""

    def __init__(self) -> None:
        self.state = "NEW"

    def begin(self) -> None:
        """Opens the transaction."""
        self._must_be("NEW", "begin")
        self.do_begin()
        self.state = "OPEN"

    def commit(self) -> None:
        """Makes what was put visible, or what was taken gone."""
        self._must_be("OPEN", "commit")
        self.do_commit()
        self.state = "COMPLETED"

    def rollback(self) -> None:
        """Undoes what was put or taken."""
        self._must_be("OPEN", "rollback")
        self.do_rollback()
        self.state = "COMPLETED"

    def close(self) -> None:
        """Ends the transaction's life."""
        if self.state == "OPEN":
            raise TransactionMisused("close called on an open transaction: commit or roll it back first")
        self.state = "CLOSED"

    def _must_be(self, state: str, verb: str) -> None:
        if self.state != state:
            raise TransactionMisused(f"{verb} called on a transaction that is {self.state}, not {state}")

    def do_begin(self) -> None:
        """What `begin` does beyond the state."""

    @abstractmethod
    def do_commit(self) -> None:
        """What `commit` does beyond the state."""

    @abstractmethod
    def do_rollback(self) -> None:
        """What `rollback` does beyond the state."""


class Channel(ABC, Generic[O]):
    """Base of all channel types: what the configuration says, and where the parts of the channel lie.

    Args:
        name: the component's name in the file (`c1`).
        options: as declared.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]
    counted: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, options: O) -> None:
        self.name = name
        self.options = options

    @property
    @abstractmethod
    def rows_max(self) -> int | None:
        """Rows that one put may have at most; None when the file does not bound the channel by rows."""

    @abstractmethod
    def prepare(self, directory: Path, producers: Sequence[str], consumers: Sequence[str], ring_bytes: int) -> None:
        """Makes what workers will open: called once, before any of them starts.

        Args:
            directory: of the channel, in the run directory.
            producers: names of the source workers (`r1.0`).
            consumers: names of the sink workers (`k1.0`).
            ring_bytes: shared memory that the channel may take when its options do not say.
        """
