"""The room: memory in which the newest rows of stages stay until they are in their files.

What is laid here is written to the disk from here, past the page cache, and packed from here: nothing is read back. A
GB costs 0.4 s of CPU so, and 0.4 to 2.5 s in the page cache (`docs/decisions/0039-stages-past-the-page-cache.md`).

It is a convenience. Rows that find no place in it go through the page cache, and rows that are not found in it are read
from the stage: after a death, after a failure, and where stages grow for long before they are packed. Memory that was
lent comes back by itself, with the last view of it.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from shipper.serializers.serializer import Bytes

#: What a disk takes past the page cache is whole blocks of that size, from memory that begins at one.
BLOCK_BYTES = 4096
#: What may be laid down of the next rows while a group of them is packed: more would stay in memory for little gain.
_AHEAD_BYTES = 48 << 20
_GROUP_MAX_BYTES = 64 << 20


class Room:
    """The room of one sink worker. It takes what one thread lays down; any other may find it.

    Args:
        size_bytes: that it takes at most. It takes none before something is laid down.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._refused_bytes = 0
        self._mapping: mmap.mmap | None = None
        self._free = [(0, size_bytes)]  # places and sizes, in order
        self._back: deque[tuple[int, int]] = deque()  # what came back since
        self._lent: dict[int, weakref.ref[Any]] = {}
        self._lock = threading.Lock()  # around the next one
        self._stages: dict[str, dict[int, memoryview]] = {}  # what lies here of each, by its place in the stage

    @classmethod
    def for_groups(cls, group_bytes: int) -> Room:
        """The room for a group of rows that is packed, and the first ones of the next."""
        return cls(min(group_bytes, _GROUP_MAX_BYTES) + _AHEAD_BYTES)

    def lay(self, pieces: Sequence[Bytes], size: int) -> memoryview | None:
        """Copies pieces here, one behind the other; None when there is no place.

        Args:
            size: of all, whole blocks.
        """
        view = self._claim(size)
        self._refused_bytes = size if view is None and size <= self._size_bytes else 0
        if view is not None:
            start = 0
            for piece in pieces:
                view[start : start + len(piece)] = piece
                start += len(piece)
        return view

    @property
    def crowded(self) -> bool:
        """True when what was to be laid down last found no place, and would find none now."""
        return self._refused_bytes > 0 and self._place(self._refused_bytes) is None

    @staticmethod
    def has(data: Bytes) -> bool:
        """True when that lies here."""
        return isinstance(data, memoryview) and isinstance(data.obj, ctypes.Array)

    def put(self, stage: str, position: int, view: memoryview) -> None:
        """What lies here is what the stage has at that place."""
        with self._lock:
            self._stages.setdefault(stage, {})[position] = view

    def take(self, stage: str, position: int) -> memoryview | None:
        """What the stage has at that place, if it lies here: it stays while somebody looks at it, and is not found
        again."""
        with self._lock:
            found = self._stages.get(stage)
            return found.pop(position, None) if found is not None else None

    def cut(self, stage: str, length: int = 0) -> None:
        """The stage has no more than that: what lay behind it is forgotten."""
        with self._lock:
            found = self._stages.pop(stage, {})
            kept = {position: view for position, view in found.items() if position < length}
            if kept:
                self._stages[stage] = kept

    def rest(self) -> None:
        """Gives the memory back to the machine, if nothing lies here."""
        self._take_back()
        if self._mapping is not None and self._free == [(0, self._size_bytes)]:
            self._mapping.madvise(mmap.MADV_DONTNEED)

    def _claim(self, size: int) -> memoryview | None:
        if (place := self._place(size)) is None:
            return None
        start, free_bytes = self._free[place]
        self._free[place : place + 1] = [(start + size, free_bytes - size)] if free_bytes > size else []
        if self._mapping is None:
            self._mapping = mmap.mmap(-1, self._size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # Views keep what exports them, and all views of a view do: when this array goes, nobody looks any more.
        array = (ctypes.c_ubyte * size).from_buffer(self._mapping, start)
        self._lent[start] = weakref.ref(array, self._returns(start, size))
        return memoryview(array).cast("B")

    def _place(self, size: int) -> int | None:
        self._take_back()
        return next((place for place, free in enumerate(self._free) if free[1] >= size), None)

    def _returns(self, start: int, size: int) -> Callable[[object], None]:
        # Called in whichever thread was the last to look, at any moment.
        back = self._back
        return lambda _: back.append((start, size))

    def _take_back(self) -> None:
        if not self._back:
            return
        ranges = self._free
        while self._back:
            back = self._back.popleft()
            del self._lent[back[0]]
            ranges.append(back)
        ranges.sort()
        self._free = []
        for start, size in ranges:
            if self._free and sum(self._free[-1]) == start:
                before, size_before = self._free.pop()
                start, size = before, size_before + size
            self._free.append((start, size))
