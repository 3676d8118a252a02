"""Where and of what a result was measured: facts without which a number means nothing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

_PROJECT = Path(__file__).resolve().parents[2]


def facts() -> dict[str, object]:
    """Machine, Python, libraries."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("pyarrow", "numpy", "lz4", "isal")},
    }


def revision() -> str:
    """The git revision of the project, with `+` when files differ from it; "" outside of git."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--", "shipper") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def load() -> float:
    """Processes that want to run, averaged over the last minute."""
    return round(os.getloadavg()[0], 2)


def file_system(path: Path) -> str:
    """Type of the file system that a path lies on: `tmpfs`, `ext4`, ..."""
    best, kind = "", ""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, found, *_ = line.split()
        if str(path.resolve()).startswith(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_PROJECT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
