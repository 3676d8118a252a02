"""Which file is the same file: its key on the disk, and a mark of what stood before an offset.

A path is no identity (rotation renames) and an inode alone is none either (it is used again after a delete). A file is
the one we know when its key matches *and* the bytes before the offset are still those that we read: the `Mark`.
"""

from __future__ import annotations

import ctypes
import functools
import os
import zlib
from dataclasses import dataclass

HEAD_BYTES = 1024
ANCHOR_BYTES = 256
_HANDLE_BYTES = 128
_AT_EMPTY_PATH = 0x1000


@dataclass(frozen=True, slots=True)
class FileKey:
    """A file on a disk: `generation` tells two users of one inode number apart, 0 where the file system can't say."""

    device: int
    inode: int
    generation: int

    @property
    def identity(self) -> tuple[int, int]:
        """What tells files apart while somebody holds them open."""
        return self.device, self.inode

    @property
    def stream(self) -> str:
        """The key as text, part of the stream's name in channels."""
        return f"{self.device:x}.{self.inode:x}.{self.generation:x}"


def owner_of(identity: tuple[int, int], workers: int) -> int:
    """The worker that reads a file, by its device and inode: so a renamed file stays with its worker."""
    return zlib.crc32(b"%d:%d" % identity) % workers


def key_of(fd: int, stat: os.stat_result) -> FileKey:
    """The key of an open file."""
    return FileKey(stat.st_dev, stat.st_ino, _generation(fd))


@dataclass(frozen=True, slots=True)
class Mark:
    """An offset in a file, and what must still be true of the file for it to be used.

    Attributes:
        offset: the place; the start of a line, or inside a line that is being skipped.
        head_bytes, head_crc: checksum of the first bytes of the file; 0 bytes = not known (a mark that Flume wrote).
        anchor_bytes, anchor_crc: checksum of the bytes that lie just before the offset.
        skipping: the rest of an over-long line follows, which is not delivered.
        path: where the file was when the mark was made.
    """

    offset: int
    head_bytes: int = 0
    head_crc: int = 0
    anchor_bytes: int = 0
    anchor_crc: int = 0
    skipping: bool = False
    path: str = ""

    @property
    def anchor(self) -> str:
        """Everything but the offset, as text for an origin."""
        return anchor_text(self.head_bytes, self.head_crc, self.anchor_bytes, self.anchor_crc, self.skipping, self.path)

    @classmethod
    def of(cls, offset: int, anchor: str) -> Mark:
        """The mark of an origin's end and anchor.

        Raises:
            ValueError: the text is none of ours.
        """
        head_bytes, head_crc, anchor_bytes, anchor_crc, skipping, path = anchor.split(":", 5)
        return cls(
            offset, int(head_bytes), int(head_crc, 16), int(anchor_bytes), int(anchor_crc, 16), skipping == "1", path
        )

    def fits(self, fd: int, size: int) -> bool:
        """True when the open file still has, before the offset, what was there when the mark was made."""
        if size < self.offset:
            return False
        start = self.offset - self.anchor_bytes
        return (
            zlib.crc32(os.pread(fd, self.head_bytes, 0)) == self.head_crc
            and zlib.crc32(os.pread(fd, self.anchor_bytes, start)) == self.anchor_crc
        )

    @property
    def strong(self) -> bool:
        """True when the checksums cover so much that another file will hardly have the same by accident."""
        return self.head_bytes >= HEAD_BYTES and self.anchor_bytes >= ANCHOR_BYTES


def anchor_text(head_bytes: int, head_crc: int, anchor_bytes: int, anchor_crc: int, skipping: bool, path: str) -> str:
    """What `Mark.of` reads, without making a mark: once for every batch."""
    return f"{head_bytes}:{head_crc:x}:{anchor_bytes}:{anchor_crc:x}:{int(skipping)}:{path}"


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _HANDLE_BYTES),
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _generation(fd: int) -> int:
    """Checksum of the kernel's handle of the file: it has the inode's generation where the file system keeps one."""
    handle = _FileHandle(handle_bytes=_HANDLE_BYTES)
    mount = ctypes.c_int()
    try:
        failed = _libc().name_to_handle_at(fd, b"", ctypes.byref(handle), ctypes.byref(mount), _AT_EMPTY_PATH)
    except AttributeError:  # a C library without it
        return 0
    return 0 if failed else zlib.crc32(bytes(handle.f_handle[: handle.handle_bytes])) or 1
