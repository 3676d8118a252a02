"""`hdfs.syncInterval` and `hdfs.syncSize`: rows are gathered, so that there are fewer syncs."""

from __future__ import annotations

import threading
from pathlib import Path

from hdfs.cluster import Cluster
from hdfs.shipping import Shipment


def syncs(cluster: Cluster) -> int:
    """How many the NameNode has heard of."""
    return cluster.namenodes[0].said("BLOCK* fsync")


def synced(directory: Path, cluster: Cluster, sink: dict[str, str]) -> int:
    """How many syncs forty lines cost that come one after the other."""
    directory.mkdir()
    before = syncs(cluster)
    with Shipment(directory, cluster, sink=sink) as shipment:
        shipment.start()
        for _ in range(40):
            shipment.more(1)
            threading.Event().wait(0.025)
        shipment.settle()
    return syncs(cluster) - before


def test_rows_wait_for_more_of_them(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    at_once = synced(tmp_path / "at once", hdfs_to_break, {})
    gathered = synced(tmp_path / "gathered", hdfs_to_break, {"hdfs.syncInterval": "2"})
    print(f"{at_once} syncs, {gathered} when rows wait for 2 s")
    assert gathered <= 4 < at_once


def test_so_many_bytes_do_not_wait(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """The lines of the log have 23 bytes each."""
    with Shipment(tmp_path, hdfs_to_break, sink={"hdfs.syncInterval": "600", "hdfs.syncSize": "1000"}) as shipment:
        shipment.start()
        shipment.more(500)
        shipment.until_arrived(30)
        shipment.settle()
