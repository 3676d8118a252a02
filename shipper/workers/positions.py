"""The position table of a source worker: the last origin of each stream that the channels have, and which are durable.

Two heads. What the *channels* have is in this table, beside the put page in the run directory and as volatile as the
rings: a source that starts again goes on behind it. What is *durable* too, safe from a power cut at every target, is
known later: each put is remembered with how far it reached in every lane, and when the durable heads of all of them
have passed, its source is told and writes that down itself, on disk. Behind that it is written down how many rows that
were (`instance/told_rows.py`).

A record is appended after each put; the file (`position_table.py`) is rewritten when it is large.

Puts count as durable in their order, so a target that is down keeps all later ones from counting, also those that went
elsewhere. Many puts that wait are merged in pairs: the table is bounded, and what is durable known in larger steps.

When `workers = N` of the source changes, the tables are dealt anew before its workers start (`tables_dealt.py`).

At its end the table is copied to the state directory. If the run is settled then (`settled.py`), the copy is
believed at the next start as the table would be.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from shipper import whole_file
from shipper.batch.batch import Origin
from shipper.errors import ComponentFailed
from shipper.files.appended_file import AppendedFile
from shipper.instance.told_rows import ToldRows
from shipper.workers import position_table
from shipper.workers.heads import Head
from shipper.workers.position_table import PositionTable, TablePut, put_line

_REWRITE_BYTES = 1 << 20
_WAITING_MOST = 1024


class _Waiting(NamedTuple):
    """A put, or several, of which it is not known that it is durable.

    Attributes:
        rows: that were put into each counted lane by then; () when the process before made the put.
    """

    behind: tuple[int, ...]
    origins: Sequence[Origin]
    rows: tuple[int, ...] = ()


class Positions:
    """The table of one source worker. One process writes.

    Args:
        path: of the file; made when it is not there.
        heads: the ways of its rows that must be durable: those into required channels.
        left: makes the head of a lane that is not among them any more, by its name.
        copy: where the table is copied at the end (`NAME.kept`); None = nowhere.
        run_id: of the run directory.
        settled_run: the run of which a copy is believed.
        logs: asks the logs of channels on disk, when there is neither table nor copy.
        counted: the lanes of which `told` hears; those into optional channels are among them.
        told: hears how many rows its source has written down as durable; None when it can't read again.
        workers: how many the source has.

    Attributes:
        streams: the last origin of each stream that the channels have.
        number: puts of the worker's page up to this one are in the table; of later ones the caller has to `store` the
            last, unless it is there.

    Raises:
        ComponentFailed: the table can't be written; that there was is as it was.
    """

    def __init__(
        self,
        path: Path,
        heads: Sequence[Head] = (),
        *,
        left: Callable[[str], Head] | None = None,
        copy: Path | None = None,
        run_id: str = "",
        settled_run: str = "",
        logs: Callable[[], Sequence[Origin]] | None = None,
        counted: Sequence[Head] = (),
        told: ToldRows | None = None,
        workers: int = 1,
    ) -> None:
        self._path = path
        self._workers = workers
        self._heads: list[Head] = list(heads)
        self._copy = copy
        self._run_id = run_id
        self._waiting: deque[_Waiting] = deque()
        self._settled: dict[str, Origin] = {}  # durable, and the source has not been told
        self._counted = tuple(counted)
        self._told = told
        self._rows: tuple[int, ...] = ()  # of what is durable
        self.streams: dict[str, Origin] = {}
        self.number = 0
        if path.exists():
            self._adopt(PositionTable.read(path.read_bytes()), left)
        elif copy is not None and settled_run:
            self._read_copies(copy, settled_run)
        if not path.exists() and not self.streams and logs is not None:
            self.streams = {origin.stream: origin for origin in logs()}
        # Of what does not wait the source may have been told already, and may have died over it.
        waiting = {origin.stream for put in self._waiting for origin in put.origins}
        self._settled = {stream: origin for stream, origin in self.streams.items() if stream not in waiting}
        self._file: AppendedFile | None = None
        with self._written():
            self._rewrite()

    def store(self, origins: Sequence[Origin]) -> None:
        """Remembers that the channels have these rows, as of now.

        Raises:
            ComponentFailed: it can't be written. The table is one put behind, as when its writer dies before this.
        """
        if not origins:
            return
        for origin in origins:
            self.streams[origin.stream] = origin
        rows = tuple(head.rows() for head in self._counted)
        put = _Waiting(tuple(head.put() for head in self._heads), origins, rows)
        if self._heads:
            self._waiting.append(put)
            if len(self._waiting) > _WAITING_MOST:
                self._merge()
        else:
            self._settled.update((origin.stream, origin) for origin in origins)  # nobody is required to have them
            self._rows = rows
        assert self._file is not None
        with self._written():
            if self._file.size - self._rewritten_bytes > _REWRITE_BYTES:
                self._rewrite()
            else:
                self._file.append(put_line(put.behind, put.origins))

    def durable(self) -> list[Origin]:
        """The origins that have become durable since the last call, the last one of each stream."""
        durable, self._settled = self._settled, {}
        heads = [head.durable() for head in self._heads] if self._waiting else []
        while self._waiting and all(map(int.__ge__, heads, self._waiting[0].behind)):
            put = self._waiting.popleft()
            self._rows = put.rows or self._rows
            for origin in put.origins:
                durable[origin.stream] = origin
        return list(durable.values())

    def written(self) -> None:
        """The source has written down, and synced, all that `durable` ever returned.

        Dying before this: it is told less than is so, and after a power cut more is said to come twice than does.
        """
        if self._told is not None and self._rows:
            self._told.tell({head.name: rows for head, rows in zip(self._counted, self._rows, strict=True)})

    def forget(self, stream: str) -> None:
        """Drops a stream that will never come again."""
        self.streams.pop(stream, None)

    def close(self) -> None:
        """Closes the file; the table stays, and a copy of it in the state directory."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if self._told is not None:
                self._told.close()
            self._keep()

    # --- inside

    def _keep(self) -> None:
        """Dying in here: there is the copy before, or none. It counts only if the run is settled after this end.

        Raises:
            ComponentFailed: it can't be written; then this worker has not ended in order, and its run is not settled.
        """
        if self._copy is None:
            return
        content = {"run": self._run_id, "streams": [position_table.row(origin) for origin in self.streams.values()]}
        try:
            whole_file.write(self._copy, [position_table.line(content)], synced=True)
        except OSError as problem:
            raise ComponentFailed(
                f"can't keep the positions in {self._copy.parent}: {problem.strerror}; make room there. Until the next "
                f"start in order the run directory keeps them"
            ) from problem

    def _adopt(self, table: PositionTable, left: Callable[[str], Head] | None) -> None:
        names = {head.name: index for index, head in enumerate(self._heads)}
        for name in table.lanes:
            if name not in names and left is not None:
                names[name] = len(self._heads)
                self._heads.append(left(name))
        places = [names.get(name, -1) for name in table.lanes]
        self.streams, self.number = table.streams, table.number
        for put in table.waiting:
            behind = dict(zip(places, put.behind, strict=True))
            self._waiting.append(_Waiting(tuple(behind.get(i, 0) for i in range(len(self._heads))), put.origins))

    def _read_copies(self, copy: Path, settled_run: str) -> None:
        """What all workers of the source had, for files change hands when `workers` does; the later one counts."""
        for path in sorted(copy.parent.glob("*.kept")):
            record = position_table.checked(path.read_bytes().strip())
            if record is not None and record["run"] == settled_run:
                for row in record["streams"]:
                    origin = Origin(*row)
                    if origin.stream not in self.streams or origin.end > self.streams[origin.stream].end:
                        self.streams[origin.stream] = origin

    def _merge(self) -> None:
        """Two puts that follow each other become one, which is durable when the second is."""
        waiting = list(self._waiting)
        self._waiting.clear()
        for first, second in zip(waiting[::2], waiting[1::2], strict=False):
            last = {origin.stream: origin for origin in (*first.origins, *second.origins)}
            self._waiting.append(_Waiting(second.behind, tuple(last.values()), second.rows))
        if len(waiting) % 2:
            self._waiting.append(waiting[-1])

    def _rewrite(self) -> None:
        """Writes the whole table to a new file and puts it in the place of the old one, in one step."""
        table = PositionTable(
            [head.name for head in self._heads], self._workers, self.number, self.streams,
            [TablePut(put.behind, put.origins) for put in self._waiting],
        )  # fmt: skip
        old, self._file = self._file, AppendedFile.begun(self._path, table.lines())
        self._rewritten_bytes = self._file.size
        if old is not None:
            old.close()

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        # Dying inside a write leaves a torn last line, which fails its checksum: the table is one put behind, and
        # the frame of that put, still in its lane, has the origins. So it is when there is no room for the line.
        try:
            yield
        except OSError as problem:
            raise ComponentFailed(
                f"can't write the positions to {self._path}: {problem.strerror}; make room there"
            ) from problem
