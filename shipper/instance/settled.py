"""A settled run: its agent stopped in order, and all that its channels had was delivered and safe on disk, or parked.

What the sources of that run put is then as good as durable, though they ended before the sinks did and can't know it.
One file of the state directory names the last such run.
"""

from __future__ import annotations

import os
from pathlib import Path


def note_settled(state_dir: Path, run_id: str) -> None:
    """Writes down that a run is settled. Before its run directory is removed: afterwards nobody could know."""
    path = _path(state_dir)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, run_id.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(fresh, path)
    sync_directory(path.parent)


def settled_run(state_dir: Path) -> str:
    """The id of the last run that was settled, "" when none is known."""
    try:
        return _path(state_dir).read_text()
    except FileNotFoundError:
        return ""


def sync_directory(path: Path) -> None:
    """Makes the names in a directory survive the death of the machine."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def boot_id() -> str:
    """Names this life of the machine, "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _path(state_dir: Path) -> Path:
    return state_dir / "settled"
