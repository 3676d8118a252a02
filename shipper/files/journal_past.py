"""The past of a sink's journal: which of its entries count after a death, of the process or of the machine.

The entry that the channel's commit names counts, or the largest `base`, whichever is newer; so does the one that it is
based on, and so on back. An entry that was rolled back is on nobody's chain.

The newest entry may be *half done*: whole, and based on what is committed, and no commit is known that names it. It was
written before the bytes that it speaks of, and before the commit. It is on no chain until somebody has looked whether
the bytes are there, and finished the commit (`half_done.py`).

A mark within one life of the machine means nothing; after a power cut it is the last entry that counts. Bytes behind
it may be there or not, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shipper.files.journal_record import FileRecord, Progress, Record, records_in

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


class HalfDone(NamedTuple):
    """An entry that no known commit names.

    Attributes:
        take: what its commit was to say, as the worker told it; None when it did not.
    """

    sequence: int
    progress: tuple[Progress, ...]
    take: list[Any] | None


class Past:
    """What a journal says.

    Args:
        data: the journal, its first words included.
        committed_sequence, run_id, boot_id: as of `Journal`.

    Attributes:
        records, found, rebooted, gone_unsynced, half_done: as of `Journal`.
        committed: the newest entry that counts.
        sequence: the largest that was ever given.
        released: the entry up to which commit slots may know less.
        next_number: of a file.
        size: where the last whole record ends.
    """

    def __init__(self, data: bytes, committed_sequence: int, run_id: str, boot_id: str) -> None:
        self.records: dict[int, FileRecord] = {}
        self.gone_unsynced: list[FileRecord] = []
        self.next_number = 1
        self.half_done: HalfDone | None = None
        records, self.size = records_in(data)
        void = {record.payload["void"] for record in records if "void" in record.payload}
        entries = {record.sequence: record.base for record in records if record.sequence not in {0, *void}}
        known = max((record.base for record in records), default=0)
        last = max((record.sequence for record in records), default=0)
        self.sequence = max([last, committed_sequence, *(record.payload.get("last", 0) for record in records)])
        self.released = max((record.payload.get("released", 0) for record in records), default=0)
        marks = [record for record in records if "synced" in record.payload]
        self.rebooted = boot_id != _first(records, "boot", boot_id)
        self.found, self.committed = AGREES, max(committed_sequence, known)
        if run_id != _first(records, "run", run_id):
            self.found, self.committed = OTHER_RUN, max(entries, default=0)
            if self.rebooted and marks:
                self.found, self.committed = POWER_CUT, marks[-1].payload["synced"][0]
        elif self.committed and self.committed not in entries:
            self.found, self.committed = JOURNAL_LOST, max(entries, default=0)
        elif committed_sequence < known and known != self.released:
            self.found, self.committed = CHANNEL_LOST, max(entries, default=known)
        if not self.rebooted:
            self._doubt(records, entries, known, last)
        self._replay_all(records, _chain(self.committed, entries), _marked_size(marks, len(data)), bool(marks))

    def _doubt(self, records: Sequence[Record], entries: Mapping[int, int], known: int, last: int) -> None:
        """Finds the entry that is half done, if there is one, and goes back to the one that it is based on."""
        if self.found == AGREES:
            if last > self.committed and entries.get(last) == self.committed:  # and it is not void
                self.half_done = _half_done(records, last)
        elif self.committed > known:
            # A commit that is gone has named it, or none ever did: the files know which.
            self.half_done = _half_done(records, self.committed)
            self.committed = entries[self.committed]

    def _replay_all(self, records: Sequence[Record], chain: set[int], marked_size: int, marked: bool) -> None:
        for sequence, _, payload, start in records:
            if start >= marked_size and self.found == POWER_CUT:
                # That a file was begun is true, and helps to find it; what was done to others did not happen.
                payload = {key: payload[key] for key in ("new", "stores", "ids", "final") if key in payload}
            self._replay(payload, counts=sequence == 0 or sequence in chain)
            if start < marked_size and marked:
                self.gone_unsynced.clear()

    def _replay(self, payload: dict[str, Any], counts: bool) -> None:
        for row in payload.get("new", ()):
            self.records[row[0]] = FileRecord(*row)
            self.next_number = max(self.next_number, row[0] + 1)
        for number, identity in payload.get("ids", ()):
            self.records[number].identity = identity
        for number, final in payload.get("final", ()):
            self.records[number].final = final
        if counts and "snapshot" in payload:
            self.records = {row[0]: FileRecord.unpacked(row) for row in payload["snapshot"]}
            self.next_number = payload["next"]
        for store, numbers in payload.get("stores", {}).items():
            for number in numbers:
                if number in self.records:  # a snapshot that does not count may name others
                    self.records[number].store = store
        if counts:
            apply(self.records, [Progress(*row) for row in payload.get("at", ())])
        for number in payload.get("gone", ()):
            if (record := self.records.pop(number, None)) is not None:
                self.gone_unsynced.append(record)


def apply(records: Mapping[int, FileRecord], progress: Iterable[Progress]) -> None:
    """Files have got so far; those that are gone have not."""
    for one in progress:
        if (record := records.get(one.number)) is not None:
            record.progress = one


def _first(records: Sequence[Record], key: str, otherwise: str) -> str:
    """What the first record says that says it."""
    return next((record.payload[key] for record in records if record.payload.get(key)), otherwise)


def _marked_size(marks: Sequence[Record], otherwise: int) -> int:
    """What stands before that place of the journal is vouched for by the last mark.

    A snapshot is a mark at its own place; another one names the place where the sync began.
    """
    return (marks[-1].payload["synced"][1] or marks[-1].start + 1) if marks else otherwise


def _chain(newest: int, entries: Mapping[int, int]) -> set[int]:
    chain: set[int] = set()
    while newest not in chain and newest in entries:
        chain.add(newest)
        newest = entries[newest]
    return chain


def _half_done(records: Sequence[Record], sequence: int) -> HalfDone:
    payload = next(record.payload for record in records if record.sequence == sequence)
    return HalfDone(sequence, tuple(Progress(*row) for row in payload.get("at", ())), payload.get("take"))
