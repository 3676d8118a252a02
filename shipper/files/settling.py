"""Settling: what becomes of a file that the process before had open, by what the journal and the store say of it.

=====================================  ==================================================================
the file                               becomes
=====================================  ==================================================================
nothing of it counts                   removed, if it is ours; after a power cut also under its final name
finished, has its final name           nothing: it is done
finished                               cut to what counts, renamed
open                                   cut to what counts, gone on with
open, but has its final name           gets its name back, then as above: it was renamed, and the machine went down
open, but with other settings          cut to what counts, ended and renamed
shorter than what counts, or another   set aside under another name, never cut, counted and said
gone                                   counted and said
open, but on another store             cut to what counts, ended and renamed there, once that store can be reached
any, and the journal was lost          kept whole and renamed: what is behind the known length may count
=====================================  ==================================================================

Where the store does not cut, what ends is left to `final_names.py`, which does it beside the loop; and a file that its
dead writer still holds after a while is not waited for: it ends where it counts, and its bucket goes on in a new one.

All of it may be done twice: a process that dies in here leaves what the next one settles to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shipper.files.elsewhere import LOCAL
from shipper.files.extent import Extent
from shipper.files.journal import Journal
from shipper.files.journal_past import JOURNAL_LOST, POWER_CUT
from shipper.files.journal_record import FileRecord, Progress
from shipper.files.outlet import Outlet
from shipper.files.store import Changed, FileStatus, SlowStore, Store, StoreFile, trouble

_ADVICE = "let nothing touch files that are being written"


def settle(
    outlet: Outlet,
    journal: Journal,
    *,
    goes_on: Callable[[FileRecord], bool],
    resume: Callable[[FileRecord, StoreFile], None],
    rename: Callable[[FileRecord], None],
) -> None:
    """Settles the files of a journal, each on the store that it was begun on.

    Args:
        outlet: where new files go. Its `closed` hears of a file that has its final name, before the journal forgets it.
        goes_on: False for an open file that is ended all the same.
        resume: takes a file up: it is cut, and open behind what counts.
        rename: takes a file that is whole and needs its final name.

    Raises:
        OSError: a file of the store that is configured can't be worked with; those before it are settled.
    """
    records = list(journal.records.values())
    here = [record for record in records if not outlet.is_elsewhere(record)]
    Settling(outlet, outlet.store, journal, goes_on=goes_on, resume=resume, rename=rename).run(here)
    others: dict[str, list[FileRecord]] = {}
    for record in (*records, *journal.gone_unsynced):
        if outlet.is_elsewhere(record):
            others.setdefault(record.store or "", []).append(record)
    for name, some in others.items():
        _settle_elsewhere(outlet, journal, name, some, rename)


def _settle_elsewhere(
    outlet: Outlet, journal: Journal, name: str, records: Sequence[FileRecord], rename: Callable[[FileRecord], None]
) -> None:
    say = outlet.context.say
    known = [record for record in records if record.number in journal.records]
    if known:
        say("warning", outlet.elsewhere_left(known))
    renaming: set[int] = set()

    def ends(record: FileRecord) -> None:
        renaming.add(record.number)
        rename(record)

    try:
        store = outlet.elsewhere.open(name)
        Settling(outlet, store, journal, goes_on=lambda _: False, resume=_resumes_nothing, rename=ends).run(known)
        outlet.sync(store, records)
    except OSError as error:
        if journal.found == JOURNAL_LOST:  # what counts of them is known now or never
            raise
        say("error", f"{trouble('settle what was begun on', name, error)}; the journal keeps it until that store can "
            "be reached, and new files go where hdfs.path says")  # fmt: skip
        if name == LOCAL:
            return  # there a file is cut before it is renamed, which the next start does
        for record in known:
            if record.number in journal.records and record.progress is not None and record.number not in renaming:
                journal.settled([replace(record.progress, finished=True)])
                rename(record)


def _resumes_nothing(record: FileRecord, handle: StoreFile) -> None:
    raise AssertionError(f"{record.path} does not go on")


class Settling:
    """Settles the files of one journal and one store.

    Args:
        outlet: files of another recipe than its plan has are not gone on with.
        store: where all of them are.
        goes_on, resume, rename: as of `settle`.
    """

    def __init__(
        self,
        outlet: Outlet,
        store: Store,
        journal: Journal,
        *,
        goes_on: Callable[[FileRecord], bool],
        resume: Callable[[FileRecord, StoreFile], None],
        rename: Callable[[FileRecord], None],
    ) -> None:
        self._store = store
        self._shown = outlet.shown
        self._may_go_on = goes_on
        self._journal = journal
        self._clock = outlet.context.clock
        self._counters = outlet.context.counters
        self._say = outlet.context.say
        self._recipe = outlet.plan.recipe.name
        self._closed = outlet.closed
        self._resume = resume
        self._rename = rename
        self._taken_up: set[str] = set()

    def run(self, records: Sequence[FileRecord]) -> None:
        """Settles these.

        Raises:
            OSError: a file can't be worked with; those before it are settled.
        """
        if not (store := self._store).cuts:
            return self._run_beside(store, records)
        for record in records:
            there = self._store.stat(record.path)
            if self._journal.rebooted:
                self._renumber(record, there or self._store.stat(record.final))
            ours = there is not None and there.identity == record.identity
            if record.progress is None:
                self._begun(record, there, ours)
            elif record.progress.finished and self._has_final_name(record):
                if ours and record.path != record.final:
                    self._store.delete(record.path)  # two names on one file: a rename that was half done
                if self._closed is not None:
                    self._closed.note([record])
                self._journal.gone([record.number])
            elif there is None and self._journal.found == POWER_CUT and self._has_final_name(record):
                self._store.rename(record.final, record.path)
                there = self._store.stat(record.path)
                assert there is not None, "it was just renamed"
                self._written(record, record.progress, there)
            elif there is None:
                self._gone(record, record.progress)
            elif not ours or there.length < record.progress.length:
                self._set_aside(record, record.progress, there)
            else:
                self._written(record, record.progress, there)

    def _run_beside(self, store: SlowStore, records: Sequence[FileRecord]) -> None:
        lost = self._journal.found == JOURNAL_LOST
        wanted = []
        for record in records:
            if record.progress is None:
                there = self._store.stat(record.path)
                self._begun(record, there, there is not None and there.identity == record.identity)
            elif record.progress.finished:
                self._rename(record)
            elif not lost and not self._goes_on(record):
                self._end(record, replace(record.progress, finished=True))
            else:
                self._taken_up.add(record.key)
                extent = replace(record.extent, length=None, tail=None) if lost else record.extent
                wanted.append((record, record.progress, extent))
        store.ready([(record.path, extent) for record, _, extent in wanted])
        for record, progress, extent in wanted:
            self._go_on(record, progress, extent)

    def _goes_on(self, record: FileRecord) -> bool:
        """True when an open file may take more. Of a bucket only one does."""
        return record.recipe == self._recipe and record.key not in self._taken_up and self._may_go_on(record)

    def _go_on(self, record: FileRecord, progress: Progress, extent: Extent) -> None:
        try:
            handle = self._store.append(record.path, extent)
        except Changed:
            there = self._store.stat(record.path)
            if there is not None:
                self._set_aside(record, progress, there)
        except FileNotFoundError:
            final = self._store.stat(record.final)
            if self._journal.found == POWER_CUT and final is not None and self._same(record, final):
                self._store.rename(record.final, record.path)
                return self._go_on(record, progress, extent)
            self._gone(record, progress)
        except TimeoutError as error:
            self._say("warning", f"{trouble('go on with', self._shown(record), error)}; it ends with what was "
                      "delivered to it when that is over, and events go into a new file")  # fmt: skip
            self._end(record, replace(progress, finished=True))
        else:
            if self._journal.found != JOURNAL_LOST:
                return self._resume(record, handle)
            handle.close()
            there = self._store.stat(record.path)
            length = progress.length if there is None else there.length
            self._end(record, replace(progress, length=length, finished=True, tail=None))

    def _same(self, record: FileRecord, there: FileStatus) -> bool:
        return self._store.same(record.final, there, record.extent)

    def _gone(self, record: FileRecord, progress: Progress) -> None:
        self._say(
            "error", f"{self._shown(record)} is gone, with {progress.rows} rows that were delivered to it: {_ADVICE}"
        )
        self._counters.add("files_lost")
        self._journal.gone([record.number])

    def _renumber(self, record: FileRecord, there: FileStatus | None) -> None:
        """A disk may have another number since the machine was started, and the file is the same all the same."""
        if there is None or record.identity is None or there.identity == record.identity:
            return
        if there.identity.partition(".")[2] == record.identity.partition(".")[2]:
            self._journal.identified(record.number, there.identity)

    def _has_final_name(self, record: FileRecord) -> bool:
        final = self._store.stat(record.final)
        return final is not None and final.identity == record.identity

    def _begun(self, record: FileRecord, there: FileStatus | None, ours: bool) -> None:
        """Nothing of it counts. Without an identity it may not even be ours, unless it is empty."""
        if there is None and self._journal.found == POWER_CUT and self._has_final_name(record):
            # It was finished and renamed in the last moments; what is in it now, nobody can vouch for.
            self._say("warning", f"{record.final} was written just before the machine went down, and may not be whole: "
                      "it is removed, and its rows are read again where their source can")  # fmt: skip
            self._store.delete(record.final)
        if there is not None and ours and there.length and self._journal.found == JOURNAL_LOST:
            self._end(record, Progress(record.number, there.length, 0, 0, None, True))
            return
        if there is not None and (ours or (record.identity is None and not there.length)):
            self._store.delete(record.path)
        self._journal.gone([record.number])

    def _written(self, record: FileRecord, progress: Progress, there: FileStatus) -> None:
        if self._journal.found == JOURNAL_LOST and not progress.finished:
            self._end(record, replace(progress, length=there.length, finished=True))
            return
        handle = self._store.append(record.path, record.extent)
        if progress.finished or not self._goes_on(record):
            handle.close()
            self._end(record, replace(progress, finished=True))
            return
        self._taken_up.add(record.key)
        self._resume(record, handle)

    def _end(self, record: FileRecord, progress: Progress) -> None:
        if progress != record.progress:
            self._journal.settled([progress])
        self._rename(record)

    def _set_aside(self, record: FileRecord, progress: Progress, there: FileStatus) -> None:
        aside = f"{record.path}.set-aside-{self._clock.now_ms()}"
        what = (
            f"has {there.length} bytes of {progress.length}" if there.identity == record.identity else "is another file"
        )
        self._say("error", f"{self._shown(record)} {what} that were delivered to it: it is kept as {aside}; {_ADVICE}")
        self._counters.add("files_lost")
        self._store.rename(record.path, aside)
        self._journal.gone([record.number])
