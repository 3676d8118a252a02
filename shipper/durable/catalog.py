"""The catalog of a log's segments, as a reader keeps it: which files there are, and a few of them as memory."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.directory import log_was_in
from shipper.durable.disk import Disk
from shipper.durable.file_view import FileView
from shipper.durable.keys import Cipher, Keys, cipher_of
from shipper.durable.segment import SegmentFile, is_segment_name, load
from shipper.errors import ComponentFailed

_MAPS_MAX = 4


class Mapped(NamedTuple):
    """A segment as memory."""

    file: SegmentFile
    view: FileView
    cipher: Cipher | None


class Catalog:
    """Finds and maps segments.

    A file is mapped once and at most four stay mapped, beside those that somebody still has views of.
    """

    def __init__(self, disk: Disk, data_dirs: Sequence[Path], log_id: bytes, keys: Keys | None) -> None:
        self._disk = disk
        self._data_dirs = tuple(data_dirs)
        self._log_id = log_id
        self._keys = keys
        self._files: dict[int, SegmentFile] = {}
        self._names: dict[Path, int] = {}
        self._mapped: OrderedDict[int, Mapped] = OrderedDict()

    def refresh(self) -> None:
        """Looks which segments there are now. One that had no opening before is read again."""
        names: dict[Path, int] = {}
        for directory in self._data_dirs:
            for name in self._names_in(directory):
                path = directory / name
                if not is_segment_name(name):
                    continue
                known = self._names.get(path, 0)
                found = self._files.get(known)
                if found is None or found.opening is None or found.inferred:
                    found = self._load(path)
                if found is not None:
                    names[path] = found.number
                    self._files[found.number] = found
        self._names = names
        there = set(names.values())
        for number in [number for number in self._files if number not in there]:
            del self._files[number]

    def successor(self, number: int) -> SegmentFile | None:
        """The first segment in use behind this one."""
        numbers = [n for n, file in self._files.items() if n > number and file.opening is not None]
        return self._files[min(numbers)] if numbers else None

    def holding(self, seq: int) -> SegmentFile | None:
        """The segment that holds this record if any does; the first one when it was in none of them."""
        best: SegmentFile | None = None
        for number in sorted(self._files):
            file = self._files[number]
            if file.opening is not None and (best is None or file.opening.base_seq <= seq):
                best = file
        return best

    def map(self, file: SegmentFile) -> Mapped | None:
        """A segment as memory; None when it is gone or the disk can't read it.

        Raises:
            ComponentFailed: it can't be opened for a reason that may pass: too many open files, not allowed.
        """
        mapped = self._mapped.get(file.number)
        if mapped is not None:
            self._mapped.move_to_end(file.number)
            return mapped
        try:
            view = self._disk.view(file.path)
        except ValueError:  # nothing is left in it
            return None
        except OSError as problem:
            _must_be_gone(problem, file.path)
            return None
        mapped = Mapped(file, view, cipher_of(file.identity, self._keys, self._disk.random, file.path))
        self._mapped[file.number] = mapped
        while len(self._mapped) > _MAPS_MAX:
            _, old = self._mapped.popitem(last=False)
            old.view.close()
        return mapped

    def close(self) -> None:
        """Lets go of all files."""
        while self._mapped:
            self._mapped.popitem()[1].view.close()

    def _names_in(self, directory: Path) -> list[str]:
        try:
            names = self._disk.names(directory)
        except OSError as problem:
            raise ComponentFailed(f"can't read the directory {directory}: {problem.strerror}") from problem
        if not log_was_in(names):
            raise ComponentFailed(
                f"{directory} is not there, or empty: its disk may not be mounted. Nothing in it counts as lost"
            )
        return names

    def _load(self, path: Path) -> SegmentFile | None:
        try:
            found = load(self._disk, path)
        except OSError as problem:
            _must_be_gone(problem, path)
            return None
        if not isinstance(found, SegmentFile) or found.identity.log_id != self._log_id:
            return None
        return found


def _must_be_gone(problem: OSError, path: Path) -> None:
    """What can't be opened now, but may be later, is not lost."""
    if problem.errno != errno.ENOENT:
        raise ComponentFailed(
            f"can't open {path}: {problem.strerror}. Nothing of it counts as lost as long as it lies there; if the "
            f"disk can't be mended, move the file away, and what was in it is counted"
        ) from problem
