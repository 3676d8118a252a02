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

    Args:
        path: made with the first row.
        clock: for the time of each line.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock

    def add(self, batch: EventBatch, reason: str) -> Path:
        """Appends the rows; they are on disk when this returns. The path, for the message.

        Raises:
            OSError: no room, or the directory can't be written; nothing is in the file then.
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
            already_bytes = os.fstat(descriptor).st_size
            view = memoryview(b"\n".join(lines) + b"\n")
            try:
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, already_bytes)
                raise
        finally:
            os.close(descriptor)
        return self.path
