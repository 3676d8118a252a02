"""A storm: a writer that rotates its logs in every way that is in use, much more often than anybody does."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from collections import deque
from pathlib import Path

from tests.proof.lines import Stream

WAYS = ("rename", "copy", "chain", "rewrite", "gzip", "delete")
_KEPT = 6


class Storm:
    """A log `app.log` and its rotated files, `app.log.N` beside it; and what of its lines must come out.

    `came_out` is asked before something is destroyed that a reader would need: a file that is deleted, or written anew
    in place, must have been read. `destroyed` counts the lines that were written between two looks and truncated away
    without a copy; they can't be had.
    """

    def __init__(self, logs: Path, seed: int) -> None:
        self.logs = logs
        self.stream = Stream("app", thinned=False)
        self.rotations = 0
        self.destroyed: set[int] = set()
        self.ways: dict[str, int] = dict.fromkeys(WAYS, 0)
        self.chance = random.Random(seed)
        self._left: deque[tuple[int, Path]] = deque()

    @property
    def path(self) -> Path:
        """The log."""
        return self.logs / "app.log"

    def write(self) -> None:
        """Some more lines, the last one perhaps in two steps."""
        block = self.stream.block(self.chance.randint(1, 20))
        cut = self.chance.randrange(len(block))
        with self.path.open("ab", buffering=0) as file:
            file.write(block[:cut])
            file.write(block[cut:])

    def rotate(self, seen: set[int]) -> None:
        """One rotation of some kind; `seen` are the lines that were read."""
        way = self.chance.choice(WAYS)
        now = len(self.stream.begins) - 1
        all_read = self.stream.wanted(now) <= seen
        before_read = now == 0 or self.stream.wanted(now - 1) <= seen
        rotated = self.logs / f"app.log.{now}"
        if way == "chain":
            self._shift()
            rotated = self.logs / "app.log.1"
        if way == "rewrite":
            if not all_read:  # what nobody had read by now is gone
                self.destroyed |= self.stream.wanted(now) - seen
            os.truncate(self.path, 0)
        elif way == "copy" and before_read:
            shutil.copyfile(self.path, rotated)
            os.truncate(self.path, 0)
            self._left.append((now, rotated))
        else:
            self.path.rename(rotated)
            self._left.append((now, rotated))
        self.ways[way] += 1
        self.rotations += 1
        self.stream.next_file()
        self._clear_away(way, seen)

    def _shift(self) -> None:
        """logrotate's chain: every rotated file gets the next name, the oldest first."""
        for place, (index, path) in enumerate(self._left):
            target = self.logs / f"app.log.{len(self._left) - place + 1}.old"
            path.rename(target)
            self._left[place] = (index, target)

    def _clear_away(self, way: str, seen: set[int]) -> None:
        while len(self._left) > _KEPT and self.stream.wanted(self._left[0][0]) <= seen:
            _, path = self._left.popleft()
            if way == "gzip":  # beside the group's pattern
                (self.logs / f"{self.rotations}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
            path.unlink()
