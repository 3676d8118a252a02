"""The events of a leftover as files: whoever has no agent for them any more, or does not trust what is in them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from shipper.batch import wire
from shipper.batch.batch import EventBatch
from shipper.channels.memory import overflow
from shipper.clock import SystemClock
from shipper.config.bind import component
from shipper.instance.leftovers import reading
from shipper.ring.consumer import Consumer
from shipper.ring.layout import OVERFLOW

_SUFFIXES = {"text": "log", "json_lines": "jsonl"}


def export(run_dir: Path, channel: str, directory: Path, serializer: str) -> Iterator[tuple[Path, int, int]]:
    """Writes a file a lane of a channel, in order: (the file, events, bytes). Nothing is taken.

    Raises:
        OSError: no room, or a file of that name is there already.
    """
    kind, options = component("serializer", serializer, {})
    for consumer in reading(run_dir, channel):
        lane = consumer.lane.segment.path.name
        if not consumer.waiting:
            continue
        path = directory / f"{channel}.{lane}.{_SUFFIXES[serializer]}".replace("/", "_")
        made = kind(options, SystemClock())
        events = 0
        # Another name until all of it is there: a file that can be found is whole.
        fresh = path.with_name(f".{path.name}.new")
        with fresh.open("wb") as file:
            file.write(made.header())
            for batch in _batches(consumer):
                events += batch.rows
                file.write(made.serialize(batch))
            file.write(made.footer())
            file.flush()
            os.fsync(file.fileno())
            size_bytes = file.tell()
        try:
            os.link(fresh, path)  # unlike a rename, never replaces what is there
        except FileExistsError:
            what = "is there already, and is not replaced; give another directory"
            raise FileExistsError(errno.EEXIST, what, str(path)) from None
        finally:
            fresh.unlink()
        yield path, events, size_bytes


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
