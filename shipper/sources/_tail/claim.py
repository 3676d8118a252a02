"""A claim: says whose a position file is, so that sources with one path do not take each other's places.

Flume's default path is the same for every agent of a user, and two agents that read the same logs would each believe
what the other one wrote. The first source to come claims the path; another one keeps its places elsewhere, for as long
as the owner runs, or is still to be found, with this path, in the configuration file that it came from. An owner whose
file was moved, that was renamed, or that got another path, is gone: who comes next goes on with what is in the position
file, as Flume would.

::

    file      .NAME.owner beside the position file: JSON {"user", "agent", "file", "source"} and a newline
    locks     byte GUARD while somebody decides, byte ALIVE shared by all workers of the owner for as long as they live

A torn content names nobody, and the next source takes the claim. Only what stands in the first of several configuration
files is found; an owner that has its name or its path from another one is an owner only while it runs.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass

from shipper import file_lock
from shipper.api import SourceContext

_GUARD, _ALIVE = 1 << 40, (1 << 40) + 1
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class Owner:
    """A source of an agent, known as an agent is: by user, name, and the real path of its first file."""

    user: int
    agent: str
    file: str
    source: str

    @classmethod
    def of(cls, context: SourceContext) -> Owner:
        """The source that has this context."""
        return cls(os.getuid(), context.agent, context.file, context.name)

    def __str__(self) -> str:
        return f"source {self.source} of agent {self.agent} ({self.file})"

    def is_configured(self, position_file: str) -> bool:
        """True when its file still names it and gives it this path, or can't be read by us and may.

        Args:
            position_file: a real path.
        """
        try:
            with open(self.file, encoding="latin-1") as file:
                lines = re.sub(r"\\\r?\n\s*", " ", file.read())
        except FileNotFoundError:
            return False
        except OSError:
            return True

        def values(key: str) -> list[str]:
            pattern = rf"^[ \t\f]*{re.escape(f'{self.agent}.{key}')}[ \t\f]*[=: \t\f][ \t\f]*(.*)$"
            return [value.strip() for value in re.findall(pattern, lines, re.MULTILINE)]

        if not any(self.source in names.split() for names in values("sources")):
            return False
        kind = values(f"sources.{self.source}.type")[-1:]
        if kind and "taildir" not in kind[0].lower() and "${" not in kind[0]:
            return False
        paths = values(f"sources.{self.source}.positionFile")
        return not paths or _may_be(paths[-1], position_file)


class Claim:
    """What a source knows about who owns a position file; ours for as long as this object is open, if it is ours.

    Attributes:
        other: whose it is, None when it is ours (or nothing can be written there, and the first save will say so).
    """

    def __init__(self, position_file: str, mine: Owner) -> None:
        self.other: Owner | None = None
        real = os.path.realpath(position_file)
        directory, name = os.path.split(real)
        self._fd, writable = _open(os.path.join(directory, f".{name}.owner"))
        if self._fd < 0:
            return
        try:
            # Whoever dies in here lets go of the guard, and leaves a claim that is whole, torn (nobody's) or the old.
            file_lock.lock(self._fd, _GUARD, 1, shared=not writable, wait=True)
            owner = self._read()
            if owner is not None and owner != mine and (self._is_alive(writable) or owner.is_configured(real)):
                self.other = owner
                self.close()
                return
            if owner != mine and writable:
                content = json.dumps(asdict(mine)).encode() + b"\n"
                os.ftruncate(self._fd, 0)
                os.pwrite(self._fd, content, 0)
            file_lock.lock(self._fd, _ALIVE, 1, shared=True)
            file_lock.unlock(self._fd, _GUARD, 1)
        except OSError:
            self.close()  # a file system without such locks, or a full one: as Flume, nobody is kept apart

    def close(self) -> None:
        """Lets go; the claim stays ours, but another start may look whether we are still wanted."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _read(self) -> Owner | None:
        content = os.pread(self._fd, _MOST_BYTES, 0)
        try:
            return Owner(**json.loads(content)) if content.endswith(b"\n") else None
        except (ValueError, TypeError):
            return None

    def _is_alive(self, writable: bool) -> bool:
        """True when a worker of the owner runs, or that can't be found out."""
        if not writable or not file_lock.lock(self._fd, _ALIVE, 1):
            return True
        file_lock.unlock(self._fd, _ALIVE, 1)
        return False


def _may_be(written: str, position_file: str) -> bool:
    """True when what is written in a configuration file may be this path; False only when it can't.

    A word in braces, a relative path, or what is no ASCII may be anything; `~` is the home of another user or service.
    """
    if os.path.realpath(os.path.expanduser(written)) == position_file:
        return True
    if written.startswith("~"):
        return position_file.endswith(written[written.find("/") :])
    return not written.startswith("/") or "${" in written or "\\" in written or not written.isascii()


def _open(path: str) -> tuple[int, bool]:
    """(descriptor, whether it can be written); -1 when it is not there and can't be made."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o644), flags != os.O_RDONLY
        except OSError:
            continue
    return -1, False
