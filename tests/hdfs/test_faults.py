"""What happens on each fault: a real agent ships to a real cluster, which breaks and is mended.

Each row of the table in docs/hdfs.md is a test of this name, in which the agent says what the page says.

Nothing is lost, nothing is there twice, no file stays open, and the loop of the sink stands still no longer than
two calls may take (`hdfs.callTimeout`): see `Shipment.settle`.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType

import pytest
from hdfs.cluster import Cluster
from hdfs.daemon import until
from hdfs.shipping import Shipment

PAGE = (Path(__file__).parents[2] / "docs" / "hdfs.md").read_text()
_ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
#: What is said, by the name of the fault; "" = nothing.
SAID = MappingProxyType({name: (re.findall(r"`(.+?)`", said) or [""])[0] for name, _, said, _ in _ROW.findall(PAGE)})


@contextmanager
def shipping(directory: Path, cluster: Cluster, **how: object) -> Iterator[Shipment]:
    """An agent that ships: its first lines are in a file on the cluster, which stays open."""
    with Shipment(directory, cluster, **how) as shipment:  # type: ignore[arg-type]
        shipment.start()
        shipment.more()
        shipment.until_arrived()
        yield shipment


def test_each_row_of_the_page_is_a_test() -> None:
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert len(SAID) > 10
    assert set(SAID) <= tests, set(SAID) - tests


@pytest.mark.parametrize("asked", ["when it is ready", pytest.param("at once", marks=pytest.mark.nightly)])
def test_namenode_killed(hdfs_to_break: Cluster, tmp_path: Path, asked: str) -> None:
    """A NameNode that is asked for a lease before a DataNode has registered with it asks none for 30 heartbeats: a file
    then keeps its name for so long."""
    soon = {"hdfs.retryInterval": "1"}
    with shipping(tmp_path, hdfs_to_break, sink=soon) as shipment:
        hdfs_to_break.kill_namenode()
        shipment.more()
        shipment.until_says(SAID["namenode_killed"])
        with shipment.standing_still() if asked == "when it is ready" else nullcontext():
            hdfs_to_break.start_namenode()
        shipment.until_arrived()
        until(lambda: sum(path.endswith(".tmp") for path in shipment.files()) < 2, "the file that was open has ended")
        shipment.settle()


@pytest.mark.parametrize("away", ["frozen", pytest.param("dead", marks=pytest.mark.nightly)])
def test_stopped_without_namenode(hdfs_to_break: Cluster, tmp_path: Path, away: str) -> None:
    """The file keeps its name; the next start finishes it."""
    with shipping(tmp_path, hdfs_to_break) as shipment:
        if away == "dead":
            hdfs_to_break.kill_namenode()
        else:
            hdfs_to_break.namenodes[0].freeze()
        assert shipment.agent.stop() == 0
        shipment.until_says(SAID["stopped_without_namenode"])
        assert "Please report" not in shipment.agent.log() and "journal" not in shipment.agent.log()
        hdfs_to_break.start_namenode()
        shipment.more()
        shipment.start()
        shipment.settle()


def test_namenode_failed_over(hdfs_pair: Cluster, tmp_path: Path) -> None:
    """The active one of two dies; a person makes the other one active. The dead one comes back, and stands by."""
    with shipping(tmp_path, hdfs_pair) as shipment:
        hdfs_pair.kill_namenode(1)
        shipment.more()
        shipment.until_says(SAID["namenode_failed_over"])
        hdfs_pair.fail_over(1)
        shipment.until_arrived()
        hdfs_pair.start_namenode(1)
        shipment.more()
        shipment.settle()


def test_namenode_silent(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """The kernel accepts connections for a NameNode that is stopped, and nobody answers."""
    with shipping(tmp_path, hdfs_to_break) as shipment:
        hdfs_to_break.namenodes[0].freeze()
        shipment.more()
        shipment.until_says(SAID["namenode_silent"])
        hdfs_to_break.namenodes[0].thaw()
        shipment.settle()


def test_safe_mode(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    with shipping(tmp_path, hdfs_to_break) as shipment:
        hdfs_to_break.admin("-safemode", "enter")
        shipment.more()
        shipment.until_says(SAID["safe_mode"])
        hdfs_to_break.admin("-safemode", "leave")
        shipment.settle()


@pytest.mark.nightly
def test_datanode_killed(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """One of three, of which the file has two."""
    hdfs_to_break.start(3)
    with shipping(tmp_path, hdfs_to_break, conf=hdfs_to_break.conf({"dfs.replication": "2"})) as shipment:
        hdfs_to_break.kill_datanode(holder(hdfs_to_break, shipment))
        shipment.more()
        shipment.until_arrived()
        shipment.settle()


@pytest.mark.nightly
def test_datanode_of_all_killed(hdfs_patient: Cluster, tmp_path: Path) -> None:
    """One of three, and the NameNode does not notice."""
    with shipping(tmp_path, hdfs_patient, conf=hdfs_patient.conf({"dfs.replication": "3"})) as shipment:
        hdfs_patient.kill_datanode()
        shipment.more()
        shipment.until_says(SAID["datanode_of_all_killed"])
        shipment.settle()


def test_only_datanode_killed(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    with shipping(tmp_path, hdfs_to_break) as shipment:
        hdfs_to_break.kill_datanode()
        shipment.more()
        shipment.until_says(SAID["only_datanode_killed"])
        hdfs_to_break.start_datanode()
        shipment.settle()


def test_datanode_frozen(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    with shipping(tmp_path, hdfs_to_break) as shipment:
        hdfs_to_break.datanodes[0].freeze()
        shipment.more()
        shipment.until_says(SAID["datanode_frozen"])
        hdfs_to_break.datanodes[0].thaw()
        shipment.settle()


@pytest.mark.nightly
def test_datanode_frozen_for_a_minute(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """The same for so long that the NameNode takes it for dead."""
    with shipping(tmp_path, hdfs_to_break) as shipment:
        hdfs_to_break.datanodes[0].freeze()
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            shipment.more()
            time.sleep(1)
        shipment.until_says(SAID["datanode_frozen"])
        hdfs_to_break.datanodes[0].thaw()
        shipment.settle()


@pytest.mark.nightly
def test_datanodes_full(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """All of the disk is reserved for others: for the NameNode that is a full one."""
    with shipping(tmp_path, hdfs_to_break) as shipment:
        with hdfs_to_break.full_datanode():
            shipment.more()
            shipment.until_says(SAID["datanodes_full"])
        shipment.settle()


def test_space_quota_exceeded(hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    hdfs.rest("PUT", folder, "MKDIRS")
    hdfs.rest("PUT", folder, "SETQUOTA", storagespacequota=1 << 20)  # a block is 128 MiB
    with Shipment(tmp_path, hdfs, folder=folder) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_says(SAID["space_quota_exceeded"])
        hdfs.rest("PUT", folder, "SETQUOTA", storagespacequota=-1)
        shipment.settle()


def test_name_quota_exceeded(hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    hdfs.rest("PUT", folder, "MKDIRS")
    hdfs.rest("PUT", folder, "SETQUOTA", namespacequota=1)
    with Shipment(tmp_path, hdfs, folder=folder) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_says(SAID["name_quota_exceeded"])
        hdfs.rest("PUT", folder, "SETQUOTA", namespacequota=-1)
        shipment.settle()


def test_permission_denied(hdfs: Cluster, tmp_path: Path) -> None:
    folder = hdfs.folder()
    hdfs.rest("PUT", folder, "MKDIRS", permission="755")
    with Shipment(tmp_path, hdfs, folder=folder, environment={"HADOOP_USER_NAME": "alice"}) as shipment:
        shipment.start()
        shipment.more()
        shipment.until_says(SAID["permission_denied"])
        hdfs.rest("PUT", folder, "SETOWNER", owner="alice")
        shipment.settle()
        assert {str(hdfs.status(path)["owner"]) for path in shipment.files()} == {"alice"}  # type: ignore[index]


def test_state_directory_lost(hdfs: Cluster, tmp_path: Path) -> None:
    """The file that was open is named, and left as it is; what comes after it goes into another one."""
    with shipping(tmp_path, hdfs) as shipment:
        shipment.agent.kill()
        [left] = shipment.files()
        shutil.rmtree(shipment.agent.state_dir)
        shipment.more()
        shipment.start()
        shipment.until_says(f"{SAID['state_directory_lost']}: it is...{left}. ")
        shipment.until_arrived()
        assert shipment.agent.stop() == 0
        assert left in shipment.files()
        assert set(shipment.arrived().values()) == {1}


def test_lease_taken(hdfs: Cluster, tmp_path: Path) -> None:
    """Another client takes the file away, while it is written."""
    with shipping(tmp_path, hdfs) as shipment:
        [path] = shipment.files()
        Other(hdfs).recover(path)
        shipment.more()
        shipment.until_says(SAID["lease_taken"])
        shipment.settle()


def test_lease_held(hdfs: Cluster, tmp_path: Path) -> None:
    """After a crash another client has the file open, and has written behind what counts."""
    with shipping(tmp_path, hdfs) as shipment:
        shipment.agent.kill()
        [path] = shipment.files()
        other = Other(hdfs)
        other.recover(path)
        other.append(path, b"not ours\n")
        shipment.more()
        shipment.start()
        shipment.settle()
        other.forget()


def test_longer_file_web_port_open(hdfs: Cluster, tmp_path: Path) -> None:
    longer_file(hdfs, tmp_path, hdfs.conf_dir)


def test_longer_file_web_port_closed(hdfs: Cluster, tmp_path: Path) -> None:
    longer_file(hdfs, tmp_path, hdfs.conf_dir_without_web)


def longer_file(cluster: Cluster, directory: Path, conf: Path) -> None:
    """An agent is killed, and behind what counts of its file there is more: a write that was not committed."""
    with shipping(directory, cluster, conf=conf) as shipment:
        shipment.agent.kill()
        [path] = shipment.files()
        other = Other(cluster)
        other.recover(path)
        other.append(path, b"half a li")
        other.close()
        shipment.more()
        shipment.start()
        shipment.settle()


def test_replica_not_recovered_web_port_open(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    with shipping(tmp_path, hdfs_to_break) as shipment:
        interrupted(hdfs_to_break, shipment)
        shipment.more()
        shipment.start()
        shipment.settle()
        assert len(shipment.files()) == 1


@pytest.mark.nightly
def test_replica_not_recovered_web_port_closed(hdfs_to_break: Cluster, tmp_path: Path) -> None:
    """What the receiver had not counted is taken off before its DataNode starts again: which of it is whole, the
    DataNode would see by checksums, and a test has none to give."""
    with shipping(tmp_path, hdfs_to_break, conf=hdfs_to_break.conf_dir_without_web) as shipment:
        path, replica = interrupted(hdfs_to_break, shipment)
        shipment.more()
        shipment.start()
        shipment.until_says(SAID["replica_not_recovered_web_port_closed"])
        shipment.until_arrived()
        hdfs_to_break.kill_datanode()
        os.truncate(replica, replica.stat().st_size - len(UNCOUNTED))
        hdfs_to_break.start_datanode()
        shipment.more()
        shipment.agent.until(lambda: path not in shipment.files(), "the old file has its name", 200)
        shipment.settle()


UNCOUNTED = b"half a li"


def interrupted(cluster: Cluster, shipment: Shipment) -> tuple[str, Path]:
    """An agent is killed, and the DataNode's receiver is interrupted by the recovery between writing its last packet
    and counting it: the replica is longer than it says, and it refuses to recover it. The file, and its replica."""
    shipment.agent.kill()
    [path] = shipment.files()
    replica = cluster.replica(path)
    with replica.open("ab") as file:
        file.write(UNCOUNTED)
    other = Other(cluster)
    other.begin_to_recover(path)
    cluster.datanodes[0].until_said("Block length mismatch")
    return path, replica


class Other:
    """Another client of the cluster."""

    def __init__(self, cluster: Cluster) -> None:
        import hdfs_native

        self._client = hdfs_native.Client(cluster.uri, config_dir=str(cluster.conf_dir))

    def begin_to_recover(self, path: str) -> None:
        """Asks for it, and does not wait."""
        self._client.recover_lease(path)

    def recover(self, path: str) -> None:
        """Ends the lease of whoever writes the file."""
        until(lambda: self._client.recover_lease(path), f"the lease of {path} is recovered")

    def append(self, path: str, data: bytes) -> None:
        """Opens the file and writes behind its end."""

        def opened() -> bool:
            try:
                self._writer = self._client.append(path)
            except RuntimeError as problem:
                if "not sufficiently replicated yet" not in str(problem):
                    raise
                return False  # the DataNode has not told of the last block yet
            return True

        until(opened, f"{path} can be appended to")
        self._writer.write(data)
        self._writer.hsync()

    def close(self) -> None:
        self._writer.close()

    def forget(self) -> None:
        """Gives up what it has open, which is somebody else's by now: a writer that is collected wants to close it."""
        self._writer.close = lambda: None
        del self._writer, self._client


def holder(cluster: Cluster, shipment: Shipment) -> int:
    """The number of a DataNode on which the open file is, from 1."""
    [path] = shipment.files()
    found = cluster.rest("GET", path, "GETFILEBLOCKLOCATIONS")["BlockLocations"]["BlockLocation"][-1]["names"][0]
    port = int(found.rpartition(":")[2])
    return cluster.datanode_ports().index(port) + 1
