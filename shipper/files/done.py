"""Markers of done buckets: an empty file like `_SUCCESS` in each folder whose time is over and whose files are whole.

A bucket's folder gets its marker when all of this is true:

- its time is over, and `lateness` has gone by since then, and since the last row that came for it;
- all that was put into the channel before that moment has been delivered, as far as this worker's part of the channel
  goes (`caught_up`). What a source has not read yet nobody can know here;
- all its files are closed, have their final names, and the journal knows. Files of the bucket that are still open are
  ended for it;
- what was delivered has been synced, where anything ever is;
- all workers of the sink say the same. Each keeps a word for the others in its state directory: how far it has caught
  up, and which folders it still has files in. Whoever is the last to be ready makes the marker.

The marker speaks for one sink of one agent. Rows that come for a folder with a marker are written all the same, into a
new file, and counted as late; the marker stays as it is. Which folders wait for a marker is in the notes
(`closed.py`): a worker that dies goes on waiting for them when it comes back, and one that dies behind the making of a
marker finds it there and is content. A folder of another store (`elsewhere.py`)
waits until that one is configured again.

The file is long because the conditions above, and what a folder waits for, are one bookkeeping.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shipper.files.background import Background
from shipper.files.closed import Bucket
from shipper.files.closed_files import ClosedFiles
from shipper.files.done_others import Others
from shipper.files.extent import Extent
from shipper.files.journal_record import FileRecord
from shipper.files.store import Store, trouble
from shipper.sinks.sink import SinkContext

_LOOK_EVERY_MS = 500
_SAY_LATE_EVERY_MS = 30_000
_RETRY_MS = 10_000
_REMEMBERED = 16_384
_CLOSE_S = 60.0
#: So many markers are made in one go.
_AT_ONCE = 64


@dataclass(slots=True)
class _Waiting:
    """A folder that has no marker yet, or has got rows since.

    Attributes:
        last_ms: when the last row came.
        sync: number of the sync that has to end before it is safe.
        marked: it has its marker; only its files are to be ended.
    """

    folder: str
    end_ms: int
    last_ms: int
    sync: int
    keys: set[str] = field(default_factory=set)
    marked: bool = False
    retry_ms: int = 0


class DoneMarkers:
    """The markers of one sink worker.

    Args:
        name: of a marker.
        lateness_s: see above.
        closed: knows the buckets.
        syncs: True when what is delivered is synced now and then, so that `syncing` and `synced` are called.
    """

    def __init__(
        self, store: Store, name: str, lateness_s: float, closed: ClosedFiles, context: SinkContext, *, syncs: bool
    ) -> None:
        self._store = store
        self._name = name
        self._lateness_ms = int(lateness_s * 1000)
        self._closed = closed
        self._context = context
        self._clock = context.clock
        self._counters = context.counters
        self._say = context.say
        self._syncs = syncs
        self._sync = self._safe = 0
        self._syncing: int | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._marked: OrderedDict[str, None] = OrderedDict()  # the last that are known to have their marker
        self._late: dict[str, int] = {}  # folder -> rows of this transaction
        self._late_unsaid: dict[str, int] = {}
        self._said_late_ms: int | None = None
        self._others = Others(context)
        self._before_ms = self._look_ms = 0
        self._job: Background | None = None
        self._making: list[_Waiting] = []
        self._problems: dict[str, OSError] = {}
        self._found: set[str] = set()
        for bucket in closed.buckets.values():
            self._expect(bucket)
        for where, buckets in closed.elsewhere.items():
            if folders := {bucket.folder for bucket in buckets.values() if bucket.end_ms is not None}:
                self._say("warning", f"folders on {where} that have no marker {name} yet: {len(folders)}; they get it "
                          f"when hdfs.path names {where} once more, or from you")  # fmt: skip
        self._counters.set("buckets_waiting", len(self._waiting))

    # --- what the sink says

    def rows(self, bucket: Bucket, rows: int) -> None:
        """Rows of a bucket are about to be written."""
        waiting = self._waiting.get(bucket.folder)
        if waiting is None or bucket.key not in waiting.keys:
            waiting = self._expect(bucket)
            if waiting is None:
                return
        waiting.last_ms = self._clock.now_ms()
        waiting.sync = self._sync + 1
        if waiting.marked:
            self._late[bucket.folder] = self._late.get(bucket.folder, 0) + rows

    def committed(self) -> None:
        """The rows count."""
        for folder, rows in self._late.items():
            self._counters.add("rows_late", rows)
            self._late_unsaid[folder] = self._late_unsaid.get(folder, 0) + rows
        self._late.clear()

    def rolled_back(self) -> None:
        """They do not, and come again."""
        self._late.clear()

    def caught_up(self, before_ms: int) -> None:
        """All that was put into this worker's part of the channel before that moment has been delivered."""
        self._before_ms = before_ms

    def syncing(self) -> None:
        """A sync of all that is committed begins."""
        self._sync += 1
        self._syncing = self._sync

    def synced(self) -> None:
        """The sync has ended."""
        if self._syncing is not None:
            self._safe, self._syncing = self._syncing, None

    # --- what follows

    def over(self) -> Sequence[str]:
        """Keys of the buckets that are over: their files are to be ended."""
        now_ms = self._clock.now_ms()
        if not self._looks(now_ms):
            return ()
        return [key for one in self._waiting.values() if self._is_over(one, now_ms) for key in one.keys]

    def tick(self, records: Mapping[int, FileRecord]) -> None:
        """Makes the markers that are due. Never waits, never raises.

        Args:
            records: the files that the journal knows.
        """
        if self._job is not None and self._job.done:
            self._made()
        now_ms = self._clock.now_ms()
        if not self._looks(now_ms):
            return
        self._look_ms = now_ms + _LOOK_EVERY_MS
        self._say_late(now_ms)
        over = [one for one in self._waiting.values() if self._is_over(one, now_ms)]
        with_files = {record.key for record in records.values()} if over else set()
        ready = [one for one in over if not (one.keys & with_files)]
        if self._context.workers > 1:
            self._tell(ready)
            others = self._others.look()
            ready = [one for one in ready if one.marked or others.ready(one.folder, one.end_ms + self._lateness_ms)]
        for one in ready:
            if one.marked:
                self._forget(one)
        if self._job is None:
            due = [one for one in ready if not one.marked and one.retry_ms <= now_ms]
            if due:
                self._making, self._problems, self._found = due[:_AT_ONCE], {}, set()
                self._job = Background(self._make)

    def close(self, records: Mapping[int, FileRecord], wait_s: float = 5.0) -> None:
        """Makes the markers that are due now; the others are made after the next start."""
        for _ in range(2):  # what is under way, and what is due then
            self._look_ms = 0
            self.tick(records)
            if self._job is not None:
                self._job.wait(wait_s)
                if self._job.done:
                    self._made()

    # --- folders

    def _looks(self, now_ms: int) -> bool:
        """True twice a second, also with a clock that was set back."""
        return not 0 < self._look_ms - now_ms <= _LOOK_EVERY_MS

    def _expect(self, bucket: Bucket) -> _Waiting | None:
        if bucket.end_ms is None:
            return None
        folder, now_ms = bucket.folder, self._clock.now_ms()
        waiting = self._waiting.get(folder)
        if waiting is None:
            waiting = _Waiting(folder, bucket.end_ms, now_ms, self._sync + 1)
            waiting.marked = self._has_marker(folder, bucket.end_ms, now_ms)
            self._waiting[folder] = waiting
            self._counters.set("buckets_waiting", len(self._waiting))
        waiting.keys.add(bucket.key)
        return waiting

    def _has_marker(self, folder: str, end_ms: int, now_ms: int) -> bool:
        if folder in self._marked:
            return True
        if now_ms < end_ms + self._lateness_ms:
            return False  # too early for anybody to have made it
        try:
            return self._store.stat(f"{folder}/{self._name}") is not None
        except OSError:
            return False  # then it is made once more, and found there

    def _is_over(self, one: _Waiting, now_ms: int) -> bool:
        due_ms = max(one.end_ms, one.last_ms) + self._lateness_ms
        return due_ms <= now_ms and due_ms <= self._before_ms and (not self._syncs or one.sync <= self._safe)

    def _forget(self, one: _Waiting) -> None:
        try:
            self._closed.note_forgotten(list(one.keys))
        except OSError as error:  # the next start finds the marker
            self._say("error", trouble("write to", str(self._context.state_dir), error))
        self._waiting.pop(one.folder, None)
        self._marked[one.folder] = None
        self._marked.move_to_end(one.folder)
        while len(self._marked) > _REMEMBERED:
            self._marked.popitem(last=False)
        self._counters.set("buckets_waiting", len(self._waiting))

    # --- markers

    def _make(self) -> None:
        for one in self._making:
            path = f"{one.folder}/{self._name}"
            try:
                try:
                    self._make_empty(path)
                except FileExistsError:  # made before a death, or by another worker
                    self._found.add(one.folder)
                    continue
                if self._syncs:
                    self._store.sync([(path, path)], [one.folder])
            except OSError as problem:
                self._problems[one.folder] = problem

    def _make_empty(self, path: str) -> None:
        file = self._store.create(path)
        if self._store.cuts:
            return file.close()
        ending = self._store.end(path, path, Extent(0, file.identity))
        ending.wait(_CLOSE_S)
        if not ending.done:
            raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
        if ending.error is not None:
            raise ending.error

    def _made(self) -> None:
        self._job = None
        for one in self._making:
            problem = self._problems.get(one.folder)
            if problem is not None:
                one.retry_ms = self._clock.now_ms() + _RETRY_MS
                self._say("error", trouble("make", f"{one.folder}/{self._name}", problem))
                continue
            self._counters.add("buckets_done", one.folder not in self._found)
            if self._is_over(one, self._clock.now_ms()):
                self._forget(one)
            else:
                one.marked = True  # rows came while it was made
        self._making = []

    def _say_late(self, now_ms: int) -> None:
        if not self._late_unsaid or (self._said_late_ms is not None and now_ms < self._said_late_ms):
            return
        folder, rows = next(iter(self._late_unsaid.items()))
        more = len(self._late_unsaid) - 1
        others = f" and {sum(self._late_unsaid.values()) - rows} for {more} other folders" if more else ""
        self._say("warning", f"{rows} events came for {folder} after its marker {self._name} was made{others}: they "
                  "are written all the same, and the marker stays; a longer hdfs.bucketDoneLateness waits for such "
                  "events")  # fmt: skip
        self._late_unsaid.clear()
        self._said_late_ms = now_ms + _SAY_LATE_EVERY_MS

    def _tell(self, ready: Iterable[_Waiting]) -> None:
        """Says how far this worker has caught up, and which folders it is not ready with all the same."""
        done = {one.folder for one in ready}
        due = self._before_ms - self._lateness_ms
        busy = sorted(f for f, one in self._waiting.items() if not one.marked and one.end_ms <= due and f not in done)
        try:
            self._others.tell(self._before_ms, busy)
        except OSError as error:
            self._say("error", trouble("write", str(error.filename), error))
