"""Open files: those of one sink worker that take rows, by bucket, the one that was written longest ago first."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Collection, Iterable

from shipper.files.journal import Journal
from shipper.files.journal_record import FileRecord
from shipper.files.open_file import OpenFile
from shipper.files.outlet import Outlet
from shipper.files.store import StoreFile
from shipper.files.strangers import Strangers


class OpenFiles:
    """The open files.

    Args:
        journal: hears of each file before it is made.
        strangers: looks beside new files; None where that is not needed.
    """

    def __init__(self, outlet: Outlet, journal: Journal, strangers: Strangers | None = None) -> None:
        self._store = outlet.store
        self._journal = journal
        self._strangers = strangers
        self._naming = outlet.naming
        self._clock = outlet.context.clock
        self._counters = outlet.context.counters
        self._recipe = outlet.plan.recipe
        self._here = outlet.elsewhere.here
        self._limits = outlet.plan.limits
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._strays: list[FileRecord] = []  # the store did not say whether it made them

    def get(self, key: str) -> OpenFile | None:
        """The file of a bucket; None when it has none."""
        return self._files.get(key)

    def oldest(self) -> tuple[str, OpenFile]:
        """The bucket and the file that was written longest ago."""
        key = next(iter(self._files))
        return key, self._files[key]

    def __len__(self) -> int:
        return len(self._files)

    def values(self) -> Collection[OpenFile]:
        """All of them."""
        return self._files.values()

    def items(self) -> Collection[tuple[str, OpenFile]]:
        """All of them, with their buckets."""
        return self._files.items()

    def due(self) -> list[str]:
        """Buckets whose files end by time now."""
        now, idle = self._clock.monotonic_s(), self._limits.idle_s
        return [
            key for key, file in self._files.items()
            if (file.due_s is not None and now >= file.due_s) or (idle and now - file.written_s >= idle)
        ]  # fmt: skip

    def begin(self, key: str) -> OpenFile:
        """A new file; the journal does not know its identity yet.

        Raises:
            OSError: it can't be made.
        """
        now_ms = self._clock.now_ms()
        for taken in itertools.count():
            path, final = self._naming.next(key, taken)
            if final != path and self._store.stat(final) is not None:
                continue
            # `create` would say it, too. But if it does not answer, or we die behind the next line, what has the name
            # and is empty is taken for ours and removed: on a cluster a file that somebody writes to looks like that.
            if self._store.stat(path) is not None:
                continue
            number = self._journal.begin(key, path, final, now_ms, self._recipe.name, self._here)
            try:
                handle = self._store.create(path)
            except FileExistsError:  # it is theirs, closed or not
                self._journal.gone([number])
                continue
            except TimeoutError:
                self._strays.append(self._journal.records[number])  # it may be there, or come to be
                raise
            except OSError:
                self._journal.gone([number])
                raise
            break
        self._counters.add("ConnectionCreatedCount")
        if self._strangers is not None:
            self._strangers.look(path, final)
        return self._opened(self._journal.records[number], handle, now_ms)

    def resume(self, record: FileRecord, handle: StoreFile) -> None:
        """A file that the process before had open is gone on with."""
        self._opened(record, handle, record.opened_ms)

    def restore(self, key: str, file: OpenFile) -> None:
        """A file that had ended takes rows again: its end was undone."""
        self._files[key] = file
        self._count()

    def written(self, key: str) -> None:
        """Rows went into the file of a bucket."""
        self._files.move_to_end(key)

    def retire(self, key: str, *, rolls: bool = False) -> None:
        """The file of a bucket takes no more.

        Args:
            rolls: the bucket gets its next file at once.
        """
        del self._files[key]
        if not rolls:
            self._naming.retired(key)
        self._counters.add("ConnectionClosedCount")
        self._count()

    def sweep(self) -> None:
        """Removes an empty file that the store was asked to make, and did not say that it had."""
        if not self._strays:
            return
        record = self._strays[0]
        try:
            there = self._store.stat(record.path)
            if there is not None and not there.length:
                self._store.delete(record.path)
            self._journal.gone([record.number])
        except OSError:
            return  # the store is not back yet
        del self._strays[0]

    def close(self, others: Iterable[OpenFile]) -> None:
        """Gives back what these and others hold. The files stay as they are."""
        for file in [*self._files.values(), *others]:
            file.close()
        self._files.clear()
        self._count()

    def _opened(self, record: FileRecord, handle: StoreFile, opened_ms: int) -> OpenFile:
        file = OpenFile(self._store, self._recipe, self._clock, record, handle, self._due(opened_ms))
        self._files[record.key] = file
        self._count()
        return file

    def _count(self) -> None:
        self._counters.set("open_files", len(self._files))

    def _due(self, opened_ms: int) -> float | None:
        if not self._limits.interval_s:
            return None
        age_s = max(0.0, (self._clock.now_ms() - opened_ms) / 1000)
        return self._clock.monotonic_s() + max(0.0, self._limits.interval_s - age_s)
