"""Files that roll: rows in, whole files with their final names out, every row in exactly one of them.

The order of a transaction, and what is true when the process dies behind each step:

1. `append`: rows are gathered (`open_file.py`); new files are made. The next `open` removes files that were begun.
2. `flush`: the journal gets an entry that says how far each file will get, and what the commit will say.
3. `flush`: the bytes reach the files, which the store flushes. Dying before the last of them is there: the next `open`
   cuts the files to what counted before. Behind it: the next `open` finishes the commit (`half_done.py`).
4. The channel stores the commit that names the entry: from here on the bytes count. The next `open` goes on with the
   files, and renames those that were finished.
5. `committed`: finished files get their final names, and the journal hears of it. In between, the next `open`
   finds either name on the same file and finishes the rename.

So a reader who takes what is whole (members, blocks) sees nothing change but what a transaction has written to some of
its files while it was killed before it had written to the others, and whole lines of a write that was cut short. A
transaction that ends many files writes the first of them before step 2, for want of descriptors.

A file in which everything counts is finished without a transaction: its last bytes, a journal fact, the rename.
`close` and the timers do that; so nothing waits for a row to come.

Where the store does not cut (a cluster), a file that has more than what counts is not waited for: the journal hears
that it ends where it counts, it is set right and renamed beside the loop, and its bucket goes on in a new one. Dying
anywhere in there, the next `open` finds a finished file and begins that again.

A file that is not what the journal says (shorter, or another file under its name) is never cut: it is set aside
under another name, counted and said (`settling.py`).

The file is long because it is where those five steps can be read one after the other: what a file is
(`open_file.py`), which are open (`open_files.py`), which have too much in them (`uncut.py`), when one ends (`roll.py`),
what it is called in the end (`final_names.py`) and what the journal is (`journal.py`) stand elsewhere.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from shipper.batch.batch import EventBatch
from shipper.errors import Refused, RetryLater
from shipper.files import anew
from shipper.files.final_names import FinalNames
from shipper.files.half_done import settle_half_done
from shipper.files.journal import Journal
from shipper.files.journal_past import CHANNEL_LOST, JOURNAL_LOST, POWER_CUT
from shipper.files.journal_record import FileRecord
from shipper.files.open_file import OpenFile, Point
from shipper.files.open_files import OpenFiles
from shipper.files.outlet import Outlet
from shipper.files.progress import CUTTING, ENDING, OPEN, FileState, Progress
from shipper.files.refusals import Numbers, Refusals
from shipper.files.roll import cuts
from shipper.files.settling import settle
from shipper.files.store import StoreFile, trouble
from shipper.files.strangers import Strangers
from shipper.files.syncing import Syncing
from shipper.files.uncut import UncutFiles

#: Files that ended in a transaction wait for its entry before their bytes are written; more than that are not kept
#: open for it.
_ENDED_MAX = 64


class FileWatcher:
    """Is told what becomes of files. Nothing that it does may fail; this one does nothing with it."""

    def counted(self, record: FileRecord) -> None:
        """The record says how much of an open file counts now: it was committed, or taken up."""

    def named(self, record: FileRecord) -> None:
        """The file is whole and has its final name."""

    def removed(self, record: FileRecord) -> None:
        """The file is not there any more."""

    def syncing(self) -> None:
        """All that it was told is about to become durable, beside what comes next."""

    def goes_on(self, record: FileRecord) -> bool:
        """False when a file that the process before had open is to end, and its bucket to have another one."""
        return True

    def survey(self, files: Iterable[FileState]) -> Iterable[FileState]:
        """The files that are not done, as people are to see them."""
        return files


class RollingFiles:
    """The open files of one sink worker.

    Args:
        outlet: where they go.
        progress: shows them to people.
        watcher: is told what becomes of them meanwhile.
    """

    def __init__(self, outlet: Outlet, progress: Progress | None = None, watcher: FileWatcher | None = None) -> None:
        context = outlet.context
        self._outlet = outlet
        self._store = outlet.store
        self._limits = outlet.plan.limits
        self._clock = context.clock
        self._counters = context.counters
        self._say = context.say
        self._takes = context.takes
        self._closed = outlet.closed
        self._progress = progress or Progress(None, context.name, context.worker, "", context.clock, context.counters)
        self._watcher = watcher or FileWatcher()
        self._is_watched = watcher is not None
        self._touched: dict[OpenFile, str] = {}  # with rows that do not count yet, and their buckets
        self._unpushed: list[OpenFile] = []  # finished in this transaction, and open still
        self._ended: list[OpenFile] = []  # finished without a transaction, and the journal has not heard yet
        self._is_closed = False
        self._elsewhere_left = ""
        self._points: dict[OpenFile, Point | None] | None = None  # where files were before this batch; None = new ones
        self._most_open = outlet.plan.open_files_max
        self._journal: Journal
        self._open: OpenFiles
        self._names: FinalNames
        self._syncing: Syncing
        self._uncut: UncutFiles
        self.sync_interval_s = outlet.plan.sync_interval_s

    # --- the verbs of a sink

    def open(self) -> None:
        """Settles what the process before left: cuts, removes, renames.

        Raises:
            OSError: the journal or a file can't be worked with.
        """
        outlet, watcher, closed = self._outlet, self._watcher, self._closed
        context, syncs = outlet.context, outlet.plan.syncs
        context.state_dir.mkdir(parents=True, exist_ok=True)
        path = context.state_dir / "files.journal"
        strangers = None if path.exists() else Strangers(self._store, self._clock.now_ms(), self._say)
        journal = Journal(
            path, context.committed_sequence, context.run_id, boot_id=context.boot_id, syncs=syncs,
            rows=context.rows_taken,
        )  # fmt: skip
        journal.belong_to(outlet.elsewhere.here)
        if journal.found == JOURNAL_LOST:
            self._say("warning", f"{path} does not have the state that the channel's last commit names: files of "
                      "the run before are kept as they are, and may hold rows that come once more")  # fmt: skip
        elif journal.found == CHANNEL_LOST and journal.records:
            self._say("warning", f"the channel knows less of what was delivered than {path}: all that was written "
                      "counts as delivered")  # fmt: skip
        elif journal.found == POWER_CUT and journal.records:
            self._say("info", "the machine went down: files that were being written are cut back to what was safe on "
                      "disk, and what came behind it is read again where its source can")  # fmt: skip
        if settle_half_done(outlet, journal, context.takes):
            self._say("info", "the process before died with all of its last transaction written: it counts")
        self._names = FinalNames(outlet, journal, watcher.named)
        self._open = OpenFiles(outlet, journal, strangers)
        settle(outlet, journal, goes_on=watcher.goes_on, resume=self._resume, rename=self._names.add)
        also = closed.sync if closed is not None else lambda: None
        self._syncing = Syncing(self._store, journal, self._say, also, begins=watcher.syncing)
        self._uncut = UncutFiles(outlet, journal, self._open, self._names, self._syncing, watcher.removed)
        if syncs and (known := [*journal.records.values(), *journal.gone_unsynced]):
            # The process before may have died before it synced them, and what is recovered is called durable.
            for record in known:
                if not outlet.is_elsewhere(record):  # what is, was seen to as it was settled
                    self._syncing.touched(record)
            self._syncing.all_now()
        journal.recovered()
        self._elsewhere_left = outlet.elsewhere_left(journal.records.values())
        self._journal = journal
        self._names.give()
        if closed is not None:
            closed.opened(journal.records)

    def append(self, groups: Sequence[tuple[str, EventBatch, Numbers | None]]) -> None:
        """Adds the rows of a batch to the files of their buckets; ends files and begins others as the limits say.

        Args:
            groups: the bucket, its rows, and which rows of the batch these are (None = all of it).

        Raises:
            RetryLater: the store failed; `rolled_back` must follow.
            Refused: the serializer will never take some rows. Nothing of these groups has been added.
        """
        key = groups[0][0]
        try:
            if self._uncut:
                self._uncut.cut()
            file = self._open.get(key)
            if file is None or len(groups) > 1 or self._limits.by_content:
                self._append_some(groups)
            else:
                self._write(key, file, groups[0][1])  # refused here is refused before anything was written
        except OSError as error:
            raise self._later("write to", key, error) from error

    def _append_some(self, groups: Sequence[tuple[str, EventBatch, Numbers | None]]) -> None:
        """Adds rows where more than one file may change, so that a refusal can be undone in all of them."""
        self._points = {}
        refusals = Refusals()
        try:
            for key, batch, numbers in groups:
                self._write_cut(key, self._open.get(key) or self._begin(key), batch, numbers, refusals)
                self._evict(self._most_open)
            if refusals:
                self._undo(self._points)
                raise refusals.error()
        finally:
            self._points = None

    @property
    def wants_ahead(self) -> bool:
        """True when what is appended next will be packed, most likely, as what was appended now."""
        return len(self._touched) == 1 and next(iter(self._touched)).packs_blocks

    def ahead(self, batch: EventBatch) -> None:
        """Begins to pack rows that most likely come next, beside the flush. Nothing of them is in a file by that."""
        next(iter(self._touched)).pack_ahead(batch)

    def flush(self) -> int:
        """The journal says how far files get, and then all that was appended is in them.

        Returns:
            The sequence that the commit must name.

        Raises:
            RetryLater: as `append`.
        """
        if not self._touched:
            return self._journal.committed
        written = 0
        path = str(self._journal.path)
        try:
            for file in self._touched:
                file.pack()
            take = self._takes.coming() if self._takes is not None else None
            sequence = self._journal.append([file.progress() for file in self._touched], take)
            # Dying from here on: the entry tells whether all of it is there.
            for file, key in self._touched.items():
                path = key
                written += file.push()
                if file.unlinked():
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), file.record.path)
            path = next(iter(self._touched.values()))
            anew.flush(self._store, self._identified)
        except OSError as error:
            raise self._later("write to", path, error) from error
        self._counters.add("output_bytes", written)
        return sequence

    def committed(self) -> None:
        """The commit that names the last flush is stored. Never raises: what fails here is tried again by `tick`."""
        self._journal.confirm()
        if not self._touched:
            return
        self._progress.committed_s = self._clock.monotonic_s()
        for file in self._touched:
            self._syncing.touched(file.record)
            if file.finished:
                self._names.add(file.record)
            elif self._is_watched:
                self._watcher.counted(file.record)
        self._touched.clear()
        self._unpushed.clear()
        self._names.give()

    def rolled_back(self) -> None:
        """What was appended since the last commit is taken out of the files, at once or before the next append."""
        self._journal.forget()
        self._uncut.update(self._touched)
        self._touched.clear()
        self._unpushed.clear()
        try:
            self._uncut.cut()
        except OSError as error:
            self._say("error", trouble("cut back", next(iter(self._uncut.values())), error))

    def tick(self) -> bool:
        """Ends what is due and renames what waits. True when files with uncommitted rows were ended: flush, commit."""
        if self._uncut:
            return False  # the next append cuts, or says why not
        ended = self.end(self._open.due())
        if self._closed is not None:
            self._closed.tick()
        if self._progress.due():
            self._progress.show(self._watcher.survey(self._survey()))
        return ended

    def end(self, keys: Iterable[str]) -> bool:
        """Ends the files of these buckets and renames what waits. Returns as `tick`."""
        if self._uncut:
            return False
        due = [(key, file) for key in keys if (file := self._open.get(key)) is not None]
        ended = False
        try:
            for key, file in due:
                if file in self._touched:
                    self._finish(key, file)
                    ended = True
                else:
                    self._finish_counted(key, file)
        except OSError as error:
            self._say("error", trouble("finish", due[0][0], error))
        self._settle_ended()
        self._names.give()
        self._open.sweep()
        return ended

    @property
    def records(self) -> Mapping[int, FileRecord]:
        """The files that do not have their final names yet, as far as the journal knows; by number."""
        return self._journal.records

    def trouble(self) -> str:
        """Which files wait for a store that new ones do not go to; "" when none does."""
        if self._elsewhere_left:  # no more of them come to be
            self._elsewhere_left = self._outlet.elsewhere_left(self._journal.records.values())
        return self._elsewhere_left

    def sync(self) -> None:
        """All that is committed is about to become durable, beside what comes next. Between transactions."""
        if self.sync_interval_s:
            self._syncing.begin()

    def synced(self) -> bool:
        """True when what was committed before the last `sync` is durable."""
        done = not self.sync_interval_s or self._syncing.done()
        if done and self.sync_interval_s:
            self._progress.synced_s = self._clock.monotonic_s()
        return done

    #: Nothing here waits for a sync: what is renamed without one is settled after a power cut.
    unsynced = False

    @property
    def sync_failed(self) -> bool:
        """True when nothing will be called durable any more."""
        return self._syncing.failed

    def releasing(self) -> None:
        """The channel's commit slot will name another sink, which will say how much is durable there."""
        if self.sync_interval_s:
            self._syncing.now()
        try:
            self._journal.release()
        except OSError as error:
            self._say("error", trouble("write to", str(self._journal.path), error))

    def close(self) -> None:
        """Ends and renames all files. Rows of an unfinished transaction are taken out first."""
        if self._is_closed or not hasattr(self, "_journal"):
            return
        self._is_closed = True
        if self._touched or self._uncut:
            self.rolled_back()
        for key, file in list(self._open.items()):
            try:
                if file not in self._uncut:
                    self._finish_counted(key, file)
            except OSError as error:
                self._say("error", trouble("finish", key, error))
        self._settle_ended()
        self._names.give(all_of_them=True)
        self._names.wait()
        for record in self._names.left():
            self._say("error", f"{self._outlet.shown(record)} keeps that name: it could not be renamed to "
                      f"{record.final}, which the next start tries again")  # fmt: skip
        self._open.close(self._uncut)
        self._progress.close(self._watcher.survey(()))
        if self.sync_interval_s:
            self._syncing.now()
        try:
            self._journal.close()
        except OSError as error:
            self._say("error", trouble("write", str(self._journal.path), error))

    def _survey(self) -> Iterator[FileState]:
        """All files that are not done."""
        open_now = set(self._open.values())
        for file in open_now:
            yield self._state(file, CUTTING if file in self._uncut else OPEN)
        for file in {*self._touched, *self._ended, *self._uncut} - open_now:
            yield self._state(file, CUTTING if file in self._uncut else ENDING)
        yield from self._names.survey()

    @staticmethod
    def _state(file: OpenFile, state: str) -> FileState:
        return FileState(file.record.path, state, file.rows, file.length, file.record.opened_ms, file.written_s)

    # --- one file

    def _begin(self, key: str) -> OpenFile:
        while True:
            try:
                file = self._open.begin(key)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._makes_room():
                    raise
            else:
                break
        # Known from here on, so that a rollback finds it even when the next line fails.
        self._touched[file] = key
        if self._points is not None:
            self._points[file] = None
        self._journal.identified(file.record.number, file.identity)
        return file

    def _identified(self, path: str, identity: str | None) -> None:
        """A file of this transaction was made anew, or is about to be."""
        [number] = [file.record.number for file in self._touched if file.record.path == path]
        self._journal.identified(number, identity)

    def _makes_room(self) -> bool:
        """Closes files because no more can be open; False when there are none left to be closed."""
        if self._unpushed:
            self._push_ended()
            return True
        if len(self._open) < 2:
            return False
        self._most_open = len(self._open) // 2
        self._say("warning", f"no more than {len(self._open)} files can be open here: those written longest ago end "
                  f"early, so that at most {self._most_open} are; raise ulimit -n")  # fmt: skip
        self._evict(self._most_open)
        self._push_ended()
        return True

    def _write(self, key: str, file: OpenFile, batch: EventBatch) -> None:
        self._touch(key, file)
        file.write(batch)
        file.written_s = self._clock.monotonic_s()
        self._open.written(key)

    def _write_cut(
        self, key: str, file: OpenFile, batch: EventBatch, numbers: Numbers | None, refusals: Refusals
    ) -> None:
        start = 0
        for cut in [*cuts(self._limits, batch, file.rows, file.body_bytes), batch.rows]:
            if cut > start:
                rows = batch.slice(start, cut - start) if cut - start < batch.rows else batch
                try:
                    self._write(key, file, rows)
                except Refused as refusal:  # go on, to name all rows at once; then all of it is undone
                    refusals.add(refusal, start, numbers)
                if self._limits.size_bytes:
                    file.body_bytes += rows.body_bytes
            if cut < batch.rows:
                self._finish(key, file, rolls=True)
                file = self._begin(key)
            start = cut

    def _resume(self, record: FileRecord, handle: StoreFile) -> None:
        """A file that the process before had open is gone on with."""
        self._open.resume(record, handle)
        self._watcher.counted(record)

    def _touch(self, key: str, file: OpenFile) -> None:
        """The file is about to change within the transaction."""
        if self._points is not None and file not in self._points:
            self._points[file] = file.point()
        self._touched[file] = key

    def _finish(self, key: str, file: OpenFile, rolls: bool = False) -> None:
        """Ends a file within the transaction: it is renamed when that is committed.

        Args:
            rolls: the bucket gets its next file at once.
        """
        self._touch(key, file)
        file.finish()
        self._open.retire(key, rolls=rolls)
        if self._store.cuts:  # else nothing can be written before the entry
            self._unpushed.append(file)
            if len(self._unpushed) > _ENDED_MAX:
                self._push_ended()

    def _push_ended(self) -> None:
        """The bytes of files that ended are written before the entry: rather than to keep so many of them open."""
        for file in self._unpushed:
            if file.finished and file in self._touched:  # else it was undone
                self._counters.add("output_bytes", file.push())
        self._unpushed.clear()

    def _finish_counted(self, key: str, file: OpenFile) -> None:
        """Ends a file in which everything counts: dying in here, it is cut to what counts, or renamed."""
        try:
            file.finish()
            self._counters.add("output_bytes", file.push())
        except OSError:
            self._uncut[file] = key  # part of its last bytes may be there
            raise
        self._open.retire(key)
        self._ended.append(file)

    def _settle_ended(self) -> None:
        """The journal hears what was ended; tried again by the next `tick` when it can't be written."""
        if not self._ended:
            return
        try:
            self._store.flush()
        except OSError as error:
            self._say("error", trouble("finish", self._ended[0].record.path, error))
            if not self._store.cuts:  # without their last bytes, then
                for file in self._ended:
                    self._uncut[file] = file.record.key
                self._ended.clear()
                return
        try:
            self._journal.settled([file.progress() for file in self._ended])
        except OSError as error:
            self._say("error", trouble("write to", str(self._journal.path), error))
            return
        for file in self._ended:
            self._syncing.touched(file.record)
            self._names.add(file.record)
        self._ended.clear()

    def _evict(self, most: int) -> None:
        """Ends the files that were written longest ago, until at most `most` are open."""
        while len(self._open) > most:
            self._finish(*self._open.oldest())

    # --- taking back

    def _undo(self, points: dict[OpenFile, Point | None]) -> None:
        """Takes a batch out of the files that it went to; what the transaction added before stays."""
        for file in [file for file, point in points.items() if point is None]:
            self._uncut.remove(self._touched.pop(file), file)
        for file, point in points.items():
            if point is not None:
                file.back_to(point)
                self._open.restore(self._touched[file], file)

    def _later(self, doing: str, path: str, error: OSError) -> RetryLater:
        # Of a bucket, not of a file: each try makes a new name, and a fact that is never the same is said each time.
        return RetryLater(trouble(doing, path, error, rows_wait=True))
