"""A cluster: a file system of Hadoop's, asked through hdfs-native, the one place that knows this library.

Each call has our deadline, because the library waits for ever for a server that is connected and silent (`calls.py`).
Only `bytes` go into a write: of anything else the library makes a copy an item at a time.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import hdfs_native

from shipper.api import ComponentFailed
from shipper.files.store import FileStatus
from shipper.sinks.hdfs.file_system import FileSystem, never
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings
from shipper.sinks.hdfs.troubles import translated

#: From where the library takes who it is, at each connection: with Kerberos whom to act for, which the NameNode allows
#: or not (hadoop.proxyuser.*); without, who to be, and the NameNode believes it.
_PROXY_USER, _USER = "HADOOP_PROXY_USER", "HADOOP_USER_NAME"
#: How often the library tries again, over all NameNodes. Trying one that it tried before it would sleep first, which in
#: 0.14.7 ends in a panic: so it tries each of them once, and all the rest is done here.
_ATTEMPTS = "dfs.client.failover.max.attempts"
#: All clients of this process, one a sink, and whom each acts for. One that is collected while one of its own threads
#: has the interpreter panics there; so none ever is.
_KEPT: list[tuple[str | None, Any]] = []


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who to be.

    Attributes:
        principal: with `_HOST` for this machine's name.
        proxy_user: whom to act for.
    """

    principal: str | None = None
    keytab: str | None = None
    proxy_user: str | None = None

    def named(self) -> str | None:
        """The principal with this machine's name in it, as Hadoop writes it: canonical, in lower case."""
        if self.principal is None or "_HOST" not in self.principal:
            return self.principal
        return self.principal.replace("_HOST", socket.getfqdn().lower())


class ClusterWriter:
    """A file open for writing, at the library."""

    def __init__(self, cluster: Cluster, path: str, writer: Any) -> None:
        self._cluster = cluster
        self._path = path
        self._writer = writer

    async def write(self, data: bytes) -> None:
        # Not once more: nobody knows how much of it is in the file.
        await self._cluster.within(lambda: self._writer.write(data), self._path, again=never)

    async def owe(self, replicas: int) -> None:
        await self._cluster.set_replicas(self._path, replicas)

    async def hsync(self) -> None:
        await self._cluster.within(lambda: self._writer.hsync(), self._path)

    async def close(self) -> None:
        # Not once more: the library takes a second close for done, whatever became of the first. `right.py` sees to it.
        await self._cluster.within(lambda: self._writer.close(), self._path, again=never)


class Cluster(FileSystem):
    """One file system, by RPC.

    Args:
        url: `hdfs://...`.
        timeout_s: that a call may take.
    """

    draws_anew = True

    def __init__(self, url: str, settings: HadoopSettings, login: Login, timeout_s: float) -> None:
        super().__init__(url, settings, timeout_s)
        self._login = login
        self._client: Any = None

    async def connect(self) -> None:
        self._act()
        once_each = {_ATTEMPTS: str(len(self.servers()) - 1)}
        try:
            self._client = hdfs_native.AsyncClient(
                self.settings.with_port(self.url), once_each, self.settings.folder or None,
                kerberos_principal=self._login.named(), kerberos_keytab=self._login.keytab,
            )  # fmt: skip
        except Exception as problem:
            raise translated(problem, self.url) from problem
        _KEPT.append((self._login.proxy_user, self._client))

    def _act(self) -> None:
        """The whole process acts for the proxy user from here on.

        Raises:
            ComponentFailed: it acts for somebody else already.
        """
        wanted = self._login.proxy_user
        for other, _ in _KEPT:
            if other != wanted:
                raise ComponentFailed(f"hdfs.proxyUser = {wanted or '(not set)'}: another sink of this group has "
                                      f"hdfs.proxyUser = {other or '(not set)'}, and all sinks of a group "
                                      "that write to hdfs:// act for one user: give them the same one, or take them "
                                      "out of the group")  # fmt: skip
        if wanted:
            os.environ[_PROXY_USER] = os.environ[_USER] = wanted

    async def create(self, path: str, overwrite: bool = False, replicas: int | None = None) -> ClusterWriter:
        options = hdfs_native.WriteOptions(  # the library itself does not look into the settings
            overwrite=overwrite, create_parent=True,
            replication=replicas or self.settings.replication, block_size=self.settings.block_bytes,
        )  # fmt: skip
        writer = await self.new(lambda: self._client.create(path, options), path, overwrite)
        return ClusterWriter(self, path, writer)

    async def append(self, path: str) -> ClusterWriter:
        return ClusterWriter(self, path, await self.within(lambda: self._client.append(path), path))

    async def stat(self, path: str) -> FileStatus | None:
        """The identity is the time at which the file was made, in ms: the client shows no number of a file."""
        try:
            found = await self.within(lambda: self._client.get_file_info(path), path)
        except FileNotFoundError:
            return None
        return FileStatus(found.length, str(found.access_time), found.isdir)

    async def read(self, path: str, offset: int, length: int) -> bytes:
        async def read() -> bytes:
            reader = await self._client.read(path)
            found: bytes = await reader.read_range(offset, length)
            return found

        return await self.within(read, path)

    async def replicas(self, path: str) -> int:
        found = await self.within(lambda: self._client.get_file_info(path), path)
        return int(found.replication or 1)

    async def set_replicas(self, path: str, replicas: int) -> None:
        """See `Writer.owe`."""
        await self.within(lambda: self._client.set_replication(path, replicas), path)

    async def recover_lease(self, path: str) -> bool:
        return bool(await self.within(lambda: self._client.recover_lease(path), path))

    async def rename(self, path: str, final: str, overwrite: bool = False) -> None:
        await self.within(lambda: self._client.rename(path, final, overwrite), path)

    async def mkdirs(self, folder: str) -> None:
        await self.within(lambda: self._client.mkdirs(folder, create_parent=True), folder)

    async def delete(self, path: str) -> None:
        await self.within(lambda: self._client.delete(path, False), path)

    async def set_permission(self, path: str, mode: int) -> None:
        await self.within(lambda: self._client.set_permission(path, mode), path)

    async def list(self, folder: str) -> list[str]:
        async def names() -> list[str]:
            return [one.path.rpartition("/")[2] async for one in self._client.list_status(folder, False)]

        try:
            return sorted(await self.within(names, folder))
        except FileNotFoundError:
            return []
