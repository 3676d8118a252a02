"""A sink's journal: which files it has open and how much of each counts, so that no death loses or repeats a row.

Records are appended to one file, each with its own checksum; a record that is not whole was never written::

    offset  bytes  little-endian
    0       4      length of the payload
    4       4      CRC-32 of everything behind this field
    8       8      sequence: of an entry; 0 for a fact
    16      8      base: the newest entry that is known to be committed, as this was written
    24      n      payload, JSON

An *entry* says how far files have got. It counts only if a channel's take commit names it: then the commit word and
the files move together, by one stored word. Which entries count is decided when the journal is opened: the one that
the commit names (or the largest `base`, whichever is newer), the one that it is based on, and so on back. An entry
that was rolled back is on nobody's chain, so nothing has to be undone in the journal.

A *fact* is true whether or not anything commits: a file is about to be made, it has this identity, it is finished,
it is gone.

A *mark* is a fact too: `synced` names an entry up to which all files are on disk. Within one life of the machine it
means nothing; after a power cut it is the last entry that counts. Bytes behind it may be there or not, in any order.

What is true when the process dies is said at each write below. Files are known by a number; `records` is the view
from what counts. The journal is one file that is rewritten when it has grown: a snapshot is an entry that is based
on itself, and renamed over the old journal as a whole.

The file is long because what is written and how it is read after a death, of the process or of the machine, are one
argument.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any

import orjson

from shipper.files.extent import Extent

#: The commit and the journal know of each other.
AGREES = "agrees"
#: The journal was written beside another channel memory: its newest entry counts.
OTHER_RUN = "other run"
#: The machine went down: only what was synced before counts, whatever of the rest reached the disk.
POWER_CUT = "power cut"
#: The commit slots are older than what is known to be committed: the newest entry is taken for committed, since rows
#: that come twice are better than rows that are lost.
CHANNEL_LOST = "channel lost"
#: The commit names an entry that is not here: nothing may be cut.
JOURNAL_LOST = "journal lost"

MAGIC = b"shipper journal 1\n"
_FRAME = Struct("<IIQQ")
_CHECKED_FROM = 8
_PAYLOAD_MAX = 1 << 28
_GROWN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a file has got.

    Attributes:
        length: bytes of it that count.
        state: what its serializer needs to go on.
        finished: it takes no more; it waits for its final name.
        tail: tells its last bytes that count (`store.tail_of`), where a store has no number for a file.
    """

    number: int
    length: int
    rows: int
    body_bytes: int
    state: str | None = None
    finished: bool = False
    tail: str | None = None

    def packed(self) -> list[Any]:
        """For the payload."""
        found = [self.number, self.length, self.rows, self.body_bytes, self.state, self.finished]
        return found if self.tail is None else [*found, self.tail]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the journal was when a sync began.

    Attributes:
        snapshot: what a journal that begins there begins with; None when the present one is short enough.
    """

    sequence: int
    size: int
    snapshot: bytes | None


@dataclass(slots=True)
class FileRecord:
    """A file that the journal knows.

    Attributes:
        key: the bucket that it belongs to.
        path, final: its name while it is written, and after.
        opened_ms: wall clock.
        recipe: what its bytes are (serializer, codec): another one can't go on with it.
        identity: None when the process died before it could say.
        progress: None when nothing of it counts yet.
    """

    number: int
    key: str
    path: str
    final: str
    opened_ms: int
    recipe: str
    identity: str | None = None
    progress: Progress | None = None

    @property
    def extent(self) -> Extent:
        """What counts of it."""
        known = self.progress
        return Extent(known.length, self.identity, known.tail) if known is not None else Extent(0, self.identity)


class Journal:
    """The journal of one sink worker.

    Args:
        path: its file; made when it is not there.
        committed_sequence: the largest sequence that a channel's commit names for this sink, 0 when none does.
        run_id: of the channel's memory. A journal that was written beside another one (before a reboot, a clean stop)
            is the only witness left: all of it counts, or after a power cut all that was synced.
        boot_id: of this life of the machine.
        syncs: somebody calls `sync_begins` and `synced` now and then.

    Attributes:
        records: the files that count, by number; those without progress were begun by a transaction that does not.
        found: what the journal and the channel say of each other, one of the words above.
        rebooted: it was written before the machine was started the last time: disks may have other numbers now.
        gone_unsynced: files that got their final names, or were removed, behind the last mark.
    """

    def __init__(
        self, path: Path, committed_sequence: int, run_id: str = "", *, boot_id: str = "", syncs: bool = False
    ) -> None:
        self.path = path
        self.syncs = syncs
        self.rebooted = False
        self.gone_unsynced: list[FileRecord] = []
        self._run_id = run_id
        self._boot_id = boot_id
        self._mark: _Mark | None = None
        self._marked_size = -1
        self.records: dict[int, FileRecord] = {}
        self.found = AGREES
        self._pending: tuple[int, Sequence[Progress]] | None = None
        self._next_number = 1
        self._released = 0
        self._size = self._snapshot_size = self._sequence = self._committed = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            self._read(committed_sequence)
        except BaseException:
            os.close(self._descriptor)
            raise

    # --- what happens to files

    def begin(self, key: str, path: str, final: str, opened_ms: int, recipe: str) -> int:
        """A file is about to be made: its number.

        Dying behind this: the file is there and empty, or not there; it is removed if it is there and empty.
        """
        number = self._next_number
        self._fact({"new": [[number, key, path, final, opened_ms, recipe]]})
        self._next_number += 1
        self.records[number] = FileRecord(number, key, path, final, opened_ms, recipe)
        return number

    def identified(self, number: int, identity: str) -> None:
        """The file was made and is ours. Dying behind this: it is removed, whatever has been written to it."""
        self._fact({"ids": [[number, identity]]})
        self.records[number].identity = identity

    def renamed_to(self, number: int, final: str) -> None:
        """The file will get another final name. Dying behind this: it gets that one."""
        self._fact({"final": [[number, final]]})
        self.records[number].final = final

    def settled(self, progress: Sequence[Progress]) -> None:
        """These files have got so far, and no commit is needed for it: nothing but their end was added.

        Dying behind this: their renames are finished.
        """
        self._fact({"at": [one.packed() for one in progress]})
        self._apply(progress)

    def gone(self, numbers: Iterable[int]) -> None:
        """These files have their final names, or were removed. Dying behind this: nobody looks for them again."""
        numbers = [number for number in numbers if number in self.records]
        if numbers:
            self._fact({"gone": numbers})
            for number in numbers:
                del self.records[number]

    # --- transactions

    @property
    def committed(self) -> int:
        """The newest entry that is known to be committed."""
        return self._committed

    def append(self, progress: Sequence[Progress]) -> int:
        """An entry: it counts once a channel's commit names the sequence that is returned.

        Dying behind this, before that commit: the files are cut to what the entry before said.
        """
        sequence = self._sequence + 1
        self._write(sequence, {"at": [one.packed() for one in progress]})
        self._sequence = sequence
        self._pending = (sequence, progress)
        return sequence

    def confirm(self) -> None:
        """The channel's commit names the last entry."""
        if self._pending is None:
            return
        self._committed, progress = self._pending
        self._pending = None
        self._apply(progress)
        if self._grown and not self.syncs:
            self._rewrite()

    def forget(self) -> None:
        """The transaction of the last entry was rolled back: it is on no chain from here on.

        Dying before this: no commit names it, so it does not count either. Only where the commits themselves are gone
        (another run) is it taken for one; then its files are shorter than it says, and are set aside.
        """
        if self._pending is not None:
            sequence, _ = self._pending
            self._pending = None
            try:
                self._fact({"void": sequence})
            except OSError:
                pass  # said when the next transaction can't write its entry

    # --- the durable head

    def sync_begins(self) -> bool:
        """All that is committed now is about to be made durable; between transactions. False when all of it is."""
        assert self._pending is None, "a sync begins between transactions"
        if self._size == self._marked_size:
            return False
        self._mark = _Mark(self._committed, self._size, self._snapshot() if self._grown else None)
        return True

    def synced(self) -> bool:
        """What was committed when the sync began is on disk. Dying behind this: the mark may count or the one before.

        Returns:
            True when the journal itself is still to be synced (`sync`) before anybody relies on the mark.
        """
        mark, self._mark = self._mark, None
        assert mark is not None, "synced without sync_begins"
        if mark.snapshot is not None:
            behind = _read_all(self._descriptor, mark.size, self._size)
            self._replace(MAGIC + mark.snapshot + behind, len(mark.snapshot))
            return False
        before = self._size
        self._fact({"synced": [mark.sequence, mark.size]})
        self._marked_size = self._size if before == mark.size else -1
        return True

    def sync(self) -> None:
        """The journal as it is survives the death of the machine. May be called from a thread of its own."""
        os.fdatasync(self._descriptor)

    def recovered(self) -> None:
        """What was found has been settled, and synced if anything ever is: the past is forgotten.

        Dying before this: the same is found and settled once more. Dying behind it: the next one starts from here.
        """
        if self.found != AGREES:
            # The commit slots and this journal did not know of each other; from here on they do.
            self._committed = self._sequence
            self._released = self._committed
        self._rewrite()

    def release(self) -> None:
        """The channel's commit slot may name somebody else from now on: the journal says itself what is committed."""
        self._released = self._committed
        self._fact({"released": self._committed})

    def close(self) -> None:
        """Leaves a journal as small as what is still to be known."""
        if self._descriptor < 0:
            return
        try:
            if self._pending is None:
                self._released = self._committed  # all is settled: what the commit slots become does not matter
                self._rewrite()
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    # --- writing

    def _fact(self, payload: dict[str, Any]) -> None:
        self._write(0, payload)

    def _write(self, sequence: int, payload: dict[str, Any]) -> None:
        record = _framed(sequence, self._committed, payload)
        try:
            _write_all(self._descriptor, record)
        except OSError as problem:
            problem.filename = os.fspath(self.path)  # it lies on another disk than the files it is about
            # Half a record would hide all that come after it.
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(record)

    @property
    def _grown(self) -> bool:
        return self._size > max(_GROWN_BYTES, 4 * self._snapshot_size)

    def _snapshot(self) -> bytes:
        payload = {
            "snapshot": [
                [r.number, r.key, r.path, r.final, r.opened_ms, r.recipe, r.identity,
                 r.progress.packed() if r.progress else None]
                for r in self.records.values()
            ],
            "next": self._next_number,
            "last": self._sequence,
            "released": self._released,
            "run": self._run_id,
            "boot": self._boot_id,
        }  # fmt: skip
        if self.syncs:
            payload["synced"] = [self._committed, 0]
        return _framed(self._committed, self._committed, payload)

    def _rewrite(self) -> None:
        """A snapshot takes the place of everything. With `syncs`, only when all that it says is on disk."""
        snapshot = self._snapshot()
        self._replace(MAGIC + snapshot, len(snapshot))

    def _replace(self, record: bytes, snapshot_size: int) -> None:
        """Dying anywhere in here: the old journal or the new one is there."""
        fresh = self.path.with_name(self.path.name + ".new")
        descriptor = -1
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
            _write_all(descriptor, record)
            if self.syncs:
                os.fsync(descriptor)
            os.rename(fresh, self.path)
        except OSError as problem:
            problem.filename = os.fspath(self.path)
            if descriptor >= 0:
                os.close(descriptor)
            if not self._size:  # a journal without its first words would not be read again
                raise
            self._snapshot_size = self._size  # no room for a second one: the long one still says it all
            return
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._size = len(record)
        self._snapshot_size = snapshot_size
        if self.syncs:
            _sync_folder(self.path.parent)
            self._marked_size = self._size if len(record) == len(MAGIC) + snapshot_size else -1

    # --- reading

    def _read(self, committed_sequence: int) -> None:
        data = self._content()
        if not data.startswith(MAGIC):
            if data:
                os.rename(self.path, self.path.with_name(f"{self.path.name}.damaged"))
            self._sequence = self._committed = committed_sequence
            self._size = self._snapshot_size = 0
            self._rewrite()
            if data or committed_sequence:
                self.found = JOURNAL_LOST
            return
        records, starts, self._size = _records(data)
        os.ftruncate(self._descriptor, self._size)  # the torn end of a record that was being written
        self._snapshot_size = 0
        void = {payload["void"] for _, _, payload in records if "void" in payload}
        entries = {sequence: base for sequence, base, _ in records if sequence and sequence not in void}
        known = max((base for _, base, _ in records), default=0)
        last = max((sequence for sequence, _, _ in records), default=0)
        released = 0
        for _, _, payload in records:
            last = max(last, payload.get("last", 0))
            released = max(released, payload.get("released", 0))
        self._released = released
        self._sequence = max(last, committed_sequence)
        newest = max(committed_sequence, known)
        marks = [(*payload["synced"], start) for (_, _, payload), start in zip(records, starts, strict=True)
                 if "synced" in payload]  # fmt: skip
        # A snapshot is a mark at its own place; another one names the place where the sync began.
        mark, marked_size = (marks[-1][0], marks[-1][1] or marks[-1][2] + 1) if marks else (0, len(data))
        self.rebooted = self._boot_id != next((p["boot"] for _, _, p in records if p.get("boot")), self._boot_id)
        if self._run_id != next((payload["run"] for _, _, payload in records if "run" in payload), self._run_id):
            self.found = OTHER_RUN
            newest = max(entries, default=0)
            if self.rebooted and marks:
                self.found = POWER_CUT
                newest = mark
        elif newest and newest not in entries:
            self.found = JOURNAL_LOST
            newest = max(entries, default=0)
        elif committed_sequence < known and known != released:
            self.found = CHANNEL_LOST
            newest = max(entries, default=known)
        self._committed = newest
        chain = set()
        while newest not in chain and newest in entries:
            chain.add(newest)
            newest = entries[newest]
        for (sequence, _, payload), start in zip(records, starts, strict=True):
            if start >= marked_size and self.found == POWER_CUT:
                # That a file was begun is true, and helps to find it; what was done to others did not happen.
                payload = {key: payload[key] for key in ("new", "ids", "final") if key in payload}
            self._replay(payload, counts=sequence == 0 or sequence in chain)
            if start < marked_size and marks:
                self.gone_unsynced.clear()

    def _content(self) -> bytes:
        pieces = []
        while piece := os.read(self._descriptor, 1 << 24):
            pieces.append(piece)
        return b"".join(pieces)

    def _replay(self, payload: dict[str, Any], counts: bool) -> None:
        for number, key, path, final, opened_ms, recipe in payload.get("new", ()):
            self.records[number] = FileRecord(number, key, path, final, opened_ms, recipe)
            self._next_number = max(self._next_number, number + 1)
        for number, identity in payload.get("ids", ()):
            self.records[number].identity = identity
        for number, final in payload.get("final", ()):
            self.records[number].final = final
        if counts and "snapshot" in payload:
            self.records = {row[0]: _record(row) for row in payload["snapshot"]}
            self._next_number = payload["next"]
        if counts:
            self._apply([Progress(*row) for row in payload.get("at", ())])
        for number in payload.get("gone", ()):
            if (record := self.records.pop(number, None)) is not None:
                self.gone_unsynced.append(record)

    def _apply(self, progress: Iterable[Progress]) -> None:
        for one in progress:
            if (record := self.records.get(one.number)) is not None:
                record.progress = one


