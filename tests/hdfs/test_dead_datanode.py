"""A DataNode is dead and the NameNode takes it for alive: new files are made anew until others take their first bytes.

Most of it is seen on a cluster in memory, where a process can die at each step in between; that a real cluster and its
client do as is said here is seen on one, with a DataNode that was killed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.memory_cluster import WANTED, Death, Files, MemoryCluster, Steps
from hdfs.test_store import Announced, Running, expected

from shipper.api import EventBatch, RetryLater
from shipper.clock import SystemClock
from shipper.config.field import read_options
from shipper.files.appended_file import AppendedFile
from shipper.sinks.hdfs import sink as sink_of_hdfs
from shipper.sinks.hdfs import tries
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.hadoop_settings import CONF_DIR
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.sinks.hdfs.store import HdfsStore
from shipper.sinks.hdfs.tries import TRIES_MAX
from shipper.sinks.hdfs.web import WebPort
from shipper.testing.fakes import sink_context

#: Of eight new files each.
_TURNS = 5


class Life:
    """A sink that writes to a cluster in memory until it dies; another one goes on with what it has left.

    Args:
        steps: that it makes; those of its journal are counted while it is the `living` one.
        sequence: what the last commit names.
        takes: finishes a commit that is half done; None = nobody does.
    """

    living: Life

    def __init__(
        self, files: Files, state: Path, steps: Steps | None = None, sequence: int = 0, takes: Announced | None = None
    ) -> None:
        self.sequence, self.steps = sequence, steps or Steps()
        self.said: list[tuple[str, str]] = []
        self.store = HdfsStore(
            MemoryCluster(files, self.steps), WebPort([], "me"), lambda *said: self.said.append(said)
        )
        properties = {"path": "hdfs://memory/t/%{h}", "fileType": "DataStream", "rollInterval": "0", "rollCount": "0"}
        options, _ = read_options(HdfsOptions, {f"hdfs.{key}": value for key, value in properties.items()})
        assert options is not None
        Life.living = self
        self.sink = HdfsSink(options)
        self.sink.open(sink_context(state, clock=SystemClock(), said=self.said, committed_sequence=sequence,
                                    takes=takes))  # type: ignore[arg-type]  # fmt: skip

    def commit(self, *numbers: int, hosts: str = "a") -> None:
        """As a runner does it."""
        rows = [b"row %03d" % number for number in numbers]
        self.sink.deliver(EventBatch.of(rows, [{"h": hosts[number % len(hosts)]} for number in numbers]))
        sequence = self.sink.flush()
        self.steps()
        self.sequence = sequence
        self.sink.committed()


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sinks write to the cluster in memory of the living one, and the records of its journal are steps as well."""
    append = AppendedFile.append

    def step(file: AppendedFile, record: bytes) -> None:
        Life.living.steps()
        append(file, record)

    monkeypatch.setattr(AppendedFile, "append", step)
    monkeypatch.setattr(tries, "_LEAST_S", 60.0)  # nothing hangs here: a try that takes long is a starved machine
    opened = ("hdfs://memory", "/t/%{h}")
    monkeypatch.setattr(sink_of_hdfs, "open_store", lambda options, say: (Life.living.store, *opened))


def rows_of(files: Files) -> list[bytes]:
    return sorted(b"".join(file.content for file in files.files.values()).splitlines())


def half_of_it(number: int, replicas: int) -> int | None:
    """The first three files made lose their writer when half of a row is there; nothing is wrong with the others."""
    return 4 if number < 3 else None


def half_at_first(number: int, replicas: int) -> int | None:
    """The same of the first two."""
    return 4 if number < 2 else None


@pytest.mark.usefixtures("mortal")
def test_a_new_file_that_no_datanode_takes_is_made_anew_within_the_flush(tmp_path: Path) -> None:
    files = Files(half_of_it)
    alive = Life(files, tmp_path)
    alive.commit(0)
    [path] = files.files
    assert path.endswith(".tmp") and files.files[path].content == b"row 000\n"
    assert files.made == [3, 3, 2, 2]
    alive.commit(1)
    alive.sink.close()
    assert list(files.files) == [path.removesuffix(".tmp")] and rows_of(files) == expected(2)


