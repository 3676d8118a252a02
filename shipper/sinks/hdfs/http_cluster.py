"""A cluster of which only HTTP is open: `webhdfs://`, asked by WebHDFS alone; no library is needed.

What is different from `Cluster`: a file is open only while bytes are on their way. Each write is one APPEND, which is
answered when a DataNode has closed the file again: its bytes have reached all DataNodes of the block then, and its
length counts, but they are not forced to their disks (no hsync), and a close takes half a second.

And nobody holds a lease in between: a request of a process that died may be carried out late, by a DataNode that was
frozen. So a file is taken from its writer by another name (`seize`). A late request finds nothing under the old one,
and one that is under way ends before the file counts as closed. It never gets its old name again, and so is not gone
on with (`goes_on`).
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from shipper.files.store import FileStatus
from shipper.sinks.hdfs.exchange import exchange_bytes
from shipper.sinks.hdfs.file_system import FileSystem
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings
from shipper.sinks.hdfs.troubles import is_held, passes

_SEIZED = ".seized.tmp"
#: Of Java's exceptions, those that are errors of Python's.
_ERRORS = {"FileNotFoundException": FileNotFoundError, "FileAlreadyExistsException": FileExistsError}
_STANDBY = "StandbyException"
#: How an APPEND is refused before a byte of it is in the file, and will not be in a moment.
_AT_ONCE = (_STANDBY, "is not sufficiently replicated yet")


class RefusedByServer(Exception):
    """A server said no; the text is Java's exception and what it says."""


class HttpWriter:
    """A file that is being written: open only while a write is under way."""

    def __init__(self, cluster: HttpCluster, path: str) -> None:
        self._cluster = cluster
        self._path = path

    async def write(self, data: bytes) -> None:
        await self._cluster.append_bytes(self._path, data)

    async def owe(self, replicas: int) -> None:
        """A file is never made for fewer."""

    async def hsync(self) -> None:
        """Each write has closed it."""

    async def close(self) -> None:
        """Each write has closed it."""


class HttpCluster(FileSystem):
    """One file system, by HTTP.

    Args:
        user: to be there.
        proxy_user: whom to act for.
    """

    goes_on = False

    def __init__(self, url: str, settings: HadoopSettings, user: str, proxy_user: str | None, timeout_s: float) -> None:
        super().__init__(url, settings, timeout_s)
        self._who = {"user.name": user, **({"doas": proxy_user} if proxy_user else {})}
        self._servers = settings.web_addresses(url)

    async def connect(self) -> None:
        """Nothing is needed: each call has a connection of its own."""

    def servers(self) -> Sequence[tuple[str, int]]:
        return self._servers

    # --- files

    async def create(self, path: str, overwrite: bool = False, replicas: int | None = None) -> HttpWriter:
        request = self._request(
            "PUT", path, "CREATE", b"", overwrite=str(overwrite).lower(), permission="644",
            replication=self.settings.replication, blocksize=self.settings.block_bytes,
        )  # fmt: skip
        await self.new(request, path, overwrite)
        return HttpWriter(self, path)

    async def append(self, path: str) -> HttpWriter:
        return HttpWriter(self, path)

    async def append_bytes(self, path: str, data: bytes) -> None:
        """Raises as `Writer.write`."""
        await self._call("POST", path, "APPEND", data, again=_refused_at_once)

    async def read(self, path: str, offset: int, length: int) -> bytes:
        return await self._call("GET", path, "OPEN", offset=offset, length=length) if length else b""

    async def stat(self, path: str) -> FileStatus | None:
        try:
            found = json.loads(await self._call("GET", path, "GETFILESTATUS"))["FileStatus"]
        except FileNotFoundError:
            return None
        return FileStatus(found["length"], str(found["fileId"]), found["type"] == "DIRECTORY")

    async def seize(self, path: str) -> str:
        """See above."""
        seized = path + _SEIZED
        try:
            await self.rename(path, seized)
        except FileNotFoundError:  # by a process that died then
            if await self.stat(seized) is None:
                raise
        return seized

    async def give_back(self, path: str) -> None:
        """Undoes `seize`: it is not ours."""
        await self.rename(path + _SEIZED, path)

    async def recover_lease(self, path: str) -> bool:
        """Appends nothing, which is refused while the file is open. One whose writer is silent is closed by the
        NameNode after a minute."""
        try:
            await self.append_bytes(path, b"")
        except OSError as problem:
            if is_held(problem.__cause__):
                return False
            raise
        return True

    # --- names

    async def rename(self, path: str, final: str, overwrite: bool = False) -> None:
        options = "OVERWRITE" if overwrite else "NONE"
        await self._call("PUT", path, "RENAME", destination=final, renameoptions=options)

    async def mkdirs(self, folder: str) -> None:
        await self._call("PUT", folder, "MKDIRS", permission="755")

    async def delete(self, path: str) -> None:
        await self._call("DELETE", path, "DELETE")

    async def set_permission(self, path: str, mode: int) -> None:
        await self._call("PUT", path, "SETPERMISSION", permission=f"{mode:o}")

    async def list(self, folder: str) -> list[str]:
        try:
            found = json.loads(await self._call("GET", folder, "LISTSTATUS"))["FileStatuses"]["FileStatus"]
        except FileNotFoundError:
            return []
        return sorted(one["pathSuffix"] for one in found)

    # --- how

    async def _call(
        self,
        method: str,
        path: str,
        verb: str,
        content: bytes | None = None,
        again: Callable[[BaseException], bool] = passes,
        **more: object,
    ) -> bytes:
        """What an operation answers.

        Args:
            again: as `within`.
        """
        return await self.within(self._request(method, path, verb, content, **more), path, again=again)

    def _request(
        self, method: str, path: str, verb: str, content: bytes | None = None, **more: object
    ) -> Callable[[], Coroutine[Any, Any, bytes]]:
        """A call that asks for an operation.

        Args:
            content: it takes some, which goes to the DataNode that the NameNode names.
        """
        query = urllib.parse.urlencode(
            {"op": verb, **self._who, **{key: one for key, one in more.items() if one is not None}}
        )
        target = f"/webhdfs/v1{urllib.parse.quote(path)}?{query}"

        async def call() -> bytes:
            refusal: Exception = ConnectionRefusedError("connection refused")
            for server in tuple(self._servers):
                try:
                    status, answer = await exchange_bytes(server, method, target, content or b"")
                except ConnectionRefusedError as problem:
                    refusal = problem
                    continue
                if status.startswith("2"):
                    self._servers.remove(server)  # the one that is active comes first next time
                    self._servers.insert(0, server)
                    return answer
                refusal = _refusal(status, answer)
                if _STANDBY not in str(refusal):
                    break
            raise refusal

        return call


def _refused_at_once(problem: BaseException) -> bool:
    return isinstance(problem, ConnectionRefusedError) or any(mark in str(problem) for mark in _AT_ONCE)


def _refusal(status: str, answer: bytes) -> Exception:
    try:
        said = json.loads(answer)["RemoteException"]
        name, message = said["exception"], said["message"]
    except (ValueError, KeyError, TypeError):
        return RefusedByServer(f"HTTP status {status}: {answer[:200].decode(errors='replace')}")
    return _ERRORS.get(name, RefusedByServer)(f"{name}: {message}")
