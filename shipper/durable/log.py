"""The writer of a log: whole puts are appended, one sync makes all that waited durable, and readers are told.

One process per log. It appends to one segment at a time; nothing that is sealed is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shipper.durable.board import Board
from shipper.durable.disk import Disk
from shipper.durable.keys import Keys

#: Where rows came from: stream, start, end, anchor (`batch.Origin` as a plain tuple).
Position = tuple[str, int, int, str]


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """Where a log lies and what bounds it.

    Attributes:
        checkpoint_dir: of the checkpoint and the board.
        data_dirs: of the segments; each new one goes where most space is free.
        backup_checkpoint_dir: of a second copy of the checkpoint, on another disk.
        segment_bytes: size of a segment; one put that is larger gets a segment of its own size.
        minimum_free_bytes: what preparing a segment leaves free on its file system.
        checkpoint_interval_s: the checkpoint is at most so much older than the log; it is also written when a segment
            is full or can be removed.
        readable_before_sync: readers see what is appended, not only what is synced. For logs that sync rarely.
        keys: what bodies are encrypted with; None = they are not.
    """

    checkpoint_dir: Path
    data_dirs: tuple[Path, ...]
    backup_checkpoint_dir: Path | None = None
    segment_bytes: int = 256 << 20
    minimum_free_bytes: int = 500 << 20
    checkpoint_interval_s: float = 30.0
    readable_before_sync: bool = False
    keys: Keys | None = None

    @property
    def board(self) -> Path:
        """Where readers find the board."""
        return self.checkpoint_dir / "shipper.board"


class Entry(NamedTuple):
    """One record of a put, as its caller has it.

    Attributes:
        lane: id of the lane that the rows are dealt to (`board.lane_id`).
        views: the body in pieces, contiguous bytes each; together what a reader gets as one view. They must keep
            their bytes until the `sync` that covers them has returned.
        rows, size_bytes: what the record counts as.
        origins: where the rows came from, in order.
        checksum: CRC-32 of the body when it is known already (ignored when the log encrypts); None = computed here.
    """

    lane: int
    views: tuple[memoryview | bytes, ...]
    rows: int
    size_bytes: int
    origins: Sequence[Position] = ()
    checksum: int | None = None


@dataclass(frozen=True)
class LostRange:
    """Records that a log should have and has not: seq `first` to `last`; where, and why in a few words."""

    first: int
    last: int
    where: str
    why: str


@dataclass(frozen=True)
class Recovered:
    """What opening a log found.

    Attributes:
        log_id: of the log; new when there was none.
        created: there was none.
        same_boot: the board of before was valid; readers go on where they committed, synced or not.
        durable_seq: D: everything up to it was acknowledged, or may have been.
        last_seq: largest seq that survived.
        cut_records: whole records above D behind the first one that is not whole: nobody was told that they are safe.
        lost: what is missing at or below D.
        scanned_bytes: how much of the log was looked at.
        notes: for the person, in order.
    """

    log_id: bytes
    created: bool = False
    same_boot: bool = False
    durable_seq: int = 0
    last_seq: int = 0
    cut_records: int = 0
    lost: Sequence[LostRange] = ()
    scanned_bytes: int = 0
    notes: Sequence[str] = field(default_factory=tuple)


class Log:
    """An open log, this process its writer.

    Attributes:
        settings: as given.
        recovered: what opening it found.
        board: for meters and for the writer's own sleep words.
        appended_seq: of the last record that was appended; 0 = none ever.
        durable_seq: of the last one that is durable, and with it everything before: what may be acknowledged.
        full_because: why the last `append` found no room.
    """

    settings: LogSettings
    recovered: Recovered
    board: Board
    appended_seq: int
    durable_seq: int
    full_because: str

    @classmethod
    def open(
        cls,
        settings: LogSettings,
        lanes: Sequence[str],
        origins_of: Callable[[memoryview], Iterable[Position]],
        *,
        disk: Disk | None = None,
    ) -> Log:
        """Takes the directories over, recovers what is there, and is ready to append. Makes them when missing.

        Args:
            lanes: the sink workers that lanes are home to (`k1.0`). Lanes of before that are not named stay on the
                board until they are drained.
            origins_of: the origins that stand in a body; asked for records that are newer than the checkpoint.
            disk: file operations; another one in tests.

        Raises:
            ConfigurationError: the directories can't be used: another process uses them, they are another user's, can't
                be written, hold a Flume file channel, a newer version's files, or need a key that is not given. The
                message says what is safe and what to do.
            ComponentFailed: the disk failed, or is full.
        """
        raise NotImplementedError

    # --- putting

    def put_of(self, producer: int) -> int:
        """Number of the last put of a producer that the log has (appended or recovered); 0 = none.

        A producer is whoever numbers its puts: a ring that is read again after the writer died skips what is not
        larger. Its identity must not be used for another numbering (put the boot id and the ring's inode into it).
        """
        raise NotImplementedError

    def append(self, producer: int, put: int, entries: Sequence[Entry]) -> int | None:
        """Appends the records of one put, all or none.

        Small puts are gathered and written together by `flush` or `sync`, or when enough has come together. Nothing
        is durable before `sync`.

        Args:
            put: number of the put; larger than `put_of(producer)`, or 0 when the producer does not number.

        Returns:
            The seq of its last record: the put may be acknowledged when `durable_seq` has reached it. None when there
            is no room (`full_because`): nothing was appended; try again after `tick`.

        Raises:
            ComponentFailed: the disk failed twice.
        """
        raise NotImplementedError

    def flush(self) -> int:
        """Writes what was gathered, without syncing it; returns `appended_seq`.

        With `readable_before_sync` the readers see it.
        """
        raise NotImplementedError

    def sync(self) -> int:
        """Makes everything that was appended durable, by one sync, tells the readers, and returns `durable_seq`.

        A sync that fails is never tried again on that file: the records go to a new one, which is synced.

        Raises:
            ComponentFailed: that failed as well. Nothing above `durable_seq` may be acknowledged, now or later; the log
                takes nothing more. Opening it again is safe.
        """
        raise NotImplementedError

    # --- around it

    def tick(self, now_s: float) -> None:
        """Work beside the data: prepares the next segment, writes the checkpoint when it is due, removes segments
        that all lanes have delivered. Call about once a second, and after `append` found no room.

        Needs no new disk blocks except for the next segment.
        """
        raise NotImplementedError

    def checkpoint(self) -> None:
        """Writes the checkpoint now, with the heads that readers have synced."""
        raise NotImplementedError

    def positions(self) -> Mapping[str, Position]:
        """The last origin of each stream that is durable: where a replayable source goes on."""
        raise NotImplementedError

    def forget_stream(self, stream: str) -> None:
        """Drops a stream that its source will not ask for again (file deleted and delivered)."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """Rows in the log that are not delivered, appended ones included."""
        raise NotImplementedError

    @property
    def size_bytes(self) -> int:
        """Bytes of those rows."""
        raise NotImplementedError

    def close(self) -> None:
        """Syncs, writes the checkpoint and gives the directories back. The board stays, readers may go on reading."""
        raise NotImplementedError
