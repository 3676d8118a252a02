"""What `version` prints: five lines, as Flume prints five."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import shipper

_ROOT = Path(shipper.__file__).parent


def version_lines() -> list[str]:
    """Product, licence, revision, what it runs on, and a checksum of the installed files."""
    machine = os.uname()
    return [
        f"Shipper {shipper.__version__} (runs the configuration files of Apache Flume 1.11)",
        "Licence: Apache-2.0",
        f"Revision: {_revision()}",
        f"Running on Python {sys.version.split()[0]}, {machine.sysname} {machine.release} {machine.machine}",
        f"From source with checksum {_checksum()}",
    ]


def _revision() -> str:
    """The commit of a checkout; an installed package has none."""
    git = _ROOT.parent / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        return (git / head.removeprefix("ref: ")).read_text().strip()
    except OSError:
        return f"release {shipper.__version__}"


def _checksum() -> str:
    import hashlib

    digest = hashlib.md5(usedforsecurity=False)
    for file in sorted(_ROOT.rglob("*.py")):
        digest.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
