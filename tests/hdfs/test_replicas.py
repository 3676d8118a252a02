"""`hdfs.minBlockReplicas` on a cluster: what the NameNode says of blocks that lost DataNodes, and which files end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.shipping import Shipment
from hdfs.test_buckets import Running
from hdfs.test_faults import holder
from hdfs.web import user_name

from shipper.api import EventBatch
from shipper.sinks.hdfs.hadoop_settings import read_settings
from shipper.sinks.hdfs.thin_files import IN_A_ROW_MAX
from shipper.sinks.hdfs.web import WebPort

_PATIENCE_S = 60


@pytest.mark.nightly
def test_a_file_that_lost_a_data_node_ends_and_the_next_one_is_on_others(
    hdfs_to_break: Cluster, tmp_path: Path
) -> None:
    """One of three; the client goes on with the one that is left, and says nothing."""
    hdfs_to_break.start(3)
    conf = hdfs_to_break.conf({"dfs.replication": "2"})
    with Shipment(tmp_path, hdfs_to_break, conf=conf, sink={"hdfs.minBlockReplicas": "2"}) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_arrived()
        [first] = shipment.files()
        hdfs_to_break.kill_datanode(holder(hdfs_to_break, shipment))
        shipment.more()
        shipment.until_says("a file ends early, because its block is on 1 of 2 DataNodes")
        shipment.more()
        shipment.until_arrived()
        [second] = [path for path in shipment.files() if path.endswith(".tmp")]
        blocks = hdfs_to_break.rest("GET", second, "GET_BLOCK_LOCATIONS")["LocatedBlocks"]
        assert len(blocks["lastLocatedBlock"]["locations"]) == 2
        assert first.removesuffix(".tmp") in shipment.files()
        shipment.settle()
        assert len(shipment.files()) == 2  # the second one was not thin


def test_files_that_are_always_thin_end_thirty_times_in_a_row(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One DataNode, and two are wanted."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    running = Running(f"{hdfs.uri}{folder}", tmp_path, minBlockReplicas="2")
    assert [line for _, line in running.said if "no block is ever on so many DataNodes" in line]
    for number in range(IN_A_ROW_MAX):
        running.deliver(EventBatch.of([b"%02d" % number]))
        look(running, lambda: running.context.counters.get("open_files") == 0)
        assert running.context.counters.get("files_thin") == number + 1
    running.deliver(EventBatch.of([b"%02d" % IN_A_ROW_MAX]))
    look(running, lambda: any("30 files in a row ended" in line for _, line in running.said))
    assert running.context.counters.get("open_files") == 1
    running.sink.close()
    found = Counter(hdfs.read_all(folder).split())
    assert found == Counter({b"%02d" % number: 1 for number in range(IN_A_ROW_MAX + 1)})
    assert len(hdfs.files(folder)) == IN_A_ROW_MAX + 1 and hdfs.open_files(folder) == []


def test_where_the_web_port_is_closed_that_is_said_and_no_file_ends(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir_without_web))
    running = Running(f"{hdfs.uri}{hdfs.folder()}", tmp_path, minBlockReplicas="2")
    running.deliver(EventBatch.of([b"a"]))
    look(running, lambda: any("minBlockReplicas = 2: no answer from 127.0.0.1:" in line for _, line in running.said))
    before_s = time.monotonic()
    look(running, lambda: time.monotonic() > before_s + 0.3)
    assert running.context.counters.get("open_files") == 1
    running.sink.close()
    assert running.context.counters.get("files_thin") == 0


def test_nothing_is_known_of_a_block_that_is_complete(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its DataNodes tell of it one after the other: just after a close fewer are known than there are."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    running = Running(f"{hdfs.uri}{folder}", tmp_path)
    running.deliver(EventBatch.of([b"a"]))
    [path] = hdfs.files(folder)
    assert told(hdfs.web, path, f"{folder}/none", "/") == {path: 1, f"{folder}/none": None, "/": None}
    running.sink.close()
    [path] = hdfs.files(folder)
    assert told(hdfs.web, path) == {path: None}


@pytest.mark.nightly
def test_the_active_one_of_two_namenodes_tells(
    hdfs_pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs_pair.conf_dir))
    folder = hdfs_pair.folder()
    running = Running(f"{hdfs_pair.uri}{folder}", tmp_path)
    running.deliver(EventBatch.of([b"a"]))
    [path] = hdfs_pair.files(folder)
    active, standby = hdfs_pair.bean("NameNodeStatus", 0)["State"], hdfs_pair.bean("NameNodeStatus", 1)["State"]
    assert (active, standby) == ("active", "standby")
    ports = read_settings(hdfs_pair.conf_dir).web_addresses(hdfs_pair.uri)
    assert len(ports) == 2
    assert asyncio.run(WebPort(ports[::-1], user_name()).replicas([path])) == {path: 1}
    running.sink.close()


def told(web: str, *paths: str) -> Mapping[str, int | None]:
    """What the web port tells of these."""
    host, _, port = web.rpartition("/")[2].partition(":")
    return asyncio.run(WebPort([(host, int(port))], user_name()).replicas(paths))


def look(running: Running, over: Callable[[], bool]) -> None:
    """The sink looks after its files, each second of its clock, until something is so."""
    end_s = time.monotonic() + _PATIENCE_S
    while not over():
        assert time.monotonic() < end_s, running.said
        running.clock.advance(1)
        running.sink.tick()
        time.sleep(0.01)
