"""What is in a spooled file: its bytes, or what they are after gunzip."""

from __future__ import annotations

import io
import os
import zlib
from typing import Any, BinaryIO, cast

from isal import igzip, isal_zlib

from shipper.api import DamagedData

_SKIP_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
_DAMAGE: tuple[Any, ...] = (EOFError, OSError, zlib.error, isal_zlib.error)


class PlainContent:
    """The bytes of an open file."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._file: BinaryIO | None = None
        self.offset = 0

    def read_into(self, view: memoryview) -> int:
        """Fills `view`, or as much of it as there is left; the bytes that came."""
        filled = os.preadv(self._fd, [view], self.offset)
        came = filled
        while came and filled < len(view):
            came = os.preadv(self._fd, [view[filled:]], self.offset + filled)
            filled += came
        self.offset += filled
        return filled

    def at_end(self) -> bool:
        """True when nothing is left now."""
        return os.fstat(self._fd).st_size <= self.offset

    def left_bytes(self) -> int | None:
        """How much is left now."""
        return max(0, os.fstat(self._fd).st_size - self.offset)

    def seek(self, offset: int) -> None:
        """The next read begins there."""
        self.offset = offset

    def as_file(self) -> BinaryIO:
        """The content for a library that wants a file, from its beginning; one at a time."""
        if self._file is None:
            self._file = os.fdopen(os.dup(self._fd), "rb")
        self._file.seek(0)
        return self._file

    def close(self) -> None:
        """Gives the file back."""
        if self._file is not None:
            self._file.close()
        os.close(self._fd)


class GzipContent:
    """What a gzip file holds, all its members one after the other. Offsets are those of the content."""

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self._path = path
        self._stream = self._begin()
        self._ended = False
        self._damage: BaseException | None = None  # met, and said by the next read that has nothing else
        self.offset = 0

    def read_into(self, view: memoryview) -> int:
        """Fills `view`, or as much of it as there is left, or can be read; the bytes that came."""
        filled = 0
        try:
            # In pieces: what the decompressor had before it met damage is lost with the piece.
            while filled < len(view) and self._damage is None:
                came = self._stream.readinto1(view[filled : filled + _PIECE_BYTES])
                if not came:
                    self._ended = True
                    break
                filled += came
        except _DAMAGE as problem:
            self._damage = problem
        self.offset += filled
        if self._damage is not None and not filled:
            raise DamagedData(
                f"behind byte {self.offset} of its content it is no whole gzip file: {self._damage}"
            ) from None
        return filled

    def at_end(self) -> bool:
        """True when the end has been read."""
        return self._ended

    def left_bytes(self) -> int | None:
        """Nobody knows before it is decompressed."""
        return None

    def seek(self, offset: int) -> None:
        """The next read begins there. Going back means to decompress again from the beginning."""
        if offset < self.offset:
            self._stream = self._begin()
            self.offset, self._ended, self._damage = 0, False, None
        while self.offset < offset:
            left = min(offset - self.offset, _SKIP_BYTES)
            if not self.read_into(memoryview(bytearray(left))):
                break

    def as_file(self) -> BinaryIO:
        """The content for a library that wants a file, from its beginning; one at a time."""
        return cast(BinaryIO, self._begin())

    def close(self) -> None:
        """Gives the file back."""
        os.close(self._fd)

    def _begin(self) -> io.BufferedIOBase:
        source = _FromStart(self._fd)
        opened: io.BufferedIOBase = igzip.IGzipFile(filename=self._path, mode="rb", fileobj=source)  # type: ignore[no-untyped-call]
        return opened


class _FromStart(io.RawIOBase):
    """An open file read from its beginning without moving the place of others who read it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True  # or the file above it could not even tell where it is

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._fd).st_size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        came = os.preadv(self._fd, [buffer], self._at)
        self._at += came
        return came
