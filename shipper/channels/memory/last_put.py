"""The last put of a worker: where its source stood when it was committed, for whoever goes on after a death.

The frame that carries the origins is there still: nothing is written over it before the next put is claimed.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import orjson

from shipper import whole_file
from shipper.batch import wire
from shipper.batch.batch import Origin
from shipper.channels.memory import overflow
from shipper.errors import DamagedData
from shipper.ring.lane import Lane
from shipper.ring.layout import OVERFLOW, lane_key, read_frame
from shipper.ring.puts import NO_LANE, PutPage

#: In place of a lane: the origins of the put stand in a file beside the page, because no channel has its rows.
NOTE = NO_LANE - 1


def last_origins(
    page: PutPage, folders: Iterable[Path], lanes: Mapping[int, Lane] = MappingProxyType({})
) -> list[Origin]:
    """The origins that the last committed put of a page carried.

    Args:
        folders: in which channels have their lanes, a directory each.
        lanes: by their index in the page, those that are open already.

    Raises:
        DamagedData: the page does not pass its checks.
    """
    state = page.state()
    if state.origin_lane == NOTE:
        path = note_path(page)
        note = orjson.loads(path.read_bytes()) if path.exists() else {}
        # A note of the next put, which was never committed: the position table has what this one said.
        return [Origin(*origin) for origin in note["origins"]] if note.get("put") == state.number else []
    if (lane := lanes.get(state.origin_lane)) is not None:
        return _origins_at(lane, state.origin_position)
    # A lane that this worker filled before the configuration changed: fewer sink workers, another channel.
    with (
        contextlib.suppress(FileNotFoundError, DamagedData),
        contextlib.closing(_left(page, state.origin_lane, folders)) as lane,
    ):
        return _origins_at(lane, state.origin_position)
    return []


def write_note(page: PutPage, number: int, origins: Sequence[Origin]) -> int:
    """Writes down the origins of a put that is in no channel; what the page names in place of a lane."""
    found = [(o.stream, o.start, o.end, o.anchor) for o in origins]
    whole_file.write(note_path(page), [orjson.dumps({"put": number, "origins": found})])
    return NOTE


def note_path(page: PutPage) -> Path:
    """Where that note lies."""
    path = page.segment.path
    return path.with_name(f"{path.name}.origins")


def _left(page: PutPage, origin_lane: int, folders: Iterable[Path]) -> Lane:
    """The lane with the origins of a put, found by its key among all that lie beside those of this worker."""
    key = page.key(origin_lane) if origin_lane < page.lanes_max else 0
    pattern = f"{glob.escape(page.segment.path.name)}--*"
    for folder in folders:
        for path in folder.rglob(pattern):
            if lane_key(str(path.parent.relative_to(folder)), path.name) == key:
                return Lane.open(path)
    raise FileNotFoundError(key)


def _origins_at(lane: Lane, position: int) -> list[Origin]:
    """The origins in a frame; none when it is not whole any more."""
    frame = read_frame(lane.ring, position % lane.capacity_bytes, position)
    if frame is None:
        return []
    # The file of an overflow frame may be gone by now, delivered: the frame itself has the origins too.
    if frame.flags & OVERFLOW:
        return overflow.origins(frame.payload)
    return list(wire.decode(frame.payload).origins)
