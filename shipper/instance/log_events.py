"""The events of a file channel's log as files, without the agent that it belongs to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from shipper.batch import wire
from shipper.clock import SystemClock
from shipper.config.bind import component
from shipper.durable import offline
from shipper.durable.keys import Keys
from shipper.errors import DamagedData
from shipper.serializers.serializer import Serializer

_SUFFIXES = {"text": "log", "json_lines": "jsonl"}


class _File:
    """The events of one lane. Another name until all of it is there: a file that can be found is whole."""

    def __init__(self, path: Path, serializer: Serializer[Any]) -> None:
        self.path = path
        self.serializer = serializer
        self.events = 0
        self._fresh = path.with_name(f".{path.name}.new")
        self.file: IO[bytes] = self._fresh.open("wb")
        self.file.write(serializer.header())

    def end(self) -> int:
        """Gives the file its name; its bytes.

        Raises:
            FileExistsError: a file of that name is there already.
        """
        self.file.write(self.serializer.footer())
        self.file.flush()
        os.fsync(self.file.fileno())
        size_bytes = self.file.tell()
        self.file.close()
        os.link(self._fresh, self.path)  # unlike a rename, never replaces what is there
        return size_bytes

    def close(self) -> None:
        self.file.close()
        self._fresh.unlink(missing_ok=True)


def export(
    checkpoint_dir: Path, data_dirs: Sequence[Path], keys: Keys | None, directory: Path, serializer: str
) -> Iterator[tuple[Path, int, int]]:
    """Writes what waits into a file a lane, in order: (the file, events, bytes). Nothing is taken.

    Raises:
        ConfigurationError: there is no log, or it can't be read.
        OSError: no room, or a file of that name is there already.
    """
    kind, options = component("serializer", serializer, {})
    names = {key: lane.name for key, lane in offline.inspect(checkpoint_dir, data_dirs).lanes.items()}
    files: dict[int, _File] = {}
    with contextlib.ExitStack() as stack:
        for record, done in offline.export(checkpoint_dir, data_dirs, keys):
            with contextlib.suppress(DamagedData):  # whole, and of a version that this build does not read
                batch = wire.decode(record.body).slice(done)
                if not batch.rows:
                    continue
                if (file := files.get(record.lane)) is None:
                    name = names.get(record.lane) or f"{record.lane:08x}"
                    path = directory / f"{name}.{_SUFFIXES[serializer]}".replace("/", "_")
                    file = files[record.lane] = _File(path, kind(options, SystemClock()))
                    stack.callback(file.close)
                file.events += batch.rows
                file.file.write(file.serializer.serialize(batch))
        for file in files.values():
            yield file.path, file.events, file.end()
