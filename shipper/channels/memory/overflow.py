"""An overflow file: a put that is too large for its ring, beside the lane, named by its frame.

The frame's payload is then a JSON object, `{"file": name, "origins": [[stream, start, end, anchor], ...]}`: origins
stand in the frame too, because a source that restarts asks for them when the rows, and so the file, may be gone.

The file is written before the put is committed and removed after the take was, so a committed frame has its file
whole. It is read once, into memory that is the batch's own.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from shipper.batch import wire
from shipper.batch.batch import EventBatch, Origin
from shipper.channels.memory.channel import OVERFLOW_MARK
from shipper.ring.lane import Lane


def file_name(lane: Lane, put: int) -> str:
    """Name of the file of a put: never used twice in a lane."""
    return f"{lane.segment.path.name}{OVERFLOW_MARK}{put}"


def describe(name: str, origins: Sequence[Origin], bytes_max: int) -> bytes:
    """The frame's payload. Origins that would not fit into `bytes_max` are left out: those rows may come twice."""
    found = [(o.stream, o.start, o.end, o.anchor) for o in origins]
    payload = orjson.dumps({"file": name, "origins": found})
    return payload if len(payload) * 2 <= bytes_max else orjson.dumps({"file": name, "origins": []})


def origins(payload: memoryview) -> list[Origin]:
    """The origins of the put."""
    return [Origin(*origin) for origin in orjson.loads(payload)["origins"]]


def path(lane: Lane, payload: memoryview) -> Path:
    """Where the file of a frame lies."""
    name: str = orjson.loads(payload)["file"]
    return lane.segment.path.with_name(name)


def write(lane: Lane, name: str, batch: EventBatch, bound: int) -> None:
    """Makes the file, whole or not at all.

    Raises:
        OSError: no room.
    """
    buffer = memoryview(bytearray(bound))
    view = buffer[: wire.encode(batch, buffer)]
    place = lane.segment.path.with_name(name)
    descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        place.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def read(place: Path) -> EventBatch:
    """The batch of a file.

    Raises:
        FileNotFoundError: somebody removed it.
    """
    return wire.decode(memoryview(place.read_bytes()))


def sweep(lane: Lane) -> None:
    """Removes the files of a lane in which no frame waits."""
    place = lane.segment.path
    for left in place.parent.glob(f"{glob.escape(place.name + OVERFLOW_MARK)}*"):
        left.unlink(missing_ok=True)
