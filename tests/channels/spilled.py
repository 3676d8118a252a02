"""A channel that spills, with any number of workers on both sides, and its writer, all in one process."""

from __future__ import annotations

import gc
from pathlib import Path

from shipper.channels.file.feed import FeedRoute
from shipper.channels.file.lease import LogLane
from shipper.channels.file.take import FileTakeSide
from shipper.channels.file.view import LogView
from shipper.channels.file.writer import LaneRoute, LogWriter, origins_of
from shipper.channels.memory.channel import lane_name, second_lane_name
from shipper.channels.memory.put import LaneRoute as PutRoute
from shipper.channels.memory.put import PutSide, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.channels.spillablememory.channel import SpillableMemoryChannel, SpillableMemoryOptions
from shipper.channels.spillablememory.take import SecondLane, SpillTakeSide
from shipper.config.field import read_options
from shipper.durable.board import lane_id
from shipper.durable.disk import Disk
from shipper.durable.log import Log
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from tests.channels.grid import Grid
from tests.channels.logged import die

WRITER = 500


class _Following(SpillTakeSide):
    """A take side whose channel's writer writes before each look, unless it is told to stand still."""

    under_test: Spilled

    def transaction(self):  # type: ignore[no-untyped-def]
        if not self.under_test.writer_stands_still:
            self.under_test.write()
        return super().transaction()


class Spilled(Grid):
    """A channel that spills.

    Args:
        directory: for the run directory and the log.
        properties: of the channel, as a file has them.
        sources, sinks: how many workers put and take.
        run: id of the run directory.
        poison: what was taken from memory is overwritten when it is committed.
    """

    def __init__(
        self, directory: Path, properties: dict[str, str] | None = None, *, sources: int = 1, sinks: int = 1,
        disk: Disk | None = None, run: str = "run", poison: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(directory, sources, sinks)
        self.properties = {
            "checkpointDir": f"{directory}/checkpoint", "dataDirs": f"{directory}/data", "overflowTimeout": "0",
            "minimumRequiredSpace": "1048576", "maxFileSize": "1m", "ring.bytes": "256k", **(properties or {}),
        }  # fmt: skip
        options, findings = read_options(SpillableMemoryOptions, self.properties)
        assert options is not None, findings
        self.options = options
        self.keys = options.keys()
        self.settings = options.log_settings(self.keys)
        self.disk = disk
        self.run = run
        self.poison = poison
        self.writer_stands_still = False
        self._writer: LogWriter | None = None
        SpillableMemoryChannel(self.name, options).prepare(directory / self.name, self.sources, self.sinks, 4 << 20)
        for source in self.sources:
            page = PutPage.ensure(directory / "puts" / source)
            for sink in self.sinks:
                page.register(lane_key(self.name, lane_name(source, sink)))
                page.register(lane_key(self.name, second_lane_name(source, sink)))
            page.close()

    def lane(self, source: int = 0, sink: int = 0) -> Path:
        """Where a lane in memory lies."""
        return self.directory / self.name / lane_name(self.sources[source], self.sinks[sink])

    def second(self, source: int = 0, sink: int = 0) -> Path:
        """Where a lane to the writer lies."""
        return self.directory / self.name / second_lane_name(self.sources[source], self.sinks[sink])

    def _pairs(self) -> list[tuple[int, int]]:
        return [(source, sink) for source in range(len(self.sources)) for sink in range(len(self.sinks))]

    def producer(self, source: int, sink: int) -> int:
        """How the log knows a lane to the writer."""
        return lane_id(f"{self.run}/{self.second(source, sink).name}")

    @property
    def writer(self) -> LogWriter:
        """The channel's writer; opened when there is none."""
        if self._writer is None:
            log = Log.open(self.settings, self.sinks, origins_of, disk=self.disk)
            feeds = [
                FeedRoute(
                    self.second(source, sink), self.page(source), self.producer(source, sink),
                    self.bell(self.sources[source]), lane_id(self.sinks[sink]),
                ) for source, sink in self._pairs()
            ]  # fmt: skip
            lanes = [LaneRoute(lane_id(name), self.bell(name)) for name in self.sinks]
            self._writer = LogWriter(
                self.name, log, feeds, lanes, WRITER, sync_each=self.options.sync_each,
                sync_interval_s=self.options.sync_interval_s,
            )  # fmt: skip
        return self._writer

    def write(self) -> None:
        """The writer does all that it can."""
        while self.writer.step(0.0):
            pass

    def put_side(self, worker: int = 0) -> PutSide:
        if worker not in self._puts:
            assert self.writer
            mine = range(len(self.sinks))
            lanes = [PutRoute(self.lane(worker, sink), self.bell(self.sinks[sink])) for sink in mine]
            seconds = [PutRoute(self.second(worker, sink), self.bell("c1.0")) for sink in mine]
            rivals = [
                (path, self.page(source)) for source, sink in self._pairs() if source != worker
                for path in (self.lane(source, sink), self.second(source, sink))
            ]  # fmt: skip
            self._puts[worker] = open_put_side(
                self.page(worker), {self.name: (self.options, lanes)}, {self.name: rivals}, self.clock,
                {self.name: LogView(self.settings.board)}, {self.name: seconds},
            )  # fmt: skip
        return self._puts[worker]

    def take_side(self, worker: int = 0) -> SpillTakeSide:
        if worker not in self._takes:
            assert self.writer
            sink = 1000 + worker
            memory = TakeSide(
                [
                    TakeRoute(self.name, self.lane(s, k), self.page(s), self.bell(self.sources[s]), k == worker)
                    for s, k in self._pairs()
                ], sink, self.poison, max_age_s=self.options.max_age_s, clock=self.clock,
            )  # fmt: skip
            routes = [LogLane(lane_id(name), name, n == worker) for n, name in enumerate(self.sinks)]
            log = FileTakeSide(
                self.settings.board, self.settings.data_dirs, routes, sink, self.bell("c1.0"), keys=self.keys,
                max_age_s=self.options.max_age_s, clock=self.clock,
            )  # fmt: skip
            seconds = [SecondLane(self.second(s, k), self.page(s), self.producer(s, k)) for s, k in self._pairs()]
            side = _Following(self.name, memory, log, seconds)
            side.under_test = self
            side.settle()
            self._takes[worker] = side
        return self._takes[worker]

    @property
    def on_disk(self) -> int:
        """Events that went to the writer and were not delivered."""
        return self.put_side().putters[self.name]._disk.rows()  # type: ignore[union-attr]

    @property
    def in_memory(self) -> int:
        """Events in lanes in memory that were not delivered."""
        return self.put_side().putters[self.name]._memory.rows()  # type: ignore[union-attr]

    def kill_writer(self) -> None:
        """Ends the writer as SIGKILL does."""
        writer, self._writer = self._writer, None
        if writer is not None:
            die(writer)

    def kill_sink(self, worker: int = 0) -> None:
        """Ends a sink worker as SIGKILL does."""
        gc.collect()
        self._takes.pop(worker).close()

    def kill(self) -> None:
        super().kill()
        self.kill_writer()
