"""A cluster that fails under the sink: no call hangs, a person is told, nothing is lost and nothing comes twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hdfs.cluster import Cluster

from shipper.api import RetryLater
from shipper.sinks.hdfs.hadoop_settings import CONF_DIR
from tests.hdfs.test_store import Running, expected

_TIMEOUT = {"callTimeout": "4000"}


@pytest.fixture
def broken(hdfs_to_break: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster to break, as it is configured."""
    monkeypatch.setenv(CONF_DIR, str(hdfs_to_break.conf_dir))
    return hdfs_to_break


def fails(running: Running, number: int, most_s: float = 40) -> str:
    """What is said when a row can't be written; it must be said in time."""
    began_s = time.monotonic()
    with pytest.raises(RetryLater) as failure:
        running.commit(number)
    assert time.monotonic() - began_s < most_s
    return str(failure.value)


def until_taken(running: Running, number: int) -> None:
    """Tries as a runner does, until a row is taken."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        with contextlib.suppress(RetryLater):
            return running.commit(number)
        threading.Event().wait(0.3)
    running.commit(number)


def freeze_datanode(cluster: Cluster) -> Callable[[], None]:
    cluster.datanodes[0].freeze()
    return lambda: cluster.start_datanode()


def kill_datanode(cluster: Cluster) -> Callable[[], None]:
    cluster.kill_datanode()
    return lambda: cluster.start_datanode()


def freeze_namenode(cluster: Cluster) -> Callable[[], None]:
    cluster.namenodes[0].freeze()
    return lambda: cluster.start_namenode()


def kill_namenode(cluster: Cluster) -> Callable[[], None]:
    cluster.kill_namenode()
    return lambda: cluster.start_namenode()


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (freeze_datanode, "did not answer within 4 s (hdfs.callTimeout)"),
        (kill_datanode, "DataNode"),
        (freeze_namenode, "did not answer within 4 s (hdfs.callTimeout)"),
        (kill_namenode, "the connection was refused; is the NameNode up"),
    ],
)
def test_a_server_that_fails_holds_nobody_up_and_loses_nothing(
    breaks: Callable[[Cluster], Callable[[], None]], said: str, broken: Cluster, tmp_path: Path
) -> None:
    running = Running(broken, broken.folder(), tmp_path, retryInterval="1", **_TIMEOUT)
    until_taken(running, 0)
    mend = breaks(broken)
    try:
        assert said in fails(running, 1)
        fails(running, 1)
    finally:
        mend()
    until_taken(running, 1)
    until_taken(running, 2)
    running.until_named()
    running.close()
    assert running.rows() == expected(3)
    assert broken.healthy(running.folder)


@pytest.mark.timeout(200)
def test_files_go_on_when_the_other_namenode_takes_over(
    hdfs_pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONF_DIR, str(hdfs_pair.conf_dir))
    running = Running(hdfs_pair, hdfs_pair.folder(), tmp_path)
    running.commit(0)
    hdfs_pair.kill_namenode(1)
    takes_over = threading.Thread(target=hdfs_pair.fail_over, args=(1,))
    takes_over.start()
    running.commit(1)  # waits for it
    takes_over.join()
    running.commit(2)
    assert len(running.files()) == 1
    running.close()
    assert running.rows() == expected(3)
