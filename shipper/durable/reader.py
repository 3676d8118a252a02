"""The take side of one lane of a log: peek, step, release; or rewind, and the same records come again.

It has the verbs of `ring.consumer.Consumer`. Records are read where the kernel keeps the file; a body is a view that
stays valid as long as somebody holds it, also when the segment was removed meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.board import Board, Head
from shipper.durable.disk import Disk
from shipper.durable.keys import Keys


class Record(NamedTuple):
    """A record as a reader gets it; `body` is what the put's views were, as one view."""

    seq: int
    lane: int
    rows: int
    size_bytes: int
    rows_after: int
    size_bytes_after: int
    producer: int
    put: int
    body: memoryview


def disown(board: Board, lane: int, sink: int) -> bool:
    """Frees a lane whose holder `sink` is dead and could not be settled: others may take from it now.

    What it delivered and did not commit comes twice. Only the supervisor may. False when it is not so.
    """
    raise NotImplementedError


class Reader:
    """One process's take side of one lane.

    Args:
        board: of the log; may be shared by the readers of one process.
        data_dirs: of the log.
        lane: id of the lane.
        sink: id of this sink worker, not 0.
        keys: needed when the log is encrypted.

    Attributes:
        held: this process may take.
        lost_rows, lost_bytes: rows of this lane that are damaged or missing and were stepped over (bytes as they were
            counted when they were put), since this object was made.
        lost: for the person: what, where and why, the newest 100.
    """

    held: bool
    lost_rows: int
    lost_bytes: int
    lost: Sequence[str]

    def __init__(
        self, board: Board, data_dirs: Sequence[Path], lane: int, sink: int, *, keys: Keys | None = None,
        disk: Disk | None = None,
    ) -> None:  # fmt: skip
        raise NotImplementedError

    # --- holding

    @property
    def holder(self) -> int:
        """Id of the sink worker that holds the lane, or held it when it died; 0 when the lane is free."""
        raise NotImplementedError

    def try_hold(self) -> bool:
        """Takes the lane if it is free, or was this sink's own before. True when this process holds it now."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Frees the lane for another sink. Only between transactions, when nothing of this sink is unsettled."""
        raise NotImplementedError

    @property
    def wanted(self) -> bool:
        """True when the lane's home sink asked for it."""
        raise NotImplementedError

    def want(self) -> None:
        """Asks the present holder for the lane. Only its home sink may."""
        raise NotImplementedError

    def sleeping(self, asleep: bool) -> None:
        """Says whether the writer is to ring when there is something to read."""
        raise NotImplementedError

    # --- taking

    @property
    def waiting(self) -> bool:
        """True when a record of the lane stands at or behind the cursor."""
        raise NotImplementedError

    def peek(self) -> Record | None:
        """The record at the cursor, checked; None when there is none yet. The same one until `step` or `rewind`.

        Damaged and missing records are stepped over and counted; a commit takes that along.
        """
        raise NotImplementedError

    @property
    def rows_done(self) -> int:
        """Rows of the record at the cursor that were delivered before, by a commit inside the record."""
        raise NotImplementedError

    def step(self) -> None:
        """Moves the cursor behind the peeked record."""
        raise NotImplementedError

    def release(self, sequence: int, *, synced: bool = True) -> bool:
        """Commits: everything before the cursor is delivered. True when the writer sleeps and wants to know.

        Dying before the last store leaves the commit before; dying after it leaves this one.

        Args:
            sequence: of the entry in the sink's journal that belongs to this commit; never goes back.
            synced: the target would still have the rows after a power cut. When False, `mark_synced` says it later.
        """
        raise NotImplementedError

    def release_rows(self, rows: int, sequence: int, *, synced: bool = True) -> bool:
        """Commits the first `rows` rows of the peeked record: for sinks whose requests are smaller than a record."""
        raise NotImplementedError

    def mark_synced(self) -> None:
        """What is committed would survive a power cut now: the target has synced it."""
        raise NotImplementedError

    @property
    def moved(self) -> bool:
        """True when there is something to commit: records were stepped over, or lost ones counted."""
        raise NotImplementedError

    def rewind(self) -> None:
        """Goes back to the last commit: rollback."""
        raise NotImplementedError

    @property
    def committed(self) -> Head:
        """The last take commit of the lane."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of the files. A lane that is held stays named as held: let go first when the stop is clean."""
        raise NotImplementedError
