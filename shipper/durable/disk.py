"""The file operations of a log, in one object, so that tests can put a disk of their own under it."""

from __future__ import annotations


class Disk:
    """The machine's files. Offsets are given with each call; a handle has no position."""
