"""Staged files: rows in, whole files of columns with their final names out, every row in exactly one of them.

It has the verbs of `RollingFiles`, which does half of the work: the stages are its files, in the state directory. What
counts, what is taken back, what a death or a power cut leaves is decided there, as for any rolling file. The other half
is the workshop's: it makes the files that people see.

::

    rows -> [stage, grows] -> commit -> [stage, counts] -> rolls -> [stage, whole] -> synced -> its file gets its name
                                            |                                                        |
                                            +---- groups of rows, packed, into <name>.tmp -----------+

A file ends when the first of these is reached: `rollCount` rows, `rollSize` bytes of bodies, `rollInterval`,
`idleTimeout`, or `target_bytes` of what is written and about to be.

The stages never take more than `stage_bytes` and one transaction. Above half of it in stages that take rows, the
largest file ends early. Above a quarter of it in stages that are whole, the write path slows down, and at all of it the
rows wait in the channel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from shipper.batch.batch import EventBatch
from shipper.errors import RetryLater
from shipper.files.columns import places
from shipper.files.columns.stage_store import StageStore
from shipper.files.columns.staged_plan import StagedPlan
from shipper.files.columns.workshop import Workshop
from shipper.files.journal_record import FileRecord
from shipper.files.outlet import Outlet
from shipper.files.progress import Progress
from shipper.files.refusals import Numbers
from shipper.files.rolling import RollingFiles
from shipper.files.store import trouble
from shipper.metrics.counters import Counters

_PAUSE_S = 0.05
_CLOSE_S = 20.0


class StagedFiles:
    """The files of one sink worker.

    Args:
        outlet: where the files go; its plan has the recipe of the stages, and its context's state directory has been
            entered (`handover.py`).
        staged: what is made of the stages.
        progress: shows the files to people.
    """

    def __init__(self, outlet: Outlet, staged: StagedPlan, progress: Progress | None = None) -> None:
        context = outlet.context
        self._staged = staged
        self._closed = outlet.closed
        self._say = context.say
        self._said: set[str] = set()
        self.sync_interval_s = outlet.plan.sync_interval_s
        inside = dataclasses.replace(context, state_dir=context.state_dir / places.FOLDER)
        self._workshop = shop = Workshop(dataclasses.replace(outlet, context=inside), staged)
        stages = dataclasses.replace(inside, counters=_StageCounters(context.counters))
        store = StageStore(shop, staged.room, syncs=outlet.plan.syncs)
        self._files = RollingFiles(Outlet(store, outlet.plan, shop, stages), progress, watcher=shop)

    def open(self) -> None:
        """Settles what the process before left.

        Raises:
            OSError: a journal or a stage can't be worked with.
        """
        self._files.open()
        self._workshop.recovered()
        if self._closed is not None:
            self._closed.opened(self.records)
        self._workshop.advance()

    def append(self, groups: Sequence[tuple[str, EventBatch, Numbers | None]]) -> None:
        """Adds rows. Raises as `RollingFiles.append`."""
        shop = self._workshop
        shop.advance()
        try:
            self._wait_for_room(sum(batch.body_bytes for _, batch, _ in groups))
            self._bound(self._staged.stage_bytes)
            for key, _, _ in groups:
                if shop.is_full(key):
                    self._files.end([key])
            self._files.append(groups)
        except RetryLater as failure:
            raise self._stage_trouble(failure) from failure

    #: Stages take rows as they come.
    wants_ahead = False

    def ahead(self, batch: EventBatch) -> None:
        """Nothing to prepare."""

    def flush(self) -> int:
        """As `RollingFiles.flush`."""
        try:
            return self._files.flush()
        except RetryLater as failure:
            raise self._stage_trouble(failure) from failure

    def committed(self) -> None:
        """As `RollingFiles.committed`."""
        self._files.committed()
        self._workshop.advance()

    def rolled_back(self) -> None:
        """As `RollingFiles.rolled_back`."""
        self._files.rolled_back()

    def tick(self) -> bool:
        """As `RollingFiles.tick`; files that are large enough end too."""
        ended = self._files.tick()
        ended = self.end(self._workshop.full()) or ended
        if self._closed is not None:
            self._closed.tick()
        return ended

    def end(self, keys: Iterable[str]) -> bool:
        """As `RollingFiles.end`."""
        ended = self._files.end(keys)
        self._workshop.advance()
        return ended

    @property
    def records(self) -> Mapping[int, FileRecord]:
        """As `RollingFiles.records`: stages have negative numbers here."""
        return self._workshop.records | {-number: record for number, record in self._files.records.items()}

    def sync(self) -> None:
        """As `RollingFiles.sync`."""
        self._files.sync()

    def synced(self) -> bool:
        """As `RollingFiles.synced`; stages that are durable now may become files."""
        done = self._files.synced()
        failed = self._files.sync_failed
        if failed:  # which was said; nobody begins another one, and files are made all the same
            self._workshop.syncing()
        if done or failed:
            self._workshop.synced()
            self._workshop.advance()
        return done

    @property
    def unsynced(self) -> bool:
        """True when a stage has ended that is not known to be on the disk: its file waits for that."""
        return self._workshop.undurable

    def trouble(self) -> str:
        """What keeps files from being made of rows that were taken; "" when there is nothing of the kind."""
        return self._workshop.trouble

    def releasing(self) -> None:
        """As `RollingFiles.releasing`."""
        self._files.releasing()

    def close(self) -> None:
        """Ends all stages, and makes the files that can be made within 20 seconds; the next start makes the rest."""
        self._files.close()  # which syncs, too
        self._workshop.syncing()
        self._workshop.synced()
        files, rows = self._workshop.close(_CLOSE_S)
        if files:
            events = f"{rows:,} events are" if rows != 1 else "1 event is"
            what = f"{files:,} files" if files > 1 else "1 file"
            self._say("warning", f"{events} not at the target, but staged in {self._workshop.folder}: {what} could not "
                      "be made before the end, and the next start goes on")  # fmt: skip

    def _wait_for_room(self, size_bytes: int) -> None:
        """Waits for those who pack the rows that lie in the room, while they get on, at most so long that a MiB in
        `_PAUSE_S` is staged: what finds no place there costs twice."""
        room, left_bytes = self._staged.room, size_bytes
        while left_bytes > 0 and room.crowded and self._workshop.pace(_PAUSE_S):
            left_bytes -= 1 << 20

    def _bound(self, most_bytes: int) -> None:
        """Keeps what is staged within its bound.

        Raises:
            RetryLater: it is reached.
        """
        shop = self._workshop
        if shop.waiting_bytes > most_bytes // 4:
            shop.pace(_PAUSE_S)
        if shop.staged_bytes - shop.waiting_bytes > most_bytes // 2 and (key := shop.largest()) is not None:
            self._once(
                f"the files that are being written have more than half of hdfs.stageSize = {most_bytes} staged in "
                f"{shop.folder}: the largest ends early; roll earlier, or raise hdfs.stageSize"
            )
            self._files.end([key])
        if shop.staged_bytes >= most_bytes:
            why = shop.trouble or "files are made more slowly than rows come"
            raise RetryLater(f"{shop.folder} has {shop.staged_bytes} bytes of rows that wait to become files, and "
                             f"hdfs.stageSize = {most_bytes}: {why}")  # fmt: skip

    def _stage_trouble(self, failure: RetryLater) -> RetryLater:
        """A sentence that names the state directory, where the rows could not be written, not the file's own place."""
        error = failure.__cause__
        if not isinstance(error, OSError):
            return failure
        return RetryLater(trouble("stage rows in", self._workshop.folder, error, rows_wait=True))

    def _once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say("warning", sentence)


class _StageCounters(Counters):
    """A sink's counters, without the bytes that go to stages: what is written to the target is counted there."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    __slots__ = ("_counters",)

    def add(self, name: str, amount: int = 1) -> None:
        if name != "output_bytes":
            self._counters.add(name, amount)

    def set(self, name: str, value: int) -> None:
        self._counters.set(name, value)

    def get(self, name: str) -> int:
        return self._counters.get(name)
