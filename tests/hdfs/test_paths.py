"""Paths that a cluster refuses: what brings them is changed or set aside, and no other bucket waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.test_buckets import START_MS, Running

from shipper.api import EventBatch, Refused, RetryLater

#: A value of a header, and the folder that it names.
VALUES = {
    "ok": "ok",
    "10.0.0.1:8080": "10.0.0.1_8080",
    "fe80::1": "fe80__1",
    "2012-06-23T13:00:00Z": "2012-06-23T13_00_00Z",
    ".snapshot": "_snapshot",
    "a/.snapshot/b": "a/_snapshot/b",
    "..": "__",
}
TOO_LONG = ["a/" * 1100 + "a", ("y" * 190 + "/") * 50 + "y"]


def address(cluster: Cluster, client: str) -> str:
    return cluster.uri if client == "hdfs" else cluster.web.replace("http", "webhdfs")


@pytest.mark.parametrize("client", ["hdfs", "webhdfs"])
@pytest.mark.parametrize("option", ["path", "filePrefix"])
def test_a_header_that_the_cluster_refuses_stops_no_bucket(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, option: str
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    path, more = f"{address(hdfs, client)}{folder}", {}
    if option == "path":
        path += "/%{x}/z"
    else:
        more["filePrefix"] = "%{x}/z"
    running = Running(path, tmp_path, **more)
    values = [*VALUES, *TOO_LONG]
    batch = EventBatch.of([value[:30].encode() for value in values], [{"x": value} for value in values])
    with pytest.raises(Refused) as refused:
        running.deliver(batch)
    assert refused.value.rows == (len(VALUES), len(VALUES) + 1)
    running.deliver(batch.slice(0, len(VALUES)))
    running.sink.close()
    assert sorted(name.rpartition(".")[0] for name in hdfs.files(folder)) == sorted(
        f"{folder}/{part}/z/FlumeData" if option == "path" else f"{folder}/{part}/z" for part in VALUES.values()
    )


def test_a_header_at_the_top_reaches_no_reserved_folder(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    running = Running(f"{hdfs.uri}/%{{x}}", tmp_path)
    running.deliver(EventBatch.of([b"row"], [{"x": ".reserved"}]))
    running.sink.close()
    assert len(hdfs.files("/_reserved")) == 1


def test_a_time_with_colons_and_dots_of_the_template_reach_the_cluster(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    running = Running(f"{hdfs.uri}{folder}/a/../b/./%c", tmp_path)
    running.deliver(EventBatch.of([b"row"], [{"timestamp": str(START_MS)}]))
    running.sink.close()
    [name] = hdfs.files(folder)
    assert name.startswith(f"{folder}/b/Sat Jun 23 13_00_00 2012/FlumeData.")


def test_a_file_where_a_folder_is_needed_is_waited_for(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives it another name lets the events go on: so they are not set aside."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    address = f"{hdfs.uri}{folder}"
    first = Running(address, tmp_path / "first")
    first.deliver(EventBatch.of([b"first"]))
    first.sink.close()
    [path] = hdfs.files(folder)
    running = Running(f"{address}/%{{x}}", tmp_path / "second")
    batch = EventBatch.of([b"row"], [{"x": path.rpartition("/")[2]}])
    with pytest.raises(RetryLater, match=r"is not a directory.*rename that file or name another directory"):
        running.deliver(batch)
    running.sink.rolled_back()
    hdfs.rest("PUT", path, "RENAME", destination=f"{folder}/aside")
    running.deliver(batch)
    running.sink.close()
    assert len(hdfs.files(path)) == 1
