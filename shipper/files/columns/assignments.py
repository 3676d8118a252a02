"""Assignments: which stage becomes which file, in a journal of their own, for the write path and for the maker.

A stage is assigned a file before it is begun, and the journal is synced before what is in the stage is called durable.
Nothing commits in this journal: it has facts only, which are true whatever the channel's memory says. All verbs may be
called from any thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from shipper.clock import Clock
from shipper.files.columns import places
from shipper.files.columns.work import DURABLE, WHOLE, Work
from shipper.files.journal import Journal
from shipper.files.journal_past import POWER_CUT
from shipper.files.journal_record import FileRecord, Progress
from shipper.files.outlet import Naming
from shipper.sinks.sink import SinkContext


class Assignments:
    """The assignments of one sink worker, as the process before left them.

    Args:
        naming: of the files that are made.
        settings: how new files are made: kind (`format`), `codec`, bytes in a `group` of rows.
        context: the sink's, in the folder of stages.
        stages: names of the stages that are there.
        before_sync: called before each sync.
        here: name of the store that new files go to.
    """

    def __init__(
        self,
        naming: Naming,
        settings: Mapping[str, Any],
        context: SinkContext,
        stages: Iterable[str],
        before_sync: Callable[[], None] = lambda: None,
        *,
        here: str,
    ) -> None:
        self._naming = naming
        self._settings = settings
        self._before_sync = before_sync
        self._here = here
        self._clock: Clock = context.clock
        self._lock = threading.RLock()
        self._sync_lock = threading.Lock()
        path = context.state_dir / places.ASSIGNMENTS
        self._journal = Journal(path, 0, uuid.uuid4().hex, boot_id=context.boot_id, syncs=True)
        self._journal.belong_to(here)
        self._journal.recovered()
        self._records: dict[str, FileRecord] = {}
        for record in sorted(self._journal.records.values(), key=lambda one: one.number):
            stage = settings_of(record)["stage"]
            if stage in self._records:  # it was to get another name
                self._journal.gone([self._records[stage].number])
            self._records[stage] = record
        self._inherited = set(self._records)
        numbers = [int(stage) for stage in (*self._records, *stages) if stage.isdigit()]
        self._next = 1 + max(numbers, default=0)

    def new(self, key: str) -> str:
        """The name of a new stage, which is to become a file of the bucket `key`."""
        with self._lock:
            stage = f"{self._next:08d}"
            self._next += 1
            self._assign(stage, key)
            return stage

    def work(self, folder: str, stage: str, key: str) -> Work:
        """What is to be done for a stage. `key` is used if somebody removed the journal."""
        with self._lock:
            record = self._records.get(stage) or self._assign(stage, key)
            group_bytes: int = settings_of(record)["group"]
            return Work(f"{folder}/{stage}", record, group_bytes, inherited=stage in self._inherited)

    def record(self, stage: str) -> FileRecord | None:
        """What the stage becomes, where that is known."""
        return self._records.get(stage)

    def all(self) -> list[tuple[str, FileRecord]]:
        """The stages and their files."""
        with self._lock:
            return list(self._records.items())

    def whole(self, work: Work, rows: int) -> None:
        """The stage takes no more. It is needed to say how much is lost if the stage is, and for no more."""
        with self._lock, contextlib.suppress(OSError):
            state = DURABLE if work.durable else WHOLE
            self._journal.settled([Progress(work.record.number, work.length, rows, work.body_bytes, state)])

    def durable(self, works: Iterable[Work], taken: Mapping[str, int]) -> None:
        """The stages are whole and on the disk, which the mark of the stages' own journal is about to say.

        A power cut before that mark: the rows come again where their source can, and once more out of these stages.

        Args:
            taken: from each lane, when the sync began.
        """
        with self._lock:
            self._journal.settled([
                replace(work.record.progress or Progress(work.record.number, work.length, 0, 0), state=DURABLE)
                for work in works
            ], taken)  # fmt: skip
        self.sync()

    def is_lost(self, record: FileRecord) -> bool:
        """True when the machine went down before a stage was on the disk that its own journal does not know: whatever
        is left of it does not count."""
        known = record.progress
        return self._journal.found == POWER_CUT and (known is None or known.state != DURABLE)

    def again(self, work: Work) -> None:
        """What was made counts for nothing: the file is made anew."""
        with self._lock:
            before = work.record.progress
            rows, state = (before.rows, before.state) if before is not None else (0, WHOLE)
            self._journal.settled([Progress(work.record.number, work.length, rows, 0, state)])

    def finished(self, works: Iterable[Work]) -> None:
        """The files are whole and on the disk."""
        with self._lock:
            self._journal.settled([
                Progress(work.record.number, work.written_bytes, work.rows, work.body_bytes,
                         work.record.progress.state if work.record.progress is not None else WHOLE, True, work.tail)
                for work in works
            ])  # fmt: skip

    def gone(self, stages: Iterable[str]) -> None:
        """Stages that became their files, or of which nothing counts."""
        with self._lock:
            records = [record for stage in stages if (record := self._records.pop(stage, None)) is not None]
            self._journal.gone([record.number for record in records])

    def identified(self, work: Work, identity: str | None) -> None:
        """The file was made, under its name in use, and is ours; None = it is about to be made anew."""
        with self._lock:
            self._journal.identified(work.record.number, identity)

    def rename(self, work: Work, taken: int = 0) -> None:
        """The names of the file belong to somebody else: it gets others. It was not made yet.

        Args:
            taken: as `Naming.next`.
        """
        with self._lock:
            before = work.record
            path, final = self._naming.next(before.key, taken)
            number = self._journal.begin(before.key, path, final, before.opened_ms, before.recipe, before.store)
            work.record = self._records[os.path.basename(work.stage)] = self._journal.records[number]
            self._journal.gone([before.number])

    def rename_final(self, work: Work) -> str:
        """The final name of the file belongs to somebody else: the other one that it gets."""
        with self._lock:
            _, final = self._naming.next(work.record.key)
            self._journal.renamed_to(work.record.number, final)
            return final

    def retired(self, key: str) -> None:
        """The bucket has no open file any more."""
        with self._lock:
            self._naming.retired(key)

    def sync(self) -> None:
        """All of it survives the death of the machine."""
        self._before_sync()
        with self._sync_lock:  # a sync must not see the journal change its file
            with self._lock:
                rewritten = self._journal.sync_begins() and not self._journal.synced()
            if not rewritten:
                self._journal.sync()

    def close(self) -> None:
        """Leaves a journal as small as what is still to be known: none when that is nothing."""
        self._journal.close()
        if not self._records:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._journal.path)

    def _assign(self, stage: str, key: str) -> FileRecord:
        path, final = self._naming.next(key)
        recipe = orjson.dumps({"stage": stage, **self._settings}).decode()
        number = self._journal.begin(key, path, final, self._clock.now_ms(), recipe, self._here)
        record = self._records[stage] = self._journal.records[number]
        return record


def settings_of(record: FileRecord) -> dict[str, Any]:
    """What a file is made of and how: its `stage`, and the settings of when it was assigned."""
    found: dict[str, Any] = orjson.loads(record.recipe)
    return found
