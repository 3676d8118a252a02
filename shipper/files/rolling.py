"""Files that roll: rows in, whole files with their final names out, every row in exactly one of them.

The order of a transaction, and what is true when the process dies behind each step:

1. `append`: bytes reach the files. They are behind the lengths that count: the next `open` cuts them off, and
   removes files that were begun.
2. `flush`: what codecs gathered is written, then one journal entry says how far each file got. As before: no commit
   names that entry yet.
3. The channel stores the commit that names the entry: from here on the bytes count. The next `open` goes on with the
   files, and renames those that were finished.
4. `committed`: finished files get their final names, and the journal hears of it. In between, the next `open`
   finds either name on the same file and finishes the rename.

A file in which everything counts is finished without a transaction: its last bytes, a journal fact, the rename.
`close` and the timers do that; so nothing waits for a row to come.

A file that is not what the journal says (shorter, or another file under its name) is never cut: it is set aside
under another name, counted and said.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from shipper.batch.batch import EventBatch
from shipper.errors import RetryLater
from shipper.files.journal import FileRecord, Journal, Progress
from shipper.files.open_file import OpenFile, Recipe
from shipper.files.roll import RollLimits, cuts
from shipper.files.store import Store, trouble
from shipper.sinks.sink import SinkContext


class Naming(Protocol):
    """Names for the files of a bucket."""

    def next(self, key: str) -> tuple[str, str]:
        """The name of a new file while it is written, and after; a later pair on every call."""

    def retired(self, key: str) -> None:
        """The bucket has no open file any more."""


@dataclass(frozen=True, kw_only=True)
class RollingPlan:
    """What a rolling sink's options say.

    Attributes:
        open_files_max: beyond it, the file that was written longest ago is finished.
        rename_tries: 0 is without end.
        rename_retry_s: between two tries.
    """

    limits: RollLimits
    recipe: Recipe
    open_files_max: int = 5000
    rename_tries: int = 0
    rename_retry_s: float = 180.0


@dataclass(slots=True)
class _Rename:
    record: FileRecord
    tries: int = 0
    next_s: float = 0.0


class RollingFiles:
    """The open files of one sink worker.

    Args:
        store: where they are.
        plan: when they end and what is in them.
        naming: what they are called.
        context: the sink's.
    """

    def __init__(self, store: Store, plan: RollingPlan, naming: Naming, context: SinkContext) -> None:
        self._store = store
        self._plan = plan
        self._limits = plan.limits
        self._naming = naming
        self._clock = context.clock
        self._counters = context.counters
        self._say = context.say
        self._context = context
        self._open: OrderedDict[str, OpenFile] = OrderedDict()  # by bucket, the one written longest ago first
        self._touched: dict[OpenFile, str] = {}  # with rows that do not count yet, and their buckets
        self._renames: dict[int, _Rename] = {}  # finished, all of it counts, waiting for the final name
        self._uncut: dict[OpenFile, str] = {}  # a rollback that could not be done yet
        self._gone: list[int] = []  # what the journal must still hear
        self._most_open = plan.open_files_max
        self._journal: Journal

    # --- the verbs of a sink

    def open(self) -> None:
        """Settles what the process before left: cuts, removes, renames.

        Raises:
            OSError: the journal or a file can't be worked with.
        """
        self._context.state_dir.mkdir(parents=True, exist_ok=True)
        path = self._context.state_dir / "files.journal"
        self._journal = Journal(path, self._context.committed_sequence)
        if self._journal.found == "journal lost":
            self._say("warning", f"{path} does not have the state that the channel's last commit names: files of "
                      "the run before are kept as they are, and may hold rows that come once more")  # fmt: skip
        elif self._journal.found == "channel lost":
            self._say("warning", f"the channel's memory of what was delivered is older than {path} (a reboot, a new "
                      "container): all that was written counts as delivered")  # fmt: skip
        for record in list(self._journal.records.values()):
            self._settle(record)
        self._journal.recovered()
        self._rename(self._renames.values())

    def append(self, key: str, batch: EventBatch) -> None:
        """Adds rows to the file of bucket `key`, and ends it and begins others where the limits say.

        Raises:
            RetryLater: the store failed; `rolled_back` must follow.
        """
        try:
            if self._uncut:
                self._cut()
            file = self._open.get(key) or self._begin(key)
            if not self._limits.by_content:
                self._write(key, file, batch)
            else:
                self._write_cut(key, file, batch)
            self._evict(self._most_open)
        except OSError as error:
            raise self._later("write to", key, error) from error

    def flush(self) -> int:
        """All that was appended is in the files, and the journal says so.

        Returns:
            The sequence that the commit must name.

        Raises:
            RetryLater: as `append`.
        """
        if not self._touched:
            return self._journal.committed
        written = 0
        path = ""
        try:
            for file in self._touched:
                path = file.record.path
                written += file.push()
                if file.unlinked():
                    self._lost(file)
            path = str(self._journal.path)
            sequence = self._journal.append([file.progress() for file in self._touched])
        except OSError as error:
            raise self._later("write to", path, error) from error
        self._counters.add("output_bytes", written)
        return sequence

    def committed(self) -> None:
        """The commit that names the last flush is stored. Never raises: what fails here is tried again by `tick`."""
        self._journal.confirm()
        if not self._touched:
            return
        finished = []
        for file in self._touched:
            file.mark()
            if file.finished:
                finished.append(self._to_rename(file.record))
        self._touched.clear()
        if finished:
            self._rename(finished)

    def rolled_back(self) -> None:
        """What was appended since the last commit is taken out of the files, at once or before the next append."""
        self._journal.forget()
        self._uncut.update(self._touched)
        self._touched.clear()
        try:
            self._cut()
        except OSError as error:
            self._say("error", trouble("cut back", next(iter(self._uncut.values())), error))

    def tick(self) -> bool:
        """Ends what is due and renames what waits. True when files with uncommitted rows were ended: flush, commit."""
        if self._uncut:
            return False  # the next append cuts, or says why not
        now = self._clock.monotonic_s()
        idle = self._limits.idle_s
        due = [
            (key, file) for key, file in self._open.items()
            if (file.due_s is not None and now >= file.due_s) or (idle and now - file.written_s >= idle)
        ]  # fmt: skip
        dirty = False
        try:
            for key, file in due:
                dirty |= file.dirty
                if file.dirty:
                    self._finish(key, file)
            self._finish_counted([(key, file) for key, file in due if not file.dirty])
        except OSError as error:
            self._say("error", trouble("finish", due[0][0], error))
        waiting = [one for one in self._renames.values() if one.next_s <= now]
        if waiting or self._gone:
            self._rename(waiting)
        return dirty

    def releasing(self) -> None:
        """The channel's commit slot will name another sink."""
        try:
            self._journal.release()
        except OSError as error:
            self._say("error", trouble("write to", str(self._journal.path), error))

    def close(self) -> None:
        """Ends and renames all files. Rows of an unfinished transaction are taken out first."""
        if not hasattr(self, "_journal"):
            return
        if self._touched or self._uncut:
            self.rolled_back()
        try:
            self._finish_counted([(key, file) for key, file in self._open.items() if file not in self._uncut])
        except OSError as error:
            self._say("error", trouble("finish", next(iter(self._open), "a file"), error))
        self._rename(self._renames.values())
        for one in self._renames.values():
            self._say("error", f"{one.record.path} keeps that name: it could not be renamed to {one.record.final}")
        for file in [*self._open.values(), *self._uncut]:
            file.close()
        self._open.clear()
        self._counters.set("open_files", 0)
        try:
            self._journal.close()
        except OSError as error:
            self._say("error", trouble("write", str(self._journal.path), error))

    # --- one file

    def _begin(self, key: str) -> OpenFile:
        now_ms = self._clock.now_ms()
        while True:
            path, final = self._naming.next(key)
            if final != path and self._store.stat(final) is not None:
                continue
            if self._store.stat(path) is not None:
                continue
            number = self._journal.begin(key, path, final, now_ms, self._plan.recipe.name)
            try:
                handle = self._store.create(path)
            except FileExistsError:  # somebody was faster: it is theirs
                self._journal.gone([number])
                continue
            except OSError as error:
                self._journal.gone([number])
                if error.errno not in (errno.EMFILE, errno.ENFILE) or len(self._open) < 2:
                    raise
                self._most_open = len(self._open) // 2
                self._say("warning", f"no more than {len(self._open)} files can be open here: those written longest "
                          f"ago end early, so that at most {self._most_open} are; raise ulimit -n")  # fmt: skip
                self._evict(self._most_open)
                continue
            break
        record = self._journal.records[number]
        file = OpenFile(self._store, self._plan.recipe, self._clock, record, handle, self._due(now_ms))
        # Known from here on, so that a rollback finds it even when the next line fails.
        self._open[key] = file
        self._touched[file] = key
        self._journal.identified(number, handle.identity)
        self._counters.add("ConnectionCreatedCount")
        self._counters.set("open_files", len(self._open))
        return file

    def _write(self, key: str, file: OpenFile, batch: EventBatch) -> None:
        self._touched[file] = key
        written = file.write(batch)
        file.written_s = self._clock.monotonic_s()
        if written:
            self._counters.add("output_bytes", written)
        self._open.move_to_end(key)

    def _write_cut(self, key: str, file: OpenFile, batch: EventBatch) -> None:
        start = 0
        for cut in [*cuts(self._limits, batch, file.rows, file.body_bytes), batch.rows]:
            if cut > start:
                rows = batch.slice(start, cut - start) if cut - start < batch.rows else batch
                file.body_bytes += rows.body_bytes
                self._write(key, file, rows)
            if cut < batch.rows:
                self._finish(key, file, rolls=True)
                file = self._begin(key)
            start = cut

    def _finish(self, key: str, file: OpenFile, rolls: bool = False) -> None:
        """Ends a file within the transaction: it is renamed when that is committed.

        Args:
            rolls: the bucket gets its next file at once.
        """
        self._touched[file] = key
        self._counters.add("output_bytes", file.finish())
        self._retire(key, rolls)

    def _finish_counted(self, due: list[tuple[str, OpenFile]]) -> None:
        """Ends files in which everything counts: dying in here, they are cut to what counts, or renamed."""
        finished = []
        try:
            for key, file in due:
                try:
                    self._counters.add("output_bytes", file.finish())
                except OSError:
                    self._uncut[file] = key  # part of its last bytes may be there
                    raise
                self._retire(key)
                finished.append(file)
        finally:
            if finished:
                self._journal.settled([file.progress() for file in finished])
                self._rename([self._to_rename(file.record) for file in finished])

    def _evict(self, most: int) -> None:
        """Ends the files that were written longest ago, until at most `most` are open."""
        while len(self._open) > most:
            oldest = next(iter(self._open))
            self._finish(oldest, self._open[oldest])

    def _retire(self, key: str, rolls: bool = False) -> None:
        del self._open[key]
        if not rolls:
            self._naming.retired(key)
        self._counters.add("ConnectionClosedCount")
        self._counters.set("open_files", len(self._open))

    def _due(self, opened_ms: int) -> float | None:
        if not self._limits.interval_s:
            return None
        age_s = max(0.0, (self._clock.now_ms() - opened_ms) / 1000)
        return self._clock.monotonic_s() + max(0.0, self._limits.interval_s - age_s)

    # --- names

    def _to_rename(self, record: FileRecord) -> _Rename:
        self._renames[record.number] = waiting = _Rename(record)
        return waiting

    def _rename(self, waiting: Iterable[_Rename]) -> None:
        """Gives final names. Dying in here: done once more by the next `open`, which finds either name."""
        for one in list(waiting):
            record = one.record
            try:
                if record.final != record.path:
                    self._rename_one(record)
            except OSError as error:
                self._not_renamed(one, error)
                continue
            del self._renames[record.number]
            self._gone.append(record.number)
        if self._gone:
            try:
                self._journal.gone(self._gone)
                self._gone = []
            except OSError as error:  # the next open sees for itself that they are renamed
                self._say("error", trouble("write to", str(self._journal.path), error))

    def _rename_one(self, record: FileRecord) -> None:
        while True:
            try:
                return self._store.rename(record.path, record.final)
            except FileExistsError:
                if self._is(record.final, record.identity):
                    return self._store.delete(record.path)  # both names on one file: a rename that was half done
                final = self._free_name(record.key)
                self._say("warning", f"{record.final} is there already and is not overwritten: "
                          f"{record.path} becomes {final}")  # fmt: skip
                # The journal first: dying between the two, the file is looked for under the name that it has.
                self._journal.renamed_to(record.number, final)

    def _free_name(self, key: str) -> str:
        while True:
            path, final = self._naming.next(key)
            if self._store.stat(final) is None and self._store.stat(path) is None:
                return final

    def _not_renamed(self, one: _Rename, error: OSError) -> None:
        record = one.record
        if isinstance(error, FileNotFoundError) and self._is_missing(record.path):
            if not self._is(record.final, record.identity):
                self._say("error", f"{record.path} was moved or removed by somebody before it could be renamed to "
                          f"{record.final}: let nothing touch files that are being written")  # fmt: skip
                self._counters.add("files_lost")
            del self._renames[record.number]
            self._gone.append(record.number)
            return
        one.tries += 1
        self._counters.add("ConnectionFailedCount")
        plan = self._plan
        again = plan.rename_retry_s > 0 and (plan.rename_tries <= 0 or one.tries < plan.rename_tries)
        one.next_s = self._clock.monotonic_s() + plan.rename_retry_s if again else float("inf")
        then = f"next try in {plan.rename_retry_s:g} s" if again else "that was the last try; a restart tries once more"
        self._say("error", f"{trouble(f'rename to {record.final}', record.path, error)}; {then}")

    def _is_missing(self, path: str) -> bool:
        try:
            return self._store.stat(path) is None
        except OSError:
            return False

    def _is(self, path: str, identity: str | None) -> bool:
        try:
            there = self._store.stat(path)
        except OSError:
            return False
        return there is not None and there.identity == identity

    # --- taking back

    def _cut(self) -> None:
        """Undoes what was not committed. Raises OSError with the rest still to be undone."""
        while self._uncut:
            file, key = next(iter(self._uncut.items()))
            if file.record.progress is None:
                file.close()
                self._store.delete(file.record.path)
                if self._open.get(key) is file:
                    self._retire(key)
                self._journal.gone([file.record.number])
            else:
                try:
                    file.cut_back()
                except FileNotFoundError:
                    self._forget_lost(key, file)
                else:
                    self._open[key] = file
            del self._uncut[file]
        self._counters.set("open_files", len(self._open))

    def _lost(self, file: OpenFile) -> None:
        path = file.record.path
        raise FileNotFoundError(2, os.strerror(2), path)

    def _forget_lost(self, key: str, file: OpenFile) -> None:
        file.close()
        if self._open.get(key) is file:
            self._retire(key)
        self._journal.gone([file.record.number])
        self._counters.add("files_lost")
        rows = file.record.progress.rows if file.record.progress else 0
        self._say("error", f"{file.record.path} was removed or replaced while it was written, with {rows} rows that "
                  "were delivered to it: let nothing touch files that are being written")  # fmt: skip

    def _later(self, doing: str, path: str, error: OSError) -> RetryLater:
        return RetryLater(trouble(doing, error.filename or path, error))

    # --- after a death

    def _settle(self, record: FileRecord) -> None:
        """One file that the process before had open, by what the journal and the store say of it."""
        if record.progress is None:
            self._remove_begun(record)
            return
        there = self._store.stat(record.path)
        final = self._store.stat(record.final)
        if record.progress.finished and final is not None and final.identity == record.identity:
            if there is not None and there.identity == record.identity and record.path != record.final:
                self._store.delete(record.path)  # a rename by two names that was half done
            self._journal.gone([record.number])
        elif there is None:
            self._counters.add("files_lost")
            self._say("error", f"{record.path} is gone, with {record.progress.rows} rows that were delivered to it: "
                      "let nothing touch files that are being written")  # fmt: skip
            self._journal.gone([record.number])
        elif there.identity != record.identity or there.length < record.progress.length:
            self._set_aside(record, there.length)
        elif record.progress.finished:
            self._store.append(record.path, record.progress.length, record.identity).close()
            self._to_rename(record)
        else:
            self._resume(record, record.progress, there.length)

    def _remove_begun(self, record: FileRecord) -> None:
        there = self._store.stat(record.path)
        if there is not None and there.identity == record.identity and self._journal.found == "journal lost":
            self._end_as_it_is(record, Progress(record.number, there.length, 0, 0, None, True))
            return
        if there is not None and (there.identity == record.identity or (not record.identity and not there.length)):
            self._store.delete(record.path)
        self._journal.gone([record.number])

    def _resume(self, record: FileRecord, progress: Progress, length: int) -> None:
        if self._journal.found == "journal lost":  # what is behind the length may count: nothing may be cut
            self._end_as_it_is(record, replace(progress, length=length, finished=True))
            return
        handle = self._store.append(record.path, progress.length, record.identity)
        if record.recipe != self._plan.recipe.name or record.key in self._open:
            handle.close()
            self._end_as_it_is(record, replace(progress, finished=True))
            return
        file = OpenFile(self._store, self._plan.recipe, self._clock, record, handle, self._due(record.opened_ms))
        self._open[record.key] = file
        self._counters.set("open_files", len(self._open))

    def _end_as_it_is(self, record: FileRecord, progress: Progress) -> None:
        self._journal.settled([progress])
        self._to_rename(record)

    def _set_aside(self, record: FileRecord, length: int) -> None:
        assert record.progress is not None
        aside = f"{record.path}.set-aside-{self._clock.now_ms()}"
        self._say("error", f"{record.path} has {length} bytes, and is not the file of {record.progress.length} bytes "
                  f"or more that the journal knows: it is kept as {aside}, and a new one is begun")  # fmt: skip
        self._counters.add("files_lost")
        self._store.rename(record.path, aside)
        self._journal.gone([record.number])
