"""The spooling directory: which of its files are to be read, and which is next."""

from __future__ import annotations

import os
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from shipper.api import Clock

#: A listing that took long is used for so many times longer than it took.
_LISTING_SHARE = 10


@dataclass(frozen=True)
class Candidate:
    """A file that may be read: its path, its name relative to the directory, and what tells whether it has changed."""

    path: str
    name: str
    size: int
    mtime_ns: int
    changed_ns: int
    inode: int

    @property
    def state(self) -> tuple[int, int, int]:
        """The same as long as nobody touches the file."""
        return self.inode, self.size, self.changed_ns


@dataclass(kw_only=True)
class Rules:
    """What makes a file of the directory a candidate.

    Attributes:
        done: says of a relative name that the file was read already.
        worker, workers: a worker takes the names whose checksum falls to it.
    """

    directory: str
    suffix: str
    include: re.Pattern[str]
    ignore: re.Pattern[str]
    recursive: bool
    order: str
    relist_s: float
    worker: int = 0
    workers: int = 1
    done: Callable[[], Callable[[str], bool]] = field(default=lambda: lambda name: False)


class SpoolDirectory:
    """The candidates in their order.

    A listing serves until it is used up, or older than a moment: with ten thousand files waiting, each listing is work.

    Attributes:
        waiting_bytes: in the files that wait.
        unlisted: what the last listing could not look at, by path: the reason.
    """

    def __init__(self, rules: Rules, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._waiting: list[Candidate] = []
        self._listed_s = float("-inf")
        self._lasts_s = 0.0
        self._gave = False
        self.waiting_bytes = 0
        self.unlisted: dict[str, str] = {}

    def next(self, skip: Callable[[Candidate], bool]) -> Candidate | None:
        """The file to read now, and it is no longer waiting; None when there is none.

        Raises:
            OSError: the directory can't be listed.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._listed_s >= self._lasts_s or (self._gave and not self._waiting):
            self._waiting = [found for found in self._list() if not skip(found)]
            self.waiting_bytes = sum(found.size for found in self._waiting)
            self._listed_s = now_s
            self._gave = False
            took_s = self._clock.monotonic_s() - now_s
            self._lasts_s = max(self._rules.relist_s, _LISTING_SHARE * took_s)
        if not self._waiting:
            return None
        self._gave = True
        found = self._waiting.pop()
        self.waiting_bytes -= found.size
        return found

    def _list(self) -> list[Candidate]:
        """All candidates, the next one last."""
        rules = self._rules
        self.unlisted = {}
        done = rules.done()
        found = [c for c in self._walk(rules.directory, "") if not done(c.name) and self._is_mine(c.name)]
        if rules.order == "random":
            random.shuffle(found)
        elif rules.order == "oldest":
            # Flume's clock of files ticks in ms; of two in one tick the smaller name comes first.
            found.sort(key=lambda c: (c.mtime_ns // 1_000_000, c.path), reverse=True)
        else:
            found.sort(key=lambda c: c.path, reverse=True)
            found.sort(key=lambda c: c.mtime_ns // 1_000_000)
        return found

    def _walk(self, directory: str, prefix: str) -> Iterator[Candidate]:
        rules = self._rules
        with os.scandir(directory) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or rules.ignore.fullmatch(name):
                    continue
                try:
                    if entry.is_file():
                        if not name.endswith(rules.suffix) and rules.include.fullmatch(name):
                            stat = entry.stat()
                            yield Candidate(
                                entry.path, prefix + name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
                            )
                    elif rules.recursive and entry.is_dir(follow_symlinks=False):
                        yield from self._walk(entry.path, f"{prefix}{name}/")
                except FileNotFoundError:
                    continue  # gone since it was listed
                except OSError as problem:
                    self.unlisted[entry.path] = str(problem.strerror)

    def _is_mine(self, name: str) -> bool:
        rules = self._rules
        return rules.workers == 1 or zlib.crc32(os.fsencode(name)) % rules.workers == rules.worker
