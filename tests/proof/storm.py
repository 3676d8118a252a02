"""A storm: a writer that rotates a log in every way that is in use, much more often than anybody does."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from pathlib import Path

from tests.proof.lines import Stream

WAYS = ("rename", "chain", "copy", "copy twice", "rewrite", "same length", "many at once")
_KEPT = 8


class Storm:
    """A log `app.log` whose rotated files stay in the group, and are deleted when they are old and were read.

    So inodes are used again all the time. What is written anew in place, without a copy, was read before, and a log is
    not renamed between a copy and the next look at it; everything else may be unread.

    Attributes:
        streams: `app`, and others that rotate with it when many do at once.
        ways: how often it rotated in each way.
    """

    def __init__(self, logs: Path, seed: int) -> None:
        self.logs = logs
        self.streams = {"app": Stream("app", thinned=False)}
        self.ways = Counter[str]()
        self.chance = random.Random(seed)
        self._left: list[tuple[Stream, int, Path]] = []
        self._copied = False  # and the log was not read since

    def write(self, stream: Stream | None = None) -> None:
        """Some more lines, the last one perhaps in two steps."""
        stream = stream or self.streams["app"]
        block = stream.block(self.chance.randint(1, 20))
        cut = self.chance.randrange(len(block))
        with (self.logs / f"{stream.name}.log").open("ab", buffering=0) as file:
            file.write(block[:cut])
            file.write(block[cut:])

    def rotate(self, seen: dict[str, set[int]]) -> None:
        """One rotation of some kind; `seen` are the lines that were read."""
        way = self.chance.choice(WAYS)
        stream = self.streams["app"]
        now = len(stream.begins) - 1
        if way in ("rewrite", "same length") and not stream.wanted(now) <= seen.get("app", set()):
            way = "rename"
        if self._copied and not stream.wanted(now).isdisjoint(seen.get("app", ())):
            self._copied = False
        if self._copied and not way.startswith("copy"):
            way = "copy"
        path, rotated = self.logs / "app.log", self.logs / f"app.log.{now:06d}"
        if way in ("rewrite", "same length"):
            self._anew(stream, path, way)
        elif way.startswith("copy") and path.stat().st_size:
            self._copy(stream, path, rotated)
            if way == "copy twice":
                self.write()
                self._copy(stream, path, self.logs / f"app.log.{now + 1:06d}")
        elif way == "many at once":
            self._many()
        elif way in ("rename", "chain"):
            if way == "chain":
                self._shift()
                rotated = self.logs / "app.log.1"
            self._rename(stream, path, rotated)
        self.ways[way] += 1
        self._clear_away(seen)

    def _anew(self, stream: Stream, path: Path, way: str) -> None:
        """The old lines go, others come at once: as many bytes, or whatever it is."""
        size = path.stat().st_size
        stream.next_file()
        block = stream.block(self.chance.randint(1, 20))
        while way == "same length" and len(block) < size:
            block += stream.block(1)
        with path.open("r+b", buffering=0) as file:
            file.truncate(0)
            file.write(block)

    def _copy(self, stream: Stream, path: Path, rotated: Path) -> None:
        shutil.copyfile(path, rotated)
        os.truncate(path, 0)
        self._left.append((stream, len(stream.begins) - 1, rotated))
        self._copied = True
        stream.next_file()

    def _rename(self, stream: Stream, path: Path, rotated: Path) -> None:
        path.rename(rotated)
        self._left.append((stream, len(stream.begins) - 1, rotated))
        stream.next_file()

    def _many(self) -> None:
        """Twenty logs rotate in one moment."""
        for number in range(20):
            stream = self.streams.setdefault(f"app.{number}", Stream(f"app.{number}", thinned=False))
            self.write(stream)
            self._rename(
                stream, self.logs / f"{stream.name}.log", self.logs / f"{stream.name}.log.{len(stream.begins):06d}"
            )

    def _shift(self) -> None:
        """logrotate's chain: `app.log.1` becomes `app.log.2` and so on, the last one first."""
        for age in range(_KEPT + 1, 0, -1):
            old, new = self.logs / f"app.log.{age}", self.logs / f"app.log.{age + 1}"
            if old.exists():
                while new.exists():
                    new = new.with_name(f"{new.name}.older")
                old.rename(new)
                self._left = [(s, i, new if path == old else path) for s, i, path in self._left]

    def _clear_away(self, seen: dict[str, set[int]]) -> None:
        for entry in self._left[:-_KEPT]:
            stream, index, path = entry
            if stream.wanted(index) <= seen.get(stream.name, set()):
                self._left.remove(entry)
                path.unlink()
