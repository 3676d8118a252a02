"""A handover: files of columns and files of events have journals of their own, and a sink may change between them.

What the one kind has left is settled before the other begins. The journal that begins then has to know which commit was
the last: the channel goes on counting.
"""

from __future__ import annotations

from pathlib import Path

from shipper.files.journal import Journal, open_files
from shipper.files.rolling import RollingFiles
from shipper.sinks.sink import SinkContext


def has_files(journal: Path) -> bool:
    """True when a journal knows files that are not done."""
    return journal.exists() and bool(open_files(journal))


def settle(files: RollingFiles, journal: Path) -> None:
    """Ends what rolling files have left, if they have left a journal.

    Raises:
        OSError: the journal or a file can't be worked with.
    """
    if journal.exists():
        files.open()
        files.close()


def hand_over(journal: Path, context: SinkContext, *, syncs: bool) -> None:
    """Makes a journal that knows which commit was the last one of the other journal, all of whose files are settled.

    Dying before this or behind it: there is nothing left that a journal would have to say.
    """
    journal.unlink(missing_ok=True)
    Journal(journal, context.committed_sequence, context.run_id, boot_id=context.boot_id, syncs=syncs).close()
