"""The sink on a cluster: what reaches it when, what a failure and a death leave, and what is never overwritten."""

from __future__ import annotations

import errno
import gzip
import time
from pathlib import Path

import pytest
from hdfs.cluster import Cluster

from shipper.api import EventBatch, Refused, RetryLater
from shipper.clock import SystemClock
from shipper.config.field import read_options
from shipper.files.extent import Extent, last_of, tail_of
from shipper.files.journal import Journal
from shipper.files.store import Explained
from shipper.sinks.hdfs.cluster import Cluster as Client
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.hadoop_settings import CONF_DIR
from shipper.sinks.hdfs.right import Right
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.sinks.hdfs.store import HdfsStore
from shipper.sinks.sink import Takes
from shipper.testing.fakes import sink_context

_PATIENCE_S = 60


class Running:
    """An open sink of text in one bucket a host; more of them may have one state directory, one after the other."""

    def __init__(
        self, cluster: Cluster, folder: str, state: Path, sequence: int = 0, takes: Takes | None = None,
        **properties: str,
    ) -> None:  # fmt: skip
        self.cluster, self.folder = cluster, folder
        given = {"path": f"{cluster.uri}{folder}/%{{h}}", "fileType": "DataStream", "rollCount": "0", "rollSize": "0",
                 "rollInterval": "0", **properties}  # fmt: skip
        options, findings = read_options(HdfsOptions, {f"hdfs.{key}": value for key, value in given.items()})
        assert options is not None, findings
        self.said: list[tuple[str, str]] = []
        self.sequence = sequence
        self.sink = HdfsSink(options)
        self.context = sink_context(
            state,
            clock=SystemClock(),
            said=self.said,
            committed_sequence=sequence,
            takes=takes,  # type: ignore[arg-type]
        )
        self.sink.open(self.context)

    def deliver(self, *numbers: int, hosts: str = "a") -> None:
        rows = [b"row %03d" % n for n in numbers]
        self.sink.deliver(EventBatch.of(rows, [{"h": hosts[n % len(hosts)]} for n in numbers]))

    def commit(self, *numbers: int, hosts: str = "a") -> None:
        """As a runner does it: all of it, or nothing."""
        try:
            self.deliver(*numbers, hosts=hosts)
            sequence = self.sink.flush()
        except RetryLater:
            self.sink.rolled_back()
            raise
        self.sequence = sequence
        self.sink.committed()

    def until_named(self) -> None:
        """Waits until nothing is being closed or renamed any more."""
        until_s = time.monotonic() + _PATIENCE_S
        while any(one.progress is not None and one.progress.finished for one in self.sink.files.records.values()):
            assert time.monotonic() < until_s, self.said
            self.sink.tick()
            time.sleep(0.02)

    def close(self) -> None:
        self.sink.close()
        assert not [path for path in self.cluster.files(self.folder) if path.endswith(".tmp")], self.said
        assert self.cluster.open_files(self.folder) == []

    def rows(self) -> list[bytes]:
        return sorted(self.cluster.read_all(self.folder).splitlines())

    def files(self) -> list[str]:
        return self.cluster.files(self.folder)


def expected(rows: int) -> list[bytes]:
    return [b"row %03d" % n for n in range(rows)]


