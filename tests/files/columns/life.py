"""A process of a sink that writes files of columns, and what is in those files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.files.columns import places
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import ManualClock, sink_context


class Inline:
    """A job that is done when it has been begun."""

    done: bool = True

    def __init__(self, job: Callable[[], None]) -> None:
        self.error: OSError | None = None
        try:
            job()
        except OSError as problem:
            self.error = problem

    def wait(self, most_s: float | None = None) -> None:
        """It has ended."""


class Hanging(Inline):
    """A job that was begun and does not get on."""

    def __init__(self, job: Callable[[], None]) -> None:
        self.error = None
        self.done = False


class Life:
    """One process of a sink that writes to one bucket."""

    def __init__(self, tmp_path: Path, sequence: int = 0, sink: type[HdfsSink] = HdfsSink, **properties: str) -> None:
        self.out = tmp_path / "out"
        self.stage = tmp_path / "state" / places.FOLDER
        self.clock = ManualClock()
        given = {"path": f"file://{self.out}", "fileType": "Parquet", "rollInterval": "0", **properties}
        given = {key.replace("_", "."): value for key, value in given.items()}
        options, findings = read_options(HdfsOptions, {f"hdfs.{key}": value for key, value in given.items()})
        assert options is not None, findings
        self.lines: list[tuple[str, str]] = []
        self.sink = sink(options)
        self.context = sink_context(
            tmp_path / "state", clock=self.clock, said=self.lines, committed_sequence=sequence
        )  # fmt: skip
        self.sink.open(self.context)

    def deliver(self, *bodies: bytes, **headers: str) -> int:
        self.sink.deliver(self.batch(*bodies, **headers))
        sequence = self.sink.flush()
        self.sink.committed()
        return sequence

    @staticmethod
    def batch(*bodies: bytes, **headers: str) -> EventBatch:
        return EventBatch.of(list(bodies), [headers] * len(bodies))

    def sync(self) -> None:
        self.sink.sync()
        while not self.sink.synced():
            pass

    def names(self) -> list[str]:
        return sorted(os.listdir(self.out)) if self.out.exists() else []

    def rows(self) -> list[bytes]:
        return [row for path in sorted(self.out.iterdir()) for row in rows_of(path)]


def rows_of(path: Path) -> list[bytes]:
    if path.suffix == ".parquet":
        return pq.read_table(path, partitioning=None)["body"].to_pylist()
    if path.suffix == ".orc":
        return orc.read_table(path)["body"].to_pylist()
    with pa.ipc.open_file(path) as file:
        return file.read_all()["body"].to_pylist()
