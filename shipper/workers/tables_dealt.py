"""Tables dealt anew: when a source gets more or fewer workers, each goes on from what all those before it had put.

Which worker reads what changes with their number (a tail deals its files out by their identity), and no worker can say
to whom the streams in its table go. So each gets a table of everything: the last origin of each stream, and the puts of
all workers that are not known to be durable, with their lanes. A source drops what is not its own
(`SourceContext.forget`). The template deals them, before it forks the workers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from pathlib import Path

from shipper import log, whole_file
from shipper.batch.batch import Origin
from shipper.channels.memory.last_put import last_origins
from shipper.errors import ComponentFailed, DamagedData
from shipper.instance.holdings import lane_files, worker_name
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from shipper.workers.position_table import PositionTable, TablePut


def deal(run_dir: Path, source: str, workers: int) -> None:
    """Deals the tables of a source anew, if they were written for another number of workers.

    Only while no worker of the source runs. Afterwards its `workers` first workers have tables, which say the same, and
    no other one has.

    Raises:
        ComponentFailed: they can't be written; those that are there say what they said.
    """
    puts = run_dir / "puts"
    wanted = [worker_name(source, index) for index in range(workers)]
    there = {path.name.removesuffix(".positions"): path for path in _tables(puts, source)}
    dealt_for = [_workers(path) for path in there.values()]
    unsaid = dealt_for.count(0)
    if not there or (there.keys() <= set(wanted) and {count or unsaid for count in dealt_for} == {workers}):
        return
    tables = {name: PositionTable.read(path.read_bytes()) for name, path in there.items()}
    for name, table in tables.items():
        _add_last_put(run_dir, source, name, table)
    everything = _together(tables.values())
    everything.workers = workers
    # Dying in here: there is a table still that was written for another number, so all of this is done once more, with
    # what is written already. The one that says so is the last to go.
    for name in sorted(wanted, key=lambda name: name in there):
        everything.number = _number(puts / name)
        path = puts / f"{name}.positions"
        try:
            whole_file.write(path, everything.lines())
        except OSError as problem:
            raise ComponentFailed(f"can't write the positions to {path}: {problem.strerror}; make room there") from None
    for name in sorted(there.keys() - set(wanted)):
        there[name].unlink()


def _tables(puts: Path, source: str) -> list[Path]:
    """None where the run directory was removed: the worker itself says so."""
    if not puts.is_dir():
        return []
    stem = worker_name(source, "")
    found = [path for path in puts.iterdir() if path.name.startswith(stem) and path.suffix == ".positions"]
    return sorted(path for path in found if path.stem.removeprefix(stem).isdigit())


def _workers(path: Path) -> int:
    """For how many workers a table was written, 0 when it does not say: its first line does, and the rest is long."""
    with path.open("rb") as lines:
        return PositionTable.read(lines.readline()).workers


def _number(page_path: Path) -> int:
    """Of the last put of a worker, 0 when it never put."""
    if not page_path.exists():
        return 0
    with contextlib.closing(PutPage.ensure(page_path)) as page:
        return page.number()


def _add_last_put(run_dir: Path, source: str, name: str, table: PositionTable) -> None:
    """A worker that was killed had perhaps not stored its last put: what that said is in the lanes."""
    page_path = run_dir / "puts" / name
    if not page_path.exists():
        return
    with contextlib.closing(PutPage.ensure(page_path)) as page:
        try:
            state = page.state()
            origins = last_origins(page, [run_dir / "channels"]) if state.number > table.number else []
        except DamagedData as problem:
            log.say("ERROR", source, f"{problem}: what its last put had is perhaps read again")
            return
        if not origins:
            return
        behind = dict.fromkeys(table.lanes, 0)
        for file in lane_files(run_dir):
            lane = f"{file.channel}/{file.path.name}"
            if file.page == page_path and lane in behind:
                with contextlib.suppress(KeyError, IndexError):
                    behind[lane] = state.lanes[page.index(lane_key(file.channel, file.path.name))].tail
    table.streams.update((origin.stream, origin) for origin in origins)
    if behind:
        table.waiting.append(TablePut(tuple(behind.values()), origins))


def _together(tables: Collection[PositionTable]) -> PositionTable:
    """What several tables say: of each stream the furthest place, and every put that waits, once.

    A stream that has changed hands before is in several of them. The one that knows its furthest place has all of its
    puts, for its worker began with a table of everything too; what others say of it is older.
    """
    lanes = list(dict.fromkeys(lane for table in tables for lane in table.lanes))
    streams: dict[str, Origin] = {}
    for table in tables:
        for stream, origin in table.streams.items():
            if stream not in streams or origin.end > streams[stream].end:
                streams[stream] = origin
    waiting: dict[tuple[Sequence[int], Sequence[Origin]], None] = {}
    for table in tables:
        for put in table.waiting:
            behind = dict(zip(table.lanes, put.behind, strict=True))
            origins = tuple(one for one in put.origins if table.streams[one.stream] == streams[one.stream])
            if origins:
                waiting[tuple(behind.get(lane, 0) for lane in lanes), origins] = None
    return PositionTable(lanes, streams=streams, waiting=[TablePut(*put) for put in waiting])
