"""A first start by root, and then one as another user: one message, and the command in it mends it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from shipper.errors import ConfigurationError
from shipper.instance.instance import find, state_places
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


@pytest.mark.parametrize("parents", ["are there", "are missing", "have what root left"])
def test_the_command_in_the_message_mends_it(tmp_path: Path, parents: str) -> None:
    for parent in (*tmp_path.parents[:3], tmp_path):
        os.chmod(parent, os.stat(parent).st_mode | 0o011)  # pytest's directories let nobody else pass
    for name in ("run", "state"):
        if parents != "are missing":
            (tmp_path / name).mkdir(mode=0o755)
    if parents == "have what root left":
        theirs = find("a1", tmp_path / "f", run_dir=tmp_path / "run", state_dir=tmp_path / "state")
        theirs.claim()
        theirs.close()
    said = claim_as_somebody(tmp_path)
    assert "Permission denied" in said and f"this is user {SOMEBODY}" in said
    command = re.search(r"As root: (.*)\n", said)
    assert command is not None, said
    subprocess.run(command[1], shell=True, check=True)
    assert claim_as_somebody(tmp_path) == ""


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
