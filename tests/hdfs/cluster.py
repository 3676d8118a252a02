"""A cluster: a real HDFS on this machine, each NameNode and DataNode a process that can be killed and frozen.

All listen on 127.0.0.1. All that is known of a cluster lies in
its folder, so that several processes of a test run can share it: each makes a `Cluster` of the same folder. Hadoop's
own tools cost a JVM each, a second or two; most questions can be asked over HTTP (`web.py`).

As a program it starts a cluster for a person who wants to try it, says where it is, and ends it when its input ends::

    python tests/hdfs/cluster.py --libraries JARS FOLDER
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from hdfs import settings
from hdfs.daemon import Daemon, until
from hdfs.settings import LOOPBACK, NAMESERVICE
from hdfs.web import WebPort, user_name

from shipper.testing.ports import free_ports

_JAVA = (
    "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.net.preferIPv4Stack=true",
    "-XX:+UnlockDiagnosticVMOptions", "-XX:-BytecodeVerificationRemote",  # a sixth less work at each start
)  # fmt: skip
_TOOL_S = 100
_NAMENODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
_DATANODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"


class Cluster(WebPort):
    """An HDFS.

    Args:
        libraries: the folder with the jars of `hadoop-client-minicluster`.
        home: the folder of everything that it is.
        datanodes: how many there are.
        namenodes: one, or two of which one is active.
        replication: how many DataNodes a block goes to, unless its writer wants another number.
        own: more settings, for its servers and its clients.
        java: more flags of each JVM.
        environment: more variables for Hadoop's tools.
        watched: the cluster ends with this process; 0 = with the one that calls.
        formatted: a folder in which an empty NameNode's storage is kept for the next cluster.

    Attributes:
        conf_dir: what a client is told, for `HADOOP_CONF_DIR` or `-c`.
        conf_dir_without_web: the same, but for the web port: nothing listens on the one that is named.
    """

    def __init__(
        self,
        libraries: Path,
        home: Path,
        *,
        datanodes: int = 1,
        namenodes: int = 1,
        replication: int = 1,
        own: Mapping[str, str] | None = None,
        java: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        watched: int = 0,
        formatted: Path | None = None,
    ) -> None:
        self.home = home
        self.conf_dir = home / "client"
        self.conf_dir_without_web = home / "client-without-web"
        self._libraries = libraries
        self._own = {"dfs.replication": str(replication), **(own or {})}
        self._java = (*_JAVA, *java)
        self._environment = dict(environment or {})
        self._formatted = formatted
        home.mkdir(parents=True, exist_ok=True)
        with exclusive(home / "ports"):
            ports = self._ports(namenodes, datanodes)
        super().__init__(ports["web"])
        self._rpc, self._closed, self._data = ports["rpc"], ports["closed"], ports["data"]
        watched = watched or os.getpid()
        self.namenodes = [
            Daemon(f"nn{n}", self._namenode(n), home, home / f"nn{n}", watched) for n in range(1, namenodes + 1)
        ]
        self.datanodes = [
            Daemon(f"dn{n}", self._datanode(n, ports["data"][n - 1]), home, home / f"dn{n}", watched)
            for n in range(1, datanodes + 1)
        ]

    # --- where it is

    @property
    def uri(self) -> str:
        """`hdfs://127.0.0.1:PORT`, or `hdfs://ns1` with two NameNodes."""
        return f"hdfs://{LOOPBACK}:{self._rpc[0]}" if len(self._rpc) == 1 else f"hdfs://{NAMESERVICE}"

    @property
    def port(self) -> int:
        """The port of the (first) NameNode."""
        return int(self._rpc[0])

    def conf(self, own: Mapping[str, str]) -> Path:
        """A directory as `conf_dir`, with more settings."""
        place = Path(tempfile.mkdtemp(prefix="client-", dir=self.home))
        settings.write(place, self.uri, {**settings.addresses(self._rpc, self._web), **self._own, **own})
        return place

    def folder(self) -> str:
        """A name for a folder that nothing has yet."""
        return f"/t-{uuid.uuid4().hex[:12]}"

    # --- starting and ending

    def start(self, datanodes: int | None = None) -> Cluster:
        """Starts what does not run, thaws what is frozen, and waits until files can be written. As often as wanted.

        Args:
            datanodes: only so many of them run then; by default all.
        """
        with exclusive(self.home / "start"):
            if not (self.home / "conf").is_dir():
                self._configure()
            if not (self.home / "nn1").is_dir():
                self._format()
            for surplus in self.datanodes[len(self.datanodes) if datanodes is None else datanodes :]:
                surplus.kill()
            for daemon in [*self.namenodes, *self.datanodes[:datanodes]]:
                (daemon.data / "tmp").mkdir(parents=True, exist_ok=True)
                daemon.start()
            self.until_ready()
        return self

    def until_ready(self) -> None:
        """Waits until a NameNode is active and out of safe mode, and knows all DataNodes that run."""
        running = [datanode for datanode in self.datanodes if datanode.pid]
        for namenode in self.namenodes:
            namenode.until_said("IPC Server Responder: starting")
        if len(self.namenodes) > 1 and self.active() < 0:
            self.fail_over(0)
        for datanode in running:
            datanode.until_said("Successfully sent block report", len(self.namenodes))
        for namenode in self.namenodes:  # also of one that was started again, and DataNodes that were not
            namenode.until_said("hasStaleStorage: false", len(running))
        until(lambda: self._serves(len(running)), f"files can be written to the cluster in {self.home}")

    def stop(self) -> None:
        """Kills all of it."""
        for daemon in [*self.datanodes, *self.namenodes]:
            daemon.kill()

    def start_namenode(self, number: int = 1) -> None:
        """Starts one, and waits until files can be written."""
        self.namenodes[number - 1].start()
        self.until_ready()

    def kill_namenode(self, number: int = 1) -> None:
        """SIGKILL."""
        self.namenodes[number - 1].kill()

    def start_datanode(self, number: int = 1) -> None:
        """Starts or thaws one, and waits until the NameNode knows it."""
        self.datanodes[number - 1].start()
        self.until_ready()

    def kill_datanode(self, number: int = 1) -> None:
        """SIGKILL."""
        self.datanodes[number - 1].kill()

    @contextlib.contextmanager
    def full_datanode(self) -> Iterator[None]:
        """The first DataNode starts again on a disk that is full, for a while: all of it is reserved for others."""
        full = dataclasses.replace(
            self.datanodes[0], command=[*self.datanodes[0].command, "-D", f"dfs.datanode.du.reserved={1 << 62}"]
        )
        full.kill()
        full.start()
        self.until_ready()
        yield
        full.kill()
        self.start_datanode()

    def replica(self, path: str) -> Path:
        """The first DataNode's replica of the last block of a file that is open."""
        located = self.rest("GET", path, "GET_BLOCK_LOCATIONS", length=1)["LocatedBlocks"]["lastLocatedBlock"]
        [found] = (self.home / "dn1" / "data").glob(f"current/BP-*/current/rbw/blk_{located['block']['blockId']}")
        return found

    def datanode_ports(self) -> list[int]:
        """The port of each DataNode, as the NameNode names it."""
        return [ports[0] for ports in self._data]

    def fail_over(self, to: int) -> None:
        """Makes that NameNode (from 0) the active one, as a person does whose other one is dead."""
        tool = "org.apache.hadoop.hdfs.tools.DFSHAAdmin"
        self.tool(tool, "-transitionToActive", "--forceactive", f"nn{to + 1}", answer=b"Y\n")
        until(lambda: self.active() == to, f"nn{to + 1} is active")

    # --- Hadoop's own tools: a JVM each

    def tool(self, name: str, *arguments: str, check: bool = True, answer: bytes = b"",
             user: str | None = None, native: Path | None = None) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """Runs a class of Hadoop's as a client of this cluster.

        Args:
            user: who asks; by default who runs the tests, and is the superuser.
            native: the folder with Hadoop's native library.
        """
        options = [f"-Djava.library.path={native}"] if native else []
        command = self._command("client", *options, heap="256m")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HADOOP_")}
        environment |= {**self._environment, **({"HADOOP_USER_NAME": user} if user else {})}
        done = subprocess.run(
            [*command, name, *arguments], input=answer, capture_output=True, timeout=_TOOL_S, env=environment,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0 or not check, (done.stderr + done.stdout).decode(errors="replace")[:4000]
        return done

    def shell(self, *arguments: str, check: bool = True, user: str | None = None) -> str:
        """What `hdfs dfs ARGUMENTS` prints."""
        done = self.tool("org.apache.hadoop.fs.FsShell", *arguments, check=check, user=user)
        return (done.stdout + (b"" if check else done.stderr)).decode(errors="replace")

    def admin(self, *arguments: str) -> str:
        """What `hdfs dfsadmin ARGUMENTS` prints."""
        return self.tool("org.apache.hadoop.hdfs.tools.DFSAdmin", *arguments).stdout.decode()

    def text(self, paths: Sequence[str], native: Path | None = None) -> dict[str, bytes]:
        """What `hdfs dfs -text` prints of each file, by its path. All files cost one JVM."""
        if not paths:
            return {}
        line = f"--- {uuid.uuid4().hex} ---\n".encode()
        with tempfile.NamedTemporaryFile() as border:  # stands between them: the shell prints them in one run
            border.write(line)
            border.flush()
            names = [name for path in paths for name in (path, f"file://{border.name}")]
            done = self.tool("org.apache.hadoop.fs.FsShell", "-text", *names, native=native)
        return dict(zip(paths, done.stdout.split(line)[:-1], strict=True))

    # --- how

    def _serves(self, datanodes: int) -> bool:
        if self._own.get("hadoop.security.authentication") == "kerberos":
            return self.namenodes[0].said("STATE* Leaving safe mode") > 0  # its web port wants tickets
        if len(self._web) > 1 and self.active() < 0:
            return False
        state = self.bean("FSNamesystemState")
        return state.get("FSState") == "Operational" and state["NumLiveDataNodes"] >= datanodes

    def _command(self, conf: str, *options: str, heap: str = "384m") -> list[str]:
        classes = f"{self.home / conf}:{self._libraries}/*"
        return ["java", f"-Xmx{heap}", *self._java, *options, "-cp", classes]

    def _scratch(self, daemon: str) -> str:
        return f"-Djava.io.tmpdir={self.home / daemon / 'tmp'}"  # web pages are unpacked there, and stay

    def _namenode(self, number: int) -> list[str]:
        return [*self._command("conf", self._scratch(f"nn{number}")), _NAMENODE, "-D", f"dfs.ha.namenode.id=nn{number}"]

    def _datanode(self, number: int, ports: Sequence[int]) -> list[str]:
        data = (self.home / f"dn{number}" / "data").as_uri()
        found = [*self._command("conf", self._scratch(f"dn{number}")), _DATANODE, "-D", f"dfs.datanode.data.dir={data}"]
        for kind, port in zip(("", ".http", ".ipc"), ports, strict=True):
            found += ["-D", f"dfs.datanode{kind}.address={LOOPBACK}:{port}"]
        return found

    def _configure(self) -> None:
        own = {**settings.addresses(self._rpc, self._web), **self._own}
        user = {f"hadoop.proxyuser.{user_name()}.{what}": "*" for what in ("hosts", "groups")}
        server = settings.server({**settings.storage(self.home, len(self._rpc)), **user, **own})
        settings.write(self.conf_dir, self.uri, own)
        without = {**own, **settings.addresses(self._rpc, self._closed)}
        settings.write(self.conf_dir_without_web, self.uri, without)
        settings.write(self.home / "conf.new", self.uri, server, settings.LOG4J)
        (self.home / "conf.new").rename(self.home / "conf")

    def _format(self) -> None:
        """Makes the storage of the NameNodes, by a JVM or from what one made before."""
        kept = self._formatted or self.home / "formatted"
        if not kept.is_dir():
            made = self.home / "formatting"
            settings.write(self.home / "format", self.uri, {"dfs.namenode.name.dir": made.as_uri()})
            command = [*self._command("format"), _NAMENODE, "-format", "-force", "-nonInteractive"]
            done = subprocess.run(command, capture_output=True, timeout=_TOOL_S, check=False)
            assert done.returncode == 0, done.stderr.decode(errors="replace")[-4000:]
            with contextlib.suppress(OSError):  # somebody was faster
                made.rename(kept)
        if len(self.namenodes) > 1:  # what is written later is in the folder that both share
            (self.home / "edits" / "current").mkdir(parents=True)
            shutil.copy(kept / "current" / "VERSION", self.home / "edits" / "current")
            shutil.copytree(kept, self.home / "nn2" / "name")
        shutil.copytree(kept, self.home / "nn1.new" / "name")
        (self.home / "nn1.new").rename(self.home / "nn1")

    def _ports(self, namenodes: int, datanodes: int) -> dict[str, Any]:
        known = self.home / "ports.json"
        if not known.exists():
            free = free_ports(3 * namenodes + 3 * datanodes)
            of_datanodes = free[3 * namenodes :]
            ports = {
                "rpc": free[:namenodes],
                "web": free[namenodes : 2 * namenodes],
                "closed": free[2 * namenodes : 3 * namenodes],
                "data": [of_datanodes[n : n + 3] for n in range(0, len(of_datanodes), 3)],
            }
            known.write_text(json.dumps(ports))
        found: dict[str, Any] = json.loads(known.read_text())
        return found


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Only one process at a time: the lock is a file beside `path`."""
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # given back when it is closed
        yield


def main() -> None:
    """Starts a cluster, says where it is, and ends it when the input ends."""
    parser = argparse.ArgumentParser(description="Starts an HDFS on this machine; ends it when its input ends.")
    parser.add_argument("folder", type=Path, help="where it keeps everything")
    parser.add_argument("--libraries", type=Path, required=True, help="the jars of hadoop-client-minicluster")
    parser.add_argument("--datanodes", type=int, default=1)
    arguments = parser.parse_args()
    cluster = Cluster(arguments.libraries, arguments.folder.absolute(), datanodes=arguments.datanodes)
    try:
        cluster.start()
        print(f"uri={cluster.uri}\nweb={cluster.web}\nconf={cluster.conf_dir}", flush=True)
        sys.stdin.read()
    finally:
        cluster.stop()


if __name__ == "__main__":
    main()
