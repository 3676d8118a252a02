"""A first start by root, and then one as another user: one message, and the command in it mends it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from shipper.errors import ConfigurationError
from shipper.instance.instance import Instance, find, name_of, remove_empty, state_places
from shipper.instance.owners import refuse_anothers
from tests.workers.conftest import is_root

SOMEBODY = 54321

pytestmark = pytest.mark.skipif(not is_root(), reason="only root can be somebody else")


def claim_as_somebody(directory: Path) -> str:
    """What the other user is told; "" when it works."""
    read_fd, write_fd = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY)
            instance = find("a1", directory / "f", run_dir=directory / "run", state_dir=directory / "state")
            try:
                refuse_anothers(instance, directory / "f")
                instance.claim()
            except ConfigurationError as problem:
                os.write(write_fd, str(problem).encode())
        finally:
            os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    return said


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory that other users may pass: pytest's let nobody else."""
    for parent in (*tmp_path.parents[:3], tmp_path):
        os.chmod(parent, os.stat(parent).st_mode | 0o011)
    return tmp_path


def run_by_root(home: Path) -> Instance:
    """Root has run the agent, and has stopped it."""
    theirs = find("a1", home / "f", run_dir=home / "run", state_dir=home / "state")
    theirs.claim()
    (theirs.state_dir / "positions").write_text("what was read")
    theirs.close()
    return theirs


def as_root(said: str) -> None:
    """Runs the command of a message."""
    command = re.search(r"As root: (.*)\n", said)
    assert command is not None, said
    subprocess.run(command[1], shell=True, check=True)


@pytest.mark.parametrize("parents", ["are there", "are missing"])
def test_the_command_in_the_message_mends_it(home: Path, parents: str) -> None:
    for name in ("run", "state"):
        if parents != "are missing":
            (home / name).mkdir(mode=0o755)
    said = claim_as_somebody(home)
    assert "Permission denied" in said and f"this is user {SOMEBODY}" in said
    as_root(said)
    assert claim_as_somebody(home) == ""


@pytest.mark.parametrize("run_dir", ["is there", "was removed at the stop"])
def test_what_root_left_is_handed_over(home: Path, run_dir: str) -> None:
    """With an empty state a tail would read everything again, and what was parked would wait for good."""
    theirs = run_by_root(home)
    if run_dir != "is there":
        remove_empty(theirs.run_dir)
    said = claim_as_somebody(home)
    assert "ran as user 0 before" in said and f"safe in {theirs.state_dir}" in said
    as_root(said)
    assert claim_as_somebody(home) == ""
    assert not theirs.state_dir.exists() and not theirs.run_dir.exists()
    found = home / "state" / name_of(SOMEBODY, "a1", home / "f") / "positions"
    assert found.read_text() == "what was read" and found.stat().st_uid == SOMEBODY


def test_another_user_may_begin_anew_beside_what_root_left(home: Path) -> None:
    theirs = run_by_root(home)
    for name in ("run", "state"):
        os.chown(home / name, SOMEBODY, SOMEBODY)
    command = claim_as_somebody(home).rpartition("beside it: ")[2]
    subprocess.run(command, shell=True, check=True, user=SOMEBODY, group=SOMEBODY)
    assert claim_as_somebody(home) == ""
    assert (theirs.state_dir / "positions").read_text() == "what was read"


def test_an_agent_of_another_file_is_nobodys_business(home: Path) -> None:
    other = find("a1", home / "g", run_dir=home / "run", state_dir=home / "state")
    other.claim()
    other.close()
    refuse_anothers(find("a1", home / "f", run_dir=home / "run", state_dir=home / "state"), home / "f")
    assert "ran as user" not in claim_as_somebody(home)


def test_a_directory_in_a_folder_of_somebody_else_is_left_empty(home: Path) -> None:
    """A run directory that was handed over lies where its user may remove nothing."""
    (home / "run").mkdir(mode=0o755)
    made = home / "run" / "a1"
    (made / "channels").mkdir(parents=True)
    for path in (made, made / "channels"):
        os.chown(path, SOMEBODY, SOMEBODY)
    if (pid := os.fork()) == 0:
        try:
            os.setuid(SOMEBODY)
            remove_empty(made)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert list(made.iterdir()) == []


def test_a_home_that_may_not_be_looked_into_is_no_place_of_this_user(tmp_path: Path) -> None:
    """`su` and `sudo` may leave HOME as it was; the commands that look agents up go on without it."""
    tmp_path.chmod(0o700)
    read_fd, write_fd = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setgid(SOMEBODY)
            os.setuid(SOMEBODY)
            os.environ["HOME"] = str(tmp_path)
            os.environ.pop("XDG_STATE_HOME", None)
            places = state_places({})
            os.write(write_fd, b"there" if any(tmp_path in place.parents for place in places) else b"not there")
        except OSError as problem:
            os.write(write_fd, str(problem).encode())
        finally:
            os._exit(0)
    os.close(write_fd)
    with os.fdopen(read_fd) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    assert said == "not there"
