"""`file`: a durable log on disk. What its sources were told is safe survives everything but the disk itself.

Source workers put into lanes in shared memory, as into a memory channel; the channel's writer process appends what
stands there to the log, makes it durable with one sync for all that waited, and says so (`writer.py`); sink workers
read the log (`take.py`).

What bounds it is the first to be used up of: `capacity` events when the file gives it, and the disk, less
`minimumRequiredSpace`. Flume's default of a million events is not applied: without a `capacity` the disk is the bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shipper.channels.channel import Channel
from shipper.channels.file.options import FileOptions
from shipper.channels.memory.channel import make_lanes, rows_max


class FileChannel(Channel[FileOptions]):
    """Lanes from the source workers to the channel's writer, and a log behind it."""

    Options = FileOptions
    aliases = ("file", "org.apache.flume.channel.file.FileChannel")

    @property
    def logged(self) -> bool:
        return True

    @property
    def rows_max(self) -> int | None:
        return rows_max(self.options.capacity, self.options.transaction_capacity, self.options.strict_batch)

    @classmethod
    def places(cls, options: FileOptions) -> tuple[Path, ...]:
        return options.log_settings().directories

    def prepare(self, directory: Path, producers: Sequence[str], consumers: Sequence[str], ring_bytes: int) -> None:
        make_lanes(directory, producers, consumers, self.options.ring_bytes, ring_bytes)
