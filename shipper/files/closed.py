"""Closed files: what a listener is told of each file that is whole and has its final name.

A listener registers partitions, commits a table's snapshot, writes a catalogue. It hears of every file at least once:
the same file may come again after a death, and must do no harm then. After a power cut a file that was told may be gone
on with, if its end had not reached the disk: then it is told again with all that is in it, and the last word counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Bucket:
    """What the rows of a file have in common.

    Attributes:
        key: of its files in the journal.
        folder: what the path template became for them.
        values: the headers that the templates name, with their values.
        start_ms, end_ms: the time that the path stands for, from and up to (wall clock); None where it names none.
    """

    key: str
    folder: str
    values: Mapping[str, str]
    start_ms: int | None = None
    end_ms: int | None = None


@dataclass(frozen=True, slots=True)
class ClosedFile:
    """A file that is whole and has its final name.

    Attributes:
        sink: name of the sink that wrote it.
        path, final: its name while it was written, and now; both in the sink's store.
        rows, size_bytes: what is in it, and how long it is.
        body_bytes: of its rows, before the serializer and the codec; 0 where no limit asked for it.
        begun_ms, ended_ms: when it was made, and when it got its final name (wall clock).
    """

    sink: str
    number: int
    path: str
    final: str
    rows: int
    size_bytes: int
    body_bytes: int
    begun_ms: int
    ended_ms: int
    bucket: Bucket


class ClosedListener(Protocol):
    """Who wants to hear of closed files."""

    def closed(self, file: ClosedFile) -> None:
        """A file is whole. Called in a thread of its own, one file after the other, and for some files again.

        Raises:
            Exception: any; the same file comes again later.
        """
