"""What a NameNode says over HTTP: WebHDFS, fsck and its numbers, in milliseconds where Hadoop's tools cost a JVM.

The files' bytes come from a DataNode, read by its Java client: so this is an oracle that is not our own reader.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from hdfs.settings import LOOPBACK

_WEB_S = 20


class RefusedByNameNode(Exception):
    """The NameNode said no.

    Attributes:
        exception: the name of the Java exception, without its package.
    """

    def __init__(self, exception: str, message: str) -> None:
        super().__init__(f"{exception}: {message}")
        self.exception = exception


class WebPort:
    """The web ports of the NameNodes of a cluster."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._web = ports

    def rest(self, method: str, path: str, operation: str, user: str | None = None, **more: object) -> Any:
        """One operation of WebHDFS; what it answers. Raises RefusedByNameNode."""
        query = urllib.parse.urlencode({"op": operation, "user.name": user or user_name(), **more})
        address = f"{self.web}/webhdfs/v1{urllib.parse.quote(path)}?{query}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=_WEB_S) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                said = json.loads(error.read() or b"{}").get("RemoteException", {})
            raise RefusedByNameNode(said.get("exception", str(error.code)), said.get("message", "")) from None
        return json.loads(content) if operation != "OPEN" and content else content

    def status(self, path: str) -> dict[str, Any] | None:
        """WebHDFS's FileStatus of a file or folder (`length`, `owner`, `permission`, ...); None when it is not."""
        try:
            found: dict[str, Any] = self.rest("GET", path, "GETFILESTATUS")["FileStatus"]
        except RefusedByNameNode as refusal:
            if refusal.exception == "FileNotFoundException":
                return None
            raise
        return found

    def files(self, folder: str) -> list[str]:
        """Paths of all files below a folder, sorted; empty when it is not there."""
        found: list[str] = []
        if self.status(folder) is None:
            return found
        for status in self.rest("GET", folder, "LISTSTATUS")["FileStatuses"]["FileStatus"]:
            path = f"{folder.rstrip('/')}/{status['pathSuffix']}"
            found += self.files(path) if status["type"] == "DIRECTORY" else [path]
        return sorted(found)

    def read(self, path: str) -> bytes:
        """The bytes of a file, read by a DataNode's Java client; of one that is being written what is visible."""
        content: bytes = self.rest("GET", path, "OPEN")
        return content

    def read_all(self, folder: str) -> bytes:
        """The bytes of all files below a folder, one after the other by name."""
        return b"".join(self.read(path) for path in self.files(folder))

    def open_files(self, folder: str = "/") -> list[str]:
        """Paths of the files below a folder that somebody has open for writing."""
        return re.findall(r"^(/\S+) \d+ bytes.*OPENFORWRITE", self.fsck(folder, openforwrite=1), re.MULTILINE)

    def fsck(self, path: str = "/", **more: object) -> str:
        """What `hdfs fsck PATH` prints; its last line ends in HEALTHY or CORRUPT."""
        query = urllib.parse.urlencode({"ugi": user_name(), "path": path, "files": 1, **more})
        with urllib.request.urlopen(f"{self.web}/fsck?{query}", timeout=_WEB_S) as answer:
            return str(answer.read().decode())

    def healthy(self, path: str = "/") -> bool:
        """True when `fsck` finds nothing wrong below a path."""
        return self.fsck(path).rstrip().endswith("HEALTHY")

    def bean(self, name: str, namenode: int | None = None) -> dict[str, Any]:
        """One of a NameNode's JMX beans, such as `FSNamesystemState`; empty when it does not answer.

        Args:
            namenode: which one, from 0; by default the active one.
        """
        base = self.web if namenode is None else f"http://{LOOPBACK}:{self._web[namenode]}"
        try:
            with urllib.request.urlopen(f"{base}/jmx?qry=Hadoop:service=NameNode,name={name}", timeout=2) as answer:
                beans: list[dict[str, Any]] = json.load(answer)["beans"]
        except (OSError, ValueError):
            return {}
        return beans[0] if beans else {}

    def active(self) -> int:
        """Which NameNode is active, from 0; -1 when none is."""
        states = (self.bean("NameNodeStatus", n).get("State") for n in range(len(self._web)))
        return next((n for n, state in enumerate(states) if state == "active"), -1)

    @property
    def web(self) -> str:
        """`http://127.0.0.1:PORT` of the (active) NameNode."""
        return f"http://{LOOPBACK}:{self._web[self.active() if len(self._web) > 1 else 0]}"


def user_name() -> str:
    """Who runs the tests: the superuser of the clusters."""
    return pwd.getpwuid(os.getuid()).pw_name
