"""The position table of a source worker: the last committed origin of each stream.

It lies beside the put page in the run directory and is as volatile as the rings: it says what the *channels* have,
which is true only while they are there. A record is appended after each put; the file is rewritten when it is large.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import orjson
from isal import isal_zlib

from shipper.batch.batch import Origin

_REWRITE_BYTES = 1 << 20


class Positions:
    """The table of one source worker. One process writes.

    Args:
        path: of the file; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.streams: dict[str, Origin] = {}
        for line in path.read_bytes().splitlines() if path.exists() else ():
            record = _checked(line)
            if record is None:
                break  # the record that was being written when its writer died
            for origin in record:
                self.streams[origin[0]] = Origin(*origin)
        self._descriptor = -1
        self._size_bytes = 0
        self._rewrite()

    def store(self, origins: Sequence[Origin]) -> None:
        """Remembers that the channels have these rows."""
        if not origins:
            return
        for origin in origins:
            self.streams[origin.stream] = origin
        if self._size_bytes > _REWRITE_BYTES:
            self._rewrite()
            return
        self._append(origins)

    def forget(self, stream: str) -> None:
        """Drops a stream that will never come again."""
        self.streams.pop(stream, None)

    def close(self) -> None:
        """Closes the file; the table stays."""
        os.close(self._descriptor)

    def _append(self, origins: Sequence[Origin]) -> None:
        record = orjson.dumps([(o.stream, o.start, o.end, o.anchor) for o in origins])
        # Dying inside this write leaves a torn last line, which fails its checksum: the table is one put behind, and
        # the frame of that put, still in its lane, has the origins.
        self._size_bytes += os.write(self._descriptor, b"%08x %b\n" % (isal_zlib.crc32(record), record))

    def _rewrite(self) -> None:
        """Writes the whole table to a new file and puts it in the place of the old one, in one step."""
        temporary = self._path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        self._size_bytes = 0
        if self.streams:
            self._append(tuple(self.streams.values()))
        self._size_bytes = 0
        os.replace(temporary, self._path)


def _checked(line: bytes) -> list[tuple[str, int, int, str]] | None:
    checksum, _, record = line.partition(b" ")
    try:
        whole = int(checksum, 16) == isal_zlib.crc32(record)
        return [tuple(origin) for origin in orjson.loads(record)] if whole else None
    except ValueError:
        return None
