"""One file that is followed: where we are in it, and the descriptor if it is open."""

from __future__ import annotations

import os
import zlib

from shipper.sources._tail.group import FileGroup
from shipper.sources._tail.identity import ANCHOR_BYTES, HEAD_BYTES, FileKey, Mark, anchor_text


class WatchedFile:
    """A followed file.

    `offset` is where the next batch begins, `committed` what the channels have: `committed <= offset`. `seen_to` is
    the end of what was looked at; between the two lies the beginning of a line that nobody has finished yet.

    Attributes:
        key, stream: what file it is, and its name in origins.
        path: the last path that matched the group; goes into headers and position files.
        place: where the file can be opened now; differs from `path` after a rename out of the group, None when nowhere.
        places, directory: the names by which the watch may call it, and the real directory of the last one.
        fd: open descriptor, or -1.
        head, anchor: the file's first bytes, and those just before `offset`.
        skipping: `offset` lies in an over-long line whose rest is dropped.
        changed_s: monotonic time when it was last seen to grow.
        left_s: monotonic time when it was renamed or deleted; None while it stands where it was.
        size: bytes in it when it was last looked at.
        listed: it matches its group now.
        destroyed_bytes: of its old content, seen and not read, after it was found shorter than before.
        modified_ns, read_ns: its time of change when it was last looked at, and at the look before it was last read.
        copy_of, copy_until_s: it looks like a copy of that file, and is not read before the time; None = it is none.
    """

    __slots__ = (
        "anchor", "changed_s", "committed", "committed_anchor", "copy_of", "copy_until_s", "destroyed_bytes",
        "directory", "fd", "group", "head", "identity", "key", "left_s", "listed", "modified_ns", "offset", "path",
        "place", "places", "queued", "read_ns", "seen_to", "size", "skipping", "stream", "tail_due", "too_long_said",
    )  # fmt: skip

    def __init__(self, key: FileKey, stream: str, path: str, group: FileGroup) -> None:
        self.key = key
        self.identity = (key.device, key.inode)
        self.stream = stream
        self.path = path
        self.place: str | None = path
        self.places: tuple[str, ...] = ()
        self.directory = os.path.dirname(path)
        self.group = group
        self.fd = -1
        self.offset = 0
        self.seen_to = 0
        self.size = 0
        self.destroyed_bytes = 0
        self.committed = 0
        self.committed_anchor = anchor_text(0, 0, 0, 0, False, printable(path))
        self.head = b""
        self.anchor = b""
        self.skipping = False
        self.changed_s = 0.0
        self.modified_ns = 0
        self.read_ns = 0
        self.left_s: float | None = None
        self.listed = True
        self.queued = False
        self.tail_due = False
        self.too_long_said = False
        self.copy_of: WatchedFile | None = None
        self.copy_until_s = 0.0

    @property
    def mark_text(self) -> str:
        """What must be true of the file for `offset` to be used."""
        return anchor_text(
            len(self.head), zlib.crc32(self.head), len(self.anchor), zlib.crc32(self.anchor), self.skipping,
            printable(self.path),
        )  # fmt: skip

    def go_to(self, offset: int, *, skipping: bool = False) -> None:
        """Makes `offset` the next place to read. The file must be open."""
        self.offset = self.seen_to = offset
        self.skipping = skipping
        self.head = os.pread(self.fd, min(HEAD_BYTES, offset), 0)
        start = max(0, offset - ANCHOR_BYTES)
        self.anchor = os.pread(self.fd, offset - start, start)

    def resume(self, mark: Mark) -> None:
        """Goes to a mark and calls it committed. The file must be open."""
        self.go_to(mark.offset, skipping=mark.skipping)
        self.committed = mark.offset
        self.committed_anchor = self.mark_text

    def advance(self, offset: int, anchor: bytes, head: bytes, skipping: bool = False) -> None:
        """The next place to read is `offset`; `head` and `anchor` are the bytes there."""
        self.offset = self.seen_to = offset
        self.anchor = anchor
        self.head = head
        self.skipping = skipping

    def start_over(self) -> None:
        """The content is another one: begin with its first byte."""
        self.offset = self.seen_to = 0
        self.anchor = self.head = b""
        self.skipping = False

    def unmoved(self) -> bool:
        """True when what lies before `offset` is still what we read. The file must be open."""
        start = self.offset - len(self.anchor)
        return os.pread(self.fd, len(self.anchor), start) == self.anchor

    def unread_bytes(self) -> int:
        """Bytes behind what the channels have: as many as there are now, or, when it is closed, at the last look."""
        size = os.fstat(self.fd).st_size if self.fd >= 0 else self.size
        return max(0, size - self.committed)

    def close(self) -> None:
        """Gives the descriptor back; the place stays."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def printable(path: str) -> str:
    """A path as text: bytes of a name that are no UTF-8 become U+FFFD."""
    return path if path.isascii() else os.fsencode(path).decode("utf-8", "replace")
