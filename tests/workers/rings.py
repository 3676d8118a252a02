"""The rings of an agent without its processes: what its workers would put and take, done by the test itself."""

from __future__ import annotations

import contextlib
import gc
from pathlib import Path

from shipper.batch.batch import EventBatch, Origin
from shipper.channels.memory.channel import MemoryOptions
from shipper.channels.memory.put import LaneRoute, PutSide, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.config.bind import load
from shipper.config.field import read_options
from shipper.instance.instance import Instance, find
from shipper.workers.grid import Grid, build
from shipper.workers.positions import Positions
from shipper.workers.spec import WorkerSpec

CONFIGURATION = """
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = seq
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.ring.bytes = 64k
a1.sinks.k1.type = null
a1.sinks.k1.channel = c1
"""


class Rings:
    """An agent's instance, claimed, with its grid built.

    Args:
        directory: for the file, the run and the state directory.
        configuration: of agent a1.
    """

    def __init__(
        self, directory: Path, configuration: str = CONFIGURATION, *, start: bool = True, file: Path | None = None
    ) -> None:
        self.file = file or directory / "a1.properties"
        self.file.write_text(configuration)
        self.instance: Instance = find("a1", self.file, run_dir=directory / "run", state_dir=directory / "state")
        self._puts: dict[str, PutSide] = {}
        self._takes: dict[str, TakeSide] = {}
        self.grid: Grid
        if start:
            self.instance.claim()
            self.build()

    def build(self) -> None:
        """Makes the segments, or finds them."""
        plan, problems = load([str(self.file)], "a1", {}, {}, False)
        assert plan is not None, problems
        self.grid = build(plan, self.instance)

    def put_side(self, name: str = "r1", index: int = 0) -> PutSide:
        """The put side of a source worker."""
        spec = self._spec(self.grid.sources, name, index)
        if spec.page not in self._puts:
            channels = {}
            for channel in spec.channels:
                options, _ = read_options(MemoryOptions, channel.properties)
                assert options is not None
                lanes = [LaneRoute(Path(lane.path), Path(lane.bell)) for lane in channel.lanes]
                channels[channel.name] = (options, lanes)
            rivals = {c.name: [(Path(lane), Path(page)) for lane, page in c.rivals] for c in spec.channels}
            self._puts[spec.page] = open_put_side(Path(spec.page), channels, rivals)
        return self._puts[spec.page]

    def take_side(self, name: str = "k1", index: int = 0) -> TakeSide:
        """The take side of a sink worker, settled."""
        spec = self._spec(self.grid.sinks, name, index)
        if spec.bell not in self._takes:
            routes = [TakeRoute(spec.channel, Path(t.path), Path(t.page), Path(t.bell), t.home) for t in spec.takes]
            self._takes[spec.bell] = TakeSide(routes, spec.sink_id, True)
            self._takes[spec.bell].settle()
        return self._takes[spec.bell]

    def put(self, *bodies: bytes, origin: Origin | None = None, name: str = "r1", channel: str = "c1") -> None:
        """One put, remembered in the position table as a source worker does."""
        transaction = self.put_side(name).transaction()
        transaction.begin()
        origins = [origin] if origin else []
        assert transaction.put(channel, EventBatch.of(list(bodies)).with_origins(origins))
        transaction.commit()
        transaction.close()

    def remember(self, *origins: Origin, name: str = "r1") -> None:
        """What a source worker does behind its put."""
        with contextlib.closing(self.positions(name)) as positions:
            positions.store(origins)

    def positions(self, name: str = "r1") -> Positions:
        """The position table of a source worker."""
        return Positions(Path(f"{self._spec(self.grid.sources, name, 0).page}.positions"))

    def take(self, *, commit: bool = True, sequence: int = 0, frames: int = 0, name: str = "k1") -> list[bytes]:
        """All that waits in one lane, or so many frames of it, in one transaction."""
        transaction = self.take_side(name).transaction()
        transaction.begin()
        found: list[bytes] = []
        taken = 0
        while (not frames or taken < frames) and (batch := transaction.take()) is not None:
            found += [body.as_py() for body in batch.body]
            taken += 1
            del batch
        transaction.sequence = sequence
        if commit:
            transaction.commit()
        else:
            transaction.rollback()
        transaction.close()
        return found

    def drain(self, name: str = "k1") -> list[bytes]:
        """All that waits in all lanes."""
        found: list[bytes] = []
        while rows := self.take(name=name):
            found += rows
        return found

    def end(self, *, in_order: bool = True) -> None:
        """All workers end, in order or as SIGKILL does it, and the supervisor gives the instance up."""
        self.end_workers(in_order=in_order)
        self.instance.close()

    def end_workers(self, *, in_order: bool = True) -> None:
        """All workers end; the supervisor stays."""
        for side in self._takes.values():
            if in_order:
                side.let_go(lambda: None)
        gc.collect()  # views of batches hold the mapping, and a process that ended holds none
        for one in (*self._puts.values(), *self._takes.values()):
            one.close()
        self._puts.clear()
        self._takes.clear()

    @staticmethod
    def _spec(specs: tuple[WorkerSpec, ...], name: str, index: int) -> WorkerSpec:
        return next(spec for spec in specs if spec.name == name and spec.index == index)
