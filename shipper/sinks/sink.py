"""The contract of a sink: four verbs, two failures.

::

    open(context)      acquire; settle what the process before left behind (cut files, finish renames)
    deliver(batch)     hand the rows over; the batch is a view, valid until `flush` returned and the commit is stored
    flush() -> state   everything delivered since the last flush is safe at the target
    close()            finish files, give everything back

    RetryLater         nothing counts: the transaction rolls back, the same rows come again
    Refused            these rows never: they are set aside, the rest comes again

Rolling sinks also use `committed` (rename what was only waiting for the commit), `tick` (roll by time), and `sync`
(what was committed becomes safe from a power cut).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.config.field import Options
from shipper.metrics.counters import Counters

O = TypeVar("O", bound=Options)


class Takes(Protocol):
    """The take commits of a worker, for a sink whose journal says beforehand what one will say.

    A sink that dies with all of a transaction written, and its commit not stored, finishes that commit at its start:
    the rows are where they belong, and do not come again.
    """

    def coming(self) -> list[Any] | None:
        """What the commit of the transaction under way will say; None when nobody could finish it. For a journal.

        Its last part may be a dictionary: rows that will have been taken from a lane by then, as in `rows_taken`.
        """

    def rows_taken(self) -> dict[str, int]:
        """Rows that were ever taken from each lane of the channel, by whomever: never fewer than a sink here has.

        For a journal, which says so beside what it vouches for: after a power cut it is known of which rows their
        source, if it reads them again, makes a second copy. Any thread may ask.
        """

    def finish(self, take: list[Any], sequence: int) -> bool:
        """Stores a commit that a dead process of this worker had announced, if it can still come to be.

        Only in `Sink.open`. Dying in here: it is stored, or it is not and may be once more.

        Args:
            take: as `coming` said it.
            sequence: of the sink's journal, which the commit names.

        Returns:
            False when the lane has moved on, or is not this worker's any more: it never will.
        """


@dataclass(frozen=True)
class SinkContext:
    """What a sink may use of its worker.

    Attributes:
        name: the component's name in the file (`k1`).
        worker, workers: which of how many workers of this sink this is.
        state_dir: where this sink keeps its journal and staged files.
        committed_sequence: the largest sink sequence that a commit stored for this sink, 0 when none.
        run_id: names the rings that hold those commits. A journal that was written under another run id is the only
            witness left (reboot, clean stop): all of it counts then.
        boot_id: of this life of the machine.
        board: the file in the run directory in which a sink shows its files (`files/progress.py`); None when nobody
            looks.
        takes: the worker's commits; None when there is nothing to finish.
        say: one line for the person, at most once in 30 s for the same text: `say("warning", "...")`.
    """

    name: str
    clock: Clock
    counters: Counters
    state_dir: Path
    say: Callable[[str, str], None]
    worker: int = 0
    workers: int = 1
    committed_sequence: int = 0
    run_id: str = ""
    boot_id: str = ""
    board: Path | None = None
    takes: Takes | None = None

    @property
    def rows_taken(self) -> Callable[[], dict[str, int]] | None:
        """See `Takes.rows_taken`; None where nothing is taken."""
        return None if self.takes is None else self.takes.rows_taken


class Sink(ABC, Generic[O]):
    """Base of all sinks.

    Class attributes:
        Options, aliases: as for sources.
        promise: what `describe` says: "exactly once", "at least once" or "at most once".
        counted: the Flume counters that this sink fills; empty = Flume shows no entry.
        linger_s: how long the runner gathers rows below `batch.bytes` before it commits, unless the file says.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]
    promise: ClassVar[str] = "at least once"
    counted: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: O) -> None:
        self.options = options

    @classmethod
    def needs_timestamp(cls, options: O) -> tuple[str, str] | None:
        """The key that asks each event for the header `timestamp`, and what to do when it has none; for `check`."""
        return None

    @property
    def linger_s(self) -> float:
        """Seconds that rows below `batch.bytes` may wait for more before they are committed."""
        return 0.0

    @property
    def batch_bytes(self) -> int | None:
        """Bytes that one transaction aims to carry; None leaves it to `batch.bytes`."""
        return None

    @abstractmethod
    def open(self, context: SinkContext) -> None:
        """Acquires the target and settles it: what was not committed is undone there.

        Raises:
            ComponentFailed: it can't work now; the supervisor restarts the worker with back-off.
        """

    @abstractmethod
    def deliver(self, batch: EventBatch) -> None:
        """Hands rows over. May buffer until `flush`.

        Raises:
            RetryLater: the target can't take them now.
            Refused: it will never take some of them.
        """

    @property
    def wants_ahead(self) -> bool:
        """True when it would begin with the next rows while these are flushed, had it only seen them."""
        return False

    def ahead(self, batch: EventBatch) -> None:
        """Rows that the next transaction will most likely begin with, just before `flush`: to prepare what follows from
        them alone, and is of use only if rows of the same `place` are delivered. They may be gone by then.
        """

    @abstractmethod
    def flush(self) -> int:
        """Makes everything delivered since the last flush safe.

        Returns:
            The sequence number under which the sink's own journal stored its state, 0 when it keeps none. The take
            commit stores this number with the position: an entry of the journal counts only if a commit names it.

        Raises:
            RetryLater: as `deliver`.
        """

    @property
    def sync_interval_s(self) -> float:
        """Seconds between two calls of `sync`; 0 when what is committed is as safe as it will ever be."""
        return 0.0

    def sync(self) -> None:
        """All that is committed now is to survive the death of the machine. Begins it; between transactions."""

    def synced(self) -> bool:
        """True when what was committed before the last `sync` does. Never waits."""
        return True

    @property
    def unsynced(self) -> bool:
        """True when something waits for a `sync`, though nothing may have been committed since the last one."""
        return False

    def rolled_back(self) -> None:
        """The transaction was rolled back after a failure: forget what was delivered since the last flush."""

    def committed(self) -> None:
        """The commit that names the last flush is stored: rename what waited for it."""

    def tick(self) -> bool:
        """Called when idle and at least once a second: roll by time. True when a `flush` and a commit are needed."""
        return False

    def trouble(self) -> str:
        """What it has taken and can't bring to its target now, a sentence for the person; "" when there is nothing.

        It goes on taking rows: what keeps it from that is a RetryLater.
        """
        return ""

    def releasing(self) -> None:
        """The sink gives a lane up: what it committed there is made durable, and its journal must no longer depend on
        that lane's commit slot."""

    def caught_up(self, before_ms: int) -> None:
        """All that was put into this worker's part of the channel before that wall time is delivered and committed.

        Called with `tick`, while it is known.
        """

    @abstractmethod
    def close(self) -> None:
        """Ends everything: files get their final names. Safe after a failed `open`, and twice."""
