"""A file system of Hadoop's: what the store asks of it, whichever way it is reached.

Each call has our deadline (`hdfs.callTimeout`), is tried again while that can help, and raises an `OSError` with a
sentence. All coroutines run in the thread that `connect` ran in.
"""

from __future__ import annotations

import asyncio
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from shipper.files.store import FileStatus
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings
from shipper.sinks.hdfs.troubles import Silent, is_taken, passes, translated

T = TypeVar("T")
_PAUSE_S = 0.2
_PANIC = "PanicException"


def never(problem: BaseException) -> bool:
    """A call that is not tried again."""
    return False


class Writer(Protocol):
    """A file open for writing."""

    async def write(self, data: bytes) -> None:
        """Never tried again: nobody knows how much of it is in the file."""

    async def owe(self, replicas: int) -> None:
        """On how many DataNodes the blocks that come shall be, and, once it is closed, those that are there."""

    async def hsync(self) -> None:
        """What was written is on the DataNodes."""

    async def close(self) -> None:
        """It takes no more."""


class FileSystem(ABC):
    """One file system.

    Args:
        url: of the file system.
        timeout_s: that a call may take.
    """

    #: False where a new file that is made once more goes nowhere else.
    draws_anew = False
    #: False where what a dead process left is only finished, and not appended to.
    goes_on = True

    def __init__(self, url: str, settings: HadoopSettings, timeout_s: float) -> None:
        self.url = url
        self.settings = settings
        self.timeout_s = timeout_s

    def servers(self) -> Sequence[tuple[str, int]]:
        """Host and port of each NameNode."""
        return self.settings.name_nodes(self.url.partition("://")[2])

    async def within(
        self, call: Callable[[], Awaitable[T]], path: str, *, again: Callable[[BaseException], bool] = passes
    ) -> T:
        """The result of a call, tried again while the server asks for that, or is not there.

        Args:
            again: after which failures; `never` where any of them may have done a part of the work.

        Raises:
            Silent: there was none in time, and the call was given up.
            OSError: as `translated` says.
        """
        until_s = asyncio.get_running_loop().time() + self.timeout_s
        while True:
            try:
                async with asyncio.timeout_at(until_s):
                    return await call()
            except TimeoutError:
                raise await self._reason(path) from None
            except BaseException as problem:
                if not isinstance(problem, Exception) and type(problem).__name__ != _PANIC:
                    raise
                if not again(problem) or asyncio.get_running_loop().time() + _PAUSE_S > until_s:
                    raise translated(problem, path) from problem
            await asyncio.sleep(_PAUSE_S)

    async def new(self, call: Callable[[], Awaitable[T]], path: str, overwrite: bool) -> T:
        """The result of a call that makes a file. A name under which somebody has a file open is taken, like that of a
        closed file: unless it is to be overwritten, there is nothing to wait for.

        Raises:
            FileExistsError: the name is taken.
            OSError: as `within`.
        """
        if overwrite:
            return await self.within(call, path)
        try:
            return await self.within(call, path, again=lambda problem: passes(problem) and not is_taken(problem))
        except OSError as problem:
            if is_taken(problem.__cause__):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from problem
            raise

    async def _reason(self, path: str) -> OSError:
        """Why there was no answer: no NameNode listens, or one listens and is silent."""
        refused: OSError | None = None
        for host, port in self.servers():
            try:
                async with asyncio.timeout(1):
                    _, writer = await asyncio.open_connection(host, port)
                writer.close()
                return Silent(self.timeout_s, path)
            except TimeoutError:
                continue
            except OSError as problem:
                refused = problem
        return Silent(self.timeout_s, path) if refused is None else translated(refused, path)

    @abstractmethod
    async def connect(self) -> None:
        """Makes what calls need; no server is asked yet."""

    @abstractmethod
    async def create(self, path: str, overwrite: bool = False, replicas: int | None = None) -> Writer:
        """A new file; its folders are made.

        Args:
            replicas: on how many DataNodes; None = as the settings say, or the NameNode.

        Raises:
            FileExistsError: the name is taken, perhaps by a file that somebody has open.
        """

    @abstractmethod
    async def append(self, path: str) -> Writer:
        """A closed file, open for more behind it."""

    @abstractmethod
    async def stat(self, path: str) -> FileStatus | None:
        """None when nothing has that name."""

    @abstractmethod
    async def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file that is closed."""

    async def replicas(self, path: str) -> int:
        """On how many DataNodes a file shall be."""
        raise NotImplementedError

    async def seize(self, path: str) -> str:
        """The path by which nobody but us can write to a file, once its lease is recovered."""
        return path

    async def give_back(self, path: str) -> None:
        """Undoes `seize`."""

    @abstractmethod
    async def recover_lease(self, path: str) -> bool:
        """Asks for a file to be closed that its writer left; True when it is closed."""

    @abstractmethod
    async def rename(self, path: str, final: str, overwrite: bool = False) -> None:
        """Raises FileExistsError when `final` is there and is not to be overwritten."""

    @abstractmethod
    async def mkdirs(self, folder: str) -> None:
        """Makes a folder and those above it."""

    @abstractmethod
    async def delete(self, path: str) -> None:
        """Removes one file, if it is there."""

    @abstractmethod
    async def set_permission(self, path: str, mode: int) -> None:
        """As `chmod`."""

    @abstractmethod
    async def list(self, folder: str) -> list[str]:
        """Names in a folder; empty when there is no such folder."""
