"""Telling of closed files: who wants to know hears of each one, at least once, beside the loop that writes.

The order, and what is true when the process dies behind each step:

1. The file has its final name. The next start finds it so (`settling.py`), and goes on with 2.
2. It is noted here. The next start notes it once more, which changes nothing.
3. The journal forgets it. The next start finds the note.
4. The listener is told. The next start tells it again: a listener must not mind.
5. That is noted, and nobody hears of the file again.

A listener that fails is asked again, after 1, 2, 4 ... 60 seconds; the other files, and the rows, do not wait for it.
The notes know the buckets too: what the key of a file in the journal means. Those of another store than the one that is
configured (`elsewhere.py`) are kept for the day on which it is configured once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.clock import Clock
from shipper.files.background import Background
from shipper.files.closed import Bucket, ClosedFile, ClosedListener
from shipper.files.closed_notes import Notes
from shipper.files.elsewhere import LOCAL
from shipper.files.journal_record import FileRecord
from shipper.files.store import trouble
from shipper.metrics.counters import Counters

_RETRY_FIRST_S, _RETRY_MOST_S = 1.0, 60.0
#: So many are told in one go; the loop notes them then.
_AT_ONCE = 64
_GROWN_BYTES = 1 << 20
#: More buckets than these are not remembered when they have no file.
_BUCKETS_MOST = 16_384


@dataclass(slots=True)
class _Report:
    file: ClosedFile
    left: list[ClosedListener]
    tries: int = 0
    next_s: float = 0.0
    problem: Exception | None = None


class ClosedFiles:
    """The closed files of one sink worker, and its buckets.

    Args:
        path: of the notes.
        listeners: are told.
        counters: `reports_waiting` is kept here.
        keeps_buckets: they are remembered until `note_forgotten`, with or without files.
        here: name of the store that new files go to.

    Attributes:
        buckets: those of this store that are known, by key.
        elsewhere: those of other stores, by store and key.
    """

    def __init__(
        self,
        path: Path,
        sink: str,
        clock: Clock,
        counters: Counters,
        say: Callable[[str, str], None],
        listeners: Sequence[ClosedListener] = (),
        keeps_buckets: bool = False,
        here: str = LOCAL,
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._counters = counters
        self._say = say
        self._listeners = tuple(listeners)
        self.keeps_buckets = keeps_buckets
        self._here = here
        self.buckets: dict[str, Bucket] = {}
        self.elsewhere: dict[str, dict[str, Bucket]] = {}
        self._reports: dict[tuple[int, int], _Report] = {}  # by number and time of begin: a lost journal counts anew
        self._unknown: set[tuple[int, int]] = set()  # the journal still knows them
        self._telling: list[_Report] = []
        self._job: Background | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        self._notes = Notes(path)
        self._read()

    # --- what rolling files say

    def know(self, bucket: Bucket) -> None:
        """Rows of a bucket are about to be written. Costs nothing when it is known.

        Raises:
            OSError: it could not be noted.
        """
        if bucket.key not in self.buckets:
            self._notes.add([_bucket_fact(bucket)])
            self.buckets[bucket.key] = bucket

    def note(self, records: Iterable[FileRecord]) -> None:
        """These files have their final names, and the journal is about to forget them.

        Raises:
            OSError: they are not noted: the journal must not forget them yet.
        """
        if not self._listeners:
            return
        fresh = []
        for record in records:
            if record.progress is None or (record.number, record.opened_ms) in self._reports:
                continue
            one = record.progress
            bucket = self.buckets.get(record.key) or Bucket(record.key, record.key.rpartition("/")[0], {})
            fresh.append(
                ClosedFile(self._sink, record.number, record.path, record.final, one.rows, one.length, one.body_bytes,
                           record.opened_ms, self._clock.now_ms(), bucket)
            )  # fmt: skip
        self._notes.add(map(_file_fact, fresh))
        for file in fresh:
            self._expect(file)
            self._unknown.add((file.number, file.begun_ms))

    def known(self, records: Mapping[int, FileRecord]) -> None:
        """The journal has forgotten what was noted, and knows these."""
        self._unknown.clear()
        if not self.keeps_buckets and len(self.buckets) > _BUCKETS_MOST:
            alive = {record.key for record in records.values()}
            self.forget([key for key in self.buckets if key not in alive])

    def opened(self, records: Mapping[int, FileRecord]) -> None:
        """All is settled, and these files are not closed: what was noted of them before a power cut is not true."""
        for record in records.values():
            self._reports.pop((record.number, record.opened_ms), None)
        self._unknown.clear()
        self._count()

    def forget(self, keys: Iterable[str]) -> None:
        """These buckets have no file, and nobody waits for their end."""
        for key in keys:
            self.buckets.pop(key, None)
        if self._notes.size_bytes > _GROWN_BYTES:
            self._shrink()

    def sync(self) -> None:
        """What was noted survives the death of the machine. May be called from a thread of its own."""
        self._notes.sync()

    def tick(self) -> None:
        """Tells what is due, and hears how it went. Never waits, never raises."""
        if self._job is not None:
            if not self._job.done:
                return
            self._heard()
        now_s = self._clock.monotonic_s()
        due = (r for k, r in self._reports.items() if r.next_s <= now_s and k not in self._unknown)
        self._telling = [report for report, _ in zip(due, range(_AT_ONCE), strict=False)]
        if self._telling:
            self._job = Background(self._tell)

    @property
    def waiting(self) -> int:
        """Files that not all listeners have taken."""
        return len(self._reports)

    def close(self, wait_s: float = 5.0) -> None:
        """Tells what can be told in this time; the rest is told by the next start."""
        end_s = self._clock.monotonic_s() + wait_s
        for report in self._reports.values():
            report.next_s = 0.0
        while True:
            self.tick()
            job = self._job
            if job is None or self._clock.monotonic_s() >= end_s:
                break
            job.wait(max(0.0, end_s - self._clock.monotonic_s()))
            if not job.done:
                break
        if self._reports:
            self._say("warning", f"{len(self._reports)} closed files are still to be told to {self._names()}: the next "
                      "start tells them")  # fmt: skip
        if self._job is None or self._job.done:
            try:
                self._shrink()
            except OSError as error:
                self._say("error", trouble("write", str(self._notes.path), error))
        self._notes.close()

    # --- telling

    def _tell(self) -> None:
        for report in self._telling:
            report.problem = None
            for listener in list(report.left):
                try:
                    listener.closed(report.file)
                except Exception as problem:  # whatever a plugin raises: its file comes again
                    report.problem = problem
                else:
                    report.left.remove(listener)

    def _heard(self) -> None:
        self._job = None
        told = [report for report in self._telling if not report.left]
        for report in self._telling:
            if report.left and report.problem is not None:
                wait_s = min(_RETRY_FIRST_S * 2**report.tries, _RETRY_MOST_S)
                report.tries += 1
                report.next_s = self._clock.monotonic_s() + wait_s
                self._counters.add("report_retries")
                self._say("error", f"{report.file.final} is closed, and {type(report.left[0]).__name__} could not take "
                          f"that: {report.problem}; it is told again until it can")  # fmt: skip
        self._telling = []
        if told:
            try:
                self._notes.add([["told", [[r.file.number, r.file.begun_ms] for r in told]]])
            except OSError as error:  # the next process tells them again
                self._say("error", trouble("write to", str(self._notes.path), error))
            for report in told:
                self._reports.pop((report.file.number, report.file.begun_ms), None)
            self._count()

    def _expect(self, file: ClosedFile) -> None:
        self._reports[file.number, file.begun_ms] = _Report(file, list(self._listeners))
        self._count()

    def _count(self) -> None:
        self._counters.set("reports_waiting", len(self._reports))

    def _names(self) -> str:
        return " and ".join(type(listener).__name__ for listener in self._listeners)

    # --- the notes

    def _read(self) -> None:
        files: dict[tuple[int, int], ClosedFile] = {}
        noted = {self._here: self.buckets}
        store = self._here  # an earlier release named none
        for kind, *rest in self._notes.found:
            if kind == "store":
                [store] = rest
            elif kind == "bucket":
                noted.setdefault(store, {})[rest[0]] = Bucket(*rest)
            elif kind == "closed":
                number, path, final, rows, size, body, begun, ended, bucket = rest
                file = ClosedFile(
                    self._sink, number, path, final, rows, size, body, begun, ended, Bucket(*bucket)
                )  # fmt: skip
                files[file.number, file.begun_ms] = file
            elif kind == "told":
                for number, begun_ms in rest[0]:
                    files.pop((number, begun_ms), None)
            elif kind == "forgotten":
                for key in rest[0]:
                    noted.get(store, {}).pop(key, None)
        self.elsewhere = {name: some for name, some in noted.items() if some and name != self._here}
        self._notes.add([["store", self._here]])
        if self._listeners:
            for file in files.values():
                self._expect(file)

    def note_forgotten(self, keys: Sequence[str]) -> None:
        """The end of these buckets was made known; dying before this, it is made known again.

        Raises:
            OSError: it could not be noted.
        """
        self._notes.add([["forgotten", list(keys)]])
        self.forget(keys)

    def _shrink(self) -> None:
        facts: list[Sequence[Any]] = []
        for name, buckets in (*self.elsewhere.items(), (self._here, self.buckets)):
            facts += [["store", name], *map(_bucket_fact, buckets.values())]
        facts += [_file_fact(report.file) for report in self._reports.values()]
        self._notes.rewrite(facts)


def _bucket_fact(bucket: Bucket) -> list[Any]:
    return ["bucket", *_packed(bucket)]


def _file_fact(file: ClosedFile) -> list[Any]:
    return ["closed", file.number, file.path, file.final, file.rows, file.size_bytes, file.body_bytes, file.begun_ms,
            file.ended_ms, _packed(file.bucket)]  # fmt: skip


def _packed(bucket: Bucket) -> list[Any]:
    return [bucket.key, bucket.folder, dict(bucket.values), bucket.start_ms, bucket.end_ms]
