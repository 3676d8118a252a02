"""Final names: files that are whole and wait to be renamed, until the store has done it.

A rename that fails is tried again later; the file keeps its name of when it was written until then. What is renamed is
told to the journal; dying before that, the next process finds the final name on the same file and is content.

Where the store does not cut, a file is closed, set right and renamed beside the loop, all that wait at once: `give`
begins that, and sees later what became of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shipper.files.journal import Journal
from shipper.files.journal_record import FileRecord
from shipper.files.outlet import Outlet
from shipper.files.progress import CLOSING, LEASED, RENAMING, FileState
from shipper.files.store import Changed, Ending, SlowStore, Store, trouble

#: A stop waits so long for what is being renamed; the supervisor's deadline is longer.
_WAIT_S = 20.0


@dataclass(slots=True)
class _Waiting:
    record: FileRecord
    tries: int = 0
    next_s: float = 0.0
    ending: Ending | None = None


class FinalNames:
    """The files of one sink worker that are to be renamed.

    Args:
        outlet: its `closed` hears of each file that has its final name, before the journal forgets it.
        named: told of each file that has its final name, once the journal has forgotten it.
    """

    def __init__(self, outlet: Outlet, journal: Journal, named: Callable[[FileRecord], None] = lambda _: None) -> None:
        self._outlet = outlet
        self._journal = journal
        self._naming = outlet.naming
        self._clock = outlet.context.clock
        self._counters = outlet.context.counters
        self._say = outlet.context.say
        self._tries_max = outlet.plan.rename_tries
        self._retry_s = outlet.plan.rename_retry_s
        self._waiting: dict[int, _Waiting] = {}
        self._closed = outlet.closed
        self._named = named
        self._gone: list[int] = []  # what the journal must still hear
        self._whole: list[FileRecord] = []  # those of them that are there

    def add(self, record: FileRecord) -> None:
        """The file is whole, and the journal says so."""
        self._waiting[record.number] = _Waiting(record)

    def give(self, *, all_of_them: bool = False) -> None:
        """Renames what waits and is due (or all of it). Never raises: what fails is said, and tried again."""
        if not self._waiting and not self._gone:
            return
        now = self._clock.monotonic_s()
        for one in [one for one in self._waiting.values() if all_of_them or one.ending or one.next_s <= now]:
            try:
                if not (store := self._outlet.store_of(one.record)).cuts:
                    if not self._ended(store, one):
                        continue
                elif one.record.final != one.record.path:
                    self._rename(store, one.record)
            except Changed as error:
                self._changed(one, error)
            except FileNotFoundError as error:
                self._missing(one, error)
            except OSError as error:
                self._failed(one, error)
            else:
                self._done(one.record)
        self._tell()

    def wait(self) -> None:
        """Until what was begun beside the loop is done, for as long as such a thing may take."""
        until_s = time.monotonic() + _WAIT_S
        while (begun := [one.ending for one in self._waiting.values() if one.ending is not None]) and (
            time.monotonic() < until_s
        ):
            for ending in begun:
                ending.wait(max(until_s - time.monotonic(), 0.0))
            self.give()  # another name may be needed, and is waited for too

    @property
    def ending(self) -> int:
        """How many are being closed and renamed at this moment."""
        return sum(one.ending is not None for one in self._waiting.values())

    def _ended(self, store: SlowStore, one: _Waiting) -> bool:
        """True when the file has its name; begins to give it. Raises what went wrong."""
        record = one.record
        if one.ending is None:
            one.ending = store.end(record.path, record.final, record.extent)
        if not one.ending.done:
            return False
        error, one.ending = one.ending.error, None
        if isinstance(error, FileExistsError):
            self._another_name(store, record)
            return self._ended(store, one)
        if error is not None:
            raise error
        return True

    def _changed(self, one: _Waiting, error: Changed) -> None:
        """It is not the file that was written any more: it is kept under another name, and said."""
        record = one.record
        aside = f"{record.path}.set-aside-{self._clock.now_ms()}"
        try:
            self._outlet.store_of(record).rename(record.path, aside)
        except OSError as worse:
            return self._failed(one, worse)
        self._counters.add("files_lost")
        self._say("error", f"{self._outlet.shown(record)} is not what was delivered to it ({error.strerror}): it is "
                  f"kept as {aside}; let nothing touch files that are being written")  # fmt: skip
        self._done(record, True)

    def _tell(self) -> None:
        if self._gone:
            try:
                if self._closed is not None:
                    self._closed.note(self._whole)
                self._journal.gone(self._gone)
                whole, self._gone, self._whole = self._whole, [], []
            except OSError as error:  # the next process sees for itself that they are renamed
                self._say("error", trouble("write to", error.filename or str(self._journal.path), error))
            else:
                if self._closed is not None:
                    self._closed.known(self._journal.records)
                for record in whole:
                    self._named(record)

    def left(self) -> Iterable[FileRecord]:
        """Files that still wait."""
        return [one.record for one in self._waiting.values()]

    def survey(self) -> Iterator[FileState]:
        """What waits, as people see it."""
        store = self._outlet.store
        leased = () if store.cuts else store.leased()
        for one in self._waiting.values():
            record, done = one.record, one.record.progress
            path = self._outlet.shown(record)
            rows, length = (done.rows, done.length) if done is not None else (0, 0)
            state = LEASED if path in leased else CLOSING if one.ending is not None else RENAMING
            retry_s = 0.0 if math.isinf(one.next_s) or one.ending is not None else one.next_s
            yield FileState(path, state, rows, length, record.opened_ms, 0.0, one.tries, retry_s)

    def _done(self, record: FileRecord, lost: bool = False) -> None:
        del self._waiting[record.number]
        self._gone.append(record.number)
        if not lost:
            self._whole.append(record)

    def _rename(self, store: Store, record: FileRecord) -> None:
        while True:
            try:
                return store.rename(record.path, record.final)
            except FileExistsError:
                there = store.stat(record.final)
                if there is not None and there.identity == record.identity:
                    return store.delete(record.path)  # two names on one file: a rename that was half done
                self._another_name(store, record)

    def _another_name(self, store: Store, record: FileRecord) -> None:
        final = self._free_name(store, record.key)
        self._say("warning", f"{record.final} is there already and is not overwritten: {record.path} becomes {final}")
        # The journal first: dying between the two, the file is looked for under the name that it has.
        self._journal.renamed_to(record.number, final)

    def _free_name(self, store: Store, key: str) -> str:
        taken = 0
        while True:
            path, final = self._naming.next(key, taken)
            if store.stat(final) is None and store.stat(path) is None:
                return final
            taken += 1

    def _missing(self, one: _Waiting, error: FileNotFoundError) -> None:
        record = one.record
        try:
            store = self._outlet.store_of(record)
            if store.stat(record.path) is not None:
                return self._failed(one, error)  # it is the final name's folder that is gone
            there = store.stat(record.final)
            lost = there is None or not store.same(record.final, there, record.extent)
        except OSError as worse:
            return self._failed(one, worse)
        if lost:
            self._counters.add("files_lost")
            self._say("error", f"{self._outlet.shown(record)} was moved or removed by somebody before it could be "
                      f"renamed to {record.final}: let nothing touch files that are being written")  # fmt: skip
        self._done(record, lost)

    def _failed(self, one: _Waiting, error: OSError) -> None:
        record = one.record
        one.tries += 1
        self._counters.add("ConnectionFailedCount")
        self._counters.add("file_retries")
        again = self._retry_s > 0 and (self._tries_max <= 0 or one.tries < self._tries_max)
        one.next_s = self._clock.monotonic_s() + self._retry_s if again else math.inf
        then = f"next try in {self._retry_s:g} s" if again else "that was the last try; the next start tries once more"
        shown = self._outlet.shown(record)
        what = trouble("close", shown, error)
        if record.final != record.path:
            what = trouble("rename", f"{shown} to {record.final}", error)
        self._say("error", f"{what}; {then}")
