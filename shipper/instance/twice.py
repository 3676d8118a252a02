"""Twice at most: how many delivered rows come again, when a run's memory is gone without a stop in order.

Two sides each wrote down how far they were: the journals of sinks how many rows of each lane are in what they will find
again (`files/journal_rows.py`), the workers that put how many they will never put again (`told_rows.py`). What lies
between comes twice. Both say it in an order in which a death makes the difference larger, never smaller: a journal
vouches for files only together with its number, a worker tells behind the sync of its positions.

In a log the rows themselves outlive the memory: between where its checkpoint lets sinks go on, and where they were,
rows come twice, and besides those that a source puts into it again.

Nobody knows, and that is said, of a channel from which a sink without a journal took, and of a log from which its
source does not know where to go on (`telling.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from shipper.errors import DamagedData, ShipperError
from shipper.files.journal_rows import rows_vouched_for
from shipper.instance import known_logs
from shipper.instance.holdings import worker_name
from shipper.instance.settled import boot_id
from shipper.instance.told_rows import told
from shipper.ring.layout import ring_key

_JOURNALS = ("files.journal", "stage/files.journal", "stage/made.journal")


@dataclass
class Twice:
    """What is known of one channel.

    Attributes:
        rows: that come twice at most, of those of which that is known.
        known: False when others may come twice, too, nobody knows how many.
    """

    rows: int = 0
    known: bool = True


@dataclass
class _Sinks:
    """What the sink workers of an agent have said.

    Attributes:
        taken: lane -> rows that were taken from it at most.
        by_worker: sink worker -> the lanes that each sink of it has said something of.
    """

    taken: dict[str, int] = field(default_factory=dict)
    by_worker: dict[str, list[set[str]]] = field(default_factory=dict)

    def have_said(self, worker: str, lane: str) -> bool:
        """True when each sink of a worker has said how far it was in a lane, or there never was such a worker."""
        return all(lane in said for said in self.by_worker.get(worker, ()))


def count(state_dir: Path, run_id: str, channels: Iterable[str] = ()) -> dict[str, Twice]:
    """Of each channel of the run that is gone: what comes twice. Before a worker of the next run starts.

    Nothing is changed. What can't be read makes a channel unknown, or all of them.

    Args:
        channels: that the run is remembered to have had.
    """
    try:
        tellers = list(told(state_dir, run_id))
    except OSError:
        return {name: Twice(known=False) for name in channels}
    found: dict[str, Twice] = {}
    sinks = _Sinks()
    for worker, place in _sink_workers(state_dir):
        said = _said(place)
        sinks.by_worker.setdefault(worker, []).append(set(said))
        for lane, rows in said.items():
            sinks.taken[lane] = max(rows, sinks.taken.get(lane, 0))
    for one in tellers:
        for name, rows in one.rows.items():
            channel, _, file = name.rpartition("/")
            lane, twice = ring_key(run_id, channel, file), found.setdefault(channel, Twice())
            twice.rows += max(0, sinks.taken.get(lane, 0) - rows)
            twice.known &= sinks.have_said(file.partition("--")[2], lane)
        for channel in one.logs:
            found.setdefault(channel, Twice()).known = False
    for log in known_logs.known(state_dir):
        _count_log(
            found.setdefault(log["channel"], Twice()), Path(log["checkpoint"]), list(map(Path, log["data"])), sinks
        )
    return found


def _sink_workers(state_dir: Path) -> Iterator[tuple[str, Path]]:
    """(its name in lanes, state directory of one of its sinks) of every sink worker that there ever was."""
    for path in state_dir.glob("sinks/**/sink.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            yield (
                worker_name(orjson.loads(path.read_bytes())["title"], path.parent.name.rpartition(".")[2]),
                path.parent,
            )


def _said(place: Path) -> Mapping[str, int]:
    """What the journals of a sink say of lanes."""
    said: dict[str, int] = {}
    for name in _JOURNALS:
        with contextlib.suppress(OSError):
            for lane, rows in rows_vouched_for((place / name).read_bytes(), boot_id()).items():
                said[lane] = max(rows, said.get(lane, 0))
    return said


def _count_log(twice: Twice, checkpoint_dir: Path, data_dirs: Sequence[Path], sinks: _Sinks) -> None:
    """Adds what sinks had of a log behind its checkpoint. In the same life of the machine its board knows better."""
    from shipper.durable.board import Board, log_key  # an agent that has no log does without all of this
    from shipper.durable.checkpoint import load_newest
    from shipper.durable.directory import BOARD_NAME, has_segments
    from shipper.durable.disk import Disk
    from shipper.durable.segment import NewerVersion

    disk = Disk()
    with (
        contextlib.suppress(OSError, DamagedData),
        contextlib.closing(Board.open(checkpoint_dir / BOARD_NAME)) as board,
    ):
        if board.boot_id == disk.boot_id():
            return
    try:
        stored = load_newest(disk, [checkpoint_dir])
        if stored is None or isinstance(stored, NewerVersion):
            twice.known &= stored is None and not has_segments(disk, data_dirs)  # there is no log yet
            return
    except (OSError, ShipperError):
        twice.known = False
        return
    for key, state in stored.state.lanes.items():
        lane = log_key(stored.state.log_id, key)
        twice.rows += max(0, sinks.taken.get(lane, 0) - state.head.rows)
        twice.known &= sinks.have_said(state.name, lane)
