"""The clusters of the tests: real, shared, and gone when the run is. That they can be broken is seen in test_faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.daemon import Daemon, until
from hdfs.web import RefusedByNameNode


def put(cluster: Cluster, tmp_path: Path, content: bytes) -> str:
    """The path of a file that Hadoop's own client has written."""
    local = tmp_path / "local"
    local.write_bytes(content)
    path = f"{cluster.folder()}/file"
    cluster.rest("PUT", path.rpartition("/")[0], "MKDIRS")
    cluster.shell("-put", str(local), path)
    return path


def test_a_file_is_written_and_read_by_hadoop(hdfs: Cluster, tmp_path: Path) -> None:
    path = put(hdfs, tmp_path, b"a line\n")
    folder = path.rpartition("/")[0]
    assert hdfs.text([path, path])[path] == hdfs.read(path) == hdfs.read_all(folder) == b"a line\n"
    assert hdfs.files(folder) == [path] and hdfs.open_files(folder) == []
    assert hdfs.healthy(folder)
    assert hdfs.status(f"{folder}/other") is None
    with pytest.raises(RefusedByNameNode, match="FileNotFoundException"):
        hdfs.read(f"{folder}/other")


def test_everybody_in_the_run_gets_the_same_cluster(hdfs: Cluster) -> None:
    pids = [daemon.pid for daemon in (*hdfs.namenodes, *hdfs.datanodes)]
    assert all(pids)
    hdfs.start()
    assert [daemon.pid for daemon in (*hdfs.namenodes, *hdfs.datanodes)] == pids


def test_a_server_ends_when_the_run_is_killed(tmp_path: Path) -> None:
    """So does its data; its log stays."""
    run = subprocess.Popen(["sleep", "100"])
    data = tmp_path / "data"
    data.mkdir()
    server = Daemon("nn1", [sys.executable, "-c", "import time; time.sleep(100)"], tmp_path, data, run.pid)
    server.start()
    pid = server.pid
    assert pid
    server.start()
    assert server.pid == pid
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    until(lambda: not server.pid, "the server has ended")
    until(lambda: not data.exists(), "its data is removed")
    assert server.log.exists()


def test_a_server_that_is_killed_can_start_again(tmp_path: Path) -> None:
    server = Daemon("dn1", ["sleep", "100"], tmp_path, tmp_path / "data", os.getpid())
    server.start()
    first = server.pid
    server.freeze()
    server.start()  # thaws it
    server.kill()
    assert server.pid == 0
    server.start()
    assert server.pid not in (0, first)
    server.kill()
