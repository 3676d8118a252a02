"""A parked file: pieces of the files of a run directory in one file on disk, from which they can be made again.

::

    "SHPPARK1"
    pieces, one behind the other
    directory, JSON: {"about": {...}, "files": [[name, size, [[offset, length], ...], CRC-32 of its pieces], ...]}
    the same directory once more
    trailer: magic, length of the directory (u64), CRC-32 of the directory, CRC-32 of the trailer (u32), little-endian
    the same trailer once more

What is not in a piece is zero. It is written under another name and renamed when it is synced, so a parked file that
can be found is whole; directory and trailer stand there twice so that no single damaged spot hides all the pieces.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from isal import isal_zlib

from shipper import whole_file
from shipper.errors import DamagedData

Extent = tuple[int, int]
MAGIC = b"SHPPARK1"
_TRAILER = struct.Struct("<8sQII")
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """A file that is to be parked: its name in the run directory, its size, its bytes, and which of them."""

    name: str
    size_bytes: int
    memory: memoryview
    extents: Sequence[Extent]


@dataclass(frozen=True)
class Part:
    """A file as a parked file has it; `at` is where its first piece stands."""

    name: str
    size_bytes: int
    extents: tuple[Extent, ...]
    checksum: int
    at: int


class ParkedFile:
    """A parked file that is there.

    Attributes:
        about: what its writer said of it.
        parts: the files in it.

    Raises:
        DamagedData: it is none, or both its directories are damaged.
        OSError: it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            self.size_bytes = os.fstat(file.fileno()).st_size
            directory = _directory(file.fileno(), self.size_bytes, path)
        self.about: dict[str, Any] = directory["about"]
        parts, at = [], len(MAGIC)
        for name, size_bytes, extents, checksum in directory["files"]:
            if name.startswith("/") or ".." in name.split("/"):
                raise DamagedData(f"{path} names a file outside of its directory: {name}")
            parts.append(Part(name, size_bytes, tuple((offset, length) for offset, length in extents), checksum, at))
            at += sum(length for _, length in extents)
        self.parts = tuple(parts)

    def restore(self, directory: Path) -> list[str]:
        """Makes all files again; the names of those whose pieces fail their checksum.

        Files that have checks of their own inside (lanes, put pages, position tables) are of use all the same.

        Raises:
            OSError: no room.
        """
        damaged = []
        with self.path.open("rb") as file:
            for part in self.parts:
                place = directory / part.name
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with _created(place) as descriptor:
                    if part.size_bytes:
                        os.posix_fallocate(descriptor, 0, part.size_bytes)
                    if self._copy(file.fileno(), part, descriptor) != part.checksum:
                        damaged.append(part.name)
        return damaged

    @staticmethod
    def _copy(source: int, part: Part, target: int) -> int:
        checksum, at = 0, part.at
        for offset, length in part.extents:
            end = offset + length
            while offset < end:
                piece = os.pread(source, min(end - offset, _PIECE_BYTES), at)
                if not piece:
                    return -1  # cut short: what is missing stays zero
                checksum = isal_zlib.crc32(piece, checksum)
                os.pwrite(target, piece, offset)
                offset, at = offset + len(piece), at + len(piece)
        return checksum


def write(path: Path, about: dict[str, Any], sources: Iterable[Source]) -> int:
    """Makes a parked file, synced, with its directory entry; returns its size.

    Dying before the rename leaves no parked file of that name; dying behind it leaves a whole one.

    Raises:
        OSError: no room, or no permission; no file of that name was made, and one that was there is as it was.
    """
    whole_file.write(path, _pieces(about, sources), synced=True)
    return path.stat().st_size


def _pieces(about: dict[str, Any], sources: Iterable[Source]) -> Iterator[bytes | memoryview]:
    yield MAGIC
    files = []
    for source in sources:
        checksum = 0
        for offset, length in source.extents:
            piece = source.memory[offset : offset + length]
            checksum = isal_zlib.crc32(piece, checksum)
            yield piece
        files.append([source.name, source.size_bytes, source.extents, checksum])
    directory = orjson.dumps({"about": about, "files": files})
    trailer = _trailer(directory)
    yield directory + directory + trailer + trailer


def remove(path: Path) -> None:
    """Removes a parked file for good: no power cut brings it back."""
    path.unlink(missing_ok=True)
    whole_file.sync_directory(path.parent)


@contextlib.contextmanager
def _created(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _trailer(directory: bytes) -> bytes:
    head = _TRAILER.pack(MAGIC, len(directory), isal_zlib.crc32(directory), 0)[:-4]
    return head + isal_zlib.crc32(head).to_bytes(4, "little")


def _directory(descriptor: int, size_bytes: int, path: Path) -> dict[str, Any]:
    """The first of the two directories that passes its checksum, by the first trailer that does."""
    for trailers in (1, 2):
        at = size_bytes - trailers * _TRAILER.size
        trailer = os.pread(descriptor, _TRAILER.size, at) if at > 0 else b""
        if len(trailer) < _TRAILER.size or isal_zlib.crc32(trailer[:-4]) != int.from_bytes(trailer[-4:], "little"):
            continue
        magic, length, checksum, _ = _TRAILER.unpack(trailer)
        end = size_bytes - 2 * _TRAILER.size
        if magic != MAGIC or 2 * length > end:
            continue
        for copy in (1, 2):
            directory = os.pread(descriptor, length, end - copy * length)
            if isal_zlib.crc32(directory) == checksum:
                found: dict[str, Any] = orjson.loads(directory)
                return found
    raise DamagedData(f"{path} is no file of parked channels, or is damaged in more than one place")
