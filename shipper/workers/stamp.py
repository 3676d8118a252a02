"""The stamp of a build: what a supervisor and its workers must have in common to understand each other.

They come from one program, but not always at one time: a worker that is started again after an upgrade is new, and its
supervisor still old. The stamp is the version, and a checksum of the files that say how the two talk and what lies in
the memory that they share; it is taken when a process starts.
"""

from __future__ import annotations

import zlib
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]

#: Whoever changes one of these, changes what the other side reads.
_AGREED = (
    "__init__.py", "batch/schema.py", "batch/wire.py", "config/plan.py", "metrics/block.py", "metrics/counters.py",
    "ring/layout.py", "ring/puts.py", "workers/control.py", "workers/spec.py",
)  # fmt: skip


def _stamp() -> str:
    checksum, version = 0, ""
    for name in _AGREED:
        text = (_PACKAGE / name).read_bytes()
        checksum = zlib.crc32(text, checksum)
        if name == "__init__.py":
            version = text.decode().rpartition("__version__ = ")[2].strip().strip('"')
    return f"{version}-{checksum:08x}"


#: The stamp of this process.
STAMP = _stamp()
