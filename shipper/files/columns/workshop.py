"""The workshop: which stages there are, which of them something can be done for, and a thread that does it.

The write path tells it what became of each stage (`counted`, `named`, `removed`) and asks which files are large enough
(`full`). The thread runs while there is work: a stage that has a group of rows more than what is in its file, or one
that is whole. Nothing here waits for a store, except `close`, and `pace`, for a moment.

The file is long because what it is told, what it answers and what it finds after a death are one bookkeeping.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable
from dataclasses import replace

from shipper.files.background import Background
from shipper.files.columns import places
from shipper.files.columns.assignments import Assignments
from shipper.files.columns.bench import Bench
from shipper.files.columns.maker import Maker
from shipper.files.columns.makers import Makers
from shipper.files.columns.staged_plan import StagedPlan
from shipper.files.columns.work import Work
from shipper.files.journal_record import FileRecord
from shipper.files.outlet import Outlet
from shipper.files.progress import CLOSING, RENAMING, UNMADE, FileState
from shipper.files.rolling import FileWatcher
from shipper.files.store import trouble
from shipper.metrics.counters import Counters
from shipper.units import format_size

_COUNTED = ("output_bytes", "ConnectionFailedCount", "file_retries", "files_lost")


class Workshop(FileWatcher):
    """Makes the files of one sink worker.

    Args:
        outlet: where the files go; its context is the sink's, in the folder of stages.
        staged: what is made of the stages.

    Attributes:
        folder: where the stages are.
        staged_bytes: what all stages have.
        waiting_bytes: what the stages have that are whole.
    """

    def __init__(self, outlet: Outlet, staged: StagedPlan) -> None:
        self._context = context = outlet.context
        self._target_bytes = staged.target_bytes
        self._room = staged.room
        self._syncs = outlet.plan.syncs
        self._closed = closed = outlet.closed
        self._named: list[Work] = []  # and the journal has not heard yet
        self.folder = str(context.state_dir)
        staged.kind.load()
        settings = {"format": staged.kind.name, "codec": staged.codec, "group": staged.group_bytes}
        stages = [os.path.splitext(name)[0] for name in os.listdir(self.folder)]
        self._assignments = Assignments(
            outlet.naming,
            settings,
            context,
            stages,
            closed.sync if closed is not None else lambda: None,
            here=outlet.elsewhere.here,
        )
        self._counted = Counters.private()
        self._shown = Counters.private()
        self._said: list[tuple[str, str]] = []
        self._outlet = outlet
        now_s = context.clock.monotonic_s
        makers = Makers(outlet, lambda store: Maker(
            store, self._assignments, staged.room, outlet.plan,
            shown=outlet.shown, now_s=now_s, say=self._note, count=self._counted.add,
        ), now_s)  # fmt: skip
        self._works: dict[str, Work] = {}  # by the path of the stage, without its suffix
        self._open: dict[str, Work] = {}  # by bucket: those that take rows
        self._undurable: list[Work] = []  # whole, and not known to be on the disk
        self._syncing: list[Work] = []
        self._taken: dict[str, int] = {}  # from each lane, when the last sync began
        self._packed_share = 0.0  # of the last group of rows that was packed; nothing is known before the first
        self._bench = Bench(makers, staged.group_bytes, Background, now_s, self._note)
        self.staged_bytes = self.waiting_bytes = 0
        self._elsewhere_left = ""

    # --- what the write path tells

    def next(self, key: str, taken: int = 0) -> tuple[str, str]:
        """The names of a new stage while it grows, and when it is whole: a file of the bucket `key` is to be made.
        Nobody else has such names."""
        base = f"{self.folder}/{self._assignments.new(key)}"
        return base + places.OPEN_SUFFIX, base + places.WHOLE_SUFFIX

    def retired(self, key: str) -> None:
        """The bucket has no open file any more."""
        self._assignments.retired(key)

    def goes_on(self, record: FileRecord) -> bool:
        """A stage that was begun for another store takes no rows that are for this one."""
        target = self._assignments.record(os.path.basename(_base(record.path)))
        return target is None or not self._outlet.is_elsewhere(target)

    def counted(self, record: FileRecord) -> None:
        """More of a stage counts than before. The record is the stage's."""
        if not self._owns(record.path) or record.progress is None:
            return
        work = self._work(record.path, record.key)
        if not work.whole:
            self._has(work, record.progress.length, record.progress.rows)
            self._open[record.key] = work
            if work.has_grown:
                self._bench.put(work)

    def named(self, record: FileRecord) -> None:
        """A stage is whole. Never raises."""
        if not self._owns(record.path) or record.progress is None:
            return
        work = self._work(record.path, record.key)
        self._has(work, record.progress.length, record.progress.rows)
        work.body_bytes = record.progress.body_bytes
        work.durable = not self._syncs
        if not work.finished:
            self._assignments.whole(work, record.progress.rows)
        self._is_whole(work, record.key)
        if not work.durable:
            self._undurable.append(work)
        self._bench.put(work)

    def removed(self, record: FileRecord) -> None:
        """Nothing of a stage counts, or it was lost."""
        if not self._owns(record.path):
            return
        base = _base(record.path)
        work = self._works.get(base)
        if work is not None:
            self._has(work, 0)
            self._is_whole(work, record.key)
            work.durable = True
            self._bench.put(work)
        else:
            self._assignments.gone([os.path.basename(base)])

    def syncing(self) -> None:
        """All that counts now is about to become durable."""
        self._syncing, self._undurable = [*self._syncing, *self._undurable], []
        ask = self._context.rows_taken
        self._taken = ask() if ask is not None and self._syncing else {}

    def recovered(self) -> None:
        """All that the process before left was told; what was not is found here."""
        for name in os.listdir(self.folder):
            base, suffix = os.path.splitext(name)
            if suffix != places.WHOLE_SUFFIX or f"{self.folder}/{base}" in self._works:
                continue
            if (record := self._assignments.record(base)) is None:
                self._context.say("error", f"{self.folder}/{name} has rows, and nothing says where they belong: it is "
                                  "an Arrow IPC stream, and is kept")  # fmt: skip
                continue
            if not self._assignments.is_lost(record):
                self._inherit(base, os.stat(f"{self.folder}/{name}").st_size)
        for stage, record in self._assignments.all():
            if f"{self.folder}/{stage}" in self._works:
                continue
            if self._assignments.is_lost(record):
                for suffix in (places.OPEN_SUFFIX, places.WHOLE_SUFFIX):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(f"{self.folder}/{stage}{suffix}")
                self._assignments.again(self._inherit(stage, 0))
            elif record.identity is None and record.progress is None:  # begun, and never used
                self._assignments.gone([stage])
            else:  # what was made of it is renamed; what was only begun is removed
                self._inherit(stage, record.progress.length if record.progress is not None else 0)
        for work in self._works.values():
            if work.finished and not work.whole:  # the machine went down before the end of the stage was on the disk
                self._assignments.again(work)
        if sentence := self._outlet.elsewhere_left(self.records.values()):
            self._elsewhere_left = sentence
            self._context.say("warning", sentence)

    # --- what the write path asks

    def is_full(self, key: str) -> bool:
        """True when the file of a bucket is as large as it is to be."""
        work = self._open.get(key)
        if work is None or not self._target_bytes:
            return False
        if work.read_bytes:
            self._packed_share = work.written_bytes / work.read_bytes
        return work.written_bytes + (work.length - work.read_bytes) * self._packed_share >= self._target_bytes

    def full(self) -> list[str]:
        """The buckets of which that is true."""
        return [key for key in self._open if self.is_full(key)] if self._target_bytes else []

    def largest(self) -> str | None:
        """The bucket with the largest stage that takes rows."""
        return max(self._open, key=lambda key: self._open[key].length, default=None)

    @property
    def trouble(self) -> str:
        """Why files can't be made at their target, how many, and which of them are another store's; "" when all can."""
        failed = [work for work in self._works.values() if work.tries]
        said = [self._still_elsewhere()]
        if failed:
            count = f"{len(failed):,} files wait" if len(failed) > 1 else "1 file waits"
            staged = format_size(sum(work.length for work in failed))
            said.append(f"{count} for the target, {staged} staged: {failed[0].why}")
        return "; ".join(filter(None, said))

    # --- the thread

    def synced(self) -> None:
        """What counted before the last `syncing` is durable."""
        for work in self._syncing:
            work.durable = True
            self._bench.put(work)
        self._syncing = []

    @property
    def undurable(self) -> bool:
        """True when stages are whole that are not known to be on the disk, and nobody has begun to see to it."""
        return bool(self._undurable)

    @property
    def records(self) -> dict[int, FileRecord]:
        """The files that do not have their final names yet."""
        return {record.number: record for _, record in self._assignments.all()}

    def survey(self, files: Iterable[FileState]) -> Iterable[FileState]:
        """The stages that take rows, as the files that they will become, and the files whose stages are whole."""
        for file in files:
            work = self._works.get(_base(file.path))
            if work is not None:
                file = replace(
                    file, path=self._outlet.shown(work.record), tries=work.tries, retry_s=_finite(work.retry_s)
                )
            yield file
        for work in self._works.values():
            if work.whole:
                state = RENAMING if work.finished else UNMADE if work.tries else CLOSING
                yield FileState(self._outlet.shown(work.record), state, work.staged_rows, work.length,
                                work.record.opened_ms, 0.0, work.tries, _finite(work.retry_s))  # fmt: skip

    def sync_journal(self) -> None:
        """Which stage becomes which file survives the death of the machine. May be called from another thread."""
        self._assignments.sync()

    def stages_synced(self) -> None:
        """So do the stages that were whole when the sync began. May be called from another thread."""
        self._assignments.durable(self._syncing, self._taken)

    def advance(self) -> None:
        """Begins what can be done, and tells what was done. Never waits."""
        for work in self._bench.advance():
            if work.read_bytes:
                self._packed_share = work.written_bytes / work.read_bytes
            self._has(work, 0)
            self._works.pop(work.stage, None)
            self._room.cut(work.stage)
            if not self._works:
                self._room.rest()
            if work.finished:
                self._named.append(work)
        if self._named:
            self._forget()
        self._tell()

    def pace(self, most_s: float) -> bool:
        """Waits until something was done, at most so long. False when nothing is being done, or for a second now."""
        gets_on = self._bench.pace(most_s)
        self.advance()
        return gets_on

    def close(self, most_s: float) -> tuple[int, int]:
        """Makes what can be made.

        Args:
            most_s: how long that may take.

        Returns:
            How many files are left for the next start, and the rows that are staged for them.
        """
        clock = self._context.clock
        end_s = clock.monotonic_s() + most_s
        self._bench.try_again()
        self.advance()
        while not self._bench.idle and clock.monotonic_s() < end_s:
            self.pace(0.1)
        self.advance()
        if self._bench.idle:
            for work in self._works.values():
                work.abandon()
            self._assignments.close()
        return len(self._works), sum(work.staged_rows for work in self._works.values())

    # --- inside

    def _still_elsewhere(self) -> str:
        """Which files wait for a store that new ones do not go to; "" when none does."""
        if self._elsewhere_left:  # no more of them come to be
            self._elsewhere_left = self._outlet.elsewhere_left(self.records.values())
        return self._elsewhere_left

    def _note(self, level: str, line: str) -> None:
        """In the thread: what a person is to be told."""
        self._said.append((level, line))

    def _forget(self) -> None:
        """Files that have their final names are told, and the journal forgets them."""
        try:
            if self._closed is not None:
                self._closed.note([work.record for work in self._named])
            self._assignments.gone([os.path.basename(work.stage) for work in self._named])
        except OSError as error:  # the next start sees for itself
            self._context.say("error", trouble("write in", str(self._context.state_dir), error))
            return
        self._named = []
        if self._closed is not None:
            self._closed.known(self.records)

    def _tell(self) -> None:
        """What the thread has done, to those who may not be called from it."""
        for name in _COUNTED:
            if (more := self._counted.get(name) - self._shown.get(name)) > 0:
                self._shown.add(name, more)
                self._context.counters.add(name, more)
        while self._said:
            self._context.say(*self._said.pop(0))

    def _has(self, work: Work, length: int, rows: int = 0) -> None:
        self.staged_bytes += length - work.length
        if work.whole:
            self.waiting_bytes += length - work.length
        work.length, work.staged_rows = length, rows

    def _is_whole(self, work: Work, key: str) -> None:
        if self._open.get(key) is work:
            del self._open[key]
        if not work.whole:
            self.waiting_bytes += work.length
        work.whole = True

    def _owns(self, path: str) -> bool:
        return path.startswith(f"{self.folder}/")

    def _work(self, path: str, key: str) -> Work:
        base = _base(path)
        work = self._works.get(base)
        if work is None:
            work = self._works[base] = self._assignments.work(self.folder, os.path.basename(base), key)
        return work

    def _inherit(self, stage: str, length: int) -> Work:
        """A stage that was whole already, or is not there any more."""
        work = self._work(f"{self.folder}/{stage}{places.WHOLE_SUFFIX}", "")
        self._has(work, length, work.record.progress.rows if work.record.progress is not None else 0)
        self._is_whole(work, "")
        work.durable = True  # what the journals knew of it was synced a moment ago
        self._bench.put(work)
        return work


def _finite(retry_s: float) -> float:
    """As `FileState` has it: 0 when there is no other try."""
    return 0.0 if math.isinf(retry_s) else retry_s


def _base(path: str) -> str:
    return path.rpartition(".")[0]
