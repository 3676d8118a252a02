"""A segment: a mapped file of fixed size that outlives the processes which use it.

It is made whole under a temporary name (allocated, filled in, then renamed), so a segment that can be found can be
used. It is mapped once and never resized or truncated. Its roles (producer, consumer, ...) are owned by holding an
open-file-description lock on one byte a role: the kernel gives the lock back the moment its holder is gone, and a
holder that is only stopped still owns it.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from shipper import file_lock
from shipper.errors import ComponentFailed, DamagedData

_LOCK_BASE = 1 << 40  # lock bytes lie far behind the data: only their numbers matter


class Segment:
    """A mapped file.

    Attributes:
        path: where it lies.
        size_bytes: of the file; never changes.
        memory: all of it, writable.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size_bytes = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._roles: set[int] = set()
        try:
            self._mapping = mmap.mmap(descriptor, self.size_bytes)
        except (ValueError, OSError) as problem:
            os.close(descriptor)
            raise DamagedData(f"{path} can't be mapped ({problem}): it is empty or not a file of ours") from problem
        self.memory = memoryview(self._mapping)

    @classmethod
    def create(cls, path: Path, size_bytes: int, fill: Callable[[memoryview], None]) -> Segment:
        """Makes a segment; afterwards it is there with all its bytes allocated, or not at all.

        Args:
            fill: writes the header before anybody else can see the file.

        Raises:
            ComponentFailed: the file system has no room, or the directory can't be written.
            FileExistsError: a segment of that name is there already.
        """
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise ComponentFailed(f"can't create {path}: {problem.strerror}") from problem
        with contextlib.ExitStack() as undo:
            undo.callback(temporary.unlink, missing_ok=True)
            half_made = undo.enter_context(contextlib.ExitStack())
            half_made.callback(os.close, descriptor)
            try:
                # A sparse file would end in SIGBUS when the file system is full; this fails here instead.
                os.posix_fallocate(descriptor, 0, size_bytes)
            except OSError as problem:
                raise ComponentFailed(
                    f"no room for {size_bytes} bytes at {path.parent}: {problem.strerror}; free some, or set a "
                    f"smaller ring.bytes on the channel, or give another --run-dir"
                ) from problem
            half_made.pop_all()
            segment = cls(path, descriptor)
            half_made.callback(segment.close)
            fill(segment.memory)
            os.link(temporary, path)  # unlike rename, never replaces a segment that somebody uses
            half_made.pop_all()
            return segment

    @classmethod
    def open(cls, path: Path) -> Segment:
        """Maps a segment that is there.

        Raises:
            FileNotFoundError: it is not there.
            DamagedData: it can't be mapped.
        """
        return cls(path, os.open(path, os.O_RDWR | os.O_CLOEXEC))

    def try_lock(self, role: int) -> bool:
        """Takes the lock of a role for this object's life, if nobody has it. Never waits."""
        if not file_lock.lock(self._descriptor, _LOCK_BASE + role, 1):
            return False
        self._roles.add(role)
        return True

    def unlock(self, role: int) -> None:
        """Gives the lock of a role back."""
        file_lock.unlock(self._descriptor, _LOCK_BASE + role, 1)
        self._roles.discard(role)

    def close(self) -> None:
        """Unmaps and gives all locks back. The file stays. Views that are still out keep the mapping alive."""
        if self._descriptor < 0:
            return
        for role in tuple(self._roles):  # the mapping has a descriptor of its own, which would keep them
            self.unlock(role)
        os.close(self._descriptor)
        self._descriptor = -1
        self.memory.release()
        try:
            self._mapping.close()
        except BufferError:
            # A view of a batch is still out; the mapping goes when the last view goes.
            pass

    def __enter__(self) -> Segment:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
