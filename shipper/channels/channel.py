"""The contract of a channel: transactions on both sides, with Flume's states and Flume's verbs.

::

    transaction = side.transaction()
    transaction.begin()                      NEW -> OPEN
    transaction.put(...) / .take()           only when OPEN
    transaction.commit() | .rollback()       OPEN -> COMPLETED
    transaction.close()                      COMPLETED -> CLOSED; while OPEN it is an error

A transaction is a position that is not stored yet: commit stores it, rollback forgets it, and a process that dies
leaves nothing to repair.

The file is long because the contracts of both sides, and of their transactions, stand on one page.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from shipper.config.field import Options
from shipper.errors import TransactionMisused

if TYPE_CHECKING:  # the supervisor prepares channels, and carries no Arrow
    from shipper.batch.batch import EventBatch
    from shipper.shared.take_mark import TakeMark
    from shipper.shared.tally import Intake

O = TypeVar("O", bound=Options)


class PutOptions(Protocol):
    """What a put side asks of the options of a channel, of whatever type."""

    @property
    def capacity(self) -> int | None:
        """Events it holds at most."""

    @property
    def byte_capacity(self) -> int | None:
        """Bytes of bodies it holds at most."""

    @property
    def slots(self) -> int | None:
        """The same in slots of 100 bytes."""

    @property
    def slot_bytes(self) -> int:
        """Bytes of a slot; an event takes one at least."""

    @property
    def keep_alive_s(self) -> float:
        """How long a put waits for room."""

    @property
    def on_full(self) -> str:
        """What a put does that finds none."""

    @property
    def max_age_s(self) -> float:
        """When events are too old to be delivered; 0 = never."""

    @property
    def strict_batch(self) -> bool:
        """Flume's batch sizes are meant to the letter."""


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


class PutTransaction(Transaction):
    """Rows of one source worker into its channels, all or none."""

    #: Channel -> rows that were given up because it was full and its `onFull` says so. True once it is committed.
    dropped: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def put(self, channel: str, batch: EventBatch) -> bool:
        """Stages rows for a channel; False when it has no room now: roll back, wait, begin again."""

    @abstractmethod
    def note(self, intake: Intake) -> None:
        """Says what the source has read for this put: counted when it is committed."""

    @abstractmethod
    def refuse(self, channel: str, rows: int) -> None:
        """Says that rows for an optional channel are given up: counted when this is committed."""

    @abstractmethod
    def promise(self, take: TakeMark) -> None:
        """Makes this depend on a take: a process that dies from here on leaves a put that is made if the take is.

        Raises:
            OSError: that can't be written down; roll back.
        """


class PutSide(Protocol):
    """A source worker's way into its channels."""

    def transaction(self) -> PutTransaction:
        """A new transaction. One at a time."""

    def room(self, block_bytes: int) -> memoryview | None:
        """Memory for a block that becomes part of a channel where it lies; None when there is none now, or no use."""

    @property
    def room_comes(self) -> str:
        """The channel that had no `room` only because its sinks have not taken enough yet; "" = waiting is no use."""

    def full_because(self, channel: str) -> str:
        """Which bound of a channel the last put met that had no room."""

    def sleeping(self, asleep: bool) -> None:
        """Says whether this worker waits for room, or for `safe`, so that somebody wakes it."""

    @property
    def safe(self) -> bool:
        """True when the last put is on disk in all required channels that promise that."""


class TakeTransaction(Transaction):
    """Rows for one sink worker, gone at commit or back at rollback.

    Attributes:
        rows, size_bytes: taken so far.
        sequence: of the sink's journal entry that belongs to the commit; set before `commit`.
    """

    rows: int
    size_bytes: int
    sequence: int

    @property
    @abstractmethod
    def mark(self) -> tuple[str, int]:
        """What the commit will change: (lane, its generation before); equal marks are one and the same transaction."""

    @abstractmethod
    def book(self, sink: str, rows: int, size_bytes: int, aside: int) -> None:
        """Says what a sink has done with what was taken: counted when it is committed."""

    @abstractmethod
    def take(self) -> EventBatch | None:
        """The next rows as a view that is valid until the transaction ends; None when there are none now."""

    def ahead(self) -> EventBatch | None:
        """The rows that the next transaction will most likely begin with, if they are here: a view, not taken.

        Before the commit is announced. What is damaged in between is stepped over, and counted with this transaction.
        """
        return None

    @property
    @abstractmethod
    def more(self) -> bool:
        """True when `take` would find something."""

    @property
    @abstractmethod
    def crowded(self) -> bool:
        """True when rows that this transaction can't take wait for the same worker: it should not linger."""

    @abstractmethod
    def put_back(self) -> None:
        """Forgets all that was taken, but stays open: the same rows come again."""


