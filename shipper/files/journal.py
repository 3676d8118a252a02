"""A sink's journal: which files it has open and how much of each counts, so that no death loses or repeats a row.

Records are appended to one file (`journal_record.py`). What is true when the process dies is said at each write below;
what a journal says after that is in `journal_past.py`.

An *entry* says how far files get. It counts only if a channel's take commit names it: then the commit word and the
files move together, by one stored word. It is written before the bytes that it speaks of, and says what the commit is
going to say, so that who finds the bytes can finish the commit. An entry that was rolled back is on nobody's chain, so
nothing has to be undone in the journal.

A *fact* is true whether or not anything commits: a file is about to be made, it has this identity, it is finished,
it is gone. A *mark* is a fact too: `synced` names an entry up to which all files are on disk.

Files are known by a number; `records` is the view from what counts. The journal is one file that is rewritten when it
has grown: a snapshot is an entry that is based on itself, and renamed over the old journal as a whole.

The file is long because all that is ever written, and what is true when the process dies behind it, stands on one page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.files.appended_file import AppendedFile
from shipper.files.journal_past import AGREES, JOURNAL_LOST, HalfDone, Past, apply
from shipper.files.journal_record import MAGIC, FileRecord, Progress, by_store, framed, records_in
from shipper.files.journal_rows import Taken

_GROWN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Mark:
    """Where the journal was when a sync began.

    Attributes:
        snapshot: what a journal that begins there begins with; None when the present one is short enough.
        taken: what the mark says of lanes.
    """

    sequence: int
    size: int
    snapshot: bytes | None
    taken: dict[str, Any]


class Journal:
    """The journal of one sink worker.

    Args:
        path: its file; made when it is not there.
        committed_sequence: the largest sequence that a channel's commit names for this sink, 0 when none does.
        run_id: of the channel's memory. A journal that was written beside another one (before a reboot, a clean stop)
            is the only witness left: all of it counts, or after a power cut all that was synced.
        boot_id: of this life of the machine.
        syncs: somebody calls `sync_begins` and `synced` now and then.
        rows: rows that were ever taken from each lane, for `journal_rows.py`.

    Attributes:
        records: the files that count, by number; those without progress were begun by a transaction that does not.
        found: what the journal and the channel say of each other, one of the words of `journal_past.py`.
        rebooted: it was written before the machine was started the last time: disks may have other numbers now.
        half_done: an entry that no known commit names; until `goes_forward` or `forget` says whether it counts.
        gone_unsynced: files that got their final names, or were removed, behind the last mark.
    """

    def __init__(
        self, path: Path, committed_sequence: int, run_id: str = "", *, boot_id: str = "", syncs: bool = False,
        rows: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:  # fmt: skip
        self.path = path
        self.syncs = syncs
        self.rebooted = False
        self.gone_unsynced: list[FileRecord] = []
        self.half_done: HalfDone | None = None
        self._run_id = run_id
        self._boot_id = boot_id
        self._mark: _Mark | None = None
        self._taken = Taken(rows)
        self._marked_size = -1
        self.records: dict[int, FileRecord] = {}
        self.found = AGREES
        self._pending: HalfDone | None = None
        self._next_number = 1
        self._released = 0
        self._snapshot_size = self._sequence = self._committed = 0
        self._file = AppendedFile(path)
        try:
            self._read(committed_sequence)
        except BaseException:
            self._file.close()
            raise

    # --- what happens to files

    def begin(self, key: str, path: str, final: str, opened_ms: int, recipe: str, store: str | None = None) -> int:
        """A file is about to be made: its number.

        Dying behind this: the file is there and empty, or not there; it is removed if it is there and empty.

        Args:
            store: the name of the one that it will be on.
        """
        record = FileRecord(self._next_number, key, path, final, opened_ms, recipe, store=store)
        number = record.number
        self._write({"new": [[number, key, path, final, opened_ms, recipe]], "stores": by_store([record])})
        self._next_number += 1
        self.records[number] = record
        return number

    def identified(self, number: int, identity: str | None) -> None:
        """The file was made and is ours. Dying behind this: it is removed, whatever has been written to it.

        Args:
            identity: None = it was removed, and is about to be made anew: see `begin`.
        """
        self._write({"ids": [[number, identity]]})
        self.records[number].identity = identity

    def renamed_to(self, number: int, final: str) -> None:
        """The file will get another final name. Dying behind this: it gets that one."""
        self._write({"final": [[number, final]]})
        self.records[number].final = final

    def settled(self, progress: Sequence[Progress], taken: Mapping[str, int] | None = None) -> None:
        """These files have got so far, and no commit is needed for it: nothing but their end was added.

        Dying behind this: their renames are finished.

        Args:
            taken: where rows count by this without a mark: how many had been taken from each lane by then.
        """
        if taken:
            self._taken.raise_to(taken)
        self._write({"at": [one.packed() for one in progress], **({"taken": dict(taken)} if taken else {})})
        apply(self.records, progress)

    def gone(self, numbers: Iterable[int]) -> None:
        """These files have their final names, or were removed. Dying behind this: nobody looks for them again."""
        numbers = [number for number in numbers if number in self.records]
        if numbers:
            self._write({"gone": numbers})
            for number in numbers:
                del self.records[number]

    def belong_to(self, store: str) -> None:
        """Files that an earlier release began are on this store; the next snapshot says so."""
        for record in (*self.records.values(), *self.gone_unsynced):
            record.store = record.store or store

    # --- transactions

    @property
    def committed(self) -> int:
        """The newest entry that is known to be committed."""
        return self._committed

    def append(self, progress: Sequence[Progress], take: list[Any] | None = None) -> int:
        """An entry: it counts once a channel's commit names the sequence that is returned.

        Dying behind this, before that commit: if the files have got so far, the commit is finished; else they are cut
        to what the entry before said.

        Args:
            take: what the commit is going to say, for who finishes it.
        """
        sequence = self._sequence + 1
        payload: dict[str, Any] = {"at": [one.packed() for one in progress]}
        self._write(payload if take is None else payload | {"take": take}, sequence)
        self._sequence = sequence
        self._pending = HalfDone(sequence, tuple(progress), take)
        return sequence

    def confirm(self) -> None:
        """The channel's commit names the last entry."""
        if self._pending is None:
            return
        self._count(self._pending)
        self._pending = None
        if self._grown and not self.syncs:
            self._rewrite()

    def goes_forward(self) -> None:
        """The entry that was half done counts: its bytes are there, and its commit is stored, or gone.

        Dying before this: the commit is stored, and says so; or the same is found once more. Dying behind it: this
        record, whose base is that entry, says that it counts.
        """
        assert self.half_done is not None, "no entry is half done"
        self._count(self.half_done)
        self.half_done = None
        self._write({})

    def forget(self) -> None:
        """The transaction of the last entry was rolled back: it is on no chain from here on.

        Dying before this: its commit is finished if all of its bytes are still there, else it does not count either.
        """
        entry, self._pending, self.half_done = self._pending or self.half_done, None, None
        if entry is not None:
            try:
                self._write({"void": entry.sequence})
            except OSError:
                pass  # said when the next transaction can't write its entry

    def _count(self, entry: HalfDone) -> None:
        self._committed = entry.sequence
        apply(self.records, entry.progress)

    # --- the durable head

    def sync_begins(self) -> bool:
        """All that is committed now is about to be made durable; between transactions. False when all of it is."""
        assert self._pending is None, "a sync begins between transactions"
        if self._file.size == self._marked_size:
            return False
        # All that is in the files by now was taken before this line. What comes after it, the mark does not vouch for.
        snapshot = self._snapshot() if self._grown else None
        self._mark = _Mark(self._committed, self._file.size, snapshot, self._taken.said())
        return True

    def synced(self) -> bool:
        """What was committed when the sync began is on disk. Dying behind this: the mark may count or the one before.

        Returns:
            True when the journal itself is still to be synced (`sync`) before anybody relies on the mark.
        """
        mark, self._mark = self._mark, None
        assert mark is not None, "synced without sync_begins"
        if mark.snapshot is not None:
            self._replace(MAGIC + mark.snapshot + self._file.read(mark.size), len(mark.snapshot))
            return False
        before = self._file.size
        self._write({"synced": [mark.sequence, mark.size], **mark.taken})
        self._marked_size = self._file.size if before == mark.size else -1
        return True

    def sync(self) -> None:
        """The journal as it is survives the death of the machine. May be called from a thread of its own."""
        self._file.sync()

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
        self._write({"released": self._committed})

    def close(self) -> None:
        """Leaves a journal as small as what is still to be known."""
        if self._file.closed:
            return
        try:
            if self._pending is None:
                self._released = self._committed  # all is settled: what the commit slots become does not matter
                self._rewrite()
        finally:
            self._file.close()

    # --- writing

    def _write(self, payload: dict[str, Any], sequence: int = 0) -> None:
        self._file.append(framed(sequence, self._committed, payload))

    @property
    def _grown(self) -> bool:
        return self._file.size > max(_GROWN_BYTES, 4 * self._snapshot_size)

    def _snapshot(self) -> bytes:
        payload = {
            "snapshot": [record.packed() for record in self.records.values()],
            "stores": by_store(self.records.values()),
            "next": self._next_number,
            "last": self._sequence,
            "released": self._released,
            "run": self._run_id,
            "boot": self._boot_id,
            **self._taken.said(),
        }  # fmt: skip
        if self.syncs:
            payload["synced"] = [self._committed, 0]
        return framed(self._committed, self._committed, payload)

    def _rewrite(self) -> None:
        """A snapshot takes the place of everything. With `syncs`, only when all that it says is on disk."""
        snapshot = self._snapshot()
        self._replace(MAGIC + snapshot, len(snapshot))

    def _replace(self, content: bytes, snapshot_size: int) -> None:
        try:
            self._file.replace([content], synced=self.syncs)
        except OSError:
            if not self._file.size:
                raise  # there was nothing before: what follows would not be read again
            self._snapshot_size = self._file.size  # no room for a second one: the long one still says it all
            return
        self._snapshot_size = snapshot_size
        if self.syncs:
            self._file.sync_name()
            self._marked_size = self._file.size if len(content) == len(MAGIC) + snapshot_size else -1

    # --- reading

    def _read(self, committed_sequence: int) -> None:
        data = self._file.read()
        if not data.startswith(MAGIC):
            if data:
                self._file.set_aside()
            self._sequence = self._committed = committed_sequence
            self._rewrite()
            if data or committed_sequence:
                self.found = JOURNAL_LOST
            return
        past = Past(data, committed_sequence, self._run_id, self._boot_id)
        self._taken.read(records_in(data)[0])
        self._file.cut(past.size)
        self.found, self.rebooted, self.half_done = past.found, past.rebooted, past.half_done
        self.records, self.gone_unsynced, self._next_number = past.records, past.gone_unsynced, past.next_number
        self._sequence, self._committed, self._released = past.sequence, past.committed, past.released
