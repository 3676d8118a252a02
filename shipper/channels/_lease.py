"""A lease: a lane of a channel as one sink worker sees it, held or not, whatever the lane is made of.

Who has which lane when is in `_leases.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shipper.batch.batch import EventBatch
from shipper.channels.channel import TakeTransaction
from shipper.shared.tally import sink_key

if TYPE_CHECKING:
    from shipper.durable.reader import Reader
    from shipper.ring.consumer import Consumer


class Lease(ABC):
    """A lane as a sink worker sees it, held or not.

    Args:
        cursor: takes from the lane; who holds it and how far it is committed is known there.

    Attributes:
        name: of the lane, for the marks of transactions.
        home: True when the lane was made for this sink worker.
        key: names it among all lanes that there ever were: its rows are counted under this name.
    """

    def __init__(self, name: str, home: bool, cursor: Consumer | Reader, key: str) -> None:
        self.name = name
        self.home = home
        self.key = key
        self._cursor = cursor

    @property
    def held(self) -> bool:
        """True when this process may take from the lane."""
        return self._cursor.held

    @property
    def holder(self) -> int:
        """The sink worker that holds it, or held it when it died; 0 when it is free."""
        return self._cursor.holder

    @property
    def waiting(self) -> bool:
        """True when rows stand at or behind the cursor."""
        return self._cursor.waiting

    @property
    def wanted(self) -> bool:
        """True when the lane's home asked for it."""
        return self._cursor.wanted

    @property
    def moved(self) -> bool:
        """True when there is something to commit."""
        return self._cursor.moved

    @property
    def committed(self) -> Any:
        """How far it is committed."""
        return self._cursor.committed

    def try_hold(self) -> bool:
        """Takes the lane if it may be taken; True when this process holds it now."""
        return self._cursor.try_hold()

    def let_go(self) -> None:
        """Frees it for others. Between transactions."""
        self._cursor.let_go()

    def want(self) -> None:
        """Asks its present holder for it."""
        self._cursor.want()

    def sleeping(self, asleep: bool) -> None:
        """Says whether this worker is to be rung when rows come."""
        self._cursor.sleeping(asleep)

    @property
    @abstractmethod
    def refusals(self) -> int:
        """How often a put found no room because of what was not taken from it, ever."""

    @property
    def rows_coming(self) -> int:
        """Rows that will ever have been taken from it, once what is before the cursor is committed."""
        return self._cursor.rows_coming

    def rewind(self) -> None:
        """Goes back to the last commit."""
        self._cursor.rewind()

    def put_ms(self) -> int:
        """When the rows at the cursor were put (wall ms); 0 when nobody knows. Of a lane that is held."""
        first = self._cursor.peek()
        return first.put_ms if first is not None else 0

    def coming(self) -> list[Any]:
        """What `release` will store: for `finish`, by whoever comes after a death in between."""
        return self._cursor.coming()

    def finish(self, coming: list[Any], sequence: int) -> bool:
        """Stores the commit that a dead process of this worker was about to store; False when it can't be any more.

        The lane is held from here on, also when this is False, unless it was given to others (`Consumer.finish`).
        """
        return self._cursor.finish(coming, sequence)

    @abstractmethod
    def may_go(self) -> bool:
        """False when what stands at the cursor has to wait: older rows of its source are in another lane."""

    @abstractmethod
    def book(self, sink: int, rows: int, size_bytes: int, aside: int) -> None:
        """Says of rows before the cursor that a sink has delivered or set them aside. Stored with the commit."""

    @abstractmethod
    def release(self, sequence: int) -> None:
        """Commits what is before the cursor, and rings who waits for that."""

    @abstractmethod
    def rows(self) -> int:
        """Rows that were ever taken from it, by whomever: as the last commit says."""

    @abstractmethod
    def publish_durable(self, committed: Any = None) -> bool:
        """Says that what was committed (None: up to now) survives the death of the machine. True when that is news."""

    @abstractmethod
    def ring(self) -> None:
        """Wakes who puts into it."""

    @abstractmethod
    def generation(self) -> int:
        """How often takes of it were committed."""

    @abstractmethod
    def lost_rows(self) -> int:
        """Rows that were stepped over, since this object was made."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of the memory. A lane that is held stays named as held."""

    @property
    def ready(self) -> bool:
        """True when rows wait, and may go."""
        return self.waiting and self.may_go()


L = TypeVar("L", bound=Lease)


class LeasedTake(TakeTransaction, Generic[L]):
    """Rows of one lane, gone at commit or back at rollback.

    Args:
        lane: the lane that was chosen; None when none has rows.
        others: tells whether rows wait elsewhere for the same worker.
    """

    def __init__(self, lane: L | None, others: Callable[[L | None], bool]) -> None:
        super().__init__()
        self._lane = lane
        self._others = others
        self.rows = 0
        self.size_bytes = 0
        self.sequence = 0

    @abstractmethod
    def next_of(self, lane: L) -> EventBatch | None:
        """The next rows of the lane, what has no rows included, its cursor behind them; None when there are none."""

    def take(self) -> EventBatch | None:
        """The next rows as a view; None when there are none now. What has no rows is stepped over."""
        self._must_be("OPEN", "take")
        lane = self._lane
        if lane is None:
            return None
        while (batch := self.next_of(lane)) is not None:
            if batch.rows:
                self.rows += batch.rows
                return batch
        return None

    @property
    def found(self) -> bool:
        """True when a lane has rows for this transaction."""
        return self._lane is not None

    @property
    def crowded(self) -> bool:
        return self._others(self._lane)

    @property
    def mark(self) -> tuple[str, int]:
        lane = self._lane
        return ("", 0) if lane is None else (lane.name, lane.generation())

    def book(self, sink: str, rows: int, size_bytes: int, aside: int) -> None:
        if self._lane is not None:
            self._lane.book(sink_key(sink), rows, size_bytes, aside)

    @property
    def more(self) -> bool:
        """True when more waits in the transaction's lane."""
        return self._lane is not None and self._lane.ready

    def put_back(self) -> None:
        """Forgets all that was taken, but stays open: the same rows come again."""
        self._must_be("OPEN", "put_back")
        if self._lane is not None:
            self._lane.rewind()
        self.rows = self.size_bytes = 0

    @property
    def empty(self) -> bool:
        """True when nothing was taken, not even what has no rows."""
        return self._lane is None or not self._lane.moved

    def do_commit(self) -> None:
        if self._lane is not None and not self.empty:
            self._lane.release(self.sequence)

    def do_rollback(self) -> None:
        if self._lane is not None:
            self._lane.rewind()
