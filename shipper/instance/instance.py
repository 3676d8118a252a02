"""An instance: which agent this is, and where its segments and its state lie.

An instance is user id + agent name + the real path of the first configuration file, so two agents called `a1` from
two files have nothing in common, and the same agent started twice is refused. The run directory holds what must be
fast and may vanish with the machine (rings, numbers, bells); the state directory what must not (journals, positions).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat as stats
from _blake2 import blake2b  # hashlib would map all of OpenSSL into the supervisor
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from shipper import log, whole_file
from shipper.errors import ComponentFailed, ConfigurationError
from shipper.instance.machine import is_memory
from shipper.metrics.block import this_boot
from shipper.shared.segment import Segment

SHARED_MEMORY = Path("/dev/shm")
#: In the run directory: the life of the machine that it belongs to.
_BOOT = "boot"


@dataclass(frozen=True)
class Place:
    """A directory, why it was chosen and what will remove it."""

    path: Path
    reason: str
    removed_by: str


class Instance:
    """The directories of one agent, owned by this process until `close`.

    Attributes:
        name: `a1-0f3a...`: the folder's name in both places.
        run_dir, state_dir: its own folders.
        run_place, state_place: where they lie and why.
    """

    def __init__(self, agent: str, name: str, run_place: Place, state_place: Place) -> None:
        self.agent = agent
        self.name = name
        self.run_place = run_place
        self.state_place = state_place
        self.run_dir = run_place.path / name
        self.state_dir = state_place.path / name
        self._lock: Segment | None = None

    def claim(self) -> None:
        """Becomes the one process that runs this instance.

        Raises:
            ConfigurationError: another one does, or the directories can't be written.
        """
        self._refuse_anothers()
        for directory in (self.run_dir, self.state_dir):
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as problem:
                raise ConfigurationError(self._mend(directory, problem)) from problem
        path = self.state_dir / "lock"
        try:
            with path.open("ab") as file:
                if not file.tell():  # it is new, or a start whose disk was full had no room for its bytes
                    file.write(bytes(4096))
            self._lock = Segment.open(path)
        except OSError as problem:
            raise ConfigurationError(self._mend(path, problem)) from problem
        if not self._lock.try_lock(0):
            raise ConfigurationError(
                f"agent {self.agent} of this file runs already (it holds {path}); stop it first, or start this one "
                f"from another file"
            )
        self._set_aside_after_reboot()

    def _refuse_anothers(self) -> None:
        """Whoever made a directory of a known name first, where everybody may write, could change what lies in it."""
        place = self.run_place.path
        try:
            if not place.parent.stat().st_mode & stats.S_IWOTH:
                return
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o700)  # pathlib's would follow a link, which the kernel may refuse
            owner = place.lstat().st_uid  # of a symbolic link: whoever made that
        except OSError:
            return  # the attempt to use it says what is wrong
        if owner not in (0, os.getuid()):
            raise ConfigurationError(
                f"{place} belongs to user {owner}, in a folder where everybody may write: they could read and change "
                f"what is in the channels. Have it removed, or give --run-dir a directory of user {os.getuid()}"
            )

    def _set_aside_after_reboot(self) -> None:
        """A run directory on a disk that outlived the machine: which of its bytes reached the disk nobody knows.

        Its rows are not delivered: sources that can read again do so, from what is durable. Dying before the rename:
        the next start does it. Dying behind it: there is none, as after a reboot that empties memory.
        """
        mark = self.run_dir / _BOOT
        then = mark.read_text() if mark.exists() else ""
        if then in ("", this_boot()):
            return
        aside = self.run_dir.with_name(f"{self.run_dir.name}.{then[:8]}")
        os.rename(self.run_dir, aside)
        self.run_dir.mkdir(mode=0o700)
        log.say(
            "WARN", "agent", f"{self.run_dir} was left by this agent before the machine went down, and is not in "
            f"memory: which of its bytes reached the disk nobody knows. Sources that can read again do so; what "
            f"others had put is kept in {aside}, see shipper channel list",
        )  # fmt: skip

    def _mend(self, path: Path, problem: OSError) -> str:
        """What to do about a directory that can't be used: one command for both of them."""
        if problem.errno not in (errno.EACCES, errno.EPERM):
            room = "free some space, or " if problem.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            return f"can't use {path}: {problem.strerror}; {room}give --run-dir and --state-dir that can be written"
        there = path
        while not os.path.lexists(there):
            there = there.parent
        both = shlex.join([str(self.run_dir), str(self.state_dir)])
        places = shlex.join([str(self.run_place.path), str(self.state_place.path)])  # what is in them gets other names
        user = f"{os.getuid()}:{os.getgid()}"
        return (
            f"can't use {path}: {problem.strerror}; {there} belongs to user {there.stat().st_uid}, and this is user "
            f"{os.getuid()}. As root: mkdir -p {both} && chown {user} {places} && chown -R {user} {both}\n"
            f"or give --run-dir and --state-dir"
        )

    def run_id(self) -> str:
        """Names the present contents of the run directory: another one after it was removed (reboot, clean stop)."""
        path = self.run_dir / "id"
        whole_file.write(self.run_dir / _BOOT, [this_boot().encode()])
        if not path.exists():
            whole_file.write(path, [os.urandom(8).hex().encode()])
        return path.read_text()

    def close(self) -> None:
        """Gives the instance up."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def find(
    agent: str,
    first_file: Path,
    *,
    run_dir: Path | None = None,
    state_dir: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    system: Mapping[str, str] = MappingProxyType({}),
) -> Instance:
    """The instance of an agent: the same directories at every start, unless the machine changed.

    `system` are the properties of the command line, from which a directory may have come.
    """
    name = name_of(os.getuid(), agent, first_file)
    run_typed = "-Drun.dir" if Path(system.get("run.dir", "")) == run_dir else "--run-dir"
    state_typed = "-Dstate.dir" if Path(system.get("state.dir", "")) == state_dir else "--state-dir"
    run = run_place(run_dir, environment, run_typed)
    return Instance(agent, name, run, state_place(state_dir, environment, state_typed))


def name_of(user: int, agent: str, first_file: Path) -> str:
    """What the instance of an agent is called that this user runs from this file."""
    identity = f"{user}\0{agent}\0{os.path.realpath(first_file)}"
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in agent)[:64]
    return f"{safe}-{blake2b(identity.encode('utf-8', 'surrogateescape'), digest_size=6).hexdigest()}"


def run_place(wanted: Path | None, environment: Mapping[str, str] = os.environ, typed: str = "--run-dir") -> Place:
    """Where run directories lie: memory that outlives processes. `typed` is how a person said what they want."""
    if wanted is not None:
        return Place(wanted.absolute(), f"{typed} says so", "whoever owns that directory")
    if given := environment.get("RUNTIME_DIRECTORY"):
        at_stop = "a stop of the unit, unless RuntimeDirectoryPreserve=yes"
        return Place(Path(given.split(":")[0]), "$RUNTIME_DIRECTORY says so", at_stop)
    system = Path("/run/shipper")
    if is_memory(Path("/run")) and _writable(system):
        return Place(system, "it can be written", "a reboot")
    removed_by = "a reboot, or the end of the container"
    if os.getuid() and Path("/run/systemd/system").exists():
        removed_by += ", or your logout where logind's RemoveIPC is on"
    return Place(SHARED_MEMORY / f"shipper-{os.getuid()}", "shared memory of this user", removed_by)


def state_place(wanted: Path | None, environment: Mapping[str, str] = os.environ, typed: str = "--state-dir") -> Place:
    """Where state directories lie: a disk. `typed` is how a person said what they want."""
    if wanted is not None:
        return Place(wanted.absolute(), f"{typed} says so", "nothing of ours")
    if given := environment.get("STATE_DIRECTORY"):
        return Place(Path(given.split(":")[0]), "$STATE_DIRECTORY says so", "nothing of ours")
    system = Path("/var/lib/shipper")
    if _writable(system):
        return Place(system, "it can be written", "nothing of ours; in a container, its end")
    base = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Place(base / "shipper", "this user's state", "nothing of ours")


def run_places(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """All places where a run directory of this user may lie: for looking running agents up."""
    places = [run_place(None, environment).path, Path("/run/shipper"), SHARED_MEMORY / f"shipper-{os.getuid()}"]
    return _seen(places)


def state_places(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """All places where a state directory of this user may lie."""
    places = [state_place(None, environment).path, Path("/var/lib/shipper")]
    with contextlib.suppress(RuntimeError):
        places.append(Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "shipper")
    return _seen(places)


def _seen(places: Iterable[Path]) -> list[Path]:
    """Those that are there. One that this user may not look into, as root's home is after `su`, is none of its own."""
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def _writable(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def remove_empty(directory: Path) -> None:
    """Removes a directory tree of ours that nobody needs any more."""
    if not directory.is_dir():
        return
    for parent, folders, files in os.walk(directory, topdown=False):
        for name in files:
            Path(parent, name).unlink(missing_ok=True)
        for name in folders:
            Path(parent, name).rmdir()
    try:
        directory.rmdir()
    except PermissionError:
        return  # it is empty, and stays in a folder that was never this user's
    except OSError as problem:
        raise ComponentFailed(f"can't remove {directory}: {problem.strerror}") from problem
