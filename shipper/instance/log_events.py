"""The events of a file channel's log as files, without the agent that it belongs to."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from shipper.batch import wire
from shipper.durable import offline
from shipper.durable.keys import Keys
from shipper.errors import DamagedData
from shipper.instance.exported_file import ExportedFile


def export(
    checkpoint_dir: Path, data_dirs: Sequence[Path], keys: Keys | None, directory: Path, serializer: str
) -> Iterator[tuple[Path, int, int]]:
    """Writes what waits into a file a lane, in order: (the file, events, bytes). Nothing is taken.

    Raises:
        ConfigurationError: there is no log, or it can't be read.
        OSError: no room, or a file of that name is there already.
    """
    names = {key: lane.name for key, lane in offline.inspect(checkpoint_dir, data_dirs).lanes.items()}
    files: dict[int, ExportedFile] = {}
    with contextlib.ExitStack() as stack:
        for record, done in offline.export(checkpoint_dir, data_dirs, keys):
            with contextlib.suppress(DamagedData):  # whole, and of a version that this build does not read
                batch = wire.decode(record.body).slice(done)
                if not batch.rows:
                    continue
                if (file := files.get(record.lane)) is None:
                    name = names.get(record.lane) or f"{record.lane:08x}"
                    file = files[record.lane] = ExportedFile(directory, name, serializer)
                    stack.callback(file.close)
                file.write(batch)
        for file in files.values():
            yield file.path, file.events, file.end()
