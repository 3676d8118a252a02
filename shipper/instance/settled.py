"""A settled run: its agent stopped in order, and all that its channels had was delivered and safe on disk, or parked.

What the sources of that run put is then as good as durable, though they ended before the sinks did and can't know it.
One file of the state directory names the last such run.
"""

from __future__ import annotations

from pathlib import Path

from shipper import whole_file


def note_settled(state_dir: Path, run_id: str) -> None:
    """Writes down that a run is settled. Before its run directory is removed: afterwards nobody could know."""
    whole_file.write(_path(state_dir), [run_id.encode()], synced=True)


def settled_run(state_dir: Path) -> str:
    """The id of the last run that was settled, "" when none is known."""
    try:
        return _path(state_dir).read_text()
    except FileNotFoundError:
        return ""


def boot_id() -> str:
    """Names this life of the machine, "" where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _path(state_dir: Path) -> Path:
    return state_dir / "settled"
