"""What can be done with a log while no agent runs: inspect, verify, export. None of them changes anything in it.

They read while an agent runs too; then what they say is of some moment before. The file is long because three
questions are asked of one survey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shipper.durable.board import Board, Head, Tail
from shipper.durable.checkpoint import CHECKPOINT_NAME, Stored, load_newest
from shipper.durable.directory import BOARD_NAME, LOCK_NAME, has_segments, refuse_flume, refuse_newer, translated
from shipper.durable.disk import Disk
from shipper.durable.file_view import FileView
from shipper.durable.keys import Cipher, Keys, cipher_of
from shipper.durable.layout import RECORDS_AT, RecordHeader, about
from shipper.durable.reader import Record
from shipper.durable.recovery import LostRange, ends_of
from shipper.durable.segment import Damage, NewerVersion, SegmentFile, load_all, segment_name, stored_body, walk
from shipper.errors import ConfigurationError, DamagedData

_Check = Callable[[SegmentFile, FileView, RecordHeader], str]


@dataclass
class SegmentReport:
    """One segment: its file, what it holds, the key it needs, and what is wrong with it (nothing = empty)."""

    path: Path
    number: int
    base_seq: int
    last_seq: int = 0
    records: int = 0
    rows: int = 0
    size_bytes: int = 0
    key_name: str = ""
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LaneReport:
    """A lane: the sink worker that it is home to ("" = not known), how far it is filled, how far it was delivered."""

    name: str
    tail: Tail
    head: Head

    @property
    def rows_waiting(self) -> int:
        """Rows that are not delivered."""
        return max(self.tail.rows - self.head.rows, 0)

    @property
    def bytes_waiting(self) -> int:
        """Bytes of those rows."""
        return max(self.tail.size_bytes - self.head.size_bytes, 0)


@dataclass(frozen=True)
class LogReport:
    """A whole log.

    Attributes:
        log_id: hexadecimal.
        durable_seq: largest seq that anything valid names as durable.
        last_seq: of the last record that is there.
        segments: in order; files that say nothing valid of themselves have number 0.
        lanes: by id.
        lost: records that were acknowledged, not delivered by all lanes, and are not there.
        rows_missing: rows of those that wait and are not there.
        generation: of the checkpoint, 0 when there is none.
        in_use: an agent has the log open.
    """

    log_id: str
    durable_seq: int
    last_seq: int
    segments: Sequence[SegmentReport]
    lanes: dict[int, LaneReport]
    lost: Sequence[LostRange]
    generation: int
    in_use: bool
    rows_missing: int = 0

    @property
    def rows_waiting(self) -> int:
        """Rows that are not delivered, over all lanes."""
        return sum(lane.rows_waiting for lane in self.lanes.values())

    @property
    def sound(self) -> bool:
        """True when nothing is wrong."""
        return not self.lost and not any(segment.wrong for segment in self.segments)


def inspect(checkpoint_dir: Path, data_dirs: Sequence[Path], *, disk: Disk | None = None) -> LogReport:
    """What is in a log: headers are read, bodies are not. Needs no key.

    Raises:
        ConfigurationError: there is no log, or it can't be read.
    """
    return _Survey(disk or Disk(), checkpoint_dir, data_dirs).report(lambda file, view, header: "")


def verify(
    checkpoint_dir: Path, data_dirs: Sequence[Path], keys: Keys | None = None, *, disk: Disk | None = None
) -> LogReport:
    """As `inspect`, and every body is checked: its checksum, and when `keys` are given that it can be decrypted.

    Raises:
        ConfigurationError: there is no log, or it can't be read, or a key is missing among `keys`.
    """
    disk = disk or Disk()
    survey = _Survey(disk, checkpoint_dir, data_dirs)
    ciphers = survey.ciphers(keys) if keys is not None else {}

    def check(file: SegmentFile, view: FileView, header: RecordHeader) -> str:
        return _body(view, header, ciphers.get(file.number))[1]

    return survey.report(check)


def export(
    checkpoint_dir: Path, data_dirs: Sequence[Path], keys: Keys | None = None, *, delivered_too: bool = False,
    disk: Disk | None = None,
) -> Iterator[tuple[Record, int]]:  # fmt: skip
    """The records that wait, in order of seq, each with how many of its rows were delivered already.

    Records that can't be read are left out: `verify` names them. A record's body is valid until the next one is asked.

    Args:
        delivered_too: also what was delivered and still lies there; then the count of delivered rows is 0.

    Raises:
        ConfigurationError: there is no log, or it can't be read, or a key is missing.
    """
    survey = _Survey(disk or Disk(), checkpoint_dir, data_dirs)
    ciphers = survey.ciphers(keys)
    for file, view, item in survey.items():
        if isinstance(item, Damage):
            continue
        lane = survey.lanes.get(item.lane)
        head = lane.head if lane is not None and not delivered_too else Head()
        body, _ = _body(view, item, ciphers.get(file.number))
        if item.seq >= head.seq and body is not None:
            record = Record(
                item.seq, item.lane, item.rows, item.size_bytes, item.rows_after, item.size_bytes_after, item.producer,
                item.put, body,
            )  # fmt: skip
            yield record, head.rows_done if item.seq == head.seq else 0


class _Survey:
    """A log, looked at."""

    def __init__(self, disk: Disk, checkpoint_dir: Path, data_dirs: Sequence[Path]) -> None:
        self._disk = disk
        self._checkpoint = checkpoint_dir / CHECKPOINT_NAME
        try:
            for directory in dict.fromkeys((checkpoint_dir, *data_dirs)):
                refuse_flume(directory, disk.names(directory))
            stored = load_newest(disk, [checkpoint_dir])
            if isinstance(stored, NewerVersion):
                refuse_newer([stored])
            assert not isinstance(stored, NewerVersion)
            if stored is None and not has_segments(disk, data_dirs):
                places = " and ".join(dict.fromkeys(map(str, (checkpoint_dir, *data_dirs))))
                raise ConfigurationError(
                    f"no channel lies in {places}: give the checkpointDir and the dataDirs of the channel"
                )
            self.files, newer, self.damaged = load_all(disk, data_dirs)
            self.in_use = disk.locked(checkpoint_dir / LOCK_NAME)
        except OSError as problem:
            raise translated(problem, checkpoint_dir) from problem
        refuse_newer(newer)
        self.stored: Stored | None = stored
        self.lanes = self._lanes(checkpoint_dir)

    def ciphers(self, keys: Keys | None) -> dict[int, Cipher | None]:
        """The cipher of each segment."""
        return {file.number: cipher_of(file.identity, keys, self._disk.random, file.path) for file in self.files}

    def items(self) -> Iterator[tuple[SegmentFile, FileView, RecordHeader | Damage]]:
        """All records, and the stretches that are none; what was written twice comes once."""
        ends, last = ends_of(self.files), 0
        for file in self.files:
            if file.opening is None:
                continue
            view = self._disk.view(file.path)
            try:
                for item in walk(view, file.identity.segment_id, RECORDS_AT, ends[file.number]):
                    if isinstance(item, RecordHeader):
                        if item.seq <= last:
                            continue
                        last = item.seq
                    yield file, view, item
            finally:
                view.close()

    def report(self, check: _Check) -> LogReport:
        """The whole log; `check` says what is wrong with a body."""
        low = self._low()
        durable = self.stored.state.durable_seq if self.stored is not None else 0
        last, rows_there = 0, 0
        lost: list[LostRange | None] = []
        reports: dict[int, SegmentReport] = {}
        settled = 0
        for file in self.files:
            if file.opening is None:
                continue
            reports[file.number] = SegmentReport(
                file.path, file.number, file.opening.base_seq, key_name=file.identity.key_name
            )
            if file.inferred:
                reports[file.number].wrong.append("both copies of its opening are damaged")
        begun: set[int] = set()
        for file, view, item in self.items():
            report = reports[file.number]
            if isinstance(item, Damage):
                report.wrong.append(f"bytes {item.start} to {item.end} are no records")
                continue
            assert file.opening is not None
            if file.number not in begun and not file.inferred:
                begun.add(file.number)
                if file.opening.previous_seq > settled >= low - 1:
                    lost.append(_range(settled + 1, file.opening.previous_seq, low, f"before {file.path}"))
                settled = max(settled, file.opening.base_seq - 1)
                durable = max(durable, file.opening.base_seq - 1)
            if settled and item.seq > settled + 1 and item.seq > low:
                lost.append(_range(settled + 1, item.seq - 1, low, str(file.path)))
            settled = last = item.seq
            rows_there += self._waits(item)
            durable = max(durable, item.durable_seq)
            report.records += 1
            report.rows += item.rows
            report.size_bytes += item.size_bytes
            report.last_seq = item.seq
            wrong = check(file, view, item)
            if wrong:
                report.wrong.append(f"record {item.seq} ({item.rows} rows): {wrong}")
        for missing in self._missing(settled, low):
            if not any(one is not None and one.first <= missing.first and missing.last <= one.last for one in lost):
                lost.append(missing)
        found = list(reports.values())
        if self.stored is None:
            wrong = "it is missing or damaged: what was delivered before, and is there still, is delivered once more"
            found.append(SegmentReport(self._checkpoint, 0, 0, wrong=[wrong]))
        found += [SegmentReport(path, 0, 0, wrong=["says nothing valid of itself"]) for path in self.damaged]
        log_id = self.stored.state.log_id if self.stored is not None else self.files[0].identity.log_id
        return LogReport(
            log_id.hex(), durable, last, found, self.lanes, [one for one in lost if one is not None],
            self.stored.generation if self.stored is not None else 0, self.in_use,
            max(sum(lane.rows_waiting for lane in self.lanes.values()) - rows_there, 0),
        )  # fmt: skip

    def _waits(self, item: RecordHeader) -> int:
        """Rows of a record that are not delivered; none when the lanes were read before it was put."""
        lane = self.lanes.get(item.lane)
        if lane is None or not lane.head.seq <= item.seq <= lane.tail.seq:
            return 0
        return item.rows - (lane.head.rows_done if item.seq == lane.head.seq else 0)

    def _missing(self, settled: int, low: int) -> Iterator[LostRange]:
        """What the checkpoint names, and nothing that is there does: files of its list, and the end of the log."""
        if self.stored is None:
            return
        state = self.stored.state
        # Behind a closed place nothing is missing: what was given up has its numbers there.
        last = state.scan.seq if state.scan.closed else state.durable_seq
        numbers = [file.number for file in self.files]
        for number, (first, end) in state.missing(numbers, low).items():
            yield LostRange(max(first, low), end, segment_name(number), "its file is missing or damaged")
            settled = max(settled, end)
        if max(settled + 1, low) <= last:
            yield LostRange(max(settled + 1, low), last, "the end of the log", "the records are damaged or missing")

    def _low(self) -> int:
        if self.stored is None:
            return min((file.opening.base_seq for file in self.files if file.opening is not None), default=1)
        heads = {key: lane.head for key, lane in self.lanes.items()}
        return self.stored.state.first_waiting(heads)

    def _lanes(self, checkpoint_dir: Path) -> dict[int, LaneReport]:
        """Of the checkpoint; of the board when it is of this boot."""
        lanes: dict[int, LaneReport] = {}
        if self.stored is not None:
            for key, lane in self.stored.state.lanes.items():
                lanes[key] = LaneReport(lane.name, lane.tail, lane.head)
        board = self._board(checkpoint_dir)
        if board is not None:
            for key, index in board.lanes().items():
                name = lanes[key].name if key in lanes else ""
                try:
                    lanes[key] = LaneReport(name, board.tail(index), board.head(index))
                except DamagedData:
                    continue
            board.close()
            return lanes
        for _, _, item in self.items():
            if isinstance(item, RecordHeader):
                before = lanes.get(item.lane) or LaneReport("", Tail(0, 0, 0), Head())
                if item.seq > before.tail.seq:
                    tail = Tail(item.seq, item.rows_after, item.size_bytes_after)
                    lanes[item.lane] = LaneReport(before.name, tail, before.head)
        return lanes

    def _board(self, checkpoint_dir: Path) -> Board | None:
        try:
            board = self._disk.open_board(checkpoint_dir / BOARD_NAME)
        except (OSError, DamagedData):
            return None
        ours = self.stored is None or board.log_id == self.stored.state.log_id
        if ours and board.boot_id == self._disk.boot_id():
            return board
        board.close()
        return None


def _body(view: FileView, header: RecordHeader, cipher: Cipher | None) -> tuple[memoryview | None, str]:
    stored = stored_body(view, header)
    if stored is None:
        return None, "its body is damaged or can't be read"
    if cipher is None:
        return stored, ""
    try:
        return cipher.decrypt(stored, about(header.segment_id, header.seq, header.lane, header.rows)), ""
    except DamagedData as problem:
        return None, str(problem)


def _range(first: int, last: int, low: int, where: str) -> LostRange | None:
    first = max(first, low)
    return LostRange(first, last, where, "the records are damaged or missing") if first <= last else None
