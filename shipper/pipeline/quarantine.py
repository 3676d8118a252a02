"""A quarantine: the files where rows wait that a sink will never accept, with the reason, for a person to look at.

One JSON object a line::

    {"at": ms, "sink": "k1", "channel": "c1", "reason": "...", "transaction": [run, lane, generation],
     "headers": {...}, "body": "..."}

with `body_base64` in place of `body` where the bytes are not UTF-8. It is written row by row: this is the path of the
few, not the data path.

**Each row stands here once.** Lines are on disk before the take is committed, and each names the transaction that
wrote it: the lane, and that lane's generation before the commit. A worker that starts again cuts the lines at the end
whose transaction was never committed (the lane's generation is still the same): their rows come again.

::

    add: append, sync     died: the lines are cut at the next start, the rows come again
    commit of the take    died: the lines stay, the rows never come again

What can make a row stand here twice is what can make any row be delivered twice: a lane that was opened to another
sink because this one could not come back, and a power cut, which takes the lanes with it.

**It is bounded.** A file of `FILE_BYTES` is put aside under a number and a new one begun; when all of them together
have reached the limit, no transaction adds anything and the sink takes no more until a person has moved some of them
away. A transaction that has begun to add adds all that it has, so they have at most the limit and what is refused of
one take: a take may have more than the whole limit, and no room that a person makes would be enough for it.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.errors import RetryLater
from shipper.pipeline.aside import Mark
from shipper.pipeline.wording import events_are

#: A file that has grown so long is put aside.
FILE_BYTES = 16 << 20
LIMIT_BYTES = 1 << 30


class Quarantine:
    """The quarantine of one sink worker.

    Args:
        path: of the file that is written; made with the first row. Older ones lie beside it: `quarantine.1.jsonl`.
        clock: for the time of each line.
        sink, channel: for each line.
        run_id: names the lanes that marks speak of.
        limit_bytes: when all files together have so much, nothing more is begun.
        file_bytes: that one file may have before it is put aside.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        sink: str = "",
        channel: str = "",
        run_id: str = "",
        limit_bytes: int = LIMIT_BYTES,
        file_bytes: int = FILE_BYTES,
    ) -> None:
        self.path = path
        self._clock = clock
        self._about = {"sink": sink, "channel": channel}
        self._run_id = run_id
        self._limit_bytes = limit_bytes
        self._file_bytes = file_bytes
        self._length_before: int | None = None

    def settle(self, generation: Callable[[str], int | None]) -> int:
        """Cuts the lines that a dead worker wrote and never committed; how many. Before the first `add`.

        Args:
            generation: of a lane now; None when there is no such lane.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return 0
        end, cut = data.rfind(b"\n") + 1, 0  # behind the last whole line: a worker that died inside a write
        while end:
            start = data.rfind(b"\n", 0, end - 1) + 1
            try:
                run, lane, before = orjson.loads(data[start:end])["transaction"]
            except (ValueError, KeyError, TypeError):
                break  # a line of a person's, or of an older release
            now = generation(lane) if run == self._run_id else None
            if now is None or now > before:
                break
            end, cut = start, cut + 1
        if end != len(data):
            os.truncate(self.path, end)
        return cut

    def add(self, batch: EventBatch, reason: str, mark: Mark) -> None:
        """Appends the rows; they are on disk when this returns.

        Raises:
            OSError: no room, or the directory can't be written; nothing of the rows is in the file then.
            RetryLater: the limit was reached before this transaction; likewise.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self._length_before is None:
            self._put_aside()  # all lines of one transaction stand in one file
            used = sum(path.stat().st_size for path in self.paths())
            if used >= self._limit_bytes:
                raise RetryLater(
                    f"the quarantine is full: {events_are(batch.rows)} refused ({reason}), and {self.path.parent} has "
                    f"{used} of {self._limit_bytes} bytes (quarantine.maxBytes). Nothing is dropped: look at the "
                    f"files, mend what the target refuses, and move them away"
                )
        data = self._lines(batch, reason, mark)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            length = os.fstat(descriptor).st_size
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, length)
                raise
        finally:
            os.close(descriptor)
        if self._length_before is None:
            self._length_before = length

    @property
    def place(self) -> str:
        """The file."""
        return str(self.path)

    @property
    def ends_transaction(self) -> bool:
        """All lines of a transaction stand in one file, however many there are."""
        return False

    def prepare(self, mark: Mark) -> None:
        """The rows are on disk already, under that mark."""

    def committed(self) -> None:
        """The transaction is committed: its rows stay here."""
        self._length_before = None

    def rolled_back(self) -> None:
        """The transaction comes again: its rows are taken out, or a target that is down would fill the file."""
        if self._length_before is not None:
            os.truncate(self.path, self._length_before)
            self._length_before = None

    def paths(self) -> list[Path]:
        """All files, the one that is written last."""
        older = self.path.parent.glob(f"{self.path.stem}.*{self.path.suffix}")
        return [*sorted(older, key=_number), *([self.path] if self.path.exists() else [])]

    def _put_aside(self) -> None:
        if not self.path.exists() or self.path.stat().st_size < self._file_bytes:
            return
        last = max((_number(path) for path in self.paths() if path != self.path), default=0)
        os.rename(self.path, self.path.with_name(f"{self.path.stem}.{last + 1}{self.path.suffix}"))

    def _lines(self, batch: EventBatch, reason: str, mark: Mark) -> bytes:
        lines = []
        about: dict[str, Any] = {
            "at": self._clock.now_ms(), **self._about, "reason": reason, "transaction": (self._run_id, *mark),
        }  # fmt: skip
        body = batch.body
        for row in range(batch.rows):
            line = {**about, "headers": batch.headers_of(row)}
            value = body[row].as_py()
            try:
                line["body"] = value.decode()
            except UnicodeDecodeError:
                line["body_base64"] = base64.b64encode(value).decode()
            lines.append(orjson.dumps(line))
        return b"\n".join(lines) + b"\n"


def _number(path: Path) -> int:
    text = path.stem.rpartition(".")[2]
    return int(text) if text.isdigit() else 0