class TakeSide(Protocol):
    """A sink worker's way out of its channel."""

    #: Asked when lanes are let go: True when what was committed is as safe wherever else it went (dead letters).
    vouches: Callable[[], bool]

    @property
    def alone(self) -> bool:
        """True when no other sink worker can take from the channel."""

    @property
    def lost_bytes(self) -> int:
        """Bytes that failed their checks and were skipped."""

    @property
    def lost_rows(self) -> int:
        """Rows that were skipped because the file that held them is gone."""

    def transaction(self) -> TakeTransaction:
        """A new transaction. One at a time."""

    def make_way(self) -> tuple[int, int]:
        """Gives up what the channel's `maxAge` and `onFull` say, and commits that: rows (too old, dropped).

        Between transactions.
        """

    def coming(self) -> list[Any] | None:
        """What the commit of the transaction under way will say, for `finish`; None when there is none to be said."""

    def finish(self, coming: list[Any], sequence: int) -> bool:
        """Stores a commit that a dead process of this worker had announced; False when it never will be.

        Before anything is taken.
        """

    def rows_taken(self) -> dict[str, int]:
        """Rows that were ever taken from each lane, by whomever, by the names that lanes are counted under."""

    def rows_coming(self) -> dict[str, int]:
        """The same of the lane that the transaction under way takes from, once it is committed."""

    def store_sequence(self, sequence: int) -> None:
        """Commits a sink sequence without taking anything. Between transactions."""

    def let_go(self, before: Callable[[], None]) -> None:
        """Gives everything up because the target can't take anything; `before` makes the sink's journal independent."""

    def come_back(self) -> None:
        """The target may take rows again."""

    def give_back(self, before: Callable[[], None]) -> None:
        """Gives up what another sink worker wants back. Between transactions."""

    def sleeping(self, asleep: bool) -> None:
        """Says whether this worker sleeps, so that somebody wakes it."""

    def waiting(self) -> bool:
        """True when rows wait that this worker holds or could hold."""

    def refusals(self) -> int:
        """How often a put found no room because of what this worker had not taken and committed, ever.

        When that has changed since a commit, rows wait for the next one, and more to take may not come before it.
        """

    def delivered_before_ms(self) -> int:
        """All that was put before that wall time has been taken and committed here; 0 when nobody knows.

        Between transactions. Of this worker's own part of the channel only: what other sinks take is theirs to say.
        """

    def settle(self) -> None:
        """Takes back what this sink held when it died, and what it is home to. Once its target is settled."""

    def sequence(self) -> int:
        """The largest sink sequence that a commit of this sink stored."""

    def generations(self) -> dict[str, int]:
        """How often takes of each lane were committed, by its name."""

    def committed(self) -> tuple[tuple[int, Any], ...]:
        """How far this worker's lanes are committed: for `publish_durable`, once that much is safe at the target."""

    def publish_durable(self, committed: tuple[tuple[int, Any], ...], *, ring: bool = False) -> None:
        """Says that all that `committed` returned survives the death of the machine."""

    def close(self) -> None:
        """Lets go of everything."""


class Channel(ABC, Generic[O]):
    """Base of all channel types: what the configuration says, and where the parts of the channel lie.

    Args:
        name: the component's name in the file (`c1`).
        options: as declared.

    Attributes:
        counted: the Flume counters that it fills.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]
    counted: ClassVar[tuple[str, ...]] = (
        "ChannelCapacity", "ChannelSize", "ChannelFillPercentage", "EventPutAttemptCount", "EventPutSuccessCount",
        "EventTakeAttemptCount", "EventTakeSuccessCount",
    )  # fmt: skip

    def __init__(self, name: str, options: O) -> None:
        self.name = name
        self.options = options

    @classmethod
    def places(cls, options: O) -> tuple[Path, ...]:
        """Directories that a channel with these options has to itself: no two channels may have the same."""
        return ()

    @property
    def logged(self) -> bool:
        """True when a writer process of its own takes what is put and keeps it in a log, and sinks read that."""
        return False

    @property
    def spills(self) -> bool:
        """True when rows stay in memory while there is room, and only those that find none go to the log."""
        return False

    @property
    @abstractmethod
    def rows_max(self) -> int | None:
        """Rows that one put may have at most; None when the file does not bound the channel by rows."""

    @property
    def rows_max_alone(self) -> int | None:
        """The same where one worker puts, one takes, and a put that finds no room is waited with."""
        return self.rows_max

    @abstractmethod
    def prepare(self, directory: Path, producers: Sequence[str], consumers: Sequence[str], ring_bytes: int) -> None:
        """Makes what workers will open: called once, before any of them starts.

        Args:
            directory: of the channel, in the run directory.
            producers: names of the source workers (`r1.0`).
            consumers: names of the sink workers (`k1.0`).
            ring_bytes: shared memory that the channel may take when its options do not say.
        """
