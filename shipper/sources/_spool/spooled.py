"""A file that is being read: its identity, its content, and the text that lets a restart find the place again."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass

from shipper.api import Origin
from shipper.sources._spool.content import GzipContent, PlainContent
from shipper.sources._spool.directory import Candidate
from shipper.sources._tail.identity import key_of

_ANCHOR_BYTES = 256


@dataclass(frozen=True)
class Place:
    """Where reading stopped, as an origin's anchor keeps it.

    Attributes:
        identity: of the file on its disk.
        offset: in the content.
        done: the file had ended there, and was only to be taken out of the way.
        size, mtime_ns: of the file when it was opened.
        checksum: of the bytes before the offset, "" where the content is compressed.
    """

    identity: str
    offset: int
    done: bool
    size: int
    mtime_ns: int
    checksum: str

    @property
    def anchor(self) -> str:
        """Everything but the offset, as text."""
        return f"{self.identity}:{int(self.done)}:{self.size}:{self.mtime_ns}:{self.checksum}"

    @classmethod
    def of(cls, offset: int, anchor: str) -> Place:
        """The place of an origin.

        Raises:
            ValueError: the anchor is none of ours.
        """
        identity, done, size, mtime_ns, checksum = anchor.split(":")
        return cls(identity, offset, done == "1", int(size), int(mtime_ns), checksum)


@dataclass(frozen=True)
class Ended:
    """A file that was read to its end, and closed, before all that it gave was durable.

    Attributes:
        place: the end.
        last: the origin of its last rows: when that is durable, all of it is.
        compressed: no place inside it means anything to the progress file.
    """

    found: Candidate
    place: Place
    last: Origin
    compressed: bool


class Spooled:
    """An open file of the directory.

    Args:
        gunzip: read a `.gz` file as what it holds.

    Attributes:
        read_something: something of it became events.
        last: the origin of its last rows that the channels have; None when they have none that may not be durable.
        cut_lines: so many of its lines were too long, and became several events.
        limit: the option that says how long is too long.

    Raises:
        OSError: it can't be opened.
    """

    def __init__(self, found: Candidate, *, gunzip: bool) -> None:
        self.path = found.path
        self.name = found.name
        self.found = found
        self._fd = os.open(found.path, os.O_RDONLY | os.O_CLOEXEC)
        stat = os.fstat(self._fd)
        self.size = stat.st_size
        self.mtime_ns = stat.st_mtime_ns
        self.identity = key_of(self._fd, stat).stream
        self.compressed = gunzip and found.name.endswith(".gz")
        self.content = GzipContent(self._fd, found.path) if self.compressed else PlainContent(self._fd)
        self.read_something = False
        self.last: Origin | None = None
        self.cut_lines = 0
        self.limit = ""

    def place(self, offset: int, *, done: bool) -> Place:
        """The place at an offset of the content, to be remembered."""
        return Place(self.identity, offset, done, self.size, self.mtime_ns, self._checksum(offset))

    def fits(self, place: Place) -> bool:
        """True when the file still has, before the place, what was there."""
        if place.identity != self.identity:
            return False
        return self.compressed or (place.offset <= self.size and place.checksum == self._checksum(place.offset))

    def grown_bytes(self) -> int:
        """How much longer the file is now than when it was opened; negative when it is shorter."""
        return os.fstat(self._fd).st_size - self.size

    def look_again(self) -> None:
        """Takes the file as it is now for what it is."""
        stat = os.fstat(self._fd)
        self.size, self.mtime_ns = stat.st_size, stat.st_mtime_ns

    def is_changed(self) -> bool:
        """True when the file is not what it was when it was opened."""
        stat = os.fstat(self._fd)
        return (stat.st_size, stat.st_mtime_ns) != (self.size, self.mtime_ns)

    def is_in_place(self) -> bool:
        """True when its path still leads to it."""
        try:
            stat = os.stat(self.path)
        except OSError:
            return False
        mine = os.fstat(self._fd)
        return (stat.st_dev, stat.st_ino) == (mine.st_dev, mine.st_ino)

    def close(self) -> None:
        """Gives the file back."""
        self.content.close()

    def _checksum(self, offset: int) -> str:
        if self.compressed:
            return ""
        start = max(0, offset - _ANCHOR_BYTES)
        return f"{zlib.crc32(os.pread(self._fd, offset - start, start)):x}"
