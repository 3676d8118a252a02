"""A segment: one file of a log, as it lies there; and the walk over its records.

The walk steps over what is damaged to the next record that certifies itself: by its checksum, by the segment's id, and
by the offset at which it says that it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.disk import Disk
from shipper.durable.file_view import FileView
from shipper.durable.layout import (
    BLOCK_BYTES,
    OPENING_IN_BLOCK,
    RECORD_ALIGN,
    RECORD_HEADER_BYTES,
    RECORD_MAGIC_BYTES,
    RECORDS_AT,
    Identity,
    Opening,
    RecordHeader,
    crc32,
    identity_bytes,
    opening_bytes,
    read_identity,
    read_opening,
    read_record_header,
)

_NAME = re.compile(r"(\d{12})\.segment\Z")
#: What a file is called before it is whole; left behind only by a death in between.
HALF_MADE = ".half-made"
_WINDOW_BYTES = 64 << 10


class SegmentFile(NamedTuple):
    """A segment that was found.

    Attributes:
        opening: None when it was prepared and never used.
        inferred: the opening is damaged, and was made up from the first record: what it says of others is nothing.
        end: no record ends behind this offset.
    """

    path: Path
    identity: Identity
    opening: Opening | None
    end: int
    inferred: bool = False

    @property
    def number(self) -> int:
        """By which segments are in order."""
        return self.identity.number


class Damage(NamedTuple):
    """Bytes of a segment that are no records."""

    start: int
    end: int


class NewerVersion(NamedTuple):
    """A file that a newer release has written."""

    path: Path
    version: int


def segment_name(number: int) -> str:
    """File name of a segment."""
    return f"{number:012d}.segment"


def is_segment_name(name: str) -> bool:
    """True when a file of this name should be a segment."""
    return _NAME.match(name) is not None


def name_number(name: str) -> int:
    """The number in the name of a segment, also of one that is half made or was set aside; 0 in other names."""
    found = re.match(r"(\d{12})\.segment", name)
    return int(found[1]) if found else 0


def create(disk: Disk, directory: Path, identity: Identity) -> Path:
    """Makes a segment that is whole, synced and has its name, or none.

    Raises:
        OSError: no room, or the disk failed; nothing is left but, at worst, a file that is swept at the next start.
    """
    path = directory / segment_name(identity.number)
    half_made = directory / (path.name + HALF_MADE)
    handle = disk.create(half_made)
    try:
        disk.allocate(handle, identity.size_bytes)
        block = identity_bytes(identity)
        disk.write(handle, [block], 0)
        disk.write(handle, [block], identity.size_bytes - BLOCK_BYTES)
        disk.sync(handle)
        disk.rename(half_made, path)
    except OSError:
        disk.close(handle)
        discard(disk, half_made)
        raise
    disk.close(handle)
    # Dying here may leave the name or not: a segment without an opening is removed at the next start.
    disk.sync_directory(directory)
    return path


def discard(disk: Disk, path: Path) -> None:
    """Removes a file of which nothing is needed, if it is there and can be."""
    try:
        disk.unlink(path)
    except OSError:
        pass


def write_opening(disk: Disk, handle: int, size_bytes: int, opening: Opening) -> None:
    """Takes a segment into use. The sync of its first records makes that durable."""
    block = opening_bytes(opening)
    disk.write(handle, [block], OPENING_IN_BLOCK)
    disk.write(handle, [block], size_bytes - BLOCK_BYTES + OPENING_IN_BLOCK)


def load(disk: Disk, path: Path) -> SegmentFile | NewerVersion | None:
    """What a file says of itself; None when both ends are damaged.

    Raises:
        OSError: it can't be opened.
    """
    handle = disk.open(path)
    try:
        size_bytes = disk.size_bytes(handle)
        blocks: list[bytes] = []
        failure: OSError | None = None
        for offset in (0, max(size_bytes - BLOCK_BYTES, 0)):
            try:
                blocks.append(disk.read(handle, BLOCK_BYTES, offset))
            except OSError as problem:
                failure = problem  # a block that can't be read is a damaged one: the other end counts
        if failure is not None and not blocks:
            failure.filename = str(path)  # a handle has no name
            raise failure
        return _judged(disk, path, handle, blocks, size_bytes)
    finally:
        disk.close(handle)


def _judged(
    disk: Disk, path: Path, handle: int, blocks: Sequence[bytes], size_bytes: int
) -> SegmentFile | NewerVersion | None:
    identity: Identity | None = None
    opening: Opening | None = None
    for block in blocks:
        found = read_identity(block)
        if isinstance(found, int):
            return NewerVersion(path, found)
        identity = identity or found
    if identity is None:
        return None
    for block in blocks:
        opening = opening or read_opening(block[OPENING_IN_BLOCK:], identity.segment_id)
    end = min(identity.size_bytes - BLOCK_BYTES, size_bytes)
    if opening is not None or end < RECORDS_AT + RECORD_HEADER_BYTES:
        return SegmentFile(path, identity, opening, end)
    # Prepared and never used, or both ends are damaged: then records are in it.
    view = disk.map(handle)
    try:
        offset = next_record(view, identity.segment_id, RECORDS_AT, end)
        header = header_at(view, identity.segment_id, offset, end) if offset is not None else None
    finally:
        view.close()
    if header is None:
        return SegmentFile(path, identity, None, end)
    return SegmentFile(path, identity, Opening(header.seq, 0, 0, 0, 0, identity.segment_id), end, inferred=True)


def load_all(disk: Disk, directories: Sequence[Path]) -> tuple[list[SegmentFile], list[NewerVersion], list[Path]]:
    """All segments of these directories in order of their numbers; those of newer releases; those that are damaged.

    Raises:
        OSError: one can't be read now: it may be good, and is not called damaged.
    """
    found: dict[int, SegmentFile] = {}
    newer, damaged = [], []
    for directory in directories:
        for name in disk.names(directory):
            if not is_segment_name(name):
                continue
            loaded = load(disk, directory / name)
            if isinstance(loaded, NewerVersion):
                newer.append(loaded)
            elif loaded is None:
                damaged.append(directory / name)
            else:
                # Of two copies of one file, the one with an opening and its own name counts.
                known = found.get(loaded.number)
                if known is None or _rank(loaded) > _rank(known):
                    found[loaded.number] = loaded
    return [found[number] for number in sorted(found)], newer, damaged


def _rank(file: SegmentFile) -> tuple[bool, bool, int]:
    return file.opening is not None, file.path.name == segment_name(file.number), file.end


def header_at(view: FileView, segment_id: int, offset: int, end: int) -> RecordHeader | None:
    """The record header at an offset, if one is valid there. The bytes must have been ensured."""
    return read_record_header(bytes(view.memory[offset : offset + RECORD_HEADER_BYTES]), segment_id, offset, end)


def next_record(view: FileView, segment_id: int, start: int, end: int) -> int | None:
    """Offset of the first valid record header at or behind `start`; None when there is none."""
    offset: int | None = start
    while offset is not None and offset + RECORD_HEADER_BYTES <= end:
        offset = view.find(RECORD_MAGIC_BYTES, offset, end)
        if offset is None:
            return None
        whole = offset % RECORD_ALIGN == 0 and _readable(view, offset, offset + RECORD_HEADER_BYTES)
        if whole and header_at(view, segment_id, offset, end) is not None:
            return offset
        offset += 1
    return None


def walk(view: FileView, segment_id: int, start: int, end: int) -> Iterator[RecordHeader | Damage]:
    """The record headers from `start` to `end`, and the stretches between them that are no records.

    Ends silently where nothing but unused space follows. Bodies are not looked at.
    """
    offset, ensured = start, 0
    while offset + RECORD_HEADER_BYTES <= end:
        readable = offset + RECORD_HEADER_BYTES <= ensured
        if not readable:
            window = min(offset + _WINDOW_BYTES, end)
            readable = _readable(view, offset, window)
            ensured = window if readable else 0
            readable = readable or _readable(view, offset, offset + RECORD_HEADER_BYTES)
        header = header_at(view, segment_id, offset, end) if readable else None
        if header is not None:
            yield header
            offset += header.length
            continue
        found = next_record(view, segment_id, offset + RECORD_ALIGN, end)
        if found is None:
            if view.find_written(offset, end):
                yield Damage(offset, end)
            return
        yield Damage(offset, found)
        offset = found


def stored_body(view: FileView, header: RecordHeader) -> memoryview | None:
    """The stored bytes of a record; None when they are damaged or can't be read."""
    start = header.offset + RECORD_HEADER_BYTES
    if not _readable(view, header.offset, header.offset + header.length):
        return None
    stored = view.memory[start : start + header.stored_bytes]
    return stored if crc32(stored) == header.body_crc else None


def _readable(view: FileView, start: int, end: int) -> bool:
    try:
        view.ensure(start, end)
    except OSError:
        return False
    return True
