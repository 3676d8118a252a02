"""Notes of logs: what the state directory knows of a channel's log, so that one that is not there is missed.

A log says all of itself in its own directories. When their disk is not mounted nothing is there, as at a first start,
and the rows in it would be forgotten. So its writer notes elsewhere what it is, and how its books stand: when it has
opened it, once a second when something has changed, and at its end.

::

    logs/WORD.json   in the state directory, by the path of the checkpoint: {"checkpoint", "state": `Log.outline`,
                     "numbers", "sinks": see `log_books.py`}
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from shipper import whole_file
from shipper.digest_word import word_of
from shipper.durable.absent import Noted
from shipper.durable.state import State
from shipper.errors import DamagedData
from shipper.instance.log_books import books_of

if TYPE_CHECKING:
    from shipper.durable.log import Log

_FOLDER = "logs"


def note_of(state_dir: Path, checkpoint_dir: Path) -> Path:
    """Where the note of a log lies."""
    return state_dir / _FOLDER / f"{word_of(os.path.realpath(checkpoint_dir), 8):016x}.json"


def noted(state_dir: Path, checkpoint_dir: Path) -> Noted | None:
    """What a state directory knows of the log in a place; None when nothing."""
    try:
        found: dict[str, Any] = orjson.loads(note_of(state_dir, checkpoint_dir).read_bytes())
        state = State.from_bytes(found["state"].encode())
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Noted(state, f" --state-dir {state_dir.parent}")


def find(places: Iterable[Path], checkpoint_dir: Path) -> Iterator[Noted]:
    """What the agents whose state lies in these places know of the log in a place."""
    for place in places:
        for state_dir in (place, *sorted(path for path in place.glob("*") if path.is_dir())):
            if found := noted(state_dir, checkpoint_dir):
                yield found


class LogNote:
    """The note of a log that is open, kept by its writer.

    Args:
        state_dir: of the agent.
    """

    def __init__(self, state_dir: Path, log: Log) -> None:
        self.path = note_of(state_dir, log.settings.checkpoint_dir)
        self._log = log
        self._written = b""

    def made(self, *, stopped: bool = False) -> bytes:
        """What it is to say now; what it says already while a page of the board is damaged.

        Args:
            stopped: nothing is put, or taken, behind this.
        """
        try:
            numbers, sinks = books_of(self._log.board)
        except DamagedData:
            return self._written
        state = self._log.outline(stopped=stopped).to_bytes().decode()
        checkpoint = str(self._log.settings.checkpoint_dir)
        return orjson.dumps({"checkpoint": checkpoint, "state": state, "numbers": numbers, "sinks": sinks})

    def keep(self, content: bytes, *, synced: bool = False) -> None:
        """Writes it down when it says something new. Dying in here leaves the one of before: it knows of fewer rows.

        Raises:
            OSError: it can't be written.
        """
        if content and (content != self._written or synced):
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            whole_file.write(self.path, [content], synced=synced)
            self._written = content
