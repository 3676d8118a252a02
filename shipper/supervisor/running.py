"""What runs: everything that belongs to an agent between its start and its stop, and follows when its files change.

The grid of the plan that runs, the books of its workers, the pages that all of them share, and what counts and shows
their numbers. The supervisor's loop decides; this keeps what it decided about together.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from shipper.config.plan import Plan
from shipper.instance.instance import Instance
from shipper.instance.ledger_book import Bookkeeper
from shipper.instance.moved import remember
from shipper.metrics.block import Entry, Kind, MetricsBlock
from shipper.metrics.observer import Observer
from shipper.metrics.writer_entry import WriterEntry
from shipper.ring.wait import Bell
from shipper.supervisor.fleet import Fleet, Worker
from shipper.supervisor.launch import Loaded
from shipper.supervisor.meters import Meters
from shipper.supervisor.monitor import Monitor
from shipper.supervisor.reload import Difference
from shipper.workers.control import WORKERS_MAX, Control
from shipper.workers.grid import Grid, build
from shipper.workers.spec import WorkerSpec

#: The metrics block has room for so many times the entries that it begins with, and some more: a file may grow.
_ROOM_FACTOR, _ROOM_MORE = 2, 16


class Running:
    """One agent while it runs.

    Args:
        loaded: the configuration to begin with; it has a plan.
        file: the agent's first configuration file.
        log_fd: where workers write their log lines.

    Raises:
        ConfigurationError, ComponentFailed: it can't be run.
    """

    def __init__(self, loaded: Loaded, instance: Instance, file: Path, system: Mapping[str, str], log_fd: int) -> None:
        assert loaded.plan is not None
        self.plan: Plan = loaded.plan
        self._instance = instance
        self._file = file
        now_ms = time.time_ns() // 1_000_000
        self.grid = build(self.plan, instance, poison=is_poisoned())
        self.books = self._open_books()
        self.control = Control.create(instance.run_dir / "control")
        self.block = MetricsBlock.create(
            instance.run_dir / "metrics", _entries(self.grid) * _ROOM_FACTOR + _ROOM_MORE, agent=instance.agent,
            file=str(file.absolute()), start_ms=now_ms,
        )  # fmt: skip
        self.fleet = Fleet((), self.control, log_fd)
        self._describe_channels()
        self.fleet.part((), self._new_workers(self.grid.workers))
        self._place_entries()
        self.meters = Meters(self.grid, self.books.twice())
        self.observer = Observer(self.block, self.meters.channels)
        self.monitor = Monitor(system, self.observer, self.fleet.ready)
        self.monitor.show(self.plan, loaded.counted, self.meters.base())
        remember(instance, file)

    def has_room_for(self, grid: Grid, change: Difference) -> bool:
        """True when the pages that the workers share have room for those that begin, beside those that still end."""
        members = sum(len(spec.members) + len(spec.sinks) for spec in change.begins)
        free = sum(entry.kind == Kind.FREE for entry in self.block.entries)
        lines = len(self.fleet.workers) + len(change.begins)
        return lines <= WORKERS_MAX and members + len(grid.channels) <= free

    def follow(self, loaded: Loaded, grid: Grid, change: Difference) -> list[Worker]:
        """Makes another configuration the one that runs. Those that end have ended; the new workers are returned."""
        assert loaded.plan is not None
        grid.free(self._instance.run_dir)
        self.plan, self.grid = loaded.plan, grid
        self._describe_channels()
        begins = self._new_workers(change.begins)
        successors = {entry for worker in begins for entry in worker.entries}
        for worker in change.ends:
            for entry in worker.entries:
                if entry not in successors:
                    entry.free()
        self.fleet.part(change.ends, begins)
        self._place_entries()
        self.meters.follow(grid)
        self.books = self._open_books()
        self.monitor.show(self.plan, loaded.counted, self.meters.base())
        remember(self._instance, self._file)
        return begins

    def sweep(self) -> None:
        """Closes the books of workers that were to leave on their own time, and have. Between reloads."""
        gone = [w for w in self.fleet.workers if w.leaving and w not in self.fleet.alive()]
        for worker in gone:
            for entry in worker.entries:
                entry.free()
        if gone:
            self.fleet.part(gone)

    def close(self) -> None:
        """Kills who still lives, and lets go of everything but the ledger's book."""
        self.fleet.kill()
        self.monitor.close()
        self.meters.close()
        self.fleet.close()

    # --- inside

    def _open_books(self) -> Bookkeeper:
        return Bookkeeper(self._instance, self._file, [sink.name for group in self.plan.groups for sink in group.sinks])

    def _describe_channels(self) -> None:
        there = {entry.name(): entry for entry in self.block.entries if entry.kind == Kind.CHANNEL}
        for name in there.keys() - self.grid.channels.keys():
            there[name].free()
        for channel in self.plan.channels:
            if channel.name not in there:
                self._free_entry().describe(
                    Kind.CHANNEL, channel.name, channel.type, start_ms=time.time_ns() // 1_000_000
                )

    def _new_workers(self, specs: Sequence[WorkerSpec]) -> list[Worker]:
        """Opens the books of workers. A component that was there before counts on in the entry that it had."""
        used = {worker.spec.line for worker in self.fleet.workers}
        lines = iter(sorted(set(range(1, WORKERS_MAX + 1)) - used))
        taken = {
            (sample.kind, sample.name, sample.worker, sample.type): index
            for index, entry in enumerate(self.block.entries)
            if entry.kind not in (Kind.FREE, Kind.CHANNEL) and (sample := entry.sample())
        }
        workers = []
        for spec in specs:
            line = next(lines)
            indices = []
            for member in spec.members:
                linked = [member.channel] if member.channel else [channel.name for channel in member.channels]
                kind = Kind.SINK if member.kind == "sink" else Kind.SOURCE
                for found in (*member.sinks, *([member.source] if member.source else [])):
                    index = taken.get((kind, found.name, member.index, found.type))
                    if index is None:
                        index = self.block.entries.index(self._free_entry())
                        self.block.entries[index].describe(
                            kind, found.name, found.type, member.index, linked, time.time_ns() // 1_000_000
                        )
                    else:
                        self.block.entries[index].relink(linked)
                    indices.append(index)
            shares = tuple(dataclasses.replace(share, line=line) for share in spec.shares)
            spec = dataclasses.replace(spec, line=line, shares=shares).with_metrics(indices)
            writes = WriterEntry(self.block, spec.channel) if spec.kind == "channel" else None
            entries = tuple(self.block.entries[i] for i in indices)
            workers.append(Worker(spec, entries, Bell(Path(spec.bell)), writes=writes))
        return workers

    def _place_entries(self) -> None:
        """Entries are listed in the order of the configuration, whichever was free when a component came."""
        plan = self.plan
        sinks = [sink.name for group in plan.groups for sink in group.sinks]
        places = {
            **{(Kind.SOURCE, source.name): number for number, source in enumerate(plan.sources)},
            **{(Kind.CHANNEL, channel.name): number for number, channel in enumerate(plan.channels)},
            **{(Kind.SINK, name): number for number, name in enumerate(sinks)},
        }
        for entry in self.block.entries:
            if entry.kind != Kind.FREE:
                entry.place(places.get((entry.kind, entry.name()), len(places)))  # one that leaves comes last

    def _free_entry(self) -> Entry:
        return next(entry for entry in self.block.entries if entry.kind == Kind.FREE)


def is_poisoned() -> bool:
    """True when the ring is to be overwritten behind every take commit, to find views that outlive it (tests)."""
    return bool(os.environ.get("SHIPPER_POISON"))


def _entries(grid: Grid) -> int:
    members = [member for spec in grid.workers for member in spec.members]
    return len(grid.channels) + sum(len(member.sinks) + (member.source is not None) for member in members)
