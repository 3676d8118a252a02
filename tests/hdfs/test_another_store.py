"""`hdfs.path` names another store than the process before had: what was begun there ends there, each row once.

The clusters are in memory. The path is the same on all stores, so that nothing but the store tells the files apart.
"""

from __future__ import annotations

import errno
import signal
from io import BytesIO
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hdfs.cluster import Cluster
from hdfs.memory_cluster import Files, MemoryCluster, Steps
from hdfs.test_columns import bodies, configuration

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.files.elsewhere import LOCAL
from shipper.files.journal import Journal
from shipper.files.local import LocalStore
from shipper.files.progress import FileState
from shipper.files.store import Explained, FileStatus, Store
from shipper.metrics.block import MetricsBlock
from shipper.metrics.sample import Kind
from shipper.sinks.hdfs import sink as sink_of_hdfs
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.sinks.hdfs.store import HdfsStore
from shipper.sinks.hdfs.web import WebPort
from shipper.testing.agent import Agent
from shipper.testing.fakes import ManualClock, sink_context

A, B = "hdfs://a:8020", "hdfs://b:8020"
CHANGES = [(A, LOCAL), (LOCAL, A), (A, B)]
KINDS = ["DataStream", "Parquet"]


class AwayCluster(MemoryCluster):
    """A cluster that may be away."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world.clusters[name], Steps())
        self._asked = lambda: world.asked(name)

    async def stat(self, path: str) -> FileStatus | None:
        self._asked()
        return await super().stat(path)

    async def recover_lease(self, path: str) -> bool:
        self._asked()
        return await super().recover_lease(path)


class World:
    """All stores, and which of them can't be reached."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.clusters = {A: Files(), B: Files()}
        self.away: set[str] = set()
        self.unknown: set[str] = set()
        self.clock = ManualClock()

    def asked(self, name: str) -> None:
        if name in self.away:
            raise Explained(errno.ECONNREFUSED, "the connection was refused", "is it up?")

    def open(self, name: str) -> Store:
        if name in self.unknown:
            raise Explained(errno.ENXIO, "nobody knows that name", "")
        return LocalStore() if name == LOCAL else HdfsStore(AwayCluster(self, name), WebPort([], "me"), print)

    def files(self, name: str) -> dict[str, bytes]:
        """What a store has, by the last part of its name."""
        if name == LOCAL:
            out = self.home / "out"
            return {path.name: path.read_bytes() for path in sorted(out.iterdir())} if out.exists() else {}
        return {path.rpartition("/")[2]: file.content for path, file in sorted(self.clusters[name].files.items())}

    def rows(self, name: str) -> list[bytes]:
        """Those of a store, all of whose files must be done."""
        found = []
        for file, content in self.files(name).items():
            assert not file.endswith(".tmp"), file
            found += pq.read_table(BytesIO(content))["body"].to_pylist() if "parquet" in file else content.splitlines()
        return found


