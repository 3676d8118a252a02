"""The load of a scenario: writers that append, rotate in every way that is in use, and delete what was delivered."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import threading
from pathlib import Path

from shipper.sources._tail.identity import HEAD_BYTES
from tests.proof.lines import Stream, line
from tests.proof.scenario import Scenario
from tests.proof.watcher import Watcher

_ROTATES = 0.03
_ROTATES_WHEN_SEEN = 0.2
_DELETES = 0.2


class Load(threading.Thread):
    """Writes until it is ended; what it does next depends on the seed alone.

    A shipper can't read what nobody could: a name outside the group is rotated away only when its file was seen (so
    much of it came out that its copy is known by it), and a second copy is made only when the one before was read.
    Everything else happens at any time.
    """

    def __init__(self, scenario: Scenario, home: Path, watcher: Watcher) -> None:
        super().__init__(daemon=True)
        self.streams = [Stream(name, scenario.thinned) for name in scenario.streams]
        self.rotations = 0
        self.deleted = 0
        self.trouble: Exception | None = None
        self._scenario = scenario
        self._logs = home / "in"
        self._watcher = watcher
        self._chance = random.Random(scenario.seed + 1)
        self._ending = threading.Event()
        self._rotates = _ROTATES if scenario.source == "TAILDIR" else _ROTATES_WHEN_SEEN
        self._left: list[tuple[Stream, int, Path]] = []

    def run(self) -> None:
        try:
            while not self._ending.wait(self._chance.random() * 0.02):
                stream = self._chance.choice(self.streams)
                if self._scenario.source == "spooldir":
                    self._spool(stream)
                    continue
                self._append(stream)
                if self._chance.random() < self._rotates and self._may_rotate(stream):
                    self._rotate(stream)
                if self._left and self._chance.random() < _DELETES:
                    self._clear_away()
        except Exception as trouble:
            self.trouble = trouble

    def end(self) -> None:
        """No more is written."""
        self._ending.set()
        self.join()
        if self.trouble:
            raise self.trouble

    def _path(self, stream: Stream) -> Path:
        return self._logs / f"{stream.name}.log"

    def _append(self, stream: Stream) -> None:
        block = stream.block(self._chance.randint(1, 250))
        cut = self._chance.randrange(len(block))
        with self._path(stream).open("ab", buffering=0) as file:
            file.write(block[:cut])  # a line that is still being written when it is read
            file.write(block[cut:])

    def _spool(self, stream: Stream) -> None:
        hidden = self._logs / f".{stream.name}.new"
        hidden.write_bytes(stream.block(self._chance.randint(1, 500)))
        hidden.rename(self._logs / f"{stream.name}.{len(stream.begins):06d}")
        stream.next_file()
        self.rotations += 1

    def _may_rotate(self, stream: Stream) -> bool:
        if self._scenario.source == "TAILDIR":
            return True
        now = len(stream.begins) - 1
        return (now == 0 or self._came_out(stream, now - 1)) and self._begun(stream, now)

    def _begun(self, stream: Stream, index: int) -> bool:
        """True when so much of a file came out that a copy beside the group is known by it, whoever died since."""
        seen, wanted = self._watcher.seen, stream.wanted(index)
        came_out = (wanted & seen.get((channel, stream.name), set()) for channel in self._scenario.routes)
        return any(sum(len(line(stream.name, n, stream.thinned)) for n in found) >= HEAD_BYTES for found in came_out)

    def _came_out(self, stream: Stream, index: int | None) -> bool:
        return came_out(self._scenario, self._watcher, stream, index)

    def _rotate(self, stream: Stream) -> None:
        path, now = self._path(stream), len(stream.begins) - 1
        rotated = path.with_name(f"{path.name}.{now}")
        way = self._chance.choice(self._scenario.rotations)
        if way == "rename" and now - 1 in stream.mixed and not self._begun(stream, now):
            way = "copy"  # nobody renames a log whose last content has just been copied
        if way == "rename":
            path.rename(rotated)
        else:
            shutil.copyfile(path, rotated)
            os.truncate(path, 0)
            stream.mixed.add(now)
        stream.next_file()
        self._left.append((stream, now, rotated))
        self.rotations += 1

    def _clear_away(self) -> None:
        """The oldest rotated file goes, compressed or for good, as soon as its lines are out."""
        stream, index, path = self._left[0]
        if not self._came_out(stream, index):
            return
        self._left.pop(0)
        if self._scenario.source != "TAILDIR" and self._chance.random() < 0.5:
            path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
        self.deleted += 1


def came_out(scenario: Scenario, watcher: Watcher, stream: Stream, index: int | None = None) -> bool:
    """True when all lines of one of a stream's files, or of all, were seen behind every channel that gets them."""
    wanted = stream.wanted(index)
    return all(
        wanted <= watcher.seen.get((channel, stream.name), set())
        for channel, streams in scenario.routes.items() if stream.name in streams
    )  # fmt: skip
