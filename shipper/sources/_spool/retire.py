"""The end of a file that has been read: renamed, deleted, or marked as done in the tracker directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from shipper.api import Clock


class Retirement(Protocol):
    """What becomes of a file when all of it is in the channels."""

    def retire(self, path: str, name: str, *, changed: bool) -> str | None:
        """Takes a file out of the way. `changed`: it is not what was read, so it may not be lost.

        Returns:
            What a person should know about it, or None.

        Raises:
            OSError: it can't be done.
        """

    def folders(self) -> Iterable[str]:
        """The folders whose lists say what was retired since this was last asked."""

    def done(self) -> Callable[[str], bool]:
        """Asks of relative names, as things stand now, whether their file was read already."""


class Rename:
    """The suffix is added to the name; where that is taken, or the file is not what was read, a time goes between."""

    def __init__(self, suffix: str, clock: Clock) -> None:
        self._suffix = suffix
        self._clock = clock
        self._folders: set[str] = set()

    def retire(self, path: str, name: str, *, changed: bool) -> str | None:
        self._folders.add(os.path.dirname(path))
        target = path + self._suffix
        taken = os.path.lexists(target)
        if not taken and not changed:
            os.rename(path, target)
            return None
        now_ms = self._clock.now_ms()
        # The name still ends in the suffix, so that neither we nor Flume read the file again.
        while os.path.lexists(target := f"{path}.{now_ms}{self._suffix}"):
            now_ms += 1
        os.rename(path, target)
        if changed:
            return f"it is now {os.path.basename(target)}"
        return (
            f"{name}{self._suffix} was there already (a file's name was used again); its lines were delivered, and "
            f"the file is now {os.path.basename(target)}"
        )

    def folders(self) -> Iterable[str]:
        folders, self._folders = self._folders, set()
        return folders

    def done(self) -> Callable[[str], bool]:
        return lambda name: False


class Delete:
    """The file is removed; one that is not what was read is renamed instead."""

    def __init__(self, suffix: str, clock: Clock) -> None:
        self._rename = Rename(suffix, clock)
        self._folders: set[str] = set()

    def retire(self, path: str, name: str, *, changed: bool) -> str | None:
        self._folders.add(os.path.dirname(path))
        if changed:
            return self._rename.retire(path, name, changed=True)
        os.unlink(path)
        return None

    def folders(self) -> Iterable[str]:
        folders, self._folders = self._folders, set()
        return folders

    def done(self) -> Callable[[str], bool]:
        return lambda name: False


class Track:
    """An empty file `name` + suffix in the tracker directory says that the file, which stays where it is, is done."""

    def __init__(self, suffix: str, directory: Path) -> None:
        self._suffix = suffix
        self._directory = directory
        self._folders: set[str] = set()

    def folders(self) -> Iterable[str]:
        folders, self._folders = self._folders, set()
        return folders

    def retire(self, path: str, name: str, *, changed: bool) -> str | None:
        marker = self._directory / (name + self._suffix)
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        self._folders.add(os.fspath(marker.parent))
        return "it stays where it is, marked as done" if changed else None

    def done(self) -> Callable[[str], bool]:
        root = os.fspath(self._directory)
        names: set[str] = set()
        for folder, _, files in os.walk(root):
            prefix = "" if folder == root else os.path.relpath(folder, root) + "/"
            names.update(prefix + file for file in files if file.endswith(self._suffix))
        return lambda name: name + self._suffix in names
