"""A cluster for a benchmark: a NameNode and a DataNode on this machine, by the program that the tests have for it.

The jars are those that the tests have fetched (`$SHIPPER_TEST_CACHE` or `~/.cache/shipper-tests`), or what
`$SHIPPER_HADOOP_LIBRARIES` names: the folder with the jars of `hadoop-client-minicluster`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perf.harness import usage
from shipper.testing.mortal import dies_with_us

_PROGRAM = Path(__file__).resolve().parents[2] / "tests" / "hdfs" / "cluster.py"
_SHELL_S = 600
#: As the sink writes: pieces of a few MiB, each made safe.
_CLIENT = """
import resource, sys, time
import hdfs_native
client = hdfs_native.Client(sys.argv[1])
data = open(sys.argv[2], "rb").read()
piece = int(sys.argv[4])
before = resource.getrusage(resource.RUSAGE_SELF)
began = time.perf_counter()
with client.create(sys.argv[3], hdfs_native.WriteOptions(overwrite=True)) as file:
    for at in range(0, len(data), piece):
        file.write(data[at : at + piece])
        file.hsync()
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
print(cpu, time.perf_counter() - began)
"""


class NoCluster(Exception):
    """There can't be a cluster here; the message says why."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    Attributes:
        uri, web: `hdfs://127.0.0.1:PORT`, `http://127.0.0.1:PORT`.
        conf: the folder with what a client is told.
    """

    uri: str
    web: str
    conf: Path
    libraries: Path

    def shell(self, *arguments: str) -> float:
        """Runs `hdfs dfs ARGUMENTS`; how long it took."""
        began_s = time.perf_counter()
        command = ["java", "-Xmx384m", "-Djava.net.preferIPv4Stack=true", "-cp", f"{self.conf}:{self.libraries}/*"]
        subprocess.run(
            [*command, "org.apache.hadoop.fs.FsShell", *arguments], check=True, timeout=_SHELL_S, capture_output=True
        )
        return time.perf_counter() - began_s

    def flushes(self) -> int:
        """How often anybody has made what he wrote safe since the NameNode started."""
        # By its log: its own counts are up to ten seconds old.
        return (self.conf.parent / "nn1.log").read_text(errors="replace").count("BLOCK* fsync")

    def client_cpu_s(self, file: Path, target: str, piece_bytes: int) -> float:
        """CPU seconds that the bare client needs to write the bytes of a file as the sink does."""
        command = [sys.executable, "-c", _CLIENT, self.uri, str(file), target, str(piece_bytes)]
        done = subprocess.run(command, check=True, timeout=_SHELL_S, capture_output=True, text=True)
        return max(float(done.stdout.split()[0]), usage.TICK_S)


@contextmanager
def cluster(home: Path) -> Iterator[Cluster]:
    """A cluster as long as the block runs.

    Raises:
        NoCluster: something that it needs is not here.
    """
    libraries = _libraries()
    if shutil.which("java") is None:
        raise NoCluster("Java is not here (apt-get install default-jre-headless)")
    if importlib.util.find_spec("hdfs_native") is None:
        raise NoCluster("the client is not here (pip install 'shipper[hdfs]')")
    command = [sys.executable, str(_PROGRAM), "--libraries", str(libraries), str(home)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=dies_with_us()
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            said = dict(process.stdout.readline().strip().partition("=")[::2] for _ in range(3))
            if "uri" not in said:
                raise NoCluster(f"the cluster in {home} did not start")
            yield Cluster(said["uri"], said["web"], Path(said["conf"]), libraries)
        finally:
            process.stdin.close()
            process.wait(60)


def _libraries() -> Path:
    if named := os.environ.get("SHIPPER_HADOOP_LIBRARIES"):
        return Path(named)
    cache = Path(os.environ.get("SHIPPER_TEST_CACHE") or Path.home() / ".cache" / "shipper-tests")
    # Those laid out for servers start in half the time.
    found = sorted([*cache.glob("hadoop-*-servers"), *cache.glob("hadoop-*/lib")], key=lambda path: path.name == "lib")
    found = [path for path in found if path.is_dir()]
    if not found:
        raise NoCluster("Hadoop's jars are not here; this fetches them: python -m pytest tests/hdfs/test_cluster.py")
    return found[0]
