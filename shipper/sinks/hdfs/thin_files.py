"""Thin files: open ones whose block is on fewer DataNodes than `hdfs.minBlockReplicas`; they end, and others go on.

A file that loses a DataNode while it is written goes on with those that are left, and gets no other one before it is
closed. Ended, its blocks are copied to as many as they should be on, and the next file is on others. When there are no
others that one is thin too: so no more than 30 files of a bucket end for it in a row, as in Flume; the row is over when
one has ended for another reason and was not thin.

Flume asks its own writer before each event. Our client does not tell, but the NameNode does: of a block that is being
written it names the DataNodes that the writer has left. It is asked beside the loop, about files that have got more
since it was asked about them, one after the other; a round begins a second after the one before, or when that is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from shipper.api import SinkContext
from shipper.files.journal_record import FileRecord

_EVERY_S = 1.0
IN_A_ROW_MAX = 30
#: Is always there, and so is its answer when anybody answers.
_ROOT = "/"

#: Asks on how many DataNodes the block of each path is that is being written (None: there is none); those that nobody
#: answered for are left out.
Ask = Callable[[Sequence[str]], "Future[Mapping[str, int | None]]"]


@dataclass(slots=True)
class _Row:
    """Files of one bucket that were thin, one behind the other.

    Attributes:
        files: how many.
        last: the number of the last one.
        well: the number of a later one that was not; when that one has ended, so has the row.
    """

    files: int = 0
    last: int = -1
    well: int | None = None


class ThinFiles:
    """The thin files of one sink worker.

    Args:
        where: who is asked, for a person.
        replicas: a file with fewer is thin.
        buckets_max: of so many it is known how many files have ended in a row.
    """

    def __init__(self, ask: Ask, where: str, replicas: int, buckets_max: int, context: SinkContext) -> None:
        self._ask = ask
        self._replicas = replicas
        self._where = where
        self._buckets_max = buckets_max
        self._clock = context.clock
        self._counters = context.counters
        self._say = context.say
        self._first = True
        self._next_s = 0.0
        self._lengths: dict[int, int] = {}  # of open files when they were asked about
        self._asked: dict[str, tuple[FileRecord, int]] = {}  # in this round: the file, and how long it was
        self._round: Future[Mapping[str, int | None]] | None = ask([_ROOT])
        self._rows: dict[str, _Row] = {}  # by bucket

    def over(self, records: Mapping[int, FileRecord]) -> list[str]:
        """Buckets whose files end now.

        Args:
            records: the files that have no final name yet.
        """
        keys = []
        if self._round is not None and self._round.done():
            answers, self._round = self._round.result(), None
            if self._first and _ROOT not in answers:
                self._say("warning", f"hdfs.minBlockReplicas = {self._replicas}: no answer from {self._where} (the "
                          "NameNode's web port, dfs.namenode.http-address); as long as there is none, nobody knows "
                          "how many DataNodes a block is on, and no file ends for it")  # fmt: skip
            self._first = False
            keys = [key for path, count in answers.items() if (key := self._judged(path, count, records)) is not None]
        if not keys and self._round is None and (now_s := self._clock.monotonic_s()) >= self._next_s:
            self._next_s = now_s + _EVERY_S
            self._begin(records)
        return keys

    def _begin(self, records: Mapping[int, FileRecord]) -> None:
        files = {number: record for number, record in records.items() if _is_open(record)}
        for key in [key for key, row in self._rows.items() if row.well is not None and row.well not in files]:
            del self._rows[key]
        self._lengths = {number: length for number, length in self._lengths.items() if number in files}
        self._asked = {
            record.path: (record, record.extent.length or 0) for number, record in files.items()
            if self._lengths.get(number) != record.extent.length
        }  # fmt: skip
        if self._asked:
            self._round = self._ask(list(self._asked))

    def _judged(self, path: str, count: int | None, records: Mapping[int, FileRecord]) -> str | None:
        """The bucket of a file that ends now."""
        record, length = self._asked.get(path, (None, 0))
        if record is None or record.number not in records or not _is_open(record):
            return None
        key, number = record.key, record.number
        row = self._rows.get(key)
        if count is None or count >= self._replicas:
            self._lengths[number] = length
            if row is not None and count is not None:
                row.well = number
            return None
        if row is None:
            if len(self._rows) >= self._buckets_max:
                del self._rows[next(iter(self._rows))]
            row = self._rows[key] = _Row()
        row.well = None
        if row.last != number:  # else it could not be ended when it was judged before
            row.last = number
            row.files += 1
            if row.files <= IN_A_ROW_MAX:
                self._counters.add("files_thin")
                self._say("warning", f"a file ends early, because its block is on {count} of {self._replicas} "
                          "DataNodes (hdfs.minBlockReplicas); look at hdfs dfsadmin -report")  # fmt: skip
            elif row.files == IN_A_ROW_MAX + 1:
                self._say("error", f"{key}: {IN_A_ROW_MAX} files in a row ended because their blocks were on fewer "
                          f"DataNodes than hdfs.minBlockReplicas = {self._replicas}; no more end for it until one is "
                          "on so many")  # fmt: skip
        if row.files <= IN_A_ROW_MAX:
            return key
        self._lengths[number] = length
        return None


def _is_open(record: FileRecord) -> bool:
    """True when something of a file counts, and it takes more."""
    return record.progress is not None and not record.progress.finished
