"""The folder of the stages, as a store: what lies in the room is written from there, past the page cache.

Not where nothing is synced: each write would wait for the disk then, and nobody else does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shipper.files.columns.room import BLOCK_BYTES, Room
from shipper.files.columns.workshop import Workshop
from shipper.files.local import LocalFile, LocalStore
from shipper.serializers.serializer import Bytes


class StageStore(LocalStore):
    """The stages of one sink worker.

    Args:
        syncs: what is staged is to survive the machine.
    """

    def __init__(self, workshop: Workshop, room: Room, *, syncs: bool) -> None:
        super().__init__()
        self._workshop = workshop
        self._room = room
        self._direct = syncs

    def delete(self, path: str) -> None:
        super().delete(path)
        self._room.cut(_stage(path))

    def sync(self, files: Sequence[tuple[str, str]], folders: Iterable[str]) -> None:
        # What is in a stage counts only if it is known what it is to become.
        self._workshop.sync_journal()
        super().sync(files, folders)
        self._workshop.stages_synced()

    def _opened(self, descriptor: int, path: str, length: int) -> LocalFile:
        self._room.cut(_stage(path), length)
        return _StageFile(descriptor, _stage(path), length, self._room, direct=self._direct)


class _StageFile(LocalFile):
    """A stage open for appending.

    Args:
        length: of it.
        direct: what lies in the room goes past the page cache.
    """

    __slots__ = ("_direct", "_length", "_room", "_stage")

    def __init__(self, descriptor: int, stage: str, length: int, room: Room, *, direct: bool) -> None:
        super().__init__(descriptor)
        self._stage = stage
        self._length = length
        self._room = room
        self._direct = direct

    def write(self, data: Bytes) -> None:
        lies = self._room.has(data)
        done = self.write_past(data) if lies and self._direct and not self._length % BLOCK_BYTES else 0
        if done < len(data):
            super().write(memoryview(data)[done:])
        if lies:
            self._room.put(self._stage, self._length, memoryview(data))
        self._length += len(data)


def _stage(path: str) -> str:
    """The stage, by the name that it has while it grows or when it is whole."""
    return path.rpartition(".")[0]
