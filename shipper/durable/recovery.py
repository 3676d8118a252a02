"""Recovery: what of the files of a log counts, decided without changing any of them.

D is the largest durable seq that anything valid names: the checkpoint, an opening, a record, and under the same boot
the board. Everything up to D may have been acknowledged: what is not whole there is damage, stepped over record by
record and reported. Above D, the first record that is not whole ends the log: nobody was told that it, or anything
behind it, is safe. Under the same boot the board knows D to the record, and what is above it is not kept: it was not
acknowledged, and whether it is on the disk nobody knows.

Two passes are made over the records that are newer than the checkpoint, which is stored at least as often as a segment
is full: so the time that it takes depends on a segment, not on the backlog.

The file is long because what counts, and what is missing, is one decision over all files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from shipper.durable.board import Board, Head, Tail
from shipper.durable.directory import refuse_newer
from shipper.durable.disk import Disk
from shipper.durable.file_view import FileView
from shipper.durable.keys import Cipher, Keys, cipher_of
from shipper.durable.layout import RECORD_HEADER_BYTES, RECORDS_AT, RecordHeader, about
from shipper.durable.segment import Damage, SegmentFile, load_all, name_number, next_record, stored_body, walk
from shipper.durable.state import Place, Position, State
from shipper.errors import DamagedData

#: So many numbers are left out behind a loss.
NUMBERS_APART = 1000


@dataclass(frozen=True)
class LostRange:
    """Records that a log should have and has not: seq `first` to `last`; where, and why in a few words."""

    first: int
    last: int
    where: str
    why: str


@dataclass
class Outcome:
    """What recovery decided.

    Attributes:
        state: of the log as it counts from now on; its `scan` is where the log ends.
        created: there was no log.
        same_boot: the heads are those of the board.
        durable_seq: D.
        files: the segments in use, in order.
        unsynced: the segment that holds records which are kept and may not be synced: to be done before anything is
            built on them.
        leftovers: files that hold nothing which counts: to be removed.
        damaged: files that say nothing valid of themselves: to be set aside.
        came_back: files that were away when what is in them was passed, and may hold what nobody delivered: to be set
            aside too.
    """

    state: State
    created: bool = False
    same_boot: bool = False
    durable_seq: int = 0
    files: list[SegmentFile] = field(default_factory=list)
    unsynced: Path | None = None
    leftovers: list[Path] = field(default_factory=list)
    damaged: list[Path] = field(default_factory=list)
    came_back: list[Path] = field(default_factory=list)
    last_seq: int = 0
    cut_records: int = 0
    scanned_bytes: int = 0
    lost: list[LostRange] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ends_of(files: Sequence[SegmentFile]) -> dict[int, int]:
    """Where the records of each segment end at the latest: its successor says, or else the file."""
    ends = {file.number: file.end for file in files}
    for file in files:
        opening = file.opening
        if opening is not None and not file.inferred and opening.previous_number in ends:
            ends[opening.previous_number] = min(ends[opening.previous_number], opening.previous_end)
    return ends


def recover(
    disk: Disk,
    data_dirs: Sequence[Path],
    stored: State | None,
    board: Board | None,
    *,
    appended_counts: bool,
    origins_of: Callable[[memoryview], Iterable[Position]],
    keys: Keys | None,
) -> Outcome:
    """Decides what counts.

    Args:
        stored: the newest valid checkpoint.
        board: the board, when it is of this boot.
        appended_counts: under the same boot, what was appended counts like what was synced (`readable_before_sync`).

    Raises:
        ConfigurationError: a newer release's file, or a key is missing.
    """
    return _Recovery(disk, data_dirs, stored, board, appended_counts, origins_of, keys).run()


class _Recovery:
    def __init__(
        self, disk: Disk, data_dirs: Sequence[Path], stored: State | None, board: Board | None, appended_counts: bool,
        origins_of: Callable[[memoryview], Iterable[Position]], keys: Keys | None,
    ) -> None:  # fmt: skip
        self._disk = disk
        self._data_dirs = data_dirs
        self._stored = stored
        self._board = board
        self._origins_of = origins_of
        self._keys = keys
        self._limit: int | None = None
        self._first_of_lane: dict[int, RecordHeader] = {}
        self._seen_seq = 0
        self._start = stored.scan.number if stored is not None else 0
        self._cut = False
        #: Records of a put whose last one was not seen yet: seq, what they change, the place behind them.
        self._group: list[tuple[RecordHeader, list[Position], Place]] = []
        self._volatile: dict[int, Head] = {}
        self._appended_counts = appended_counts

    def run(self) -> Outcome:
        files, newer, damaged = load_all(self._disk, self._data_dirs)
        refuse_newer(newer)
        log_id = self._log_id(files)
        self.outcome = outcome = Outcome(self._stored or State(log_id), damaged=damaged)
        outcome.created = self._stored is None and not files and not damaged
        if self._board is not None and self._board.log_id != log_id:
            self._board = None
        if self._board is not None:
            self._limit = self._board.appended() if self._appended_counts else self._board.durable()
        outcome.same_boot = self._board is not None
        for file in files:
            if file.identity.log_id != log_id:
                outcome.notes.append(f"{file.path} belongs to another channel and is left alone")
            elif file.opening is None:
                outcome.leftovers.append(file.path)
            else:
                outcome.files.append(file)
        names = [name for directory in self._data_dirs for name in self._disk.names(directory)]
        state = outcome.state
        state.next_number = max([state.next_number, *(name_number(name) + 1 for name in names)])
        self._heads()
        if self._stored is not None:
            low = state.first_waiting(self._volatile)
        else:  # what was delivered and removed, and what is missing in front, look alike
            low = min((file.opening.base_seq for file in outcome.files if file.opening is not None), default=0)
        self._ciphers = {
            file.number: cipher_of(file.identity, self._keys, self._disk.random, file.path) for file in outcome.files
        }
        ends = ends_of(outcome.files)
        absent = self._absent(low, ends)
        scanned = [file for file in outcome.files if file.number >= state.scan.number]
        self._find_durable(scanned, ends)
        self._missing_files(low)
        self._follow(scanned, ends, low)
        self._settle_lanes()
        self._drop_what_does_not_count()
        # What is missing stays in the list until all lanes have passed it: if its file comes back before, it is read.
        state.segments = absent | {f.number: f.opening.base_seq for f in outcome.files if f.opening is not None}
        if outcome.lost:
            # Files that were made after the checkpoint may be among the missing, and have numbers that it can't know.
            state.next_number += NUMBERS_APART
        return outcome

    def _log_id(self, files: Sequence[SegmentFile]) -> bytes:
        if self._stored is not None:
            return self._stored.log_id
        ids = [file.identity.log_id for file in files]
        return max(ids, key=ids.count) if ids else self._disk.random(16)

    def _heads(self) -> None:
        """Under the same boot the readers' own commits count, not those that a checkpoint has heard of."""
        if self._board is None:
            return
        for lane, index in self._board.lanes().items():
            state = self.outcome.state.lane(lane)
            try:
                found = self._board.head(index)
            except DamagedData as problem:
                self.outcome.notes.append(f"{problem}: the lane goes on where the checkpoint says")
                continue
            if found.seq >= state.head.seq:
                self._volatile[lane] = found

    # --- how far it was synced

    def _find_durable(self, scanned: Sequence[SegmentFile], ends: dict[int, int]) -> None:
        outcome = self.outcome
        durable = max(outcome.state.durable_seq, self._limit or 0)
        for file in outcome.files:
            if file.opening is not None and not file.inferred:
                durable = max(durable, file.opening.base_seq - 1)
        for file, _, items in self._items(scanned, ends):
            for item in items:
                if isinstance(item, RecordHeader):
                    durable = max(durable, item.durable_seq)
                    self._seen_seq = max(self._seen_seq, item.seq)
            outcome.scanned_bytes += file.end
        outcome.durable_seq = durable

    def _items(
        self, scanned: Sequence[SegmentFile], ends: dict[int, int]
    ) -> Iterator[tuple[SegmentFile, FileView, Iterator[RecordHeader | Damage]]]:
        scan = self.outcome.state.scan
        start_number, start_offset, closed = scan.number, scan.offset, scan.closed
        for file in scanned:
            if file.number == start_number and closed:
                continue
            start = start_offset if file.number == start_number else RECORDS_AT
            view = self._disk.view(file.path)
            try:
                yield file, view, walk(view, file.identity.segment_id, start, ends[file.number])
            finally:
                view.close()

    # --- what counts

    def _follow(self, scanned: Sequence[SegmentFile], ends: dict[int, int], low: int) -> None:
        state, outcome = self.outcome.state, self.outcome
        # Behind a closed place nothing is missing up to the durable seq: what was given up has its numbers there.
        last = state.durable_seq if state.scan.closed else state.scan.seq
        place = state.scan
        durable = outcome.durable_seq
        start_number = state.scan.number
        for file, view, items in self._items(scanned, ends):
            assert file.opening is not None
            if file.number != start_number:
                place = Place(file.number, RECORDS_AT, last, 0, False)
                if not file.inferred:
                    last = self._begins(file, last, low)
                    place = place._replace(seq=file.opening.base_seq - 1)
            cipher = self._ciphers[file.number]
            for item in items:
                if isinstance(item, Damage):
                    continue
                if self._cut:
                    outcome.cut_records += 1
                    continue
                if item.seq <= last:
                    continue  # written twice: into a file whose sync failed, and into the next
                over_limit = self._limit is not None and item.seq > self._limit
                if over_limit or (item.seq > last + 1 and item.seq - 1 > durable):
                    self._cut = True
                    outcome.cut_records += 1
                    continue
                body = stored_body(view, item)
                if body is None and item.seq > durable:
                    self._cut = True
                    outcome.cut_records += 1
                    continue
                if item.seq > last + 1:
                    self._lose(last + 1, item.seq - 1, low, str(file.path), "the records are damaged")
                last = item.seq
                header_crc = bytes(
                    view.memory[item.offset + RECORD_HEADER_BYTES - 4 : item.offset + RECORD_HEADER_BYTES]
                )
                place = place.behind(item, header_crc)
                if item.seq > durable or (self._appended_counts and self._board is not None):
                    outcome.unsynced = file.path
                self._group.append((item, self._origins(cipher, item, body), place))
                if not item.continues or item.seq <= durable:
                    self._apply()
        if self._group:  # the last put is not whole
            outcome.cut_records += len(self._group)
            last = self._group[0][0].seq - 1
            self._group.clear()
        if last < durable:
            where = str(scanned[-1].path) if scanned else "the data directories"
            self._lose(last + 1, durable, low, where, "the end of the log is damaged or missing")
        outcome.last_seq = state.scan.seq
        heads = [lane.head.seq - 1 for lane in state.lanes.values()]
        heads += [head.seq - 1 for head in self._volatile.values()]
        # Numbers that were seen are not used again, also those of records that do not count.
        state.last_seq = max(state.last_seq, durable, self._seen_seq, last, *heads, 0)
        state.durable_seq = state.last_seq
        state.scan = state.scan._replace(closed=True)

    def _begins(self, file: SegmentFile, last: int, low: int) -> int:
        """A segment that says what should be before it; the last seq that it is settled up to."""
        assert file.opening is not None
        self._apply()
        before = file.opening.previous_seq
        if before > last:
            self._lose(
                last + 1, before, low, f"before {file.path}", "the records are damaged, or their file is missing"
            )
        if self.outcome.state.scan.number < file.number:
            self.outcome.state.scan = Place(file.number, RECORDS_AT, file.opening.base_seq - 1, 0, False)
        return max(last, file.opening.base_seq - 1)

    def _apply(self) -> None:
        """The gathered records count."""
        state = self.outcome.state
        for header, origins, place in self._group:
            self._first_of_lane.setdefault(header.lane, header)
            lane = state.lane(header.lane)
            rows, size_bytes = (
                max(header.rows_after, lane.tail.rows),
                max(header.size_bytes_after, lane.tail.size_bytes),
            )
            lane.tail = Tail(header.seq, rows, size_bytes)
            state.add_put(header.producer, header.put)
            state.add_origins(origins)
            state.scan = place
        self._group.clear()

    def _origins(self, cipher: Cipher | None, header: RecordHeader, body: memoryview | None) -> list[Position]:
        if body is None:
            return []
        try:
            if cipher is not None:
                body = cipher.decrypt(body, about(header.segment_id, header.seq, header.lane, header.rows))
            return list(self._origins_of(body))
        except DamagedData:
            return []

    def _settle_lanes(self) -> None:
        """Lanes whose head nobody knows begin with their first record; tails are never behind what was delivered."""
        unknown = 0
        for key, lane in self.outcome.state.lanes.items():
            first = self._first_of_lane.get(key)
            if lane.head.seq == 0 and first is not None:
                rows, size_bytes = first.rows_after - first.rows, first.size_bytes_after - first.size_bytes
                lane.head = Head(seq=first.seq, rows=rows, size_bytes=size_bytes)
                unknown += self._stored is None
            if self._board is not None and key in (lanes := self._board.lanes()):
                tail = self._board.tail(lanes[key])
                lane.tail = Tail(*map(max, lane.tail, tail))
            for head in (lane.head, self._volatile.get(key, lane.head)):
                rows, size_bytes = max(lane.tail.rows, head.rows), max(lane.tail.size_bytes, head.size_bytes)
                lane.tail = Tail(lane.tail.seq, rows, size_bytes)
        if unknown:
            self.outcome.notes.append(
                "the checkpoint is lost: everything that the channel still holds is delivered, what was delivered "
                "before comes twice"
            )

    # --- files

    def _missing_files(self, low: int) -> None:
        """Segments that the checkpoint lists and that are not there, as ranges."""
        state = self.outcome.state
        found = {file.number: file.opening.base_seq for file in self.outcome.files if file.opening is not None}
        bases = sorted({**state.segments, **found}.items())
        for (number, base), (_, next_base) in pairwise([*bases, (0, state.scan.seq + 1)]):
            if number not in found and number <= state.scan.number:
                last = min(next_base - 1, state.scan.seq)
                self._lose(base, last, low, f"segment {number}", "its file is missing or damaged")

    def _absent(self, low: int, ends: dict[int, int]) -> dict[int, int]:
        """Segments of the list that are not there and hold what was not delivered: number and base seq."""
        state = self.outcome.state
        found = {file.number: file for file in self.outcome.files}
        missing = state.missing(found, low)
        heads = [self._volatile.get(key, lane.head).seq for key, lane in state.lanes.items()]
        for number in state.absent & found.keys():
            file = found[number]
            # It came back in time when no lane has passed anything of it, and nothing of it was cut off meanwhile.
            if max(heads, default=0) <= state.segments.get(number, 0) and self._ends_whole(file, ends[number]):
                state.absent.discard(number)
        state.absent = {n for n in state.absent if n in found} | missing.keys()
        return {number: span[0] for number, span in missing.items()}

    def _ends_whole(self, file: SegmentFile, end: int) -> bool:
        view = self._disk.view(file.path)
        try:
            return next_record(view, file.identity.segment_id, end, file.end) is None
        finally:
            view.close()

    def _lose(self, first: int, last: int, low: int, where: str, why: str) -> None:
        first = max(first, low)
        if first <= last:
            self.outcome.lost.append(LostRange(first, last, where, why))

    def _drop_what_does_not_count(self) -> None:
        """Segments that were delivered, and came back because the machine died before their removal was durable; and
        those behind the end of the log. What is in no list otherwise was away when it should have been read."""
        outcome = self.outcome
        listed, end = outcome.state.segments, outcome.state.scan.number
        kept = []
        for file in outcome.files:
            left_out = self._stored is not None and file.number < self._start and file.number not in listed
            if (left_out and file.number in outcome.state.going) or file.number > end:
                outcome.leftovers.append(file.path)
            elif left_out:
                outcome.came_back.append(file.path)
            else:
                kept.append(file)
        outcome.files = kept
