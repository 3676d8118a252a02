"""A file channel with any number of workers on both sides, and its writer, all in one process."""

from __future__ import annotations

from pathlib import Path

from shipper.channels.channel import TakeTransaction
from shipper.channels.file.channel import FileChannel
from shipper.channels.file.feed import FeedRoute
from shipper.channels.file.lease import LogLane
from shipper.channels.file.options import FileOptions
from shipper.channels.file.take import FileTakeSide
from shipper.channels.file.view import LogView
from shipper.channels.file.writer import LaneRoute, LogWriter, origins_of
from shipper.channels.memory.channel import lane_name
from shipper.channels.memory.put import LaneRoute as PutRoute
from shipper.channels.memory.put import PutSide, open_put_side
from shipper.config.field import read_options
from shipper.durable.board import Board, lane_id
from shipper.durable.disk import Disk
from shipper.durable.log import Log
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from tests.channels.grid import Grid

WRITER = 500


class _Following(FileTakeSide):
    """A take side whose channel's writer writes before each look: so a put is there at once, as in memory."""

    under_test: Logged

    def transaction(self):  # type: ignore[no-untyped-def]
        self.under_test.write()
        return super().transaction()


class Logged(Grid):
    """A file channel.

    Args:
        directory: for the run directory and the log.
        properties: of the channel, as a file has them.
        sources, sinks: how many workers put and take.
        disk: of the log; another one in tests of failing disks.
    """

    def __init__(
        self, directory: Path, properties: dict[str, str] | None = None, *, sources: int = 1, sinks: int = 1,
        disk: Disk | None = None,
    ) -> None:  # fmt: skip
        super().__init__(directory, sources, sinks)
        places = {
            "checkpointDir": f"{directory}/checkpoint", "dataDirs": f"{directory}/data",
            "minimumRequiredSpace": "1048576", "maxFileSize": "1m",
        }  # fmt: skip
        options, findings = read_options(FileOptions, {**places, **(properties or {})})
        assert options is not None, findings
        self.options = options
        self.keys = options.keys()
        self.settings = options.log_settings(self.keys)
        self.disk = disk
        self._writer: LogWriter | None = None
        self.now_s = 0.0
        FileChannel(self.name, options).prepare(directory / self.name, self.sources, ["c1.0"], 4 << 20)
        for source in self.sources:
            page = PutPage.ensure(directory / "puts" / source)
            page.register(lane_key(self.name, lane_name(source, "c1.0")))
            page.close()

    def lane(self, source: int = 0) -> Path:
        """Where the lane of a source lies."""
        return self.directory / self.name / lane_name(self.sources[source], "c1.0")

    @property
    def writer(self) -> LogWriter:
        """The channel's writer; opened when there is none."""
        if self._writer is None:
            log = Log.open(self.settings, self.sinks, origins_of, disk=self.disk)
            feeds = [
                FeedRoute(
                    self.lane(n), self.page(n), lane_id(f"run/{source}"),
                    self.bell(source),
                ) for n, source in enumerate(self.sources)
            ]  # fmt: skip
            lanes = [LaneRoute(lane_id(name), self.bell(name)) for name in self.sinks]
            self._writer = LogWriter(
                self.name, log, feeds, lanes, WRITER, sync_each=self.options.sync_each,
                sync_interval_s=self.options.sync_interval_s, drops_oldest=self.options.on_full == "dropOldest",
            )  # fmt: skip
        return self._writer

    def write(self) -> None:
        """The writer does all that it can."""
        while self.writer.step(self.now_s):
            pass

    def put_side(self, worker: int = 0) -> PutSide:
        if worker not in self._puts:
            lanes = {self.name: (self.options, [PutRoute(self.lane(worker), self.bell("c1.0"))])}
            others = [n for n in range(len(self.sources)) if n != worker]
            rivals = {self.name: [(self.lane(n), self.page(n)) for n in others]}
            assert self.writer
            side = open_put_side(
                self.page(worker), lanes, rivals, self.clock, {self.name: LogView(self.settings.board)}
            )
            side.awaits([self.name])
            self._puts[worker] = side
        return self._puts[worker]

    def take_side(self, worker: int = 0) -> FileTakeSide:
        if worker not in self._takes:
            self.write()
            routes = [LogLane(lane_id(name), name, n == worker) for n, name in enumerate(self.sinks)]
            side = _Following(
                self.settings.board, self.settings.data_dirs, routes, 1000 + worker, self.bell("c1.0"),
                keys=self.keys, drops_oldest=self.options.on_full == "dropOldest", max_age_s=self.options.max_age_s,
                clock=self.clock,
            )  # fmt: skip
            side.under_test = self
            side.settle()
            self._takes[worker] = side
        return self._takes[worker]

    def kill_writer(self) -> None:
        """Ends the writer as SIGKILL does: nothing more is written, no lock is kept."""
        writer, self._writer = self._writer, None
        if writer is not None:
            die(writer)

    def kill(self) -> None:
        super().kill()
        self.kill_writer()

    def cut_the_power(self) -> None:
        """Ends everything, and takes the run directory and the board away."""
        self.kill()
        self.settings.board.unlink(missing_ok=True)
        for path in (*self.directory.glob("c1/*"), *self.directory.glob("puts/*")):
            path.unlink()
        self.__init__(self.directory, sources=len(self.sources), sinks=len(self.sinks), disk=self.disk)  # type: ignore[misc]


def die(writer: LogWriter) -> None:
    """What the kernel does when the writer's process is gone."""
    log = writer.log
    if log._active is not None:
        log._active.close()
    log._keeper.close()
    log.board.close()
    log._claim.give_back()
    for feed in writer._feeds:
        feed.close()


def open_transaction(side: FileTakeSide) -> TakeTransaction:
    """A take transaction that is open."""
    transaction = side.transaction()
    transaction.begin()
    return transaction


__all__ = ["Board", "Logged", "die", "open_transaction"]
