"""A quarantine: the file where rows wait that a sink will never accept, with the reason, for a person to look at.

One JSON object a line: `{"at": ms, "reason": "...", "headers": {...}, "body": "..."}`, `body_base64` in place of
`body` where the bytes are not UTF-8. It is written row by row: this is the path of the few, not the data path.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

import orjson

from shipper.batch.batch import EventBatch
from shipper.clock import Clock


class Quarantine:
    """The quarantine file of one sink worker.

    Dying between `add` and the commit of the transaction sets the same rows aside once more.

    Args:
        path: made with the first row.
        clock: for the time of each line.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._length_before: int | None = None

    def add(self, batch: EventBatch, reason: str) -> None:
        """Appends the rows; they are on disk when this returns.

        Raises:
            OSError: no room, or the directory can't be written; nothing of the rows is in the file then.
        """
        lines = []
        now_ms = self._clock.now_ms()
        body = batch.body
        for row in range(batch.rows):
            line: dict[str, object] = {"at": now_ms, "reason": reason, "headers": batch.headers_of(row)}
            value = body[row].as_py()
            try:
                line["body"] = value.decode()
            except UnicodeDecodeError:
                line["body_base64"] = base64.b64encode(value).decode()
            lines.append(orjson.dumps(line))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            length = os.fstat(descriptor).st_size
            view = memoryview(b"\n".join(lines) + b"\n")
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

    def committed(self) -> None:
        """The transaction is committed: its rows stay here."""
        self._length_before = None

    def rolled_back(self) -> None:
        """The transaction comes again: its rows are taken out, or a target that is down would fill the file."""
        if self._length_before is not None:
            os.truncate(self.path, self._length_before)
            self._length_before = None
