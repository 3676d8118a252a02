"""The supply of segments: the next is made, whole and synced, before it is needed, where most space is free."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable.disk import Disk
from shipper.durable.keys import Keys, key_check
from shipper.durable.layout import BLOCK_BYTES, RECORDS_AT, SALT_BYTES, Identity
from shipper.durable.segment import create, discard
from shipper.units import format_size

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Prepared(NamedTuple):
    """A segment that nobody uses yet."""

    path: Path
    identity: Identity


class Supply:
    """Makes segments.

    Args:
        log_id: of the log.
        next_number: of the next segment.
        segment_bytes: size of a segment that need not be larger.
        minimum_free_bytes: what is left free.

    Attributes:
        prepared: the next segment, when there is one.
        refused: why the last `prepare` made none.
    """

    def __init__(
        self, disk: Disk, data_dirs: Sequence[Path], log_id: bytes, next_number: int, segment_bytes: int,
        minimum_free_bytes: int, keys: Keys | None,
    ) -> None:  # fmt: skip
        self._disk = disk
        self._data_dirs = tuple(data_dirs)
        self._log_id = log_id
        self.next_number = next_number
        self._segment_bytes = segment_bytes
        self._minimum_free_bytes = minimum_free_bytes
        self._keys = keys
        self.prepared: Prepared | None = None
        self.refused = ""

    def prepare(self, records_bytes: int = 0) -> bool:
        """Sees to it that a segment is prepared that holds so many bytes of records. False: there is no room for it.

        Raises:
            OSError: every directory failed otherwise than by being full.
        """
        size_bytes = max(self._segment_bytes, RECORDS_AT + records_bytes + BLOCK_BYTES)
        size_bytes += -size_bytes % BLOCK_BYTES  # records are written in whole blocks
        if self.prepared is not None:
            if self.prepared.identity.size_bytes >= size_bytes:
                return True
            self.drop()
        failure: OSError | None = None
        full = []
        for directory, free in sorted(self._free(), key=lambda found: -found[1]):
            if free - size_bytes < self._minimum_free_bytes:
                full.append(f"{directory} has {format_size(free)} free")
                continue
            identity = self._identity(size_bytes)
            try:
                self.prepared = Prepared(create(self._disk, directory, identity), identity)
                return True
            except OSError as problem:
                if problem.errno in NO_ROOM:
                    full.append(f"{directory}: {os.strerror(problem.errno)}")
                else:
                    failure = problem
        if failure is not None and not full:
            raise failure
        self.refused = (
            f"no room for a segment of {format_size(size_bytes)} that leaves {format_size(self._minimum_free_bytes)} "
            f"free (minimumRequiredSpace): {'; '.join(full)}"
        )
        return False

    def take(self) -> Prepared:
        """The prepared segment: it is in use from now on."""
        assert self.prepared is not None, "take without prepare"
        taken, self.prepared = self.prepared, None
        return taken

    def drop(self) -> None:
        """Removes the prepared segment: nothing is in it."""
        if self.prepared is not None:
            discard(self._disk, self.prepared.path)
            self.prepared = None

    def _free(self) -> list[tuple[Path, int]]:
        found = []
        for directory in self._data_dirs:
            try:
                found.append((directory, self._disk.free_bytes(directory)))
            except OSError:
                found.append((directory, -1))
        return found

    def _identity(self, size_bytes: int) -> Identity:
        number, self.next_number = self.next_number, self.next_number + 1
        segment_id = int.from_bytes(self._disk.random(8), "little")
        if self._keys is None:
            return Identity(self._log_id, segment_id, number, size_bytes)
        salt = self._disk.random(SALT_BYTES)
        check = key_check(self._keys.secrets[self._keys.active], salt)
        return Identity(self._log_id, segment_id, number, size_bytes, self._keys.active, salt, check)
