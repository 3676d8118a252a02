"""A record of a sink's journal: what is written at once, with a checksum of its own, and what it says of files.

A record that is not whole was never written::

    offset  bytes  little-endian
    0       4      length of the payload
    4       4      CRC-32 of everything behind this field
    8       8      sequence: of an entry; 0 for a fact
    16      8      base: the newest entry that is known to be committed, as this was written
    24      n      payload, JSON
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

import orjson

from shipper.files.extent import Extent

MAGIC = b"shipper journal 1\n"
_FRAME = Struct("<IIQQ")
_CHECKED_FROM = 8
_PAYLOAD_MAX = 1 << 28


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file has got.

    Attributes:
        length: bytes of it that count.
        state: what its serializer needs to go on.
        finished: it takes no more; it waits for its final name.
        tail: tells its last bytes that count (`extent.tail_of`), where somebody will have to know them again.
    """

    number: int
    length: int
    rows: int
    body_bytes: int
    state: str | None = None
    finished: bool = False
    tail: str | None = None

    def packed(self) -> list[Any]:
        """For the payload."""
        found = [self.number, self.length, self.rows, self.body_bytes, self.state, self.finished]
        return found if self.tail is None else [*found, self.tail]


@dataclass(slots=True)
class FileRecord:
    """A file that the journal knows.

    Attributes:
        key: the bucket that it belongs to.
        path, final: its name while it is written, and after.
        opened_ms: wall clock.
        recipe: what its bytes are (serializer, codec): another one can't go on with it.
        identity: None when the process died before it could say.
        progress: None when nothing of it counts yet.
        store: name of the one that it is on; None in what an earlier release wrote.
    """

    number: int
    key: str
    path: str
    final: str
    opened_ms: int
    recipe: str
    identity: str | None = None
    progress: Progress | None = None
    store: str | None = None

    @property
    def extent(self) -> Extent:
        """What counts of it."""
        known = self.progress
        return Extent(known.length, self.identity, known.tail) if known is not None else Extent(0, self.identity)

    def packed(self) -> list[Any]:
        """For the payload of a snapshot, which says beside it what is on which store: `by_store`."""
        return [
            self.number, self.key, self.path, self.final, self.opened_ms, self.recipe, self.identity,
            self.progress.packed() if self.progress else None,
        ]  # fmt: skip

    @classmethod
    def unpacked(cls, row: list[Any]) -> FileRecord:
        """What was packed."""
        number, key, path, final, opened_ms, recipe, identity, progress = row
        known = Progress(*progress) if progress else None
        return cls(number, key, path, final, opened_ms, recipe, identity, known)


def by_store(records: Iterable[FileRecord]) -> dict[str, list[int]]:
    """The numbers of the files of each store, for the payload. A reader that knows nothing of stores ignores it."""
    found: dict[str, list[int]] = {}
    for record in records:
        if record.store is not None:
            found.setdefault(record.store, []).append(record.number)
    return found


class Record(NamedTuple):
    """A whole record.

    Attributes:
        start: where it begins in the journal.
    """

    sequence: int
    base: int
    payload: dict[str, Any]
    start: int


def framed(sequence: int, base: int, payload: dict[str, Any]) -> bytes:
    """A record as it is written."""
    body = orjson.dumps(payload)
    head = _FRAME.pack(len(body), 0, sequence, base)
    checksum = zlib.crc32(body, zlib.crc32(head[_CHECKED_FROM:]))
    return head[:4] + checksum.to_bytes(4, "little") + head[_CHECKED_FROM:] + body


def records_in(data: bytes) -> tuple[list[Record], int]:
    """All whole records of a journal, and where they end."""
    found = []
    at = len(MAGIC)
    while at + _FRAME.size <= len(data):
        length, checksum, sequence, base = _FRAME.unpack_from(data, at)
        end = at + _FRAME.size + length
        if length > _PAYLOAD_MAX or end > len(data) or zlib.crc32(data[at + _CHECKED_FROM : end]) != checksum:
            break
        found.append(Record(sequence, base, orjson.loads(data[at + _FRAME.size : end]), at))
        at = end
    return found, at


def open_files(path: Path) -> list[str]:
    """The files that a journal's process was writing when it ended, by their names then. Nothing is changed.

    Raises:
        OSError: there is no journal, or it can't be read.
    """
    data = path.read_bytes()
    names: dict[int, str] = {}
    for record in records_in(data)[0] if data.startswith(MAGIC) else ():
        payload = record.payload
        if "snapshot" in payload:
            names = {row[0]: row[2] for row in payload["snapshot"]}
        names.update((number, name) for number, _, name, *_ in payload.get("new", ()))
        for number in payload.get("gone", ()):
            names.pop(number, None)
    return list(names.values())
