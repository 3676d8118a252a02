"""The directories of a log: made, checked and locked for as long as its writer lives.

Every way in which they can be wrong is a `ConfigurationError` that says what was found, that nothing was changed, and
what to do.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from shipper.durable.checkpoint import CHECKPOINT_NAME
from shipper.durable.disk import Disk
from shipper.durable.segment import HALF_MADE, NewerVersion, discard, is_segment_name
from shipper.errors import ComponentFailed, ConfigurationError

LOCK_NAME = "shipper.lock"
BOARD_NAME = "shipper.board"
_FLUME_DATA = re.compile(r"log-\d+(\.meta)?\Z")
_FLUME_CHECKPOINT = frozenset({"checkpoint", "checkpoint.meta", "inflightputs", "inflighttakes"})


class Claim:
    """The locks of a log's directories."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._handles: list[int] = []
        self._taken: set[Path] = set()

    def take(self, directories: Sequence[Path]) -> None:
        """Makes what is missing, and locks what is not locked yet.

        Raises:
            ConfigurationError: one can't be used; no lock is kept, of none that was taken before either.
            ComponentFailed: the disk failed.
        """
        try:
            for directory in map(Path, map(os.path.realpath, directories)):
                if directory not in self._taken:
                    self._take(directory)
                    self._taken.add(directory)
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        """Unlocks all."""
        while self._handles:
            self._disk.close(self._handles.pop())
        self._taken.clear()

    def _take(self, directory: Path) -> None:
        try:
            self._disk.make_directory(directory)
            refuse_flume(directory, self._disk.names(directory))
            handle = self._disk.lock(directory / LOCK_NAME)
            if handle is None:
                raise ConfigurationError(
                    f"the channel's directory {directory} is in use by another process; two must never write one "
                    f"channel. Give each channel directories of its own, or stop the other agent "
                    f"(`fuser {directory / LOCK_NAME}` names it). Nothing was changed"
                )
            self._handles.append(handle)
            for name in self._disk.names(directory):
                if name.endswith(HALF_MADE) or name.startswith(f".{BOARD_NAME}."):
                    discard(self._disk, directory / name)
        except OSError as problem:
            raise translated(problem, directory) from problem


def refuse_flume(directory: Path, names: Sequence[str]) -> None:
    """Refuses a directory that holds a Flume file channel.

    Raises:
        ConfigurationError: it does.
    """
    # A directory that is called so may be the checkpointDir of this channel.
    data = [name for name in names if _FLUME_DATA.match(name) and not (directory / name).is_dir()]
    checkpoint = [name for name in names if name in _FLUME_CHECKPOINT and not (directory / name).is_dir()]
    if data or (checkpoint and CHECKPOINT_NAME not in names):
        found = ", ".join((data + checkpoint)[:3])
        raise ConfigurationError(
            f"{directory} holds a file channel of Apache Flume ({found}). Its events are safe: nothing was changed or "
            f"will be. Let Flume deliver them first: run it with the channel's sinks and without its sources until "
            f"ChannelSize is 0, stop it, and move the directory away (`mv {directory} {directory}.flume`). To start "
            f"at once and drain later, give this channel another checkpointDir and dataDirs"
        )


def refuse_newer(newer: Sequence[NewerVersion]) -> None:
    """Refuses files that a newer release has written.

    Raises:
        ConfigurationError: there is one.
    """
    for file in newer:
        raise ConfigurationError(
            f"{file.path} was written by a newer release (format version {file.version}; this one reads up to 1). Its "
            f"events are safe: nothing was changed. Start the newer release again; to come back to this one, let that "
            f"release drain the channel first"
        )


def translated(problem: OSError, directory: Path) -> ConfigurationError | ComponentFailed:
    """The error for a person, for one that the system gave about a directory or a file in it."""
    reason = os.strerror(problem.errno) if problem.errno else str(problem)
    if problem.errno in (errno.EACCES, errno.EPERM):
        user = _user(os.geteuid())
        return ConfigurationError(
            f"the user {user} may not write the channel's directory {directory} ({_owner(directory)}). Its events are "
            f"safe: nothing was changed. Run the agent as that user, or hand the files over: "
            f"`chown -R {user} {directory}`"
        )
    if problem.errno == errno.EROFS:
        return ConfigurationError(
            f"the channel's directory {directory} is on a file system that is mounted read-only. Its events are safe. "
            f"A file system becomes read-only by itself after an error: look at `dmesg`, repair it, and "
            f"`mount -o remount,rw` it; or give the channel other directories"
        )
    if problem.errno in (errno.ENOTDIR, errno.EEXIST):
        return ConfigurationError(f"the channel's directory {directory} is not a directory, or lies below a file")
    if problem.errno in (errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP):
        return ConfigurationError(
            f"the channel's directory {directory} can't be made: {reason}. Give its checkpointDir and its dataDirs "
            f"other places"
        )
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        return ComponentFailed(
            f"no room at {directory} ({reason}): not even the few kilobytes that a channel needs to start. Its events "
            f"are safe. Free some space: `df -h {directory}`, `du -xsh {directory}`"
        )
    return ComponentFailed(f"the disk failed at {directory}: {reason}. What was acknowledged is kept as it lies there")


def has_segments(disk: Disk, directories: Sequence[Path]) -> bool:
    """True when a segment lies in one of the directories."""
    return any(is_segment_name(name) for directory in directories for name in disk.names(directory))


def log_was_in(names: Sequence[str]) -> bool:
    """True when a log was in a directory with these names: one that is missing, or empty as a mount point, has none.

    A lock file stays for good where a log has been, also when all segments were delivered.
    """
    return any(name == LOCK_NAME or is_segment_name(name) for name in names)


def _owner(directory: Path) -> str:
    for path in (directory, *directory.parents):
        try:
            return f"{path} belongs to {_user(path.stat().st_uid)}"
        except OSError:
            continue
    return "its owner is not known"


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
