"""The settings of a test cluster: what its servers are told, and what a client is told, as Hadoop's XML files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

LOG4J = """\
log4j.rootLogger=INFO,console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.target=System.err
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n
"""
QUIET_LOG4J = LOG4J.replace("INFO", "ERROR")
NAMESERVICE = "ns1"
LOOPBACK = "127.0.0.1"

#: What is as it would be in production, but quicker, and on one machine.
_SERVER = {
    "dfs.datanode.hostname": LOOPBACK,
    "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    "dfs.namenode.safemode.extension": "0",
    "dfs.namenode.fs-limits.min-block-size": "1024",
    "dfs.blocksize": str(8 << 20),  # a DataNode reserves one for each file that is open, and files have several
    "dfs.datanode.du.reserved": "0",
    "ipc.client.connect.retry.interval": "200",  # a DataNode starts while its NameNode does
    # A lease is recovered by an order that a DataNode gets with the answer to its heartbeat. With less than a second
    # each question whether it is recovered would begin that anew: the time for it is 30 heartbeats in whole seconds.
    "dfs.heartbeat.interval": "1s",
    # A DataNode that says nothing is dead after 2 x this + 10 heartbeats.
    "dfs.namenode.heartbeat.recheck-interval": "2000",
    # What the kernel has outlives SIGKILL, the only death that tests bring.
    "dfs.namenode.edits.noeditlogchannelflush": "true",
}


def addresses(rpc: Sequence[int], web: Sequence[int]) -> dict[str, str]:
    """Where the NameNodes are: one at an address, or two behind a nameservice."""
    if len(rpc) == 1:
        return {
            "dfs.namenode.rpc-address": f"{LOOPBACK}:{rpc[0]}",
            "dfs.namenode.http-address": f"{LOOPBACK}:{web[0]}",
        }
    found = {
        "dfs.nameservices": NAMESERVICE,
        f"dfs.ha.namenodes.{NAMESERVICE}": "nn1,nn2",
        f"dfs.client.failover.proxy.provider.{NAMESERVICE}":
            "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider",
        "dfs.ha.fencing.methods": "shell(/bin/true)",
    }  # fmt: skip
    for number, (rpc_port, web_port) in enumerate(zip(rpc, web, strict=True), 1):
        found[f"dfs.namenode.rpc-address.{NAMESERVICE}.nn{number}"] = f"{LOOPBACK}:{rpc_port}"
        found[f"dfs.namenode.http-address.{NAMESERVICE}.nn{number}"] = f"{LOOPBACK}:{web_port}"
    return found


def storage(home: Path, namenodes: int) -> dict[str, str]:
    """Where the NameNodes keep what they know."""
    if namenodes == 1:
        return {"dfs.namenode.name.dir": (home / "nn1" / "name").as_uri()}
    names = {f"dfs.namenode.name.dir.{NAMESERVICE}.nn{n}": (home / f"nn{n}" / "name").as_uri() for n in (1, 2)}
    return {**names, "dfs.namenode.shared.edits.dir": (home / "edits").as_uri()}


def server(own: Mapping[str, str]) -> dict[str, str]:
    """What a server is told beyond where things are."""
    return {**_SERVER, **own}


def write(folder: Path, default: str, settings: Mapping[str, str], log4j: str = QUIET_LOG4J) -> None:
    """Writes `core-site.xml`, `hdfs-site.xml` and `log4j.properties`. Both XML files have everything in them, since
    security is read from the first and the rest from the second."""
    folder.mkdir(parents=True, exist_ok=True)
    both = {"fs.defaultFS": default, **settings}
    text = "".join(
        f"  <property><name>{escape(name)}</name><value>{escape(value)}</value></property>\n"
        for name, value in both.items()
    )
    for name in ("core-site.xml", "hdfs-site.xml"):
        (folder / name).write_text(f"<configuration>\n{text}</configuration>\n")
    (folder / "log4j.properties").write_text(log4j)
