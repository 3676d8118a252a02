"""Hadoop's settings: what core-site.xml and hdfs-site.xml say, as far as the sink has to know it itself.

They lie in the directory behind `-c` or, when there is no core-site.xml, in `$HADOOP_CONF_DIR`. The client reads the
same files for everything else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from shipper.api import ComponentFailed, size

#: The agent's `-c` directory, for its workers.
CONF_DIR = "SHIPPER_CONF_DIR"
_RPC_PORT, _WEB_PORT = 8020, 9870
_REFERENCE = re.compile(r"\$\{([^}$ ]+)\}")
_PORT = re.compile(r":\d+$")
_INCLUDE = "{http://www.w3.org/2001/XInclude}include"


@dataclass(frozen=True)
class HadoopSettings:
    """Settings by their names; `folder` is where they were found, "" when nowhere."""

    folder: str
    values: Mapping[str, str]

    @property
    def default_url(self) -> str:
        """`fs.defaultFS`, "" when nothing says it."""
        return (self.get("fs.defaultFS") or self.get("fs.default.name")).rstrip("/")

    def get(self, name: str) -> str:
        """The value of a setting with its references filled in, "" when there is none."""
        text = self.values.get(name, "")
        for _ in range(20):
            match = _REFERENCE.search(text)
            if match is None:
                break
            text = text[: match.start()] + self.values.get(match[1], os.environ.get(match[1], "")) + text[match.end() :]
        return text.strip()

    @property
    def replication(self) -> int | None:
        """On how many DataNodes a block is to be; None: what the NameNode has as its default."""
        text = self.get("dfs.replication")
        return int(text) if text.isdigit() else None

    @property
    def block_bytes(self) -> int | None:
        """How large a block is; None: what the NameNode has as its default."""
        try:
            found: int = size.parse(self.get("dfs.blocksize") or self.get("dfs.block.size"))
        except ValueError:
            return None
        return found or None

    def name_nodes(self, authority: str) -> list[tuple[str, int]]:
        """Host and RPC port of each NameNode of a cluster."""
        hosts = [self.get(f"dfs.namenode.rpc-address.{authority}.{node}") for node in self._nodes(authority)]
        return [_host_port(host, _RPC_PORT) for host in hosts if host] or [_host_port(authority, _RPC_PORT)]

    def with_port(self, url: str) -> str:
        """The URL of a cluster as the client wants it: with the NameNode's RPC port, unless it is a nameservice."""
        authority = url.partition("://")[2]
        if self._nodes(authority) or _PORT.search(authority):
            return url
        return f"{url.rstrip(':')}:{_RPC_PORT}"

    def mounted(self, table: str, path: str) -> str:
        """The address behind a path of mount points (`viewfs://TABLE/PATH`), "" when none of them leads there."""
        start = f"fs.viewfs.mounttable.{table}.link."
        links = {key.removeprefix(start).rstrip("/"): self.get(key) for key in self.values if key.startswith(start)}
        leading = [link for link in links if path == link or path.startswith(f"{link}/")]
        if not leading:
            fallback = self.get(f"fs.viewfs.mounttable.{table}.linkFallback")
            return fallback and f"{fallback.rstrip('/')}{path}"
        link = max(leading, key=len)
        return f"{links[link].rstrip('/')}{path[len(link) :]}"

    def web_addresses(self, url: str) -> list[tuple[str, int]]:
        """Host and web port of each NameNode of a cluster: as set, else the default port of the same hosts."""
        scheme, _, authority = url.partition("://")
        if scheme == "webhdfs" and not self._nodes(authority):
            return [_host_port(authority, _WEB_PORT)]
        if nodes := self._nodes(authority):
            found = [self.get(f"dfs.namenode.http-address.{authority}.{node}") for node in nodes]
        else:
            found = [self.get(f"dfs.namenode.http-address.{authority}") or self.get("dfs.namenode.http-address")]
        hosts = [_host_port(address, _WEB_PORT) for address in found if address]
        # 0.0.0.0 is what a NameNode listens on, and no place to go to.
        hosts = [one for one in hosts if one[0] not in ("0.0.0.0", "::")] or [
            (host, next((port for _, port in hosts), _WEB_PORT)) for host, _ in self.name_nodes(authority)
        ]
        return hosts

    def _nodes(self, authority: str) -> list[str]:
        return [node.strip() for node in self.get(f"dfs.ha.namenodes.{authority}").split(",") if node.strip()]


def find_settings() -> HadoopSettings:
    """What this process' agent was given.

    Raises:
        ComponentFailed: a file can't be read, or is no XML.
    """
    for folder in (os.environ.get(CONF_DIR, ""), os.environ.get("HADOOP_CONF_DIR", "")):
        if folder and (Path(folder) / "core-site.xml").is_file():
            return read_settings(Path(folder))
    return HadoopSettings("", {})


def read_settings(folder: Path) -> HadoopSettings:
    """The settings of a directory. Raises as `find_settings`."""
    values: dict[str, str] = {}
    for name in ("core-site.xml", "hdfs-site.xml"):
        if (folder / name).is_file():
            _read(folder / name, values)
    return HadoopSettings(str(folder), values)


def _read(path: Path, values: dict[str, str], depth: int = 0) -> None:
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as problem:
        raise ComponentFailed(f"{path} can't be read: {problem}; mend it, or name another directory with -c") from None
    for element in root.iter():
        if element.tag == _INCLUDE and depth < 10:
            included = path.parent / element.get("href", "")
            if included.is_file():
                _read(included, values, depth + 1)
        elif element.tag == "property":
            name, value = element.findtext("name"), element.findtext("value")
            if name:
                values[name.strip()] = value or ""


def _host_port(text: str, port: int) -> tuple[str, int]:
    host, _, number = text.rpartition("@")[2].rpartition(":")
    if host and number.isdigit():
        return host.strip("[]"), int(number)
    return text.rpartition("@")[2], port
