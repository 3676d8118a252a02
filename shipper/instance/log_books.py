"""The books of a log: what became of the rows in it, since the run directory was made.

A log outlives run directories, and the ledger counts by run: the log's writer notes in each run directory how its books
stood when it first opened the log there, and what is counted of a run is the difference.

The books stand on the log's board. When its disk is away they are as its writer noted them last (`log_notes.py`); and
when a board was lost in the middle of a run, they go on from there.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from shipper import whole_file
from shipper.instance.holdings import lane_files
from shipper.ring.lane import Lane
from shipper.ring.tally import read_take
from shipper.shared.tally import LOGGED

if TYPE_CHECKING:
    from shipper.durable.board import Board

_BASE = "log.base"
_NUMBERS = ("taken", "taken_bytes", "before", "lost", "expired", "dropped_old")
_WAITING = ("waiting", "waiting_bytes")

Numbers = dict[str, int]
#: Of the log, and of each sink by the word that accounts know it by, in hex.
Books = tuple[Numbers, dict[str, Numbers]]


def note_base(directory: Path, board: Path, note: Path, *, anew: bool) -> int:
    """Notes how the books of a log stand, in the channel's directory of a run; only once there for a board.

    Args:
        note: what the writer keeps beside the log; as it stood before this opening.
        anew: the board was made by this opening: its books begin again.

    Returns:
        Rows that this run had put into the log, and that are neither in it nor in the note: they are lost.
    """
    path, books = directory / _BASE, _read(board)
    if not path.exists():
        _write_base(path, board, books, note)
        return 0
    _, base, base_sinks, *_ = orjson.loads(path.read_bytes())
    noted = _noted(note) if anew else None
    if noted is None:
        return 0
    # All that was counted by the board that is gone stays counted: the base is put as far behind the new one.
    numbers, sinks = _less(books[0], _less(noted[0], base)), dict(books[1])
    for sink, done in noted[1].items():
        sinks[sink] = _less(sinks.get(sink, dict.fromkeys(done, 0)), _less(done, base_sinks.get(sink, {})))
    lost = 0
    if all(name in base for name in _WAITING):
        lost = _behind_note(directory, base, noted[0], books[0], numbers)
        numbers.update({name: base[name] for name in _WAITING})
    # Dying before this: the next writer finds the board of this one, whose books are short of what is in the note.
    _write_base(path, board, (numbers, sinks), note)
    return lost


def _behind_note(directory: Path, base: Numbers, noted: Numbers, now: Numbers, numbers: Numbers) -> int:
    """Books what was put behind the note, and is not in the log, as lost; how many rows that is."""
    rows, size_bytes = _logged(directory)
    lost = base["taken"] + base["waiting"] + rows - noted["taken"] - now["waiting"]
    lost_bytes = base["taken_bytes"] + base["waiting_bytes"] + size_bytes - noted["taken_bytes"] - now["waiting_bytes"]
    if lost > 0:
        _add(numbers, {"taken": -lost, "lost": -lost, "taken_bytes": -max(lost_bytes, 0)})
    return max(lost, 0)


def _logged(directory: Path) -> tuple[int, int]:
    """Rows and bytes that went from the lanes of a channel into its log, in this run."""
    rows = size_bytes = 0
    for file in lane_files(directory.parents[1]):
        if file.path.parent == directory:
            with contextlib.closing(Lane.open(file.path)) as lane:
                accounts = [account for account in read_take(lane)[1].accounts if account.sink == LOGGED]
            rows += sum(account.rows for account in accounts)
            size_bytes += sum(account.size_bytes for account in accounts)
    return rows, size_bytes


def _write_base(path: Path, board: Path, books: Books, note: Path) -> None:
    whole_file.write(path, [orjson.dumps([os.fspath(board), *books, os.fspath(note)])])


def since(directory: Path) -> Books:
    """What became of rows in a channel's log since the run began; nothing when it has none.

    `waiting` and `waiting_bytes` are those that stood in it then; they are missing in what an older release has noted.

    Raises:
        OSError, DamagedData: the books can't be read.
    """
    try:
        board, base, base_sinks, *note = orjson.loads((directory / _BASE).read_bytes())
    except FileNotFoundError:
        return {}, {}
    try:
        numbers, sinks = _read(Path(board))
    except FileNotFoundError:
        noted = _noted(Path(*note)) if note else None
        if noted is None:
            raise
        numbers, sinks = noted
    stood = {name: base[name] for name in _WAITING if name in base}
    moved = {name: number for name, number in _less(numbers, base).items() if name not in _WAITING}
    return moved | stood, {sink: _less(done, base_sinks.get(sink, {})) for sink, done in sinks.items()}


def _noted(note: Path) -> Books | None:
    """The books as the log's writer noted them last; None when it did not."""
    try:
        found = orjson.loads(note.read_bytes())
        return found["numbers"], found["sinks"]
    except (OSError, ValueError, KeyError):
        return None


def _read(path: Path) -> Books:
    from shipper.durable.board import Board

    with contextlib.closing(Board.open(path)) as board:
        return books_of(board)


def books_of(board: Board) -> Books:
    """How the books on a board stand."""
    from shipper.channels.file import tally  # an agent that has no log does without all of this

    numbers: dict[str, int] = dict.fromkeys((*_NUMBERS, *_WAITING), 0)
    sinks: dict[str, Numbers] = {}
    for index in board.lanes().values():
        head, books = tally.read(board, index)
        tail = board.tail(index)  # behind the head, so that less than nothing never waits
        more: dict[str, Any] = {
            "taken": head.rows, "taken_bytes": head.size_bytes, "before": books.before, "lost": books.lost,
            "expired": books.expired, "dropped_old": books.dropped,
            "waiting": tail.rows - head.rows, "waiting_bytes": tail.size_bytes - head.size_bytes,
        }  # fmt: skip
        _add(numbers, more)
        for account in books.accounts:
            done = {"delivered": account.rows, "delivered_bytes": account.size_bytes, "set_aside": account.aside}
            _add(sinks.setdefault(f"{account.sink:016x}", {}), done)
    return numbers, sinks


def _add(numbers: Numbers, more: Numbers) -> None:
    for name, number in more.items():
        numbers[name] = numbers.get(name, 0) + number


def _less(numbers: Numbers, base: Numbers) -> Numbers:
    return {name: number - base.get(name, 0) for name, number in numbers.items()}