class Life:
    """One process of the sink of a world."""

    living: tuple[World, str, str]

    def __init__(
        self, world: World, name: str, kind: str, sequence: int = 0, *, below: str = "", **properties: str
    ) -> None:
        Life.living = world, name, below
        given = {"path": f"{name}{world.home}/out{below}", "fileType": kind, "rollInterval": "0", "rollCount": "0",
                 "rollSize": "0", "timeZone": "UTC"} | properties  # fmt: skip
        options, findings = read_options(HdfsOptions, {f"hdfs.{key}": value for key, value in given.items()})
        assert options is not None, findings
        self.said: list[tuple[str, str]] = []
        self.clock = world.clock
        self.clock.advance(60)
        self.sink = HdfsSink(options)
        self.sink.open(
            sink_context(world.home / "state", clock=world.clock, said=self.said, committed_sequence=sequence)
        )

    def deliver(self, *rows: bytes) -> int:
        self.sink.deliver(EventBatch.of(list(rows)))
        sequence = self.sink.flush()
        self.sink.committed()
        return sequence

    def survey(self) -> list[FileState]:
        files = self.sink.files
        return list(getattr(files, "_files", files)._watcher.survey(getattr(files, "_files", files)._survey()))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    def opened(options: HdfsOptions, say: object) -> tuple[Store, str, str]:
        world, name, below = Life.living
        return world.open(name), name, f"{world.home}/out{below}"

    monkeypatch.setattr(sink_of_hdfs, "open_store", opened)
    monkeypatch.setattr(sink_of_hdfs, "reopen_store", lambda options, name, say: Life.living[0].open(name))
    return World(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_what_was_begun_on_another_store_ends_there(world: World, before: str, after: str, kind: str) -> None:
    sequence = Life(world, before, kind).deliver(b"a", b"b")  # and is killed
    life = Life(world, after, kind, sequence)
    life.deliver(b"c")
    life.sink.close()
    assert (world.rows(before), world.rows(after)) == ([b"a", b"b"], [b"c"])
    assert not any(level == "error" for level, _ in life.said)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["away", "unknown"])
