"""What tests fetch: a cache outside the project that all test processes share, and what becomes of a test without it.

The cache is `$SHIPPER_TEST_CACHE` or `~/.cache/shipper-tests`. A folder in it is filled once, under a lock. What can't
be had makes the tests that need it skip on a person's machine, and fail in CI.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

FETCH_S = 900


class Trouble(Exception):
    """Something can't be fetched; the message says what would help."""


def cache() -> Path:
    """Where fetched things lie."""
    return Path(os.environ.get("SHIPPER_TEST_CACHE") or Path.home() / ".cache" / "shipper-tests")


def folder(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of that name in the cache, filled by the first process that asks for it.

    Args:
        fill: puts everything into the folder, which is empty; raises `Trouble` when it can't.
    """
    place = cache() / name
    complete = place / "complete"
    with locked(name):
        if not complete.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            try:
                fill(place)
            except Trouble as trouble:
                missing(str(trouble))
            complete.touch()
    return place


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Runs a program that fetches: what it printed."""
    if shutil.which(command[0]) is None:
        raise Trouble(f"needs {command[0]}")
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        raise Trouble(f"{' '.join(map(str, command))} did not end within {FETCH_S} s") from None
    if done.returncode:
        raise Trouble(f"{' '.join(map(str, command))}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def install(*packages: str) -> None:
    """Installs Debian's packages: one test process at a time, for the system has one lock, and nobody waits for it.

    Raises:
        Trouble: it can't be done, and what would help.
    """
    if "CI" not in os.environ or os.geteuid() or shutil.which("apt-get") is None:
        raise Trouble(f"needs apt-get install {' '.join(packages)}")
    with locked("apt"):
        run("apt-get", "-qq", "update")
        # Else some of them ask questions; and somebody else may install something on this machine.
        apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", f"DPkg::Lock::Timeout={FETCH_S // 3}")
        run(*apt, "install", "-y", "--no-install-recommends", *packages)


def missing(trouble: str) -> NoReturn:
    """Ends a test that needs what is not there."""
    if "CI" in os.environ:
        pytest.fail(trouble)
    pytest.skip(trouble)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one of all test processes at a time."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when it is closed
        yield
