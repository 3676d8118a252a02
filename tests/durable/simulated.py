"""A disk in memory that knows what would be left if the machine died now.

Writes and names are in the page cache at once, and on the disk when they were synced. What was not synced may be on
the disk or not, each piece for itself, a write also in part: `images` enumerates what a death may leave. A sync that
fails drops what it should have stored, and never says so again: as the kernel does it.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isal import isal_zlib

from shipper.durable.board import LANE_BYTES, LANES, Board
from shipper.durable.disk import Disk
from shipper.durable.file_view import FileView

SECTOR = 512


class MachineDied(BaseException):
    """Nothing after the chosen operation happens."""


class SimulatedView(FileView):
    """A simulated file as memory."""

    def __init__(self, data: bytearray) -> None:
        self._data = data
        self.memory = memoryview(data).toreadonly()

    def ensure(self, start: int, end: int) -> None:
        pass

    def give_back(self, end: int) -> None:
        pass

    def find(self, pattern: bytes, start: int, end: int) -> int | None:
        found = self._data.find(pattern, start, end)
        return None if found < 0 else found

    def find_written(self, start: int, end: int) -> bool:
        return bool(bytes(self._data[start:end]).strip(b"\0"))

    def close(self) -> None:
        pass


class SimulatedSegment:
    """What a board needs of a mapped file."""

    def __init__(self, path: Path, data: bytearray) -> None:
        self.path = path
        self.data = data
        self.memory = memoryview(data)
        self.locked: set[int] = set()

    def try_lock(self, role: int) -> bool:
        self.locked.add(role)
        return True

    def unlock(self, role: int) -> None:
        self.locked.discard(role)

    def close(self) -> None:
        pass


@dataclass
class Inode:
    """A file: what a process sees, and what is on the disk for certain."""

    cache: bytearray = field(default_factory=bytearray)
    stored: bytes = b""


@dataclass(frozen=True)
class Pending:
    """Something that a process sees and that may not be on the disk: a write, a length, or a name."""

    inode: int
    offset: int = 0
    data: bytes = b""
    size: int = -1
    directory: str = ""
    linked: str = ""
    unlinked: str = ""


@dataclass(frozen=True)
class Image:
    """What a machine that died leaves: names and the bytes of their files."""

    files: dict[str, bytes]

    def __hash__(self) -> int:
        return hash(tuple((name, isal_zlib.crc32(data), len(data)) for name, data in sorted(self.files.items())))


class SimulatedDisk(Disk):
    """See the module.

    Attributes:
        calls: how often each operation was called.
        on_change: called behind each operation that changes something, and before each sync.
        away: directories whose disk is not mounted.
        fail: called with the operation's name and its count; gives an errno to fail with, or 0.
    """

    def __init__(self, image: Image | None = None, boot: int = 1) -> None:
        self.inodes: list[Inode] = []
        self.names_seen: dict[str, int] = {}
        self.names_stored: dict[str, int] = {}
        self.pending: list[Pending] = []
        self.boards: dict[str, bytearray] = {}
        self.boot = boot
        self.space = 1 << 40
        self.away: set[str] = set()
        self.calls: dict[str, int] = {}
        self.on_change: Callable[[], None] = lambda: None
        self.fail: Callable[[str, int], int] = lambda name, count: 0
        self._handles: dict[int, int] = {}
        self._next_handle = 3
        self._random = random.Random(boot)
        for name, data in (image.files if image else {}).items():
            self.names_seen[name] = self.names_stored[name] = len(self.inodes)
            self.inodes.append(Inode(bytearray(data), data))

    # --- death

    def killed(self) -> SimulatedDisk:
        """The same machine after the process was killed: what was written is in the page cache, as before."""
        other = SimulatedDisk(boot=self.boot)
        other.inodes = [Inode(bytearray(inode.cache), inode.stored) for inode in self.inodes]
        other.names_seen, other.names_stored = dict(self.names_seen), dict(self.names_stored)
        other.pending = list(self.pending)
        other.boards = {path: bytearray(data) for path, data in self.boards.items()}
        other.space = self.space
        other._random = random.Random(len(self.pending))
        return other

    def images(self, most: int, chance: random.Random) -> Iterator[Image]:
        """What a death of the machine may leave, at most so many ways: each piece there, not there, or torn."""
        pending = self.pending
        count = len(pending)
        choices: list[tuple[int, ...]] = [(0,) * count, (1,) * count]
        for index in range(count):
            for rest in (0, 1):
                for one in range(5) if pending[index].data else range(2):
                    choice = [rest] * count
                    choice[index] = one
                    choices.append(tuple(choice))
        while len(choices) < most and count > 2:
            choices.append(tuple(chance.choice((0, 0, 1, 1, 2, 3, 4)) for _ in range(count)))
            if len(choices) > 4 * count + 2 ** min(count, 20):
                break
        if len(choices) > most:
            choices = choices[: min(most, 2)] + chance.sample(choices[2:], max(most - 2, 0))
        for choice in dict.fromkeys(choices):
            yield self._image(choice, chance)

    def _image(self, choice: Sequence[int], chance: random.Random) -> Image:
        names = dict(self.names_stored)
        contents: dict[int, bytearray] = {}
        for one, pending in zip(choice, self.pending, strict=True):
            if not one:
                continue
            if pending.linked or pending.unlinked:
                names.pop(pending.unlinked, None)
                if pending.linked:
                    names[pending.linked] = pending.inode
                continue
            data = contents.setdefault(pending.inode, bytearray(self.inodes[pending.inode].stored))
            if pending.size >= 0:
                data.extend(bytes(max(pending.size - len(data), 0)))
                continue
            for offset, piece in _torn(pending, one, chance):
                data.extend(bytes(max(offset - len(data), 0)))
                data[offset : offset + len(piece)] = piece
        return Image({name: bytes(contents.get(i, self.inodes[i].stored)) for name, i in names.items()})

    # --- directories

    def make_directory(self, path: Path) -> None:
        self._called("make_directory")

    def names(self, path: Path) -> list[str]:
        self._called("names")
        if str(path) in self.away:
            return []
        start = f"{path}/"
        # Its lock file is no part of what a death leaves in one way or another.
        found = [name[len(start) :] for name in self.names_seen if name.startswith(start)]
        return sorted([*found, "shipper.lock"])

    def free_bytes(self, path: Path) -> int:
        self._called("free_bytes")
        return self.space

    def sync_directory(self, path: Path) -> None:
        self._called("sync_directory")
        left = []
        for pending in self.pending:
            if pending.directory != str(path):
                left.append(pending)
                continue
            self.names_stored.pop(pending.unlinked, None)
            if pending.linked:
                self.names_stored[pending.linked] = pending.inode
        self.pending = left
        self.on_change()

    def rename(self, old: Path, new: Path) -> None:
        self._called("rename")
        inode = self.names_seen.pop(str(old))
        self.names_seen[str(new)] = inode
        self._push(Pending(inode, directory=str(new.parent), linked=str(new), unlinked=str(old)))

    def unlink(self, path: Path) -> None:
        self._called("unlink")
        if str(path) not in self.names_seen:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        inode = self.names_seen.pop(str(path))
        self.space += len(self.inodes[inode].cache)
        self._push(Pending(inode, directory=str(path.parent), unlinked=str(path)))

    def lock(self, path: Path) -> int | None:
        self._called("lock")
        return self._handle(-1)

    def locked(self, path: Path) -> bool:
        return False

    # --- files

    def create(self, path: Path) -> int:
        self._called("create")
        self.inodes.append(Inode())
        inode = len(self.inodes) - 1
        self.names_seen[str(path)] = inode
        self._push(Pending(inode, directory=str(path.parent), linked=str(path)))
        return self._handle(inode)

    def open(self, path: Path, *, write: bool = False) -> int:
        self._called("open")
        inode = self.names_seen.get(str(path))
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
        return self._handle(inode)

    def close(self, handle: int) -> None:
        del self._handles[handle]

    def size_bytes(self, handle: int) -> int:
        return len(self._inode(handle).cache)

    def allocate(self, handle: int, size_bytes: int) -> None:
        self._called("allocate")
        inode = self._inode(handle)
        if size_bytes > self.space:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.space -= size_bytes
        inode.cache.extend(bytes(size_bytes - len(inode.cache)))
        self._push(Pending(self._handles[handle], size=size_bytes))

    def release(self, handle: int, start: int, end: int) -> None:
        inode = self._inode(handle)
        inode.cache[start:end] = bytes(max(end - start, 0))
        if end > start:
            self._push(Pending(self._handles[handle], start, bytes(end - start)))

    def read(self, handle: int, size_bytes: int, offset: int) -> bytes:
        self._called("read")
        return bytes(self._inode(handle).cache[offset : offset + size_bytes])

    def write(self, handle: int, views: Sequence[memoryview | bytes], offset: int) -> None:
        data = b"".join(views)
        inode = self._inode(handle)
        failure = self._failure("write")
        if failure:  # some of it may have got there
            part = data[: len(data) // 2]
            inode.cache[offset : offset + len(part)] = part
            self._push(Pending(self._handles[handle], offset, part))
            raise OSError(failure, os.strerror(failure))
        assert offset + len(data) <= len(inode.cache), "a write needs new blocks"
        inode.cache[offset : offset + len(data)] = data
        self._push(Pending(self._handles[handle], offset, data))

    def direct(self, handle: int, wanted: bool) -> bool:
        return wanted

    def sync(self, handle: int) -> None:
        number = self._handles[handle]
        self.on_change()  # whatever was said before this is over was said too early
        failure = self._failure("sync")
        mine = [p for p in self.pending if p.inode == number and not (p.linked or p.unlinked)]
        self.pending = [p for p in self.pending if p not in mine]
        if failure:
            raise OSError(failure, os.strerror(failure))
        stored = bytearray(self.inodes[number].stored)
        for pending in mine:
            stored.extend(bytes(max(pending.size - len(stored), 0)))
            if pending.data:
                stored[pending.offset : pending.offset + len(pending.data)] = pending.data
        self.inodes[number].stored = bytes(stored)
        self.on_change()

    def map(self, handle: int) -> FileView:
        self._called("map")
        return SimulatedView(self._inode(handle).cache)

    # --- the rest

    def random(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def boot_id(self) -> bytes:
        return self.boot.to_bytes(16, "little")

    def open_board(self, path: Path) -> Board:
        data = self.boards.get(str(path))
        if data is None:
            raise FileNotFoundError(str(path))
        board = _board(path, data)
        if not board.words.load(128):
            raise FileNotFoundError(str(path))
        return board

    def create_board(self, path: Path, log_id: bytes, lanes_max: int = 64) -> Board:
        data = bytearray(LANES + 4 * LANE_BYTES)
        data[:] = _empty_board(log_id, self.boot_id())
        self.boards[str(path)] = data
        return _board(path, data)

    # --- inside

    def _called(self, name: str) -> None:
        failure = self._failure(name)
        if failure:
            raise OSError(failure, os.strerror(failure))

    def _failure(self, name: str) -> int:
        self.calls[name] = self.calls.get(name, 0) + 1
        return self.fail(name, self.calls[name])

    def _push(self, pending: Pending) -> None:
        self.pending.append(pending)
        self.on_change()

    def _handle(self, inode: int) -> int:
        self._next_handle += 1
        self._handles[self._next_handle] = inode
        return self._next_handle

    def _inode(self, handle: int) -> Inode:
        return self.inodes[self._handles[handle]]


def _torn(pending: Pending, one: int, chance: random.Random) -> Iterator[tuple[int, bytes]]:
    """A write: 1 whole, 2 its first half, 3 its second half, 4 any of its sectors."""
    data, start = pending.data, pending.offset
    middle = max(len(data) // 2 - (start + len(data) // 2) % SECTOR, 0)
    if one == 1:
        yield start, data
    elif one == 2:
        yield start, data[:middle]
    elif one == 3:
        yield start + middle, data[middle:]
    else:
        at = 0
        while at < len(data):
            until = min(at + SECTOR - (start + at) % SECTOR, len(data))
            if chance.random() < 0.5:
                yield start + at, data[at:until]
            at = until


def _board(path: Path, data: bytearray) -> Board:
    segment: Any = SimulatedSegment(path, data)
    return Board(segment)


_EMPTY: dict[bytes, bytes] = {}


def _empty_board(log_id: bytes, boot: bytes) -> bytes:
    """An empty board with four lanes, as `Board.create` makes it; the costly part is made once."""
    import struct

    from shipper.durable.board import _HEADER, HEAD_SLOT, MAGIC, SYNCED_SLOT, VERSION, Head, head_checksum, lane_at
    from shipper.shared.words import Words

    if b"" not in _EMPTY:
        page = bytearray(LANES + 4 * LANE_BYTES)
        words = Words(memoryview(page))
        for index in range(4):
            for slot in (HEAD_SLOT, SYNCED_SLOT):
                words.write(lane_at(index) + slot, (*Head(), head_checksum(Head())))
        words.close()
        _EMPTY[b""] = bytes(page)
    head = _HEADER.pack(MAGIC, VERSION, 4, log_id, boot, 0)[:-8]
    checksum = struct.pack("<Q", isal_zlib.crc32(head))
    return head + checksum + _EMPTY[b""][len(head) + 8 :]
