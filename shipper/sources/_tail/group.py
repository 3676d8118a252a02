"""A file group: names that belong together, with the headers that their lines get."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class FileGroup(Protocol):
    """What the engine asks of a group. Questions only: nothing is opened, nothing remembered."""

    @property
    def name(self) -> str:
        """The group as a person knows it."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of every line."""

    def directories(self) -> list[str]:
        """The directories in which files of the group may appear, as far as they exist now. Raises as `listing`."""

    def listing(self) -> list[str]:
        """The paths that match now, in alphabetical order.

        Raises:
            OSError: nobody can look now, which is not the same as nothing being there.
        """

    def matches(self, path: str) -> bool:
        """True when a file at `path` would belong to the group."""


@dataclass(frozen=True, eq=False)
class RegexGroup:
    """Files of one directory whose whole name matches a regular expression: a TAILDIR group."""

    name: str
    directory: str
    pattern: re.Pattern[str]
    headers: Mapping[str, str] = field(default_factory=dict)

    def directories(self) -> list[str]:
        return [self.directory]

    def listing(self) -> list[str]:
        try:
            names = os.listdir(self.directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [os.path.join(self.directory, name) for name in sorted(names) if self.pattern.fullmatch(name)]

    def matches(self, path: str) -> bool:
        directory, name = os.path.split(path)
        return directory == self.directory and self.pattern.fullmatch(name) is not None


@dataclass(frozen=True, eq=False)
class GlobGroup:
    """One operand of a `tail` command: a path, or a shell glob that is expanded again as files appear."""

    name: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def directories(self) -> list[str]:
        parent = os.path.dirname(self.path)
        _spare_descriptor()
        found = glob.glob(parent) if glob.has_magic(parent) else [parent]
        return sorted(directory for directory in found if os.path.isdir(directory))

    def listing(self) -> list[str]:
        if glob.has_magic(self.path):
            _spare_descriptor()
            return sorted(glob.glob(self.path))
        return [self.path] if os.path.lexists(self.path) else []

    def matches(self, path: str) -> bool:
        patterns, names = self.path.split("/"), path.split("/")
        return len(patterns) == len(names) and all(
            fnmatch.fnmatchcase(name, pattern) and name.startswith(".") <= pattern.startswith(".")
            for name, pattern in zip(names, patterns, strict=True)
        )


def _spare_descriptor() -> None:
    """Raises OSError when there is none: `glob` takes a directory that it can't open for an empty one."""
    os.close(os.open("/", os.O_PATH | os.O_CLOEXEC))
