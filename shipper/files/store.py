"""A store: the place where files are made, appended to, renamed. A local directory here, a cluster elsewhere.

The toolkit above talks to nothing else, so that a second kind of store is one file. The verbs are the least that
HDFS, a local file system and an object store with multipart uploads have in common; a store that can't cut a file
says so (`cuts`) and is then never asked to.

Paths are texts with `/`, absolute, without a scheme. All errors are `OSError`s: a store that speaks to a server
translates what its library raises, with the nearest `errno`, so that one sentence (`trouble`) fits all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shipper.serializers.serializer import Bytes


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a store knows of a file.

    Attributes:
        identity: tells this file from another one that gets its name later (device and inode, a file id).
    """

    length: int
    identity: str
    is_directory: bool = False


class StoreFile(Protocol):
    """A file open for appending, by one writer."""

    @property
    def identity(self) -> str:
        """As in `FileStatus`."""

    def write(self, data: Bytes) -> None:
        """Appends all of `data`. After an error any part of it may be there: cut the file or give it up."""

    def unlinked(self) -> bool:
        """True when somebody removed the file while it was open: what is written now is lost."""

    def close(self) -> None:
        """Gives the file back; safe to call twice."""


class Store(Protocol):
    """Where files live."""

    #: True when `append` can cut a file to a length.
    cuts: bool

    def create(self, path: str) -> StoreFile:
        """A new, empty file; its folders are made. Raises FileExistsError, and never overwrites."""

    def append(self, path: str, length: int, identity: str | None) -> StoreFile:
        """An existing file, cut to `length` bytes, open for more behind them.

        Raises FileNotFoundError, and leaves everything as it is, when that name now belongs to another file than
        `identity` or to a shorter one.
        """

    def rename(self, path: str, final: str) -> None:
        """Raises FileExistsError when `final` is there, FileNotFoundError when `path` is not; never overwrites."""

    def stat(self, path: str) -> FileStatus | None:
        """None when nothing has that name."""

    def list(self, folder: str) -> list[str]:
        """Names in a folder, without it; empty when there is no such folder."""

    def mkdirs(self, folder: str) -> None:
        """Makes a folder and those above it."""

    def delete(self, path: str) -> None:
        """Removes one file; nothing happens when it is gone already."""

    def sync(self, files: Sequence[tuple[str, str]], folders: Iterable[str]) -> None:
        """What these files hold, and what these folders list, survives the death of the machine from here on.

        May be called beside the other verbs, from a thread of its own.

        Args:
            files: the name of each while it is written, and its final one; it has either.
        """

    def set_permission(self, path: str, mode: int) -> None:
        """Sets the permission bits, as `chmod`."""


_ADVICE = {
    errno.ENOSPC: "free some space or name another directory; nothing is lost, the rows wait in the channel",
    errno.EDQUOT: "raise the quota or free some space; nothing is lost, the rows wait in the channel",
    errno.EACCES: "give the user that runs the agent the right to write there (chown or chmod)",
    errno.EPERM: "give the user that runs the agent the right to write there (chown, chmod or chattr)",
    errno.EROFS: "the file system is mounted read-only: remount it or name another directory",
    errno.ENOENT: "the directory is gone: make it again, or name another one",
    errno.ENOTDIR: "a part of that path is a file where a directory is needed: rename it or name another directory",
    errno.EMFILE: "raise the limit on open files (ulimit -n) or lower hdfs.maxOpenFiles",
    errno.ENFILE: "the machine has no file handles left: close something or raise fs.file-max",
    errno.ENAMETOOLONG: "a name in that path is too long for the file system: shorten the header or the template",
    errno.EIO: "the disk reports an error: look at the kernel's log",
}


def trouble(doing: str, path: str, error: OSError) -> str:
    """One sentence for a person: what was being done, to what, what came back and what helps."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    advice = _ADVICE.get(error.errno or 0)
    return f"could not {doing} {path}: {reason}" + (f"; {advice}" if advice else "")
