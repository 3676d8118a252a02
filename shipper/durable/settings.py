"""What a log is told: its settings, and the entries of a put."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from shipper.durable.directory import BOARD_NAME
from shipper.durable.keys import Keys
from shipper.durable.state import Position


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
        return self.checkpoint_dir / BOARD_NAME

    @property
    def checkpoint_dirs(self) -> tuple[Path, ...]:
        """The directories that have a copy of the checkpoint."""
        return (self.checkpoint_dir, *((self.backup_checkpoint_dir,) if self.backup_checkpoint_dir else ()))

    @property
    def directories(self) -> tuple[Path, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys((*self.checkpoint_dirs, *self.data_dirs)))


class Entry(NamedTuple):
    """One record of a put, as its caller has it.

    Attributes:
        lane: id of the lane that the rows are dealt to (`board.lane_id`).
        views: the body in pieces, contiguous bytes each; together what a reader gets as one view. They must keep
            their bytes until the `sync` that covers them has returned.
        rows, size_bytes: what the record counts as.
        origins: where the rows came from, in order.
        checksum: CRC-32 of the body when it is known already (ignored when the log encrypts); None = computed here.
        put_ms: when it was put, wall ms; 0 where nobody asks for its age.
    """

    lane: int
    views: tuple[memoryview | bytes, ...]
    rows: int
    size_bytes: int
    origins: Sequence[Position] = ()
    checksum: int | None = None
    put_ms: int = 0
