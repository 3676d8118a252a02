"""A checkpoint: the state of a log in one preallocated file of two slots, written in turn; the newer valid one counts.

A store writes over the older slot and syncs, so a death in between leaves the newer one as it was; it takes no new
disk blocks. A slot that becomes too small is met before records are appended that would need more (`reserve`): then a
file with larger slots takes the place of the old one, as a whole. After a failed sync the file is not trusted any more
and is likewise replaced by a new one, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.disk import Disk
from shipper.durable.layout import (
    SLOT_HEADER_BYTES,
    VERSION,
    SlotHeader,
    crc32,
    read_slot_header,
    slot_header_bytes,
)
from shipper.durable.segment import HALF_MADE, NewerVersion, discard
from shipper.durable.state import State

CHECKPOINT_NAME = "shipper.checkpoint"
SLOT_BYTES_LEAST = 64 << 10


class Stored(NamedTuple):
    """What a checkpoint file holds."""

    generation: int
    state: State


class Checkpoint:
    """One checkpoint file, open for its writer.

    Args:
        path: of the file.
        slot_bytes: of each slot, when the file has to be made.
    """

    def __init__(self, disk: Disk, path: Path, slot_bytes: int = SLOT_BYTES_LEAST) -> None:
        self._disk = disk
        self.path = path
        self._handle = -1
        self.slot_bytes = 0
        self._least_bytes = slot_bytes

    def open(self) -> None:
        """Opens the file that is there. One that is missing or unfit is made by the first `store`.

        Raises:
            OSError: it is there and can't be opened.
        """
        try:
            self._handle = self._disk.open(self.path, write=True)
        except FileNotFoundError:
            return
        self.slot_bytes = self._disk.size_bytes(self._handle) // 2
        if self.slot_bytes < SLOT_HEADER_BYTES or self.slot_bytes % 512:
            self.close()

    @property
    def room_bytes(self) -> int:
        """Bytes of payload that fit without a larger file."""
        return max(self.slot_bytes - SLOT_HEADER_BYTES, 0)

    def reserve(self, payload_bytes: int, generation: int, payload: bytes) -> None:
        """Makes room for a payload of so many bytes in each slot.

        Raises:
            OSError: there is none; what is stored stays as it is.
        """
        if self._handle < 0 or payload_bytes + SLOT_HEADER_BYTES > self.slot_bytes:
            self._replace(payload_bytes, generation, payload)

    def store(self, generation: int, payload: bytes) -> None:
        """Stores a payload, durably.

        Raises:
            OSError: it failed, in the file and in a new one: an older generation counts still.
        """
        if self._handle < 0 or len(payload) + SLOT_HEADER_BYTES > self.slot_bytes:
            self._replace(len(payload), generation, payload)
            return
        try:
            self._write(self._handle, generation, payload, self.slot_bytes)
            self._disk.sync(self._handle)
        except OSError:
            self._replace(len(payload), generation, payload)

    def close(self) -> None:
        """Gives the handle back."""
        if self._handle >= 0:
            self._disk.close(self._handle)
            self._handle = -1
        self.slot_bytes = 0

    def _write(self, handle: int, generation: int, payload: bytes, slot_bytes: int) -> None:
        header = SlotHeader(VERSION, crc32(payload), generation, len(payload), slot_bytes)
        self._disk.write(handle, [slot_header_bytes(header), payload], (generation & 1) * slot_bytes)

    def _replace(self, payload_bytes: int, generation: int, payload: bytes) -> None:
        """A new file with room to grow, in place of the old one when it is whole and synced."""
        slot_bytes = max(self._least_bytes, SLOT_BYTES_LEAST if not self.slot_bytes else self.slot_bytes)
        while slot_bytes < payload_bytes + SLOT_HEADER_BYTES:
            slot_bytes *= 2
        half_made = self.path.with_name(self.path.name + HALF_MADE)
        handle = self._disk.create(half_made)
        try:
            self._disk.allocate(handle, 2 * slot_bytes)
            self._write(handle, generation, payload, slot_bytes)
            self._disk.sync(handle)
            self._disk.rename(half_made, self.path)
        except OSError:
            self._disk.close(handle)
            discard(self._disk, half_made)
            raise
        self.close()
        self._handle, self.slot_bytes = handle, slot_bytes
        # Dying before the next line is over may leave the old file under the name: whole, and older.
        self._disk.sync_directory(self.path.parent)


def load(disk: Disk, path: Path) -> Stored | NewerVersion | None:
    """The newest valid slot of a checkpoint file; None when there is none.

    Raises:
        OSError: the file is there and can't be read.
    """
    try:
        handle = disk.open(path)
    except FileNotFoundError:
        return None
    best: Stored | None = None
    try:
        slot_bytes = disk.size_bytes(handle) // 2
        for offset in (0, slot_bytes):
            try:
                found = _read_slot(disk, handle, offset, slot_bytes, path)
            except OSError:
                continue  # what can't be read is damaged: the other slot counts
            if isinstance(found, NewerVersion):
                return found
            if found is not None and (best is None or found.generation > best.generation):
                best = found
    finally:
        disk.close(handle)
    return best


def _read_slot(disk: Disk, handle: int, offset: int, slot_bytes: int, path: Path) -> Stored | NewerVersion | None:
    header = read_slot_header(disk.read(handle, SLOT_HEADER_BYTES, offset))
    if header is None:
        return None
    if header.version > VERSION:
        return NewerVersion(path, header.version)
    if header.payload_bytes + SLOT_HEADER_BYTES > slot_bytes:
        return None
    payload = disk.read(handle, header.payload_bytes, offset + SLOT_HEADER_BYTES)
    if crc32(payload) != header.payload_crc:
        return None
    try:
        return Stored(header.generation, State.from_bytes(payload))
    except (ValueError, KeyError, TypeError):
        return None


def load_newest(disk: Disk, directories: Sequence[Path]) -> Stored | NewerVersion | None:
    """The newest of all copies; a copy that can't be read counts as none while there is another one.

    Raises:
        OSError: none can be read, and one of them is there.
    """
    best: Stored | None = None
    failure: OSError | None = None
    for directory in directories:
        try:
            found = load(disk, directory / CHECKPOINT_NAME)
        except OSError as problem:
            failure = problem
            continue
        if isinstance(found, NewerVersion):
            return found
        if found is not None and (best is None or found.generation > best.generation):
            best = found
    if best is None and failure is not None:
        raise failure
    return best
