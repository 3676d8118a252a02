"""The store on a cluster: a write is safe when it is flushed, and what takes long happens beside the loop.

::

    create        one call after the other; a name that is taken is never written to
    write         keeps the bytes
    flush         write and hsync of all files that were touched, at once; the journal knows of it, the commit follows
    clear, remake where that fails for a new file: another one of that name, on other DataNodes (`tries.py`)
    end           close (half a second), or recovery and a cut where the writer failed; then the rename; at once for all
    ready         recovery of all files that a dead process had open, at once; `append` then goes on with each

What a call costs on one machine: create 4 ms, flush of one file 3 to 18 ms, of a hundred 0.2 s.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from shipper.files.extent import Extent
from shipper.files.path_rules import HDFS
from shipper.files.store import Explained, FileStatus, Untaken
from shipper.sinks.hdfs.beside import Beside
from shipper.sinks.hdfs.file_system import FileSystem, Writer
from shipper.sinks.hdfs.right import Right, Unrecovered
from shipper.sinks.hdfs.tries import Tries
from shipper.sinks.hdfs.web import WebPort
from shipper.sinks.hdfs.writing import HdfsFile, Touched

T = TypeVar("T")
#: Files that are flushed at once: beyond it DataNodes only queue.
_FLUSHES = 128
#: More files than this are not being closed at once: a new one has to wait.
_ENDINGS_MAX = 512
#: A start waits so long for the leases of what a dead process had open.
_GO_ON_S = 30.0
#: The end waits so long for what is being closed; what is not is seen to by the next process.
_CLOSE_S = 5.0


class HdfsEnding:
    """A file that is being closed, set right and renamed."""

    def __init__(self, work: concurrent.futures.Future[None]) -> None:
        self._work = work

    @property
    def done(self) -> bool:
        return self._work.done()

    @property
    def error(self) -> OSError | None:
        if self._work.cancelled():
            return Explained(errno.ECANCELED, "it was given up")
        problem = self._work.exception(0)
        if problem is None or isinstance(problem, OSError):
            return problem
        raise problem

    def wait(self, timeout_s: float) -> None:
        concurrent.futures.wait([self._work], timeout_s)


class HdfsStore:
    """A cluster.

    Args:
        cluster: it is connected here.
        web: its web ports, for cutting files, and for what they know of blocks.
        say: one line for a person.
    """

    cuts: Literal[False] = False
    rules = HDFS

    def __init__(self, cluster: FileSystem, web: WebPort, say: Callable[[str, str], None]) -> None:
        self._cluster = cluster
        self._say = say
        self.web = web
        self._right = Right(cluster, web)
        self._beside = Beside()
        self._files: dict[str, HdfsFile] = {}  # that are open, or on their way to be closed
        self._touched = Touched(self._closes)  # with something for `flush` to do
        self._closings: set[concurrent.futures.Future[bool]] = set()
        self._endings: set[concurrent.futures.Future[None]] = set()
        self._recoveries: dict[str, concurrent.futures.Future[tuple[str, int]]] = {}
        self._go_on_until_s = 0.0
        try:
            self._beside.call(cluster.connect())
        except BaseException:
            self._beside.close()
            raise

    # --- files

    def create(self, path: str) -> HdfsFile:
        self._make_room()
        file = self._files[path] = self._beside.call(self._create(path))
        return file

    def ready(self, files: Sequence[tuple[str, Extent]]) -> None:
        self._go_on_until_s = time.monotonic() + _GO_ON_S
        for path, extent in files:
            if not self._goes_on(extent):
                continue
            self._recoveries[path] = self._beside.begin(self._right.set_right(path, extent))

    def append(self, path: str, extent: Extent) -> HdfsFile:
        if not self._goes_on(extent):
            raise NotGoneOnWith(path)
        if path not in self._recoveries:
            self.ready([(path, extent)])
        work = self._recoveries.pop(path)
        concurrent.futures.wait([work], max(self._go_on_until_s - time.monotonic(), 0.0))
        if not work.done():
            work.cancel()
            raise Unrecovered(path, _GO_ON_S)
        path, length = work.result()
        writer = self._beside.call(self._cluster.append(path))
        file = self._files[path] = HdfsFile(path, extent.identity or "", writer, self._touched, length)
        return file

    def holds(self, files: Sequence[tuple[str, Extent]]) -> bool:
        works = [self._beside.begin(self._right.holds(path, extent)) for path, extent in files]
        _, late = concurrent.futures.wait(works, _GO_ON_S)
        for work in late:
            work.cancel()
        return not late and all(work.result() for work in works)

    def flush(self) -> None:
        if files := self._touched.taken():
            self._beside.call(self._flush(files))

    def clear(self, paths: Sequence[str]) -> None:
        self._beside.call(_all(self._clear(self._files[path]) for path in paths))

    def remake(self, paths: Sequence[str]) -> Sequence[str]:
        files = [self._files[path] for path in paths]
        made = self._beside.call(_all(self._make_anew(file) for file in files))
        for file, (writer, identity) in zip(files, made, strict=True):
            file.remade(identity, writer)
            if file.tries is not None and file.tries.owed:
                self._say("warning", f"a new file is on {file.tries.replicas} of {file.tries.owed} DataNodes until it "
                          "ends: one of those that the NameNode names for it takes nothing; look at "
                          "hdfs dfsadmin -report")  # fmt: skip
        return [identity for _, identity in made]

    def end(self, path: str, final: str, extent: Extent) -> HdfsEnding:
        work = self._beside.start(self._end(path, final, extent))
        self._endings.add(work)
        work.add_done_callback(self._endings.discard)
        return HdfsEnding(work)

    def same(self, path: str, there: FileStatus, extent: Extent) -> bool:
        return self._beside.call(self._right.same(path, there, extent))

    def sync(self, files: Sequence[tuple[str, str]], folders: Iterable[str]) -> None:
        """What is flushed is on the disks of its DataNodes, and names are in the NameNode's log."""

    # --- names

    def rename(self, path: str, final: str) -> None:
        self._beside.call(self._cluster.rename(path, final))

    def stat(self, path: str) -> FileStatus | None:
        return self._beside.call(self._cluster.stat(path))

    def list(self, folder: str) -> list[str]:
        return self._beside.call(self._cluster.list(folder))

    def mkdirs(self, folder: str) -> None:
        self._beside.call(self._cluster.mkdirs(folder))

    def delete(self, path: str) -> None:
        if (file := self._files.pop(path, None)) is not None:
            file.drop()
        self._beside.call(self._cluster.delete(path))

    def set_permission(self, path: str, mode: int) -> None:
        self._beside.call(self._cluster.set_permission(path, mode))

    def replicas(self, paths: Sequence[str]) -> concurrent.futures.Future[Mapping[str, int | None]]:
        """Begins to ask on how many DataNodes files are: see `WebPort.replicas`."""
        return self._beside.begin(self.web.replicas(paths))

    def leased(self) -> Collection[str]:
        return self._right.waiting.copy()

    def close(self) -> None:
        concurrent.futures.wait(self._closings, _CLOSE_S)
        self._beside.close()

    # --- beside the loop

    def _closes(self, file: HdfsFile) -> None:
        work = self._beside.start(file.closed(None))
        self._closings.add(work)
        work.add_done_callback(self._closings.discard)

    async def _create(self, path: str) -> HdfsFile:
        writer, identity = await self._make(path)
        tries = Tries(self._cluster, path) if self._cluster.draws_anew else None
        return HdfsFile(path, identity, writer, self._touched, tries=tries)

    async def _make(self, path: str, replicas: int | None = None) -> tuple[Writer, str]:
        writer = await self._cluster.create(path, replicas=replicas)
        there = await self._cluster.stat(path)
        return writer, there.identity if there is not None else ""

    async def _clear(self, file: HdfsFile) -> None:
        assert file.tries is not None, "bytes of it count"

        async def clear(tries: Tries) -> None:
            await tries.ask()
            await self._cluster.delete(file.path)

        await file.tries.between(clear(file.tries))

    async def _make_anew(self, file: HdfsFile) -> tuple[Writer, str]:
        assert file.tries is not None, "bytes of it count"
        return await file.tries.between(self._make(file.path, file.tries.replicas))

    async def _flush(self, files: Sequence[HdfsFile]) -> None:
        gate = asyncio.Semaphore(_FLUSHES)

        async def flush(file: HdfsFile) -> tuple[OSError, str] | None:
            async with gate:
                try:
                    await file.flush()
                except OSError as problem:
                    if file.tries is None or not file.tries.again(problem):
                        raise
                    return problem, file.path
            return None

        # Where one file is beyond help, none gets another try: the whole transaction comes again.
        if untaken := [one for one in await _all(map(flush, files)) if one is not None]:
            raise Untaken(untaken[0][0], [path for _, path in untaken])

    async def _end(self, path: str, final: str, extent: Extent) -> None:
        file = self._files.pop(path, None)
        if file is None or not await file.closed(extent.length):
            path, _ = await self._right.set_right(path, extent)
        if final != path:
            # Dying before this or behind it: the next process finds either name on the same file.
            await self._cluster.rename(path, final)

    def _goes_on(self, extent: Extent) -> bool:
        """True when a file can be appended to; where nobody knows how much of it counts, nothing will be."""
        return self._cluster.goes_on or extent.length is None

    def _make_room(self) -> None:
        if len(self._endings) < _ENDINGS_MAX:
            return
        until_s = time.monotonic() + self._cluster.timeout_s
        while len(endings := tuple(self._endings)) >= _ENDINGS_MAX:
            concurrent.futures.wait(endings, until_s - time.monotonic(), concurrent.futures.FIRST_COMPLETED)
            if time.monotonic() > until_s:
                raise Explained(
                    errno.EBUSY, f"{_ENDINGS_MAX} files are being closed, and the cluster is done with none of them",
                    "let files grow larger (hdfs.rollSize, hdfs.rollCount, hdfs.rollInterval), and see that its "
                    "DataNodes are up",
                )  # fmt: skip


async def _all(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What comes of each. All of them come to an end, so that nothing moves any more when one has failed."""
    found = await asyncio.gather(*works, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return found  # type: ignore[return-value]


class NotGoneOnWith(Explained, TimeoutError):
    """A file of a dead process is only finished."""

    def __init__(self, path: str) -> None:
        super().__init__(
            errno.ETIMEDOUT, "over webhdfs:// nobody can be kept from writing to it", "hdfs:// goes on with it", path
        )
