"""A cluster in memory: names and files that outlive the clients that write them, and DataNodes that take nothing.

A client dies at its n-th step: a call that changes something, or a record of its journal. From there on it changes
nothing any more, and its test goes on with another client of the same files.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shipper.files.store import Explained, FileStatus
from shipper.sinks.hdfs.file_system import FileSystem
from shipper.sinks.hdfs.hadoop_settings import HadoopSettings

WANTED = 3


class Death(BaseException):
    """The process is gone."""


class Steps:
    """The steps of one life.

    Args:
        left: it dies where it would make the next one.
    """

    def __init__(self, left: float = float("inf")) -> None:
        self.left = left
        self.made = 0

    def __call__(self) -> None:
        if self.left <= 0:
            raise Death
        self.left -= 1
        self.made += 1


@dataclass
class Kept:
    """A file, as the NameNode and the DataNodes have it.

    Attributes:
        limit: so many of the bytes that come reach DataNodes before its writer hears that none takes them; None = all.
    """

    identity: str
    made_for: int
    replicas: int
    content: bytes = b""
    is_open: bool = True
    limit: int | None = None


@dataclass
class Files:
    """All files.

    Attributes:
        limit: of a new file, by its number from 0 and for how many DataNodes it is made.
        made: for how many DataNodes each new file was made. The copies by which files are cut are not among them: they
            are made beside the sink, at any time.
    """

    limit: Callable[[int, int], int | None] = lambda number, replicas: None
    files: dict[str, Kept] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)


class MemoryWriter:
    """A file that is open for writing."""

    def __init__(self, cluster: MemoryCluster, file: Kept) -> None:
        self._cluster, self._file = cluster, file
        self._buffer = b""

    async def write(self, data: bytes) -> None:
        self._cluster.steps()
        self._buffer += data

    async def owe(self, replicas: int) -> None:
        self._cluster.steps()
        self._file.replicas = replicas

    async def hsync(self) -> None:
        self._cluster.steps()
        self._file.content += self._buffer[: self._file.limit]
        self._buffer = b""
        if self._file.limit is not None:
            raise Explained(errno.ECONNREFUSED, "the connection was refused")

    async def close(self) -> None:
        self._cluster.steps()
        self._file.is_open = False


class MemoryCluster(FileSystem):
    """One client of these files."""

    draws_anew = True

    def __init__(self, files: Files, steps: Steps) -> None:
        super().__init__("hdfs://memory", HadoopSettings({}, Path()), 5.0)
        self.kept, self.steps = files, steps

    async def connect(self) -> None:
        """Nothing is needed."""

    async def create(self, path: str, overwrite: bool = False, replicas: int | None = None) -> MemoryWriter:
        self.steps()
        if path in self.kept.files and not overwrite:
            raise FileExistsError(errno.EEXIST, "it is there", path)
        replicas = replicas or WANTED
        if overwrite:  # a copy
            file = Kept("copy", replicas, replicas)
        else:
            number = len(self.kept.made)
            self.kept.made.append(replicas)
            file = Kept(f"{number}", replicas, replicas, limit=self.kept.limit(number, replicas))
        self.kept.files[path] = file
        return MemoryWriter(self, file)

    async def append(self, path: str) -> MemoryWriter:
        self.steps()
        file = self._file(path)
        assert not file.is_open
        file.is_open = True
        file.limit = None
        return MemoryWriter(self, file)

    async def stat(self, path: str) -> FileStatus | None:
        file = self.kept.files.get(path)
        return None if file is None else FileStatus(len(file.content), file.identity)

    async def replicas(self, path: str) -> int:
        return self._file(path).replicas

    async def read(self, path: str, offset: int, length: int) -> bytes:
        return self._file(path).content[offset : offset + length]

    async def recover_lease(self, path: str) -> bool:
        self.steps()
        self._file(path).is_open = False
        return True

    async def rename(self, path: str, final: str, overwrite: bool = False) -> None:
        self.steps()
        file = self._file(path)
        if final in self.kept.files and not overwrite:
            raise FileExistsError(errno.EEXIST, "it is there", final)
        del self.kept.files[path]
        self.kept.files[final] = file

    async def mkdirs(self, folder: str) -> None:
        """All folders are there."""

    async def delete(self, path: str) -> None:
        self.steps()
        self.kept.files.pop(path, None)

    async def set_permission(self, path: str, mode: int) -> None:
        """Nobody asks."""

    async def list(self, folder: str) -> list[str]:
        return [path.rpartition("/")[2] for path in self.kept.files if path.startswith(f"{folder}/")]

    def _file(self, path: str) -> Kept:
        if path not in self.kept.files:
            raise FileNotFoundError(errno.ENOENT, "it is gone", path)
        return self.kept.files[path]