@pytest.mark.usefixtures("mortal")
def test_it_is_on_fewer_datanodes_and_the_namenode_knows_how_many_it_owes(tmp_path: Path) -> None:
    """Three of three can't be had while one is dead."""
    files = Files(lambda number, replicas: 0 if replicas > 1 else None)
    alive = Life(files, tmp_path)
    alive.commit(0, 1, hosts="ab")
    assert [(file.made_for, file.replicas) for file in files.files.values()] == [(1, WANTED)] * 2
    assert [line for level, line in alive.said if level == "warning" and "is on 1 of 3 DataNodes until it ends" in line]
    alive.sink.close()
    assert rows_of(files) == expected(2)


@pytest.mark.usefixtures("mortal")
def test_no_more_tries_are_made_than_help(tmp_path: Path) -> None:
    files = Files(lambda number, replicas: 0 if number < TRIES_MAX else None)
    alive = Life(files, tmp_path)
    with pytest.raises(RetryLater, match="the connection was refused"):
        alive.commit(0)
    assert files.made == [3, 3, 2, 2] + [1] * (TRIES_MAX - 4)
    alive.sink.rolled_back()
    assert not files.files
    alive.commit(0)
    alive.sink.close()
    assert rows_of(files) == expected(1)


@pytest.mark.usefixtures("mortal")
def test_a_file_in_which_bytes_count_is_not_made_anew(tmp_path: Path) -> None:
    """It ends, and its rows go into another one, which is."""
    files = Files(lambda number, replicas: 0 if number == 1 else None)
    alive = Life(files, tmp_path)
    alive.commit(0)
    [kept] = files.files.values()
    kept.limit = 4
    with pytest.raises(RetryLater):
        alive.commit(1)
    assert files.made == [3]
    alive.sink.rolled_back()
    alive.commit(1)
    assert files.made == [3, 3, 3]
    alive.sink.close()
    assert rows_of(files) == expected(2)


@pytest.mark.usefixtures("mortal")
@pytest.mark.parametrize("finishes", [False, True])
def test_no_death_between_two_tries_loses_a_row_or_leaves_a_file(tmp_path: Path, finishes: bool) -> None:
    """At each call that changes something on the cluster, and each record of the journal; where the next process can
    finish a commit that is half done, and where it can't."""
    whole = Life(Files(half_at_first), tmp_path / "whole")
    whole.commit(0, 1, hosts="ab")
    whole.store.close()
    assert whole.steps.made > 15
    for left in range(whole.steps.made):
        files, state = Files(half_at_first), tmp_path / str(left)
        worker = Announced() if finishes else None
        dead = Life(files, state, Steps(left), takes=worker)
        with pytest.raises(Death):
            dead.commit(0, 1, hosts="ab")
        dead.store.close()
        alive = Life(files, state, sequence=dead.sequence, takes=worker)
        if dead.sequence or (worker is not None and worker.finished):
            alive.sequence = max(dead.sequence, worker.finished if worker is not None else 0)
        else:
            alive.commit(0, 1, hosts="ab")
        alive.sink.close()
        assert rows_of(files) == expected(2), left
        assert not [path for path, file in files.files.items() if path.endswith(".tmp") or file.is_open], left


@pytest.mark.nightly
@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_new_files_go_through_while_a_killed_datanode_is_taken_for_alive(
    hdfs_patient: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replicas: int
) -> None:
    """One of three. Each of many files goes through, one by one and all at once; a try may find the dead one."""
    monkeypatch.setenv(CONF_DIR, str(hdfs_patient.conf({"dfs.replication": str(replicas)})))
    running = Running(hdfs_patient, hdfs_patient.folder(), tmp_path)
    hdfs_patient.kill_datanode(2)
    failed = 0
    for turn in range(_TURNS):
        hosts = [chr(0x4E00 + 8 * turn + n) for n in range(8)]
        numbers = range(8 * turn, 8 * turn + 8)
        while True:
            try:
                running.commit(*numbers, hosts="".join(hosts))
            except RetryLater:
                failed += 1
                assert failed < _TURNS, running.said
            else:
                break
    assert hdfs_patient.bean("FSNamesystemState")["NumLiveDataNodes"] == 3
    running.until_named()
    running.close()
    assert running.rows() == expected(8 * _TURNS)
    assert {hdfs_patient.status(path)["replication"] for path in running.files()} == {replicas}  # type: ignore[index]
    assert hdfs_patient.healthy(running.folder)
