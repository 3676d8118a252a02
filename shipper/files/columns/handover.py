"""A handover: files of columns and files of events have journals of their own, and a sink may change between them.

What the one kind has left is settled before the other begins. The journal that begins then has to know which commit was
the last: the channel goes on counting.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from shipper.files.columns import places
from shipper.files.columns.format import FORMATS
from shipper.files.columns.room import Room
from shipper.files.columns.staged_files import StagedFiles
from shipper.files.columns.staged_plan import StagedPlan
from shipper.files.journal import Journal
from shipper.files.journal_record import open_files
from shipper.files.outlet import Outlet
from shipper.files.rolling import RollingFiles
from shipper.sinks.sink import SinkContext


def enter(outlet: Outlet) -> None:
    """The sink writes files of columns from now on: what it had of others is ended.

    Raises:
        OSError: a journal or a file can't be worked with.
    """
    context = outlet.context
    folder, journal = context.state_dir / places.FOLDER, context.state_dir / places.JOURNAL
    if journal.exists() and (not folder.is_dir() or _has_files(journal)):
        files = RollingFiles(outlet)
        files.open()
        files.close()
    if not folder.is_dir():
        folder.mkdir(parents=True)
        _hand_over(folder / places.JOURNAL, context, syncs=outlet.plan.syncs)


def leave(outlet: Outlet) -> None:
    """What was staged becomes files, since the sink writes others from now on: now, or at a later start.

    Raises:
        OSError: a journal or a stage can't be worked with.
    """
    context = outlet.context
    folder, journal = context.state_dir / places.FOLDER, context.state_dir / places.JOURNAL
    if not folder.is_dir():
        return
    staged = StagedPlan(
        kind=FORMATS["Arrow"], codec="none", group_bytes=1 << 20, target_bytes=0, stage_bytes=0, room=Room(0)
    )
    files = StagedFiles(outlet, staged)
    files.open()
    files.close()
    if (folder / places.ASSIGNMENTS).exists():
        return
    if not _has_files(journal):
        _hand_over(journal, context, syncs=outlet.plan.syncs)
    (folder / places.JOURNAL).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something that is not ours may be in it
        folder.rmdir()


def _has_files(journal: Path) -> bool:
    """True when a journal knows files that are not done."""
    return journal.exists() and bool(open_files(journal))


def _hand_over(journal: Path, context: SinkContext, *, syncs: bool) -> None:
    """Makes a journal that knows which commit was the last one of the other journal, all of whose files are settled.

    Dying before this or behind it: there is nothing left that a journal would have to say.
    """
    journal.unlink(missing_ok=True)
    Journal(
        journal,
        context.committed_sequence,
        context.run_id,
        boot_id=context.boot_id,
        syncs=syncs,
        rows=context.rows_taken,
    ).close()
