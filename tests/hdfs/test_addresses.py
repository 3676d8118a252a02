"""Ways to a cluster other than `hdfs://`: over HTTP alone, and by mount points."""

from __future__ import annotations

from pathlib import Path

import pytest
from hdfs.cluster import Cluster
from hdfs.kills import campaign
from hdfs.shipping import Shipment

from shipper.api import ComponentFailed, EventBatch, RetryLater
from shipper.config.field import read_options
from shipper.sinks.hdfs import cluster as client
from shipper.sinks.hdfs import hadoop_settings
from shipper.sinks.hdfs.config import HdfsOptions
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import sink_context


def over_http(cluster: Cluster) -> str:
    return cluster.web.replace("http", "webhdfs")


@pytest.mark.parametrize("kills", [3, pytest.param(50, marks=pytest.mark.nightly)])
def test_over_http_no_line_is_lost_or_comes_twice(hdfs: Cluster, tmp_path: Path, kills: int) -> None:
    """Deaths of the sink's worker and of the agent, in files that roll; what a dead worker left only ends."""
    for first in range(0, kills, 5):
        roles = ["sink", "group", "sink", "sink", "group"][: kills - first]
        outcome = campaign(
            hdfs, tmp_path / str(first), 300 + first, roles, conf=hdfs.conf_dir, uri=over_http(hdfs),
            rollInterval="2", fileType="DataStream",
        )  # fmt: skip
        print(outcome)
        assert not outcome.faults, "\n".join(outcome.faults)


def test_over_http_a_late_request_of_a_dead_process_changes_nothing(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """A DataNode has taken it, and hangs; the next process ends the file; then the DataNode is well."""
    with Shipment(tmp_path, hdfs_to_break, uri=over_http(hdfs_to_break)) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_arrived()
        hdfs_to_break.datanodes[0].freeze()
        shipment.more()
        shipment.until_says("the cluster did not answer within 3 s (hdfs.callTimeout)")
        shipment.agent.kill()
        shipment.start()
        hdfs_to_break.datanodes[0].thaw()
        shipment.settle()


def test_over_http_a_worker_that_is_not_quite_dead_reaches_no_file(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though nobody holds a lease: its file has another name by then."""
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf_dir))
    folder = hdfs.folder()
    dead, said = opened(f"{over_http(hdfs)}{folder}", tmp_path, 0)
    sequence = commit(dead, b"one")
    dead.deliver(EventBatch.of([b"two"]))
    dead.flush()  # and not committed
    alive, said = opened(f"{over_http(hdfs)}{folder}", tmp_path, sequence)
    alive.files._names.wait()
    with pytest.raises(RetryLater):
        commit(dead, b"late")
    commit(alive, b"two")
    alive.close()
    assert sorted(hdfs.read_all(folder).splitlines()) == [b"one", b"two"], said
    assert not [path for path in hdfs.files(folder) if path.endswith(".tmp")]
    assert [line for level, line in said if level == "warning" and "it ends with what was delivered to it" in line]
    dead._store.close()


@pytest.mark.parametrize("default", [False, True])
def test_without_a_port_it_is_that_of_hadoop(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, default: bool
) -> None:
    """In hdfs.path and in fs.defaultFS. (Here the port of the tests' NameNode is in its place.)"""
    host, _, port = hdfs.uri.rpartition(":")
    monkeypatch.setattr(hadoop_settings, "_RPC_PORT", int(port))
    monkeypatch.setenv("HADOOP_CONF_DIR", str(hdfs.conf({"fs.defaultFS": f"{host}/"})))
    folder = hdfs.folder()
    sink, _ = opened(f"hdfs://{folder}" if default else f"{host}{folder}", tmp_path, 0)
    commit(sink, b"one")
    sink.close()
    assert hdfs.read_all(folder) == b"one\n"


def test_a_nameservice_and_a_port_that_was_given_stay_as_they_are() -> None:
    settings = HadoopSettings("", {"dfs.ha.namenodes.ns1": "nn1,nn2"})
    urls = ["hdfs://ns1", "hdfs://host:9000", "hdfs://[::1]:9000"]
    assert [settings.with_port(url) for url in urls] == urls
    assert settings.with_port("hdfs://[::1]") == "hdfs://[::1]:8020"


def test_at_the_web_port_a_person_hears_which_port_is_wanted(hdfs: Cluster, tmp_path: Path) -> None:
    sink, _ = opened(f"{hdfs.web.replace('http', 'hdfs')}{hdfs.folder()}", tmp_path, 0)
    for _ in range(2):  # the client finds out in two ways
        with pytest.raises(RetryLater, match=r"RPC port \(often 8020 or 9000\)\? Its web port .* webhdfs://HOST:PORT"):
            commit(sink, b"one")
    sink.close()


def test_without_kerberos_files_are_those_of_the_proxy_user(hdfs: Cluster, tmp_path: Path) -> None:
    """And nothing is done that he may not do."""
    folder = hdfs.folder()
    hdfs.rest("PUT", folder, "MKDIRS")
    with Shipment(tmp_path, hdfs, folder=folder, sink={"hdfs.proxyUser": "bob"}) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_says("Permission denied: user=bob")
        hdfs.rest("PUT", folder, "SETPERMISSION", permission="777")
        shipment.settle()
        owners = [status["owner"] for path in shipment.files() if (status := hdfs.status(path)) is not None]
    assert owners == ["bob"]


def test_two_proxy_users_in_one_process_are_refused(
    hdfs: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_KEPT", [("bob", None)])
    with pytest.raises(ComponentFailed, match=r"hdfs.proxyUser = \(not set\): another sink of this group has .* = bob"):
        opened(f"{hdfs.uri}{hdfs.folder()}", tmp_path, 0)


def test_mount_points_lead_to_a_cluster(hdfs: Cluster, tmp_path: Path) -> None:
    """What is done there, is done at the cluster's own path: a file of a killed agent is cut, too."""
    folder = hdfs.folder()
    conf = hdfs.conf({"fs.viewfs.mounttable.all.link./logs": f"{hdfs.uri}{folder}"})
    with Shipment(tmp_path, hdfs, conf=conf, sink={"hdfs.path": "viewfs://all/logs"}, folder=folder) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_arrived()
        shipment.agent.kill()
        shipment.more()
        shipment.start()
        shipment.settle()
        assert len(shipment.files()) == 1


def opened(address: str, state: Path, sequence: int) -> tuple[HdfsSink, list[tuple[str, str]]]:
    given = {"path": address, "fileType": "DataStream", "rollCount": "0", "rollSize": "0", "rollInterval": "0"}
    options, findings = read_options(HdfsOptions, {f"hdfs.{key}": value for key, value in given.items()})
    assert options is not None, findings
    said: list[tuple[str, str]] = []
    sink = HdfsSink(options)
    sink.open(sink_context(state, said=said, committed_sequence=sequence))
    return sink, said


def commit(sink: HdfsSink, *rows: bytes) -> int:
    try:
        sink.deliver(EventBatch.of(list(rows)))
        sequence = sink.flush()
    except RetryLater:
        sink.rolled_back()
        raise
    sink.committed()
    return sequence