def test_what_was_begun_on_a_store_that_is_away_waits_while_new_rows_flow(world: World, kind: str, how: str) -> None:
    sequence = Life(world, A, kind).deliver(b"a", b"b")
    getattr(world, how).add(A)
    for row in (b"c", b"d"):  # more than one start: what is kept outlives the journal's snapshots
        life = Life(world, LOCAL, kind, sequence)
        sequence = life.deliver(row)
        life.sink.close()
        assert any(A in line for level, line in life.said if level == "error"), life.said
    assert world.rows(LOCAL) == [b"c", b"d"]
    getattr(world, how).clear()
    life = Life(world, A, kind, sequence)
    life.deliver(b"e")
    life.sink.close()
    assert (sorted(world.rows(A)), world.rows(LOCAL)) == ([b"a", b"b", b"e"], [b"c", b"d"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["away", "unknown"])
def test_what_waits_for_another_store_is_shown_with_it_and_ends_when_it_is_back(
    world: World, kind: str, how: str
) -> None:
    sequence = Life(world, A, kind).deliver(b"a")
    getattr(world, how).add(A)
    life = Life(world, B, kind, sequence)
    for _ in range(2):  # what began beside the loop has come to nothing
        life.sink.files.end([])
        life.sink.tick()
    assert [file.path.startswith(f"{A}{world.home}/out/FlumeData.") for file in life.survey()] == [True]
    assert life.sink.trouble().startswith(f"files that were begun on {A} and are to be finished there: 1")
    getattr(world, how).clear()
    life.clock.advance(200)
    life.sink.tick()
    life.sink.close()
    assert not life.sink.trouble()
    assert world.rows(A) == [b"a"]
    assert world.files(B) == {}


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_transaction_that_was_not_committed_is_cut_off_on_the_store_that_has_it(
    world: World, before: str, after: str
) -> None:
    first = Life(world, before, "DataStream")
    sequence = first.deliver(b"a")
    first.sink.deliver(EventBatch.of([b"b"]))
    first.sink.flush()  # and is killed; nobody finishes its commit
    life = Life(world, after, "DataStream", sequence)
    life.deliver(b"b")
    life.sink.close()
    assert (world.rows(before), world.rows(after)) == ([b"a"], [b"b"])


def test_a_transaction_that_was_not_committed_comes_again_while_its_store_is_away(world: World) -> None:
    first = Life(world, A, "DataStream")
    sequence = first.deliver(b"a")
    first.sink.deliver(EventBatch.of([b"b"]))
    first.sink.flush()
    world.away.add(A)
    life = Life(world, B, "DataStream", sequence)
    sequence = life.deliver(b"b")
    world.away.clear()
    life.sink.close()
    assert (world.rows(A), world.rows(B)) == ([b"a"], [b"b"])


def test_files_of_a_journal_that_names_no_store_are_of_the_one_that_is_configured(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier release wrote none."""
    with monkeypatch.context() as earlier:
        earlier.setattr("shipper.files.journal.by_store", lambda records: {})
        sequence = Life(world, A, "DataStream").deliver(b"a")
    sequence = Life(world, A, "DataStream", sequence).deliver(b"b")
    assert list(world.files(A).values()) == [b"a\nb\n"], "it is gone on with"
    journal = Journal(world.home / "state" / "files.journal", sequence)
    assert {record.store for record in journal.records.values()} == {A}
    Life(world, B, "DataStream", sequence).sink.close()
    assert world.rows(A) == [b"a", b"b"]


def test_a_folder_gets_its_marker_on_the_store_that_has_its_files(world: World) -> None:
    """The other store is not even given the folder; when the old one is configured once more, its marker is made."""
    done = {"bucketDone": "_SUCCESS", "bucketDoneLateness": "60", "useLocalTimeStamp": "true"}
    sequence = Life(world, A, "DataStream", below="/%Y-%m-%d", **done).deliver(b"a")
    world.clock.advance(2 * 86400)
    for name in (LOCAL, LOCAL, A):
        life = Life(world, name, "DataStream", sequence, below="/%Y-%m-%d", **done)
        for _ in range(4):
            life.clock.advance(100)
            life.sink.caught_up(life.clock.now_ms())
            life.sink.tick()
        life.sink.close()
        marked = [path for path in world.clusters[A].files if path.endswith("/_SUCCESS")]
        assert (len(marked), (world.home / "out").exists()) == (int(name == A), False)
        assert any("no marker _SUCCESS yet: 1" in line for _, line in life.said) == (name == LOCAL)


@pytest.mark.parametrize("kind", KINDS)
def test_an_agent_that_was_killed_goes_from_a_cluster_to_this_machine_and_back(
    kind: str, hdfs: Cluster, tmp_path: Path
) -> None:
    folder, local = hdfs.folder(), tmp_path / "out"
    text = "\n".join([configuration(tmp_path, "{path}", fileType=kind), *(
        f"a1.sinks.k1.hdfs.{key} = 0" for key in ("rollInterval", "rollSize", "rollCount")
    )])  # fmt: skip
    log, wanted = tmp_path / "input", 0
    log.touch()
    with Agent(tmp_path / "agent", "", arguments=("-c", str(hdfs.conf_dir))) as agent:

        def delivered() -> bool:
            sample = MetricsBlock.view(agent.instance_dir() / "metrics").sample()
            return sum(w.counters["EventDrainSuccessCount"] for w in sample.workers if w.kind == Kind.SINK) == 1000

        for path in (f"{hdfs.uri}{folder}", f"file://{local}", f"{hdfs.uri}{folder}"):
            agent.file.write_text(text.replace("{path}", path))
            with log.open("ab") as lines:
                lines.write(b"".join(b"line %09d\n" % number for number in range(wanted, wanted + 1000)))
            wanted += 1000
            agent.start()
            agent.until(delivered, "all of it is delivered")
            agent.send(signal.SIGKILL, everybody=True)
            agent.ended()
        agent.start()
        assert agent.stop() == 0
        assert "is gone" not in agent.log() and "Traceback" not in agent.log()
    assert not Path(folder).exists(), "the folder of the cluster is made on this machine"
    assert not hdfs.open_files(folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in hdfs.files(folder):
        (copy / path.rpartition("/")[2]).write_bytes(hdfs.read(path))
    for place, numbers in ((copy, [*range(1000), *range(2000, 3000)]), (local, [*range(1000, 2000)])):
        paths = sorted(place.iterdir())
        found = bodies(paths) if kind == "Parquet" else b"".join(path.read_bytes() for path in paths).splitlines()
        assert sorted(found) == [b"line %09d" % number for number in numbers]
        assert not [path for path in paths if path.suffix == ".tmp"]
