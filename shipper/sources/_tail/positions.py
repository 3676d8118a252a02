"""What a restart finds: the places that we wrote down ourselves.

Two slots, written in turn, each with a checksum; a torn write costs one slot, the other one still has the places of one
save before, and places that are too old mean lines twice, never lines lost. What is in them is durable (`memory.py`).
Each worker of a source writes its own pair and reads those of all, so that files may change hands when `workers` does:
the entry of the latest *run* counts.

::

    slot file   tail-<name>-<worker>.<0|1>
    content     "shipper-tail 1 <generation> <bytes> <crc32>\\n" + JSON
    JSON        {"run": n, "epoch": n, "json": [[crc, bytes], ...], ["apart": true,]
                 "files": [[device, inode, generation, offset, anchor], ...]}

`epoch` is part of the streams' names: when a person moves the positions (by removing or editing Flume's JSON), the
epoch goes up, and what channels remember under the old names counts no longer.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from shipper import whole_file
from shipper.sources._tail.identity import FileKey, Mark

_MAGIC = "shipper-tail 1"


@dataclass
class Remembered:
    """What the slots of all workers say.

    Attributes:
        found: False when there is no slot at all (first start, or the state directory is gone).
        apart: that JSON is one of our own, because the one of the configuration is another source's (`claim.py`).
        written: (checksum, length) of the Flume JSON as we wrote it last; two while it is being replaced.
    """

    found: bool = False
    run: int = 0
    epoch: int = 0
    apart: bool = False
    written: set[tuple[int, int]] = field(default_factory=set)
    marks: dict[FileKey, Mark] = field(default_factory=dict)


class PositionStore:
    """The slots of one worker.

    Args:
        directory: where they lie; created.
        name: what the positions belong to, the same after every restart.
        apart: what is saved says so.
    """

    def __init__(self, directory: Path, name: str, worker: int = 0, *, apart: bool = False) -> None:
        self._apart = apart
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
        runs: dict[FileKey, int] = {}
        for _, content in newest.values():
            run, files, written = content["run"], content["files"], content["json"]
            assert isinstance(run, int)
            assert isinstance(files, list)
            assert isinstance(written, list)
            if run >= remembered.run:
                remembered.run, remembered.apart = run, bool(content.get("apart"))
            remembered.epoch = max(remembered.epoch, int(str(content["epoch"])))
            remembered.written.update((int(crc), int(length)) for crc, length in written)
            for device, inode, generation, offset, anchor in files:
                key = FileKey(device, inode, generation)
                if run >= runs.get(key, 0):
                    runs[key] = run
                    remembered.marks[key] = Mark.of(offset, anchor)
        return remembered

    def save(
        self,
        run: int,
        epoch: int,
        written: Iterable[tuple[int, int]],
        marks: Iterable[tuple[FileKey, int, str]],
        *,
        sync: bool = False,
    ) -> None:
        """Overwrites the older slot.

        If the process dies inside, the newer slot is whole, and so are the places of one save before.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        files = [[key.device, key.inode, key.generation, offset, anchor] for key, offset, anchor in marks]
        content: dict[str, object] = {"run": run, "epoch": epoch, "json": sorted(written), "files": files}
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
