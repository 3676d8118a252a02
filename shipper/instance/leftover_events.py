"""The events of a leftover as files: whoever has no agent for them any more, or does not trust what is in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from shipper.batch import wire
from shipper.batch.batch import EventBatch
from shipper.channels.memory import overflow
from shipper.instance.exported_file import ExportedFile
from shipper.instance.leftovers import reading
from shipper.ring.consumer import Consumer
from shipper.ring.layout import OVERFLOW


def export(run_dir: Path, channel: str, directory: Path, serializer: str) -> Iterator[tuple[Path, int, int]]:
    """Writes a file a lane of a channel, in order: (the file, events, bytes). Nothing is taken.

    Raises:
        OSError: no room, or a file of that name is there already.
    """
    for consumer in reading(run_dir, channel):
        if not consumer.waiting:
            continue
        with contextlib.closing(
            ExportedFile(directory, f"{channel}.{consumer.lane.segment.path.name}", serializer)
        ) as file:
            for batch in _batches(consumer):
                file.write(batch)
            size_bytes = file.end()
        yield file.path, file.events, size_bytes


def _batches(consumer: Consumer) -> Iterator[EventBatch]:
    while (frame := consumer.peek()) is not None:
        done = consumer.rows_done
        if frame.flags & OVERFLOW:
            with contextlib.suppress(FileNotFoundError):
                yield overflow.read(overflow.path(consumer.lane, frame.payload)).slice(done)
        elif frame.rows > done:
            batch = wire.decode(frame.payload)
            yield batch.slice(done) if done else batch
        consumer.step()
