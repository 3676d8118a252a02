"""What the machine, or the container, lets an agent have: memory, descriptors, and which directories are memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_TMPFS = 0x01021994
_RAMFS = 0x858458F6


def free_memory_bytes(run_dir: Path) -> int:
    """Bytes that the run directory's file system can still take."""
    while not run_dir.exists():
        run_dir = run_dir.parent
    stat = os.statvfs(run_dir)
    return stat.f_bavail * stat.f_frsize


def cgroup_limit_bytes(own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The least memory limit of this process's control group and those around it, None when there is none.

    Inside a container a group may call itself by a path that is not there: then the root is its own.
    """
    limits = []
    for line in own.read_text().splitlines() if own.exists() else ():
        controllers, group = line.split(":", 2)[1:]
        if "memory" in controllers.split(","):
            top, name = root / "memory", "memory.limit_in_bytes"
        elif not controllers:
            top, name = root, "memory.max"
        else:
            continue
        inner = top / group.strip("/")
        for place in (inner, *(above for above in inner.parents if above == top or top in above.parents)):
            with contextlib.suppress(OSError):
                if (text := (place / name).read_text().strip()).isdigit() and int(text) < 1 << 60:
                    limits.append(int(text))
    return min(limits, default=None)


def is_memory(path: Path) -> bool:
    """True when the directory lies in memory (tmpfs): writing there costs no disk."""
    while not path.exists():
        path = path.parent
    return _is_memory(path)


def set_limits() -> None:
    """Lifts the soft limit on open files to the hard one; no core is dumped, for rows and keys are in memory."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _is_memory(path: Path) -> bool:
    buffer = ctypes.create_string_buffer(256)
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), buffer) != 0:
        return False
    kind = int.from_bytes(buffer.raw[:8], "little")
    return kind in (_TMPFS, _RAMFS)
