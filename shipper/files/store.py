"""A store: the place where files are made, appended to, renamed. A local directory here, a cluster elsewhere.

The toolkit above talks to nothing else. The verbs are the least that HDFS, a local file system and an object store
with multipart uploads have in common. Stores are of two kinds, which `cuts` tells apart::

    QuickStore   a file is cut, closed and renamed in a moment, and what was written outlives the process: a local disk
    SlowStore    all of that takes seconds or may hang, and only `flush` makes bytes safe: a cluster. Bytes are handed
                 over once a transaction, so that a refusal takes nothing back; a file that ends, whole or after a
                 failure, is closed, set right and renamed beside the loop (`end`), and its bucket goes on in another

Paths are texts with `/`, absolute, without a scheme. All errors are `OSError`s: a store that speaks to a server
translates what its library raises, with the nearest `errno` and its own words (`Explained`), so that one sentence
(`trouble`) fits all.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shipper.files.appended_file import StateError
from shipper.files.extent import Extent
from shipper.files.path_rules import PathRules
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


class Explained(OSError):
    """An error of a server, in words for a person.

    Args:
        number: the nearest `errno`.
        why: what came back. The same each time for the same trouble: no name of a file that a retry makes anew.
        advice: what helps.
        path: of the file that it is about.
    """

    def __init__(self, number: int, why: str, advice: str = "", path: str | None = None) -> None:
        super().__init__(number, why)
        self.why = why
        self.advice = advice
        self.filename = path


class Untaken(Explained):
    """The first bytes of new files were not safe, and may be when these files are made anew: `clear`, then `remake`.

    Args:
        problem: of one of them.
        paths: of all files that this flush has left; the others are safe.
    """

    def __init__(self, problem: OSError, paths: Sequence[str]) -> None:
        advice = problem.advice if isinstance(problem, Explained) else ""
        super().__init__(problem.errno or errno.EIO, problem.strerror or str(problem), advice, paths[0])
        self.paths = paths


class Changed(FileNotFoundError):
    """The name belongs to another file than the one that was written, or to less of it than counts."""


class Ending(Protocol):
    """A file that is being closed, set right and renamed, beside the loop."""

    @property
    def done(self) -> bool:
        """True when it has its name, or has failed. Asking costs nothing."""

    @property
    def error(self) -> OSError | None:
        """What went wrong, once it is done."""

    def wait(self, timeout_s: float) -> None:
        """Until it is done, at most so long."""


class StoreFile(Protocol):
    """A file open for appending, by one writer."""

    @property
    def identity(self) -> str:
        """As in `FileStatus`."""

    def write(self, data: Bytes) -> None:
        """Appends all of `data`. After an error any part of it may be there: cut the file or give it up."""

    def take_back(self) -> int | None:
        """Forgets what has been written since the last flush, if that is possible: the length of the file, which takes
        more behind it. None when it is to be cut, or can't be written any more."""

    def unlinked(self) -> bool:
        """True when somebody removed the file while it was open: what is written now is lost."""

    def close(self) -> None:
        """Gives the file back; safe to call twice. Where that takes long it begins here, and `end` sees to the rest."""


class _AnyStore(Protocol):
    """What all stores have."""

    @property
    def rules(self) -> PathRules:
        """What it takes as a path."""

    def create(self, path: str) -> StoreFile:
        """A new, empty file; its folders are made. Raises FileExistsError, and never overwrites."""

    def append(self, path: str, extent: Extent) -> StoreFile:
        """An existing file, cut to what counts, open for more behind it.

        Raises:
            FileNotFoundError: there is none; as `Changed`, it is another one or a shorter one, and is left alone.
            TimeoutError: it is not closed yet by whoever wrote it.
        """

    def holds(self, files: Sequence[tuple[str, Extent]]) -> bool:
        """True when each of these files is there with all that its extent says, its last bytes read again, and perhaps
        more behind it. Where a dead writer still holds one, this waits, but not for long."""

    def same(self, path: str, there: FileStatus, extent: Extent) -> bool:
        """True when what is at `path`, which has this status, is the file that was written."""

    def flush(self) -> None:
        """What was written to all files of this store outlives this process from here on. Raises OSError when any of
        it may not; then none may be relied on, but what `Untaken` says."""

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

    def close(self) -> None:
        """Gives everything back. What is being closed may stay as it is."""


class QuickStore(_AnyStore, Protocol):
    """Where files are cut, closed and renamed in a moment."""

    cuts: Literal[True]


class SlowStore(_AnyStore, Protocol):
    """Where all of that happens beside the loop."""

    cuts: Literal[False]

    def ready(self, files: Sequence[tuple[str, Extent]]) -> None:
        """These are about to be asked for by `append`, which takes long: it begins with all of them at once."""

    def end(self, path: str, final: str, extent: Extent) -> Ending:
        """Begins to close the file, to cut it to what counts if it is longer, and to rename it.

        Its error is as of `append` and `rename`, each of which may be begun again.
        """

    def clear(self, paths: Sequence[str]) -> None:
        """Removes files that a flush raised `Untaken` for, and keeps what was written to them."""

    def remake(self, paths: Sequence[str]) -> Sequence[str]:
        """Makes those files anew, empty; the next flush tries to bring there what was kept. Returns their identities.
        Raises FileExistsError, and never overwrites."""

    def leased(self) -> Collection[str]:
        """Paths of files that wait at this moment until somebody else's lease on them ends."""


#: Where files live.
Store = QuickStore | SlowStore


_ADVICE = {
    errno.ENOSPC: "free some space or name another directory",
    errno.EDQUOT: "raise the quota or free some space",
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

_STATE_ADVICE = _ADVICE | {
    errno.ENOSPC: "free some space there: the agent keeps its state on that disk, wherever the files go",
    errno.EROFS: "the agent keeps its state on that file system, which is mounted read-only: remount it",
}


def trouble(doing: str, path: str, error: OSError, *, rows_wait: bool = False) -> str:
    """One sentence for a person: what was being done, to what, what came back and what helps.

    An error of the agent's own state is said as such, whatever was being done for the sake of `path`.

    Args:
        rows_wait: the rows that it was done for are in the channel still, and come again.
    """
    if isinstance(error, StateError):
        doing, path, reason = "write to", error.filename, os.strerror(error.errno or 0)
        advice = _STATE_ADVICE.get(error.errno or 0, "")
    elif isinstance(error, Explained):
        reason, advice = error.why, error.advice
    else:
        reason = os.strerror(error.errno) if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0, "")
    waits = "nothing is lost, the rows wait in the channel" if rows_wait else ""
    return "; ".join(filter(None, (f"could not {doing} {path}: {reason}", advice, waits)))
