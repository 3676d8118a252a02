"""What a restart finds: the places that we wrote down ourselves.

Two slots, written in turn, each with a checksum; a torn write costs one slot, the other one still has the places of one
save before, and places that are too old mean lines twice, never lines lost. What is in them is durable (`memory.py`).
Each worker of a source writes its own pair and reads those of all, so that files may change hands when `workers` does:
the entry of the latest *run* counts. What a worker keeps of a file that it has not found, or that is another one's
now, it keeps under the run in which it was written, so that it is never newer than what the file's reader says.

::

    slot file   tail-<name>-<worker>.<0|1>
    content     "shipper-tail 1 <generation> <bytes> <crc32>\\n" + JSON
    JSON        {"run": n, "epoch": n, "json": [[crc, bytes], ...], ["apart": true,]
                 "kept": [run, ...],     of the last entries below: they were only kept, since those runs
                 "files": [[device, inode, generation, offset, anchor], ...],
                 "ended": [[device, inode, generation], ...]}

Slots without `kept` are of a release that wrote what it kept under its own run. Of those the slot of the file's worker
counts, if the files are dealt to as many workers as then; if not, the furthest place that fits the file.

`epoch` is part of the streams' names: when a person moves the positions (by removing or editing Flume's JSON), the
epoch goes up, and what channels remember under the old names counts no longer.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from shipper import whole_file
from shipper.sources._tail.identity import FileKey, Mark, owner_of

_MAGIC = "shipper-tail 1"


@dataclass
class Remembered:
    """What the slots of all workers say.

    Attributes:
        found: False when there is no slot at all (first start, or the state directory is gone).
        apart: that JSON is one of our own, because the one of the configuration is another source's (`claim.py`).
        written: (checksum, length) of the Flume JSON as we wrote it last; two while it is being replaced.
        marks, runs: of each file the place that counts, and the run in which it was written.
        others: places that may count as well: the one that fits its file, and is the furthest.
        ended: files that need not be there: they were read to their end, or that they are gone was said.
        handed_over: files of which the slot of their worker has the place that counts.
    """

    found: bool = False
    run: int = 0
    epoch: int = 0
    apart: bool = False
    written: set[tuple[int, int]] = field(default_factory=set)
    marks: dict[FileKey, Mark] = field(default_factory=dict)
    runs: dict[FileKey, int] = field(default_factory=dict)
    others: dict[FileKey, list[Mark]] = field(default_factory=dict)
    handed_over: set[FileKey] = field(default_factory=set)
    ended: set[FileKey] = field(default_factory=set)


class _Entry(NamedTuple):
    """What a slot says of a file; `run_known` is False when it may have been written in an earlier run."""

    run: int
    run_known: bool
    slot: int
    mark: Mark


class PositionStore:
    """The slots of one worker.

    Args:
        directory: where they lie; created.
        name: what the positions belong to, the same after every restart.
        apart: what is saved says so.
    """

    def __init__(self, directory: Path, name: str, worker: int = 0, workers: int = 1, *, apart: bool = False) -> None:
        self._apart = apart
        self._workers = workers
        self._directory = directory
        self._name = name
        self._stem = f"tail-{name}-{worker}"
        self._generation = 0

    def load(self, *, note: bool = True) -> Remembered:
        """All that is remembered under our name, by any worker; `note` our own slot's generation."""
        remembered = Remembered()
        newest: dict[str, tuple[int, dict[str, object]]] = {}
        for path in sorted(self._directory.glob(f"tail-{self._name}-*.[01]")):
            remembered.found = True
            slot = _read_slot(path)
            if slot is not None and slot[0] > newest.get(path.stem, (-1, {}))[0]:
                newest[path.stem] = slot
        if note:
            self._generation = newest.get(self._stem, (0, {}))[0]
        entries: defaultdict[FileKey, list[_Entry]] = defaultdict(list)
        for stem, (_, content) in newest.items():
            run, written = content["run"], content["json"]
            assert isinstance(run, int)
            assert isinstance(written, list)
            for key, entry in _entries(int(stem.rpartition("-")[2]), run, content):
                entries[key].append(entry)
            if run >= remembered.run:
                remembered.run, remembered.apart = run, bool(content.get("apart"))
            ended = content.get("ended", [])
            assert isinstance(ended, list)
            remembered.ended.update(FileKey(*key) for key in ended)
            remembered.epoch = max(remembered.epoch, int(str(content["epoch"])))
            remembered.written.update((int(crc), int(length)) for crc, length in written)
        unsure = {int(stem.rpartition("-")[2]) for stem, (_, content) in newest.items() if "kept" not in content}
        as_then = unsure == set(range(self._workers))
        for key, found in entries.items():
            owner = owner_of((key.device, key.inode), self._workers)
            first, *others = _believed(found, owner if as_then else None)
            remembered.marks[key], remembered.runs[key] = first.mark, first.run
            if others:
                remembered.others[key] = [entry.mark for entry in others]
            sure = [entry for entry in (first, *others) if entry.slot == owner and (entry.run_known or as_then)]
            if any(entry.mark.offset == first.mark.offset for entry in sure):
                remembered.handed_over.add(key)
        return remembered

    def save(
        self,
        run: int,
        epoch: int,
        written: Iterable[tuple[int, int]],
        marks: Iterable[tuple[FileKey, int, str]],
        kept: Sequence[tuple[int, FileKey, Mark]] = (),
        *,
        ended: Iterable[FileKey] = (),
        sync: bool = False,
    ) -> None:
        """Overwrites the older slot; `kept` are places that were written in the runs that stand before them.

        `ended` is what `Remembered` will say.

        If the process dies inside, the newer slot is whole, and so are the places of one save before.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        files = [[key.device, key.inode, key.generation, offset, anchor] for key, offset, anchor in marks]
        files += [[key.device, key.inode, key.generation, mark.offset, mark.anchor] for _, key, mark in kept]
        content: dict[str, object] = {"run": run, "epoch": epoch, "json": sorted(written)}
        content |= {"kept": [since for since, _, _ in kept], "files": files}
        content["ended"] = [[key.device, key.inode, key.generation] for key in ended]
        if self._apart:
            content["apart"] = True
        body = json.dumps(content, separators=(",", ":")).encode("ascii")
        self._generation += 1
        text = f"{_MAGIC} {self._generation} {len(body)} {zlib.crc32(body)}\n".encode("ascii") + body
        path = self._directory / f"{self._stem}.{self._generation % 2}"
        new = sync and not path.exists()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(fd, text, 0)
            os.ftruncate(fd, len(text))
            if sync:
                os.fdatasync(fd)
        except OSError as problem:
            problem.filename = os.fspath(path)  # a descriptor has no name, and a person needs to know which disk
            raise
        finally:
            os.close(fd)
        if new:
            whole_file.sync_directory(self._directory)


def _entries(slot: int, run: int, content: dict[str, object]) -> Iterator[tuple[FileKey, _Entry]]:
    """What a slot says of each file."""
    files, kept = content["files"], content.get("kept")
    assert isinstance(files, list)
    assert kept is None or isinstance(kept, list)
    runs = [run] * (len(files) - len(kept or ())) + (kept or [])
    for since, (device, inode, generation, offset, anchor) in zip(runs, files, strict=True):
        yield FileKey(device, inode, generation), _Entry(since, kept is not None, slot, Mark.of(offset, anchor))


def _believed(found: Sequence[_Entry], owner: int | None) -> list[_Entry]:
    """The entries of one file of which one counts, the furthest first; `owner` is whose it was then, if that is known.

    All of them have the newest run that any of them claims, though only one may have been written in it.
    """
    newest = max(entry.run for entry in found)
    believed = [entry for entry in found if entry.run == newest]
    if not all(entry.run_known for entry in believed):
        believed = [entry for entry in found if entry.run == newest or not entry.run_known]
        believed = [entry for entry in believed if entry.slot == owner] or believed
    return [entry._replace(run=newest) for entry in sorted(believed, key=lambda entry: -entry.mark.offset)]


def _read_slot(path: Path) -> tuple[int, dict[str, object]] | None:
    """(generation, content) of a slot, or None when it is damaged."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        magic, _, numbers = head.decode("ascii").rpartition(_MAGIC + " ")
        generation, length, crc = (int(number) for number in numbers.split())
        if magic or len(body) < length or zlib.crc32(body[:length]) != crc:
            return None
        content = json.loads(body[:length])
    except (OSError, ValueError):
        return None
    return generation, content
