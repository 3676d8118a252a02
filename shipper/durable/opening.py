"""Opening a log: what is there is recovered, stored as a checkpoint, and put on the board for the readers.

Dying anywhere in here leaves what the next opening brings to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shipper.durable.board import Board, Head, lane_id
from shipper.durable.came_back import said_aside, set_aside
from shipper.durable.checkpoint import load_newest
from shipper.durable.directory import refuse_newer
from shipper.durable.disk import Disk
from shipper.durable.keeper import Keeper
from shipper.durable.recovery import LostRange, recover
from shipper.durable.segment import NewerVersion, discard
from shipper.durable.settings import LogSettings
from shipper.durable.state import Position
from shipper.errors import DamagedData


@dataclass(frozen=True)
class Recovered:
    """What opening a log found.

    Attributes:
        log_id: of the log; new when there was none.
        created: there was none.
        same_boot: the board of before was valid; readers go on where they committed, synced or not.
        durable_seq: D: everything up to it was acknowledged, or may have been.
        last_seq: largest seq that counts.
        cut_records: whole records behind the end of the log: nobody was told that they are safe.
        lost: what is missing at or below D and was not delivered by all lanes.
        scanned_bytes: size of the segments that were looked through.
        notes: for the person, in order.
    """

    log_id: bytes
    created: bool = False
    same_boot: bool = False
    durable_seq: int = 0
    last_seq: int = 0
    cut_records: int = 0
    lost: Sequence[LostRange] = ()
    scanned_bytes: int = 0
    notes: Sequence[str] = field(default_factory=tuple)


class Opened(NamedTuple):
    """A log that may be appended to.

    Attributes:
        keeper: of its checkpoint.
    """

    recovered: Recovered
    keeper: Keeper
    board: Board


def open_log(
    disk: Disk, settings: LogSettings, lanes: Sequence[str], origins_of: Callable[[memoryview], Iterable[Position]]
) -> Opened:
    """Recovers the log in directories that this process has claimed; arguments and errors as of `Log.open`."""
    found = load_newest(disk, settings.checkpoint_dirs)
    if isinstance(found, NewerVersion):
        refuse_newer([found])
        raise AssertionError
    board = board_of_this_boot(disk, settings.board)
    stored, generation = (found.state, found.generation) if found is not None else (None, 0)
    low = stored.first_waiting() if stored is not None else 0
    outcome = recover(
        disk, settings.data_dirs, stored, board, appended_counts=settings.readable_before_sync,
        origins_of=origins_of, keys=settings.keys,
    )  # fmt: skip
    if outcome.unsynced is not None:
        _sync(disk, outcome.unsynced)
    for path in outcome.damaged:
        disk.rename(path, path.with_name(path.name + ".damaged"))
        outcome.notes.append(f"{path} says nothing valid of itself and was set aside as {path.name}.damaged")
    if not outcome.same_boot and board is not None:
        board.close()
        board = None
    state = outcome.state
    # What this log writes from here on may lie in all of these; it is in no checkpoint's list at once.
    state.directories, state.stopped = list(map(str, settings.data_dirs)), False
    for name in lanes:
        lane = state.lane(lane_id(name))
        lane.name = name
    for lane in state.lanes.values():
        if lane.head.seq == 0:  # nothing is in it
            lane.head = Head(seq=state.last_seq + 1, rows=lane.tail.rows, size_bytes=lane.tail.size_bytes)
    keeper = Keeper(disk, state, generation, settings.checkpoint_dirs, outcome.files, low)
    if board is not None:
        keeper.refresh_heads(board)
    # Dying before this line leaves everything as it was found; recovery comes to the same end again.
    keeper.store(state.scan, state.last_seq, state.next_number)
    board = _fill(disk, settings, board, keeper)
    for path in outcome.leftovers:
        discard(disk, path)
    for directory in {path.parent for path in outcome.leftovers}:
        disk.sync_directory(directory)
    for path in outcome.came_back:
        try:
            outcome.notes.append(said_aside(path, set_aside(disk, path)))
        except OSError as problem:  # dying before, or failing, leaves it in no list: the next start comes to the same
            outcome.notes.append(f"{path} came back and can't be set aside: {problem.strerror}")
    for file in outcome.files:
        if file.number == state.scan.number:
            _release_rest(disk, file.path, state.scan.offset, file.end)
    outcome.notes.extend(keeper.notes)
    keeper.notes.clear()
    recovered = Recovered(
        state.log_id, outcome.created, outcome.same_boot, outcome.durable_seq, outcome.last_seq,
        outcome.cut_records, tuple(outcome.lost), outcome.scanned_bytes, tuple(outcome.notes),
    )  # fmt: skip
    return Opened(recovered, keeper, board)


def board_of_this_boot(disk: Disk, path: Path) -> Board | None:
    """The board of a log if it is there and of this boot: what it says is newer than any checkpoint."""
    try:
        board = disk.open_board(path)
    except (FileNotFoundError, DamagedData):
        return None
    if board.boot_id == disk.boot_id():
        return board
    board.close()
    return None


def _fill(disk: Disk, settings: LogSettings, board: Board | None, keeper: Keeper) -> Board:
    """The board, in step with the state. Dying in between leaves one that does not count, or the one of before."""
    state = keeper.state
    made = board is None
    if board is None:
        board = disk.create_board(settings.board, state.log_id)
    known = board.lanes()
    for key, lane in state.lanes.items():
        index = board.register(key)
        if key not in known:
            board.store_head(index, lane.head)
            board.store_synced_head(index, lane.head)
        for slot, store in ((board.head, board.store_head), (board.synced_head, board.store_synced_head)):
            try:
                slot(index)
            except DamagedData as problem:
                keeper.notes.append(str(problem))
                store(index, lane.head)
        if made or board.tail(index).seq < lane.tail.seq:
            board.publish_tail(index, lane.tail)
    board.publish(state.last_seq, state.last_seq)
    board.publish_segments(state.scan.number, min(state.segments, default=0))
    board.ready()
    return board


def _sync(disk: Disk, path: Path) -> None:
    handle = disk.open(path, write=True)
    try:
        disk.sync(handle)
    finally:
        disk.close(handle)


def _release_rest(disk: Disk, path: Path, start: int, end: int) -> None:
    try:
        handle = disk.open(path, write=True)
    except OSError:
        return
    try:
        disk.release(handle, start, end)
    finally:
        disk.close(handle)
