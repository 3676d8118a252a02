"""Notes: a small file of facts that are appended one by one and outlive the process, each with its checksum.

A line is the CRC-32 of the rest of it in eight hexadecimal digits, a blank, and a JSON array. A line that is not whole
was never written. There is no order with any other file but what the writer keeps: a fact is there once `add`
returned, and survives the death of the machine once `sync` has.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson


class Notes:
    """The notes of one writer.

    Args:
        path: of the file; made when it is not there.

    Attributes:
        found: what was there when it was opened, in order.
        size_bytes: of the file now.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        data = path.read_bytes()
        self.found, self.size_bytes = _parsed(data)
        os.ftruncate(self._descriptor, self.size_bytes)  # the torn end of a line that was being written

    def add(self, facts: Iterable[Sequence[Any]]) -> None:
        """Appends facts, all or none.

        Raises:
            OSError: nothing was added.
        """
        data = b"".join(map(_line, facts))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError as problem:
            problem.filename = os.fspath(self.path)
            os.ftruncate(self._descriptor, self.size_bytes)
            raise
        self.size_bytes += len(data)

    def rewrite(self, facts: Iterable[Sequence[Any]]) -> None:
        """Keeps these facts only. Dying in here: the old file or the new one is there.

        Raises:
            OSError: all is as it was.
        """
        data = b"".join(map(_line, facts))
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fdatasync(descriptor)
            os.rename(fresh, self.path)
        except OSError as problem:
            os.close(descriptor)
            problem.filename = os.fspath(self.path)
            raise
        os.close(self._descriptor)
        self._descriptor, self.size_bytes = descriptor, len(data)

    def sync(self) -> None:
        """What was added survives the death of the machine. May be called from a thread of its own."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Gives the descriptor back; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(fact: Sequence[Any]) -> bytes:
    body = orjson.dumps(fact)
    return b"%08x %s\n" % (zlib.crc32(body), body)


def _parsed(data: bytes) -> tuple[list[list[Any]], int]:
    """The facts, and where the last whole line ends."""
    found = []
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        body = data[at + 9 : end]
        if data[at : at + 9] != b"%08x " % zlib.crc32(body):
            break
        found.append(orjson.loads(body))
        at = end + 1
    return found, at
