"""The window: the newest bytes of a log, in memory that its writer shares with its readers.

The writer lays all that it appends down here, each byte at its offset in the segment modulo the size of the window,
and the disk stores it from here, past the page cache: to copy a GiB into that cache costs 1 to 3 s of CPU, to copy it
here 0.2 s (`docs/decisions/0037-past-the-page-cache.md`). A reader that keeps up takes its records from here as well,
so that they need not come back from the disk.

Nobody waits for anybody: the writer lays new bytes over old ones while a reader copies. What a reader copied counts
when the header says that it stands there, in that segment, and the checksum fits; else the file has it. So it does not
matter what is in the window at first, or after a death.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from shipper.durable.layout import BLOCK_BYTES, crc32
from shipper.durable.loans import Loans

SIZE_BYTES = 32 << 20
_JOINED_MAX_BYTES = 256 << 10
#: So much is copied and then checked while the processor's cache has it.
_AT_ONCE_BYTES = 256 << 10
_ZEROS = bytes(BLOCK_BYTES)


class Window:
    """A window, as its writer or one of its readers has it. Made by `make` or `open`.

    Attributes:
        shared: others can see it.
    """

    def __init__(self, mapping: mmap.mmap, *, shared: bool) -> None:
        self.shared = shared
        self._mapping = mapping
        self._memory = memoryview(mapping)
        self._size = len(self._memory)
        self._loans = Loans()

    @classmethod
    def make(cls, path: Path | None, size_bytes: int = SIZE_BYTES) -> Window:
        """The writer's window: the one that lies at `path`, or a new one; its own where there is no path, or no room.

        Args:
            size_bytes: whole blocks.
        """
        if path is None:
            return cls(mmap.mmap(-1, size_bytes), shared=False)
        try:
            if path.exists() and path.stat().st_size != size_bytes:
                path.unlink()  # whoever has it sees no news in it, and reads the files
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                # A hole in it would end the process when the file system is full.
                os.posix_fallocate(handle, 0, size_bytes)
                return cls(mmap.mmap(handle, size_bytes), shared=True)
            finally:
                os.close(handle)
        except OSError:
            with contextlib.suppress(OSError):  # readers look for it no more
                path.unlink()
            return cls.make(None, size_bytes)

    @classmethod
    def open(cls, path: Path | None) -> Window | None:
        """A reader's view of the window at `path`; None when none is there."""
        if path is None:
            return None
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            found = os.fstat(handle)
            if not found.st_size or found.st_size % BLOCK_BYTES or found.st_blocks * 512 < found.st_size:
                return None
            return cls(mmap.mmap(handle, found.st_size, mmap.MAP_SHARED, mmap.PROT_READ), shared=True)
        finally:
            os.close(handle)

    # --- the writer

    def store(
        self,
        pieces: Sequence[memoryview | bytes],
        offset: int,
        write: Callable[[Sequence[memoryview], int], None],
    ) -> None:
        """Lays pieces down from an offset on, one behind the other, and has the blocks written that they touch.

        What stands in the first of these blocks before `offset` is what was stored before; behind the last piece the
        block has zeros.

        Args:
            write: is given whole blocks, aligned in memory, and the offset of the first.

        Raises:
            OSError: as `write` does.
        """
        if len(pieces) > 1 and sum(map(len, pieces)) <= _JOINED_MAX_BYTES:
            pieces = (b"".join(pieces),)
        memory, size = self._memory, self._size
        first, at = offset - offset % BLOCK_BYTES, offset
        for piece in pieces:
            rest = memoryview(piece)
            while rest:
                if at == first + size:
                    write(self._blocks(first, at), first)
                    first = at
                here = at % size
                count = min(len(rest), size - here, first + size - at)
                memory[here : here + count] = rest[:count]
                rest, at = rest[count:], at + count
        missing = -at % BLOCK_BYTES
        memory[at % size : at % size + missing] = _ZEROS[:missing]
        write(self._blocks(first, at + missing), first)

    def _blocks(self, start: int, end: int) -> list[memoryview]:
        size = self._size
        here, count = start % size, end - start
        front = min(count, size - here)
        return [piece for piece in (self._memory[here : here + front], self._memory[: count - front]) if piece]

    # --- a reader

    def peek(self, offset: int, size_bytes: int) -> bytes:
        """What stands at an offset, or stood there: the caller knows by what it says of itself."""
        here = offset % self._size
        found = bytes(self._memory[here : here + size_bytes])
        return found + bytes(self._memory[: size_bytes - len(found)])

    def copy(self, offset: int, size_bytes: int, checksum: int) -> memoryview | None:
        """The bytes at an offset that have this CRC-32; None when they are not here. They stay while somebody looks."""
        if size_bytes > self._size:
            return None
        copied = self._loans.lend(size_bytes)
        found = done = 0
        while done < size_bytes:
            here = (offset + done) % self._size
            count = min(size_bytes - done, self._size - here, _AT_ONCE_BYTES)
            piece = copied[done : done + count]
            piece[:] = self._memory[here : here + count]
            found, done = crc32(piece, found), done + count
        return copied.toreadonly() if found == checksum else None

    def close(self) -> None:
        """Lets go of the memory."""
        self._memory.release()
        with contextlib.suppress(BufferError):  # an error that is on its way keeps the piece that it is about
            self._mapping.close()
