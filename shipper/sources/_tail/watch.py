"""What may have changed: the kernel's word about watched directories, where it can be had.

The watch only makes a tail quick. What is true is found by looking (`files.py`), and a sweep looks at everything now
and then; so a lost event costs time, never a line. On network file systems, and when the kernel's limits are used up,
there is no watch and the sweep does it alone; that is said once.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from shipper.sources._tail import inotify

_NAMES_CHANGED = inotify.CREATE | inotify.DELETE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.ATTRIB
_MASK = inotify.MODIFY | _NAMES_CHANGED | inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.ONLYDIR
_DIRECTORY_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.IGNORED | inotify.UNMOUNT
_READS_MOST = 8  # of up to some thousand events each; what comes meanwhile waits for the next look
_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "afs", "lustre", "fuse", "virtiofs")


#: (level, line for the person)
Say = Callable[[str, str], None]


@dataclass
class Changes:
    """What the kernel said since it was last asked.

    Attributes:
        written: paths whose content may have changed.
        named: paths at which a file came, went, or changed its rights.
        directories: True when a directory did, so that any name below it may be another one.
        moved: (old path, new path) of renames between watched directories, in order.
        overflow: True when events were lost: look at everything.
    """

    written: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    directories: bool = False
    moved: list[tuple[str, str]] = field(default_factory=list)
    overflow: bool = False


class DirectoryWatch:
    """Watches directories; answers what changed. `fileno` is -1 when nothing can be watched.

    Args:
        enabled: False leaves everything to the sweep.
        say: where the one line goes when a directory can't be watched.
    """

    def __init__(self, enabled: bool, say: Say) -> None:
        self._say = say
        self._paths: dict[int, str] = {}
        self._watches: dict[str, int] = {}
        self._blind: set[str] = set()
        self._inotify: inotify.Inotify | None = None
        if enabled:
            try:
                self._inotify = inotify.Inotify()
            except OSError as problem:
                self._say_blind("any directory", problem)

    @property
    def fileno(self) -> int:
        """What to wait for."""
        return -1 if self._inotify is None else self._inotify.fileno

    def add(self, directory: str) -> None:
        """Watches a directory; again is harmless."""
        if directory in self._watches or directory in self._blind or self._inotify is None:
            return
        if (kind := _network_kind(directory)) is not None:
            self._blind.add(directory)
            self._say("info", f"{directory} is on {kind}, which tells of no changes: looking at it now and then")
            return
        try:
            watch = self._inotify.add(directory, _MASK)
        except OSError as problem:
            if problem.errno not in (errno.ENOENT, errno.ENOTDIR):
                self._blind.add(directory)
                self._say_blind(directory, problem)
            return
        self._watches[directory] = watch
        self._paths[watch] = directory

    def changes(self) -> Changes:
        """What happened since the last call. Never blocks."""
        changes = Changes()
        if self._inotify is None:
            return changes
        leaving: dict[int, str] = {}
        for _ in range(_READS_MOST):
            if not (events := self._inotify.read()):
                break
            for watch, mask, cookie, name in events:
                if mask & inotify.Q_OVERFLOW:
                    changes.overflow = True
                    continue
                directory = self._paths.get(watch)
                if directory is None:
                    continue
                if mask & _DIRECTORY_GONE:
                    changes.directories = True
                    self._forget(watch, directory, removed=bool(mask & inotify.IGNORED))
                    continue
                path = os.path.join(directory, name)
                if mask & inotify.MODIFY:
                    changes.written.add(path)
                elif mask & _NAMES_CHANGED and not mask & inotify.ISDIR:
                    changes.named.add(path)
                    if mask & inotify.MOVED_FROM:
                        leaving[cookie] = path
                    elif mask & inotify.MOVED_TO:
                        changes.moved.append((leaving.pop(cookie, ""), path))
                elif mask & inotify.ISDIR:
                    changes.directories = True
        return changes

    def close(self) -> None:
        """Ends all watches."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._paths.clear()
        self._watches.clear()

    def _forget(self, watch: int, directory: str, removed: bool) -> None:
        self._paths.pop(watch, None)
        self._watches.pop(directory, None)
        if not removed and self._inotify is not None:
            try:
                self._inotify.remove(watch)
            except OSError:  # the kernel was quicker
                pass

    def _say_blind(self, what: str, problem: OSError) -> None:
        advice = ""
        if problem.errno in (errno.ENOSPC, errno.EMFILE):
            advice = "; raise fs.inotify.max_user_watches or max_user_instances to be told at once"
        self._say("warning", f"can't watch {what} ({problem.strerror}): looking at it now and then{advice}")


def _network_kind(directory: str) -> str | None:
    """The kind of network file system that `directory` lies on, or None for a local one."""
    best, kind = "", ""
    real = os.path.realpath(directory)
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as mounts:
            for line in mounts:
                fields = line.split(" ")
                point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
                if len(point) >= len(best) and (real == point or real.startswith(point.rstrip("/") + "/")):
                    best, kind = point, fields[2]
    except OSError:
        return None
    return kind if kind.split(".")[0] in _NETWORK else None
