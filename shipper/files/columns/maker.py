"""The maker: makes files of stages, one after the other, in a thread of its own, and gives them their final names.

For each file, and what is true when the process dies behind the step:

1. the name in use is created, its identity journalled: the next maker removes it, and begins anew from the stage
2. groups of rows are written while the stage grows: as before
3. the stage is whole, the file closed and synced
4. the journal says *finished* (synced): the file is renamed by the next maker; but if the machine went down and the
   stage lost its last rows, it is removed and made anew
5. the stage is durable, as the channel knows: only now may it go
6. renamed, the folder synced: the next maker finds the final name on the same file
7. the stage removed: the next maker finds the final name, and nothing else to do
8. the workshop, in the loop, tells who wants to hear of closed files, and the journal says *gone*: nobody looks for
   the file again

The steps from 3 on are done for several files at once: their syncs cost as much as one.

It is the one place where rows are worked on beside the loop: to pack 64 MiB takes a quarter of a second, in which the
write path must not stand still. Arrow does it without holding Python's lock.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence

from shipper.files import anew
from shipper.files.columns.assignments import Assignments, settings_of
from shipper.files.columns.format import FORMATS
from shipper.files.columns.making import Making
from shipper.files.columns.places import WHOLE_SUFFIX, stage_is_there
from shipper.files.columns.room import Room
from shipper.files.columns.work import Work
from shipper.files.journal_record import FileRecord
from shipper.files.outlet import RollingPlan
from shipper.files.store import Ending, FileStatus, SlowStore, Store, trouble

_RETRY_FIRST_S, _RETRY_MOST_S = 1.0, 60.0
#: A cluster that does not close a file in this time is asked once more, later.
_ENDING_S = 90.0


class Maker:
    """Works for one sink worker. `round` is called in one thread at a time.

    Args:
        store: where its files go.
        room: where some of the stages may lie.
        plan: says whether what is made is synced, and when a rename is tried again.
        shown: the name of a file for a person.
        now_s: monotonic clock.
        say: one line for a person.
        count: adds to a counter.
    """

    def __init__(
        self,
        store: Store,
        assignments: Assignments,
        room: Room,
        plan: RollingPlan,
        *,
        shown: Callable[[FileRecord], str],
        now_s: Callable[[], float],
        say: Callable[[str, str], None],
        count: Callable[[str, int], None],
    ) -> None:
        self._store = store
        self._assignments = assignments
        self._room = room
        self._syncs = plan.syncs
        self._rename_tries = plan.rename_tries
        self._rename_retry_s = plan.rename_retry_s
        self._shown = shown
        self._now_s = now_s
        self._say = say
        self._count = count
        self._failing: dict[str, Work] = {}  # by the reason: the one that is named

    def round(self, works: Sequence[Work]) -> None:
        """Brings each of them as far as it can get now. What fails is said, and has its time to be tried again."""
        made = [work for work in works if not work.finished and self._each(work, "make", self._make)]
        if made:
            self._all(made, "sync", self._settle)
        due = [work for work in works if work.finished and work.durable]
        endings = {} if (store := self._store).cuts else {work: _begin_to_end(store, work) for work in due}
        named = [work for work in due if self._each(work, "rename", lambda one: self._rename(one, endings.get(one)))]
        if named:
            self._all(named, "finish", self._forget)

    # --- steps

    def _make(self, work: Work) -> bool:
        """Adds a group of rows, or all that are left and the end when the stage is whole. True when that is done."""
        if not work.length:  # nothing of the stage is left, or ever was there
            work.abandon()
            self._clear(work)
            self._drop(work)
            return False
        if not (work.whole or work.has_grown):
            return False
        if work.making is None:
            self._clear(work)
            work.making = self._create(work)
        making = work.making
        while True:
            whole, length = work.whole, work.length  # in this order: what is whole does not grow
            making.add(length)
            anew.flush(self._store, lambda _, identity: self._assignments.identified(work, identity))
            self._written(work, making)
            if not whole:
                work.tries = 0
                return False
            if making.read_bytes >= length:
                break
        making.finish()
        self._store.flush()
        making.flushed()
        self._written(work, making)
        work.tail = making.tail
        return True

    def _written(self, work: Work, making: Making) -> None:
        self._count("output_bytes", making.written_bytes - work.written_bytes)
        work.read_bytes, work.written_bytes, work.rows = making.read_bytes, making.written_bytes, making.rows

    def _clear(self, work: Work) -> None:
        """Removes what a maker before has left under the name in use."""
        record = work.record
        there = self._store.stat(record.path)
        if there is None:
            return
        # Empty: the maker before died behind its making, and could not say what its identity is.
        if (work.inherited and not there.length) or _made(record.identity, there):
            self._store.delete(record.path)

    def _create(self, work: Work) -> Making:
        taken = 0
        while True:
            record = work.record
            try:
                if self._store.stat(record.final) is not None:
                    raise FileExistsError
                handle = self._store.create(record.path)
            except FileExistsError:  # somebody else's, who has the same names
                taken += 1
                self._assignments.rename(work, taken)
                continue
            self._assignments.identified(work, handle.identity)
            settings = settings_of(record)
            kind, codec = FORMATS[settings["format"]], settings["codec"]
            return Making(kind, codec, work.group_bytes, work.stage, self._room, handle)

    def _settle(self, works: Sequence[Work]) -> None:
        """These files are whole and closed: so they are on the disk, and the journal knows."""
        if self._syncs:
            names = [(work.record.path, work.record.final) for work in works]
            self._store.sync(names, {os.path.dirname(path) for path, _ in names})
        self._assignments.finished(works)
        self._assignments.sync()
        for work in works:
            work.making = None
            work.tries = 0

    def _rename(self, work: Work, ending: Ending | None) -> bool:
        """Gives the file its final name.

        Args:
            ending: what the store does for it already, where that takes long.
        """
        record = work.record
        while record.path != record.final:
            try:
                if (store := self._store).cuts:
                    store.rename(record.path, record.final)
                else:
                    ended = ending or _begin_to_end(store, work)
                    ending = None
                    ended.wait(_ENDING_S)
                    if not ended.done:
                        raise TimeoutError(errno.ETIMEDOUT, f"it was not closed within {_ENDING_S:g} s", record.path)
                    if ended.error is not None:
                        raise ended.error
                break
            except FileExistsError:
                if self._is_made(work, record.final):
                    self._store.delete(record.path)  # two names on one file: a rename that was half done
                    break
                before = record.final
                final = self._assignments.rename_final(work)
                self._say("warning", f"{before} is there already and is not overwritten: {record.path} becomes {final}")
            except FileNotFoundError:
                if self._is_made(work, record.final):
                    break
                there = self._store.stat(record.path)
                if there is not None and self._is_made(work, record.path):
                    raise  # it is the final name's folder that is gone
                if not stage_is_there(work.stage):
                    self._lost(work)
                    return False
                self._say("error", f"{record.path} was removed or replaced before it could be renamed to "
                          f"{record.final}: it is made again from {work.stage}{WHOLE_SUFFIX}")  # fmt: skip
                if there is not None:
                    self._assignments.rename(work)  # who has the name now keeps it
                self._assignments.again(work)
                work.read_bytes = work.written_bytes = work.rows = 0
                work.tries, work.why, work.retry_s = 1, f"{record.path} was removed or replaced", 0.0
                return False
        return True

    def _is_made(self, work: Work, path: str) -> bool:
        """True when a finished file has that name."""
        there = self._store.stat(path)
        if there is None:
            return False
        return _made(work.record.identity, there) if self._store.cuts else (
            self._store.same(path, there, work.record.extent)
        )  # fmt: skip

    def _forget(self, works: Sequence[Work]) -> None:
        """These files have their final names: their stages go."""
        if self._syncs:
            self._store.sync((), {os.path.dirname(work.record.final) for work in works})
        for work in works:
            try:
                os.unlink(work.stage + WHOLE_SUFFIX)
            except FileNotFoundError:
                pass
        for work in works:
            work.gone = True

    # --- failures

    def _each(self, work: Work, doing: str, step: Callable[[Work], bool]) -> bool:
        try:
            return step(work)
        except Exception as error:  # whatever it is, the stage is safe, and the next try may do
            self.later(work, doing, error)
            return False

    def _all(self, works: Sequence[Work], doing: str, step: Callable[[Sequence[Work]], None]) -> None:
        try:
            step(works)
        except Exception as error:
            for work in works:
                self.later(work, doing, error)

    def later(self, work: Work, doing: str, error: Exception) -> None:
        """It failed: that is said, and it has its time to be tried again."""
        work.abandon()
        if isinstance(error, FileNotFoundError) and not work.finished and not stage_is_there(work.stage):
            self._clear(work)
            return self._lost(work)
        tries = work.tries + 1
        wait_s = min(_RETRY_FIRST_S * 2 ** min(work.tries, 16), _RETRY_MOST_S)
        then = f"the rows are safe in {os.path.dirname(work.stage)}, and it is tried again"
        if doing == "rename":
            wait_s = self._rename_retry_s
            if wait_s <= 0 or 0 < self._rename_tries <= tries:
                wait_s = float("inf")
                then = f"that was the last try for {self._shown(work.record)}; the next start tries once more"
        # Of the folder and not of the file: what keeps one from being made keeps all.
        what, folder = f"{doing} files in", os.path.dirname(self._shown(self._named(work, doing, error).record))
        why = trouble(what, folder, error) if isinstance(error, OSError) else f"could not {what} {folder}: {error}"
        self._say("error", f"{why}; {then}")
        self._count("ConnectionFailedCount", 1)
        self._count("file_retries", 1)
        work.why, work.retry_s, work.tries = why, self._now_s() + wait_s, tries

    def _named(self, work: Work, doing: str, error: Exception) -> Work:
        """The work that stands for all that fail for one reason, as long as it fails itself: what is always the same
        is not said of each folder, nor at each try."""
        reason = trouble(doing, "", error) if isinstance(error, OSError) else str(error)
        failing = self._failing.items()
        self._failing = {why: one for why, one in failing if one.tries and not one.gone and one is not work}
        return self._failing.setdefault(reason, work)

    def _lost(self, work: Work) -> None:
        rows = work.record.progress.rows if work.record.progress else 0
        self._say("error", f"{work.stage}{WHOLE_SUFFIX} is gone, with {rows} rows that were delivered to it and were "
                  f"to become {work.record.final}: let nothing touch the state directory")  # fmt: skip
        self._count("files_lost", 1)
        self._drop(work)

    def _drop(self, work: Work) -> None:
        self._assignments.gone([os.path.basename(work.stage)])
        work.gone = True


def _begin_to_end(store: SlowStore, work: Work) -> Ending:
    record = work.record
    return store.end(record.path, record.final, record.extent)


def _made(identity: str | None, there: FileStatus) -> bool:
    """True when a file is the one that was made. A disk may have another number since the machine was started."""
    if identity is None or there.identity == identity:
        return identity is not None
    return "." in identity and there.identity.partition(".")[2] == identity.partition(".")[2]
