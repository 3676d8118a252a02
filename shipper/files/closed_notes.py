"""Notes: a small file of facts that are appended one by one and outlive the process, each with its checksum.

A line is the CRC-32 of the rest of it in eight hexadecimal digits, a blank, and a JSON array. A line that is not whole
was never written. There is no order with any other file but what the writer keeps: a fact is there once `add`
returned, and survives the death of the machine once `sync` has.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import orjson

from shipper.files.appended_file import AppendedFile


class Notes:
    """The notes of one writer.

    Args:
        path: of the file; made when it is not there.

    Attributes:
        found: what was there when it was opened, in order.
    """

    def __init__(self, path: Path) -> None:
        self._file = AppendedFile(path)
        self.found, size_bytes = _parsed(self._file.read())
        self._file.cut(size_bytes)

    @property
    def path(self) -> Path:
        """Where they lie."""
        return self._file.path

    @property
    def size_bytes(self) -> int:
        """Of the file now."""
        return self._file.size

    def add(self, facts: Iterable[Sequence[Any]]) -> None:
        """Appends facts, all or none.

        Raises:
            OSError: nothing was added.
        """
        self._file.append(b"".join(map(_line, facts)))

    def rewrite(self, facts: Iterable[Sequence[Any]]) -> None:
        """Keeps these facts only. Dying in here: the old file or the new one is there.

        Raises:
            OSError: all is as it was, or what was forgotten may come back with the death of the machine.
        """
        self._file.replace([b"".join(map(_line, facts))], synced=True)
        self._file.sync_name()

    def sync(self) -> None:
        """What was added survives the death of the machine. May be called from a thread of its own."""
        self._file.sync()

    def close(self) -> None:
        """Gives the descriptor back; safe to call twice."""
        self._file.close()


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