@pytest.fixture(params=["cut by the web port", "cut by a copy"])
def conf(request: pytest.FixtureRequest, hdfs: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """With and without the NameNode's web port."""
    web = request.param == "cut by the web port"
    monkeypatch.setenv(CONF_DIR, str(hdfs.conf_dir if web else hdfs.conf_dir_without_web))
    return str(request.param)


@pytest.fixture
def web(hdfs: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the NameNode's web port."""
    monkeypatch.setenv(CONF_DIR, str(hdfs.conf_dir))


@pytest.mark.usefixtures("web")
def test_committed_rows_are_on_the_datanode_while_the_file_is_open(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path)
    running.deliver(0, 1)
    assert [hdfs.read(path) for path in running.files()] == [b""]
    running.sink.flush()
    running.sink.committed()
    [path] = running.files()
    assert path.endswith(".tmp") and hdfs.read(path) == b"row 000\nrow 001\n"
    running.commit(2)
    assert hdfs.read(path).splitlines() == expected(3)
    running.close()
    assert running.files() == [path.removesuffix(".tmp")]
    assert running.rows() == expected(3)


@pytest.mark.usefixtures("web")
def test_rows_that_are_taken_back_before_a_flush_never_reach_the_cluster(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path)
    running.commit(0)
    for _ in range(3):
        running.deliver(1, 2)
        running.sink.rolled_back()
    running.commit(1)
    running.close()
    assert len(running.files()) == 1
    assert running.rows() == expected(2)


def test_a_file_with_rows_that_were_flushed_and_taken_back_ends_where_it_counts(
    hdfs: Cluster, tmp_path: Path, conf: str
) -> None:
    """Its bucket goes on at once, in another file."""
    running = Running(hdfs, hdfs.folder(), tmp_path)
    running.commit(0, 1, hosts="ab")
    running.deliver(2, 3, 4, hosts="abc")
    running.sink.flush()
    running.sink.rolled_back()
    began_s = time.monotonic()
    running.commit(2, 3, 4, hosts="abc")
    assert time.monotonic() - began_s < 1.5  # a lease takes longer
    running.until_named()
    running.close()
    assert len(running.files()) == 5
    assert running.rows() == expected(5)


@pytest.mark.usefixtures("web")
def test_a_refusal_leaves_what_the_transaction_has_before_it(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path, fileType="SequenceFile", rollCount="2")
    good = [{"h": "a", "timestamp": str(n)} for n in range(3)]
    running.sink.deliver(EventBatch.of([b"one", b"two", b"three"], good))
    with pytest.raises(Refused):
        running.sink.deliver(EventBatch.of([b"x", b"y"], [{"h": "a", "timestamp": "1"}, {"timestamp": "soon"}]))
    running.sink.flush()
    running.sink.committed()
    running.close()
    content = hdfs.read_all(running.folder)
    assert [content.count(body) for body in (b"one", b"two", b"three")] == [1, 1, 1]
    assert len(running.files()) == 2


def test_what_a_dead_worker_had_open_is_cut_and_gone_on_with(hdfs: Cluster, tmp_path: Path, conf: str) -> None:
    """It is not quite dead: what it writes later is not accepted."""
    folder = hdfs.folder()
    dead = Running(hdfs, folder, tmp_path)
    dead.commit(0, 1, hosts="ab")
    dead.deliver(2, 3, 5, hosts="ab")
    dead.sink.flush()
    alive = Running(hdfs, folder, tmp_path, dead.sequence)
    alive.commit(2, 3, hosts="ab")
    with pytest.raises(RetryLater):
        dead.commit(98, 99, hosts="ab")
    assert len(alive.files()) == 2
    alive.close()
    assert alive.rows() == expected(4)
    assert hdfs.healthy(folder)
    dead.sink._store.close()


class Announced:
    """A worker whose commits can be finished, once."""

    finished = 0

    def coming(self) -> list[object]:
        return ["what the commit says"]

    def rows_taken(self) -> dict[str, int]:
        return {}

    def finish(self, take: list[object], sequence: int) -> bool:
        self.finished = sequence
        return True


def test_what_a_dead_worker_had_flushed_and_not_committed_is_committed_and_nothing_is_cut(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No web port, and no copy: the files are as the dead worker left them, with what a reader has seen."""
    monkeypatch.setenv(CONF_DIR, str(hdfs.conf_dir_without_web))
    folder, worker = hdfs.folder(), Announced()
    dead = Running(hdfs, folder, tmp_path, takes=worker)
    dead.commit(0, 1, hosts="ab")
    dead.deliver(2, 3, hosts="ab")
    dead.sink.flush()
    monkeypatch.setattr(Right, "_copy", None)
    alive = Running(hdfs, folder, tmp_path, dead.sequence, takes=worker)
    assert worker.finished > dead.sequence
    alive.sequence = worker.finished
    alive.commit(4, 5, hosts="ab")
    alive.close()
    assert alive.rows() == expected(6)
    assert len(alive.files()) == 2, "they were gone on with"


@pytest.mark.usefixtures("web")
def test_a_half_copy_of_a_dead_process_is_done_again(hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    dead = Running(hdfs, folder, tmp_path)
    dead.commit(0)
    dead.deliver(1)
    dead.sink.flush()
    [path] = dead.files()
    half = dead.sink._store.create(f"{path}.cut.tmp")
    half.write(b"ro")
    dead.sink._store.flush()
    alive = Running(hdfs, folder, tmp_path, dead.sequence)
    alive.close()
    assert alive.rows() == expected(1)
    dead.sink._store.close()


@pytest.mark.usefixtures("web")
def test_a_finished_file_is_renamed_by_the_next_process(hdfs: Cluster, tmp_path: Path) -> None:
    """The dead one had begun to close it, or had done even the rename, and the journal had not heard."""
    folder = hdfs.folder()
    dead = Running(hdfs, folder, tmp_path, rollCount="1")
    dead.commit(0, 1, 2)
    alive = Running(hdfs, folder, tmp_path, dead.sequence, rollCount="1")
    alive.until_named()
    alive.close()
    assert alive.rows() == expected(3)
    assert alive.context.counters.get("files_lost") == 0
    dead.sink._store.close()


@pytest.mark.usefixtures("web")
def test_a_stop_gives_the_name_that_could_not_be_given_before(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before it would be tried again, and without waiting for longer than it takes."""
    rename = Client.rename
    tries = iter([OSError(errno.EIO, "not now")])

    async def fails_once(self: Client, path: str, final: str, overwrite: bool = False) -> None:
        for problem in tries:
            raise problem
        await rename(self, path, final, overwrite)

    monkeypatch.setattr(Client, "rename", fails_once)
    running = Running(hdfs, hdfs.folder(), tmp_path, rollCount="1")
    running.commit(0, 1)  # the second row ends the first file
    until_s = time.monotonic() + _PATIENCE_S
    while not [line for _, line in running.said if "next try in 180 s" in line]:
        assert time.monotonic() < until_s, running.said
        running.sink.tick()
        time.sleep(0.02)
    began_s = time.monotonic()
    running.close()
    assert time.monotonic() - began_s < 15  # it would wait for 20
    assert running.rows() == expected(2)
    assert not [line for _, line in running.said if "keeps that name" in line]


@pytest.mark.usefixtures("web")
def test_another_file_under_its_name_is_set_aside_and_not_cut(hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    dead = Running(hdfs, folder, tmp_path)
    dead.commit(0)
    [path] = dead.files()
    dead.sink._store.delete(path)
    other = dead.sink._store.create(path)
    other.write(b"somebody else's, and longer\n")
    dead.sink._store.flush()
    dead.sink._store.close()
    alive = Running(hdfs, folder, tmp_path, dead.sequence)
    alive.commit(1)
    alive.close()
    assert sorted(alive.rows()) == [b"row 001", b"somebody else's, and longer"]
    assert alive.context.counters.get("files_lost") == 1
    assert [line for level, line in alive.said if level == "error" and "it is kept as" in line]


@pytest.mark.usefixtures("web")
def test_a_file_that_somebody_removed_is_said_and_its_rows_that_wait_come_again(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path)
    running.commit(0)
    [path] = running.files()
    hdfs.rest("DELETE", path, "DELETE")
    with pytest.raises(RetryLater):
        running.commit(1)
    running.commit(1)
    running.until_named()
    running.close()
    assert running.rows() == [b"row 001"]
    assert running.context.counters.get("files_lost") == 1


@pytest.mark.usefixtures("web")
def test_a_final_name_that_is_taken_is_not_overwritten(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path)
    running.commit(0)
    [path] = running.files()
    taken = running.sink._store.create(path.removesuffix(".tmp"))
    taken.write(b"another host's\n")
    running.sink._store.flush()
    taken.close()
    running.close()
    assert len(running.files()) == 2
    assert running.rows() == [b"another host's", b"row 000"]
    assert [line for _, line in running.said if "is there already and is not overwritten" in line]


@pytest.mark.usefixtures("web")
def test_two_workers_with_one_prefix_do_not_meet(hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    workers = [Running(hdfs, folder, tmp_path / name, rollCount="1") for name in "ab"]
    for turn in range(3):
        for number, worker in enumerate(workers):
            worker.commit(4 * turn + 2 * number, 4 * turn + 2 * number + 1)
    for worker in workers:
        worker.sink.close()
    workers[0].close()
    assert workers[0].rows() == expected(12)
    assert len(workers[0].files()) == 12


@pytest.mark.usefixtures("web")
def test_a_name_under_which_somebody_has_a_file_open_is_stepped_over(hdfs: Cluster, tmp_path: Path) -> None:
    """In the same transaction; and his lease stays his. Two agents with one path and prefix meet all the time."""
    folder = hdfs.folder()
    running, other = (Running(hdfs, folder, tmp_path / name, rollCount="1") for name in "ab")
    running.commit(0)
    [path] = running.files()
    start, _, number = path.removesuffix(".tmp").rpartition(".")
    theirs = other.sink._store.create(f"{start}.{int(number) + 1}.tmp")
    theirs.write(b"somebody's\n")
    other.sink._store.flush()
    running.commit(1, 2)
    theirs.write(b"and more\n")
    other.sink._store.flush()
    assert hdfs.read(f"{start}.{int(number) + 1}.tmp") == b"somebody's\nand more\n"
    theirs.close()
    other.sink.close()
    running.sink.close()
    assert running.rows() == [b"and more", *expected(3), b"somebody's"]


@pytest.mark.usefixtures("web")
def test_appending_to_a_file_that_somebody_holds_says_so(hdfs: Cluster, tmp_path: Path) -> None:
    """There it is no name to step over."""
    folder = hdfs.folder()
    running, other = (Running(hdfs, folder, tmp_path / name) for name in "ab")
    running.commit(0)
    [path] = running.files()
    store = other.sink._store
    assert isinstance(store, HdfsStore)
    with pytest.raises(Explained, match="another client is writing that file and holds its lease"):
        store._beside.call(store._cluster.append(path))
    other.sink.close()
    running.close()


@pytest.mark.usefixtures("web")
def test_a_hundred_files_that_end_at_once_hold_the_writing_for_a_moment(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path, idleTimeout="1", path=f"{hdfs.uri}{hdfs.folder()}/f",
                      filePrefix="%{h}")  # fmt: skip
    running.folder = running.sink.options.path.removeprefix(hdfs.uri)
    hosts = [chr(0x4E00 + n) for n in range(100)]
    running.commit(*range(100), hosts="".join(hosts))
    time.sleep(1.05)  # they are idle, all of them
    began_s, work_s = time.monotonic(), time.thread_time()
    running.sink.tick()
    held_s, work_s = time.monotonic() - began_s, time.thread_time() - work_s
    began_s = time.monotonic()
    running.until_named()
    named_s = time.monotonic() - began_s
    print(f"held for {1000 * held_s:.0f} ms, {1000 * work_s:.0f} of them at work; named after {named_s:.1f} s")
    assert work_s < 0.05  # all that it takes on a quiet machine
    assert held_s < 2
    running.close()
    assert running.rows() == expected(100)
    assert len(running.files()) == 100


@pytest.mark.usefixtures("web")
def test_a_path_without_a_scheme_is_on_the_default_file_system(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path, path="/by-default-%{h}")
    running.folder = "/by-default-a"
    running.commit(0)
    running.close()
    assert running.rows() == expected(1)


@pytest.mark.usefixtures("web")
def test_codecs_and_folders_are_as_on_a_disk(hdfs: Cluster, tmp_path: Path) -> None:
    running = Running(hdfs, hdfs.folder(), tmp_path, fileType="CompressedStream", codeC="gzip")
    running.commit(0, 1, hosts="ab")
    running.commit(2, 3, hosts="ab")
    running.close()
    files = running.files()
    assert sorted(path.rpartition(".")[2] for path in files) == ["gz", "gz"]
    assert sorted(b"".join(gzip.decompress(hdfs.read(path)) for path in files).splitlines()) == expected(4)


def test_the_tail_of_a_file_is_of_its_last_bytes() -> None:
    last = last_of(last_of(b"", [b"a" * 5000]), [b"b", b"c"])
    assert last == b"a" * 4094 + b"bc"
    assert tail_of(last) == tail_of((b"a" * 5000 + b"bc")[-4096:])
    assert tail_of(b"") is None
    assert Extent(3).tail is None


@pytest.mark.usefixtures("web")
def test_the_journal_knows_the_tail_after_rows_were_taken_back(hdfs: Cluster, tmp_path: Path) -> None:
    """The tail is of what counts, not of what was pushed and forgotten."""
    folder = hdfs.folder()
    running = Running(hdfs, folder, tmp_path)
    running.commit(0)
    running.sink.files._touched.clear()
    running.deliver(1)
    for file in running.sink.files._touched:
        file.push()
    running.sink.rolled_back()
    running.commit(1)
    journal = Journal(tmp_path / "files.journal", running.sequence)
    [record] = journal.records.values()
    store = running.sink._store
    assert isinstance(store, HdfsStore)
    there = store.stat(record.path)
    assert there is not None and there.length == 16
    journal.close()
    alive = Running(hdfs, folder, tmp_path, running.sequence)
    alive.close()
    assert alive.rows() == expected(2)
    assert alive.context.counters.get("files_lost") == 0
    store.close()
