"""The file of a position table: what it says, read from its lines and written to them.

::

    line      checksum of the rest in hex | blank | JSON
    JSON      {"lanes": [name, ...],                          what the numbers of the records below are of
               "workers": n,                                  its source had so many workers when it was written
               "number": n}                                   of its put page: puts up to that one are in it
              {"o": [[stream, start, end, anchor], ...]}      a put, known to be durable
              {"o": [...], "p": [position behind it, a lane]} a put

A line that does not pass its checksum was being written when its writer died, and ends the table. What the release
before wrote has no `workers` and no `number`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from isal import isal_zlib

from shipper.batch.batch import Origin


class TablePut(NamedTuple):
    """A put, or several that follow each other, as one line has it.

    Attributes:
        behind: position behind it in each lane, in the order of the table's lanes; () when it is durable.
    """

    behind: Sequence[int]
    origins: Sequence[Origin]


@dataclass
class PositionTable:
    """What one table says.

    Attributes:
        lanes: names of those that the puts' positions are of.
        workers: of its source, 0 when it does not say.
        number: of the last put of its put page that is certainly in it.
        streams: the last origin of each stream.
        waiting: puts of which it is not known that they are durable, in their order.
    """

    lanes: list[str] = field(default_factory=list)
    workers: int = 0
    number: int = 0
    streams: dict[str, Origin] = field(default_factory=dict)
    waiting: list[TablePut] = field(default_factory=list)

    @classmethod
    def read(cls, data: bytes) -> PositionTable:
        """What stands in a file, up to the first line that is not whole."""
        found = cls()
        for line in data.splitlines():
            record = checked(line)
            if record is None:
                break
            if "lanes" in record:
                found.lanes = record["lanes"]
                found.workers, found.number = record.get("workers", 0), record.get("number", 0)
                continue
            origins = [Origin(*origin) for origin in record["o"]]
            for origin in origins:
                found.streams[origin.stream] = origin
            if "p" in record:
                found.waiting.append(TablePut(record["p"], origins))
        return found

    def lines(self) -> list[bytes]:
        """The file that says this."""
        found = [line({"lanes": self.lanes, "workers": self.workers, "number": self.number})]
        if self.streams:
            # Streams of which puts wait come again below, last with what is here.
            found.append(put_line((), self.streams.values()))
        return found + [put_line(put.behind, put.origins) for put in self.waiting]


def put_line(behind: Sequence[int], origins: Iterable[Origin]) -> bytes:
    """The line of a put; `behind` as in `TablePut`."""
    record: dict[str, object] = {"o": [row(origin) for origin in origins]}
    if behind:
        record["p"] = behind
    return line(record)


def row(origin: Origin) -> tuple[str, int, int, str]:
    """An origin as JSON has it."""
    return origin.stream, origin.start, origin.end, origin.anchor


def line(record: Mapping[str, Any]) -> bytes:
    """A record with its checksum."""
    text = orjson.dumps(record)
    return b"%08x %b\n" % (isal_zlib.crc32(text), text)


def checked(line: bytes) -> dict[str, Any] | None:
    """The record of a line, None when it is not whole."""
    checksum, _, record = line.partition(b" ")
    try:
        whole = int(checksum, 16) == isal_zlib.crc32(record)
        found = orjson.loads(record) if whole else None
    except ValueError:
        return None
    # A list is what an early release wrote: the origins of one put.
    return {"o": found} if isinstance(found, list) else found
