"""The clusters that tests share: `hdfs` for everybody, others that one test at a time may break.

A cluster is started by the first test that asks for it, serves all processes of the test run, and ends with the run,
also when that is killed. Nobody breaks `hdfs`. `hdfs_to_break` is a test's own as long as it runs, and is mended for
the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fetched import cache, folder
from hadoop import VERSION, Hadoop
from hdfs.cluster import Cluster, exclusive
from hdfs.jars import lay_out
from hdfs.kerberos import Kdc


class KerberosCluster(NamedTuple):
    """A cluster and the realm that it trusts."""

    cluster: Cluster
    kdc: Kdc


def run_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this test run share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


def run_pid() -> int:
    """The process that lives as long as this test run."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def jars(hadoop: Hadoop) -> Path:
    """The folder of jars that servers start from."""
    return folder(f"{hadoop.libraries.parent.name}-servers", lambda place: lay_out(hadoop.libraries, place))


def cluster(hadoop: Hadoop, home: Path, **what: Any) -> Cluster:
    """A cluster of this test run; `start` starts it."""
    formatted = cache() / f"hadoop-{VERSION}-formatted"
    return Cluster(jars(hadoop), home, watched=run_pid(), formatted=formatted, **what)


@contextlib.contextmanager
def one_of(run: Path, name: str) -> Iterator[Path]:
    """A folder of that name which nobody else in this test run has now; one that was used before when there is one."""
    for number in range(1, 100):
        home = run / f"{name}-{number}"
        home.mkdir(exist_ok=True)
        with (home / "user.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield home
            return


@pytest.fixture(scope="session")
def hdfs(hadoop: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """A NameNode and a DataNode, shared by the whole run: write below `hdfs.folder()`, kill nothing."""
    return cluster(hadoop, run_folder(tmp_path_factory) / "hdfs").start()


@pytest.fixture
def hdfs_to_break(hadoop: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A NameNode and a DataNode to kill, freeze and fill; two more DataNodes after `start(3)`. All is well at first."""
    with one_of(run_folder(tmp_path_factory), "hdfs-to-break") as home:
        yield cluster(hadoop, home, datanodes=3).start(1)


@pytest.fixture
def hdfs_patient(hadoop: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A NameNode and three DataNodes to kill, which it takes for alive for ten minutes, as by default."""
    patience = {"dfs.namenode.heartbeat.recheck-interval": "300000"}
    with one_of(run_folder(tmp_path_factory), "hdfs-patient") as home:
        yield cluster(hadoop, home, datanodes=3, own=patience).start()


@pytest.fixture
def hdfs_pair(hadoop: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two NameNodes, the first one active, and a DataNode, to kill and freeze. All is well at first."""
    with one_of(run_folder(tmp_path_factory), "hdfs-pair") as home:
        pair = cluster(hadoop, home, namenodes=2).start()
        if pair.active() != 0:
            pair.fail_over(0)
        yield pair


@pytest.fixture(scope="session")
def hdfs_kerberos(hadoop: Hadoop, tmp_path_factory: pytest.TempPathFactory) -> KerberosCluster:
    """A NameNode and a DataNode that want tickets, and encrypt what goes over the wire; shared, as `hdfs` is."""
    home = run_folder(tmp_path_factory) / "hdfs-kerberos"
    home.mkdir(exist_ok=True)
    with exclusive(home / "kdc"):
        kdc = Kdc(home / "kdc", run_pid()).start()
    found = cluster(hadoop, home, own=kdc.settings(), java=kdc.java, environment=kdc.environment).start()
    return KerberosCluster(found, kdc)