def open_files(path: Path) -> list[str]:
    """The files that a journal's process was writing when it ended, by their names then. Nothing is changed.

    Raises:
        OSError: there is no journal, or it can't be read.
    """
    data = path.read_bytes()
    names: dict[int, str] = {}
    for _, _, payload in _records(data)[0] if data.startswith(MAGIC) else ():
        if "snapshot" in payload:
            names = {row[0]: row[2] for row in payload["snapshot"]}
        names.update((number, name) for number, _, name, *_ in payload.get("new", ()))
        for number in payload.get("gone", ()):
            names.pop(number, None)
    return list(names.values())


def _record(row: list[Any]) -> FileRecord:
    number, key, path, final, opened_ms, recipe, identity, progress = row
    known = Progress(*progress) if progress else None
    return FileRecord(number, key, path, final, opened_ms, recipe, identity, known)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read_all(descriptor: int, start: int, end: int) -> bytes:
    pieces = []
    while start < end and (piece := os.pread(descriptor, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _framed(sequence: int, base: int, payload: dict[str, Any]) -> bytes:
    body = orjson.dumps(payload)
    head = _FRAME.pack(len(body), 0, sequence, base)
    checksum = zlib.crc32(body, zlib.crc32(head[_CHECKED_FROM:]))
    return head[:4] + checksum.to_bytes(4, "little") + head[_CHECKED_FROM:] + body


def _records(data: bytes) -> tuple[list[tuple[int, int, dict[str, Any]]], list[int], int]:
    """All whole records, where each begins, and where they end."""
    found = []
    starts = []
    at = len(MAGIC)
    while at + _FRAME.size <= len(data):
        length, checksum, sequence, base = _FRAME.unpack_from(data, at)
        end = at + _FRAME.size + length
        if length > _PAYLOAD_MAX or end > len(data) or zlib.crc32(data[at + _CHECKED_FROM : end]) != checksum:
            break
        found.append((sequence, base, orjson.loads(data[at + _FRAME.size : end])))
        starts.append(at)
        at = end
    return found, starts, at
