"""The books of a log: what became of the rows in it, since the run directory was made.

A log outlives run directories, and the ledger counts by run: the log's writer notes in each run directory how its books
stood when it first opened the log there, and what is counted of a run is the difference.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from shipper import whole_file

_BASE = "log.base"
_NUMBERS = ("taken", "taken_bytes", "before", "lost", "expired", "dropped_old")
_WAITING = ("waiting", "waiting_bytes")

Numbers = dict[str, int]
#: Of the log, and of each sink by the word that accounts know it by, in hex.
Books = tuple[Numbers, dict[str, Numbers]]


def note_base(directory: Path, board: Path) -> None:
    """Notes how the books of a log stand, in the channel's directory of a run; only once there."""
    path = directory / _BASE
    if not path.exists():
        whole_file.write(path, [orjson.dumps([os.fspath(board), *_read(board)])])


def since(directory: Path) -> Books:
    """What became of rows in a channel's log since the run began; nothing when it has none.

    `waiting` and `waiting_bytes` are those that stood in it then; they are missing in what an older release has noted.

    Raises:
        OSError, DamagedData: the books can't be read.
    """
    try:
        board, base, base_sinks = orjson.loads((directory / _BASE).read_bytes())
    except FileNotFoundError:
        return {}, {}
    numbers, sinks = _read(Path(board))
    stood = {name: base[name] for name in _WAITING if name in base}
    moved = {name: number for name, number in _less(numbers, base).items() if name not in _WAITING}
    return moved | stood, {sink: _less(done, base_sinks.get(sink, {})) for sink, done in sinks.items()}


def _read(path: Path) -> Books:
    from shipper.channels.file import tally  # an agent that has no log does without all of this
    from shipper.durable.board import Board

    numbers: dict[str, int] = dict.fromkeys((*_NUMBERS, *_WAITING), 0)
    sinks: dict[str, Numbers] = {}
    board = Board.open(path)
    try:
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
    finally:
        board.close()
    return numbers, sinks


def _add(numbers: Numbers, more: Numbers) -> None:
    for name, number in more.items():
        numbers[name] = numbers.get(name, 0) + number


def _less(numbers: Numbers, base: Numbers) -> Numbers:
    return {name: number - base.get(name, 0) for name, number in numbers.items()}
