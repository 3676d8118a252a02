"""Told rows: how many rows of each lane a worker will never put again, as it wrote down beside its positions.

A source that can replay goes on after a power cut where it had synced that it is. Which rows of its lanes lie before
that, only it knows, and so it says so here each time behind that sync: the file is never ahead of the source. With how
far the sinks were (`files/journal_rows.py`) this gives how many rows come twice (`twice.py`). A worker that never puts
anything again, because it can't read it again, has no such file, and is not asked.

::

    rows-INDEX    two slots of equal size, written in turn: a torn one leaves the other, which says less
    slot          CRC-32 of the rest in hex | blank | JSON | blanks
    JSON          {"generation", "run": id of the run directory,
                   "rows": {"CHANNEL/LANE": rows}        lanes that sinks take from
                   "logs": [channel, ...]}               of whose logs nobody can say which rows come again

The file has its size from its beginning: a disk that is full does not make it lag.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from isal import isal_zlib

from shipper import whole_file
from shipper.errors import ComponentFailed

_NAME = "rows-"
_ALIGN = 4096
#: Digits that a number may get.
_DIGITS = 20


class Told(NamedTuple):
    """What one worker has told in a run."""

    rows: dict[str, int]
    logs: frozenset[str]


class ToldRows:
    """The file of one worker.

    Args:
        directory: its component's state directory.
        index: of the worker.
        run_id: of the run directory; what was told in another one is forgotten.
        lanes: that it puts into, as `CHANNEL/LANE`; nothing is told of them yet unless it was before.
        logs: see the module.

    Raises:
        ComponentFailed: the file can't be made.
    """

    def __init__(
        self, directory: Path, index: int, run_id: str, lanes: Iterable[str], logs: Iterable[str] = ()
    ) -> None:
        self._path = directory / f"{_NAME}{index}"
        self._run_id = run_id
        self._generation = 0
        before = _read(self._path)
        found = _told(before) if before is not None and before["run"] == run_id else Told({}, frozenset())
        self._rows = {**dict.fromkeys(lanes, 0), **found.rows}
        self._logs = found.logs | frozenset(logs)
        most = len(self._content()) + sum(_DIGITS for _ in self._rows) + sum(len(name) + 3 for name in self._logs)
        self._slot_bytes = -(-most * 2 // _ALIGN) * _ALIGN
        self._descriptor = -1
        try:
            self._make()
        except OSError as problem:
            raise ComponentFailed(
                f"can't write {self._path}: {problem.strerror}; it says what need not be read again after a power cut. "
                f"Make room there, or make it writable"
            ) from problem

    def tell(self, rows: Mapping[str, int]) -> None:
        """So many rows of these lanes will never be put again. Behind the sync that makes that true.

        Dying before this, or a disk that fails: what was told before stands, and rows that do not come again count as
        if they did.
        """
        for lane, number in rows.items():
            self._rows[lane] = max(number, self._rows.get(lane, 0))
        with contextlib.suppress(OSError):
            self._store()

    def spills(self, channel: str) -> None:
        """The channel is about to keep rows of this worker in its log, for the first time. Before it does.

        Dying behind this: nothing is known of the rows in that channel, though none may be in the log.
        """
        if channel not in self._logs:
            self._logs |= {channel}
            with contextlib.suppress(OSError):
                self._store()

    def close(self) -> None:
        """Gives the file back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    # --- inside

    def _make(self) -> None:
        """Dying in here: the file before is there, of this run, or of another one, in which this one put nothing."""
        slot = self._content().ljust(self._slot_bytes)
        whole_file.write(self._path, [slot, slot], synced=True)
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

    def _store(self) -> None:
        self._generation += 1
        slot = self._content().ljust(self._slot_bytes)
        os.pwrite(self._descriptor, slot, (self._generation & 1) * self._slot_bytes)
        os.fdatasync(self._descriptor)

    def _content(self) -> bytes:
        text = orjson.dumps(
            {"generation": self._generation, "run": self._run_id, "rows": self._rows, "logs": sorted(self._logs)}
        )
        return b"%08x %b" % (isal_zlib.crc32(text), text)


def told(state_dir: Path, run_id: str) -> Iterator[Told]:
    """What the workers of a run have told, those of sources and those of sinks that put dead letters.

    Raises:
        OSError: a file can't be read.
    """
    for path in sorted((*state_dir.glob(f"sources/**/{_NAME}*"), *state_dir.glob(f"sinks/**/{_NAME}*"))):
        if not path.name.endswith(".new") and (found := _read(path)) is not None and found["run"] == run_id:
            yield _told(found)


def _told(record: Mapping[str, Any]) -> Told:
    return Told(dict(record["rows"]), frozenset(record["logs"]))


def _read(path: Path) -> dict[str, Any] | None:
    """The newer slot that is whole; None when none is, or there is no file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    half = len(data) // 2
    slots = [record for slot in (data[:half], data[half:]) if (record := _checked(slot)) is not None]
    return max(slots, key=lambda record: int(record["generation"]), default=None)


def _checked(slot: bytes) -> dict[str, Any] | None:
    checksum, _, text = slot.rstrip(b" ").partition(b" ")
    try:
        if int(checksum, 16) != isal_zlib.crc32(text):
            return None
        found: dict[str, Any] = orjson.loads(text)
    except ValueError:
        return None
    return found
