"""What is remembered of files that were left half read: by the channels, and by the progress files.

Both only move forward, so the greater place counts. The channels' places are exact: they carry the file's identity and
a checksum of what was read. A progress file of Flume's knows but the path and the offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from shipper.api import DamagedData, Origin
from shipper.sources._spool.progress import Progress, read_progress
from shipper.sources._spool.spooled import Place, Spooled

PROGRESS_NAME = ".flumespool-main{}.meta"


@dataclass(frozen=True)
class Remembered:
    """Where a file is to be read on.

    Attributes:
        offset: in the content.
        done: all of it was read.
        last: the origin that says so, in the channels' words; None when what stands before the offset is durable.
    """

    offset: int = 0
    done: bool = False
    last: Origin | None = None


class Memory:
    """What is known at start. Each entry is asked for once.

    Args:
        positions: of the channels.
        prefix: of our streams there.
        tracker: where the progress files of all workers lie.
        say: one line for a person.
    """

    def __init__(
        self, positions: Mapping[str, Origin], prefix: str, tracker: Path, say: Callable[[str, str], None]
    ) -> None:
        self._say = say
        self._places = _places(positions, prefix)
        self._progress = self._read(tracker)
        self.has_put_back = False

    def place_of(self, file: Spooled) -> Remembered:
        """Where a file that was just opened is to be read on, and whether all of it was read already."""
        found = Remembered()
        place, last = self._places.pop(file.identity, (None, None))
        if place is not None and not file.fits(place):
            self._say("warning", f"spooldir: {file.path} is not what was read last time: reading it from its beginning")
        elif place is not None:
            found = Remembered(place.offset, place.done and place.size == file.size, last)
        progress = None if found.done else self._progress.pop(file.path, None)
        if progress is not None and _is_of(progress, file) and found.offset < progress.offset <= file.size:
            found = Remembered(progress.offset)
            self._say("info", f"spooldir: {file.path}: going on at byte {found.offset}, as the progress file says")
        return found

    def put_back(self, place: Place) -> None:
        """The file will be asked for once more: it grew after all of it had been read, and is durable up to there."""
        self._places[place.identity] = replace(place, done=False), None
        self.has_put_back = True

    def _read(self, tracker: Path) -> dict[str, Progress]:
        known: dict[str, Progress] = {}
        for found in sorted(tracker.glob(PROGRESS_NAME.format("*"))):
            try:
                progress = read_progress(found)
            except (DamagedData, OSError) as problem:
                self._say("warning", f"spooldir: {problem}; the file that it spoke of is read from its beginning")
                continue
            if progress is not None:
                known[progress.path] = progress
        return known


def _places(positions: Mapping[str, Origin], prefix: str) -> dict[str, tuple[Place, Origin | None]]:
    """Where the channels say that reading stopped, by the file's identity."""
    places: dict[str, tuple[Place, Origin | None]] = {}
    for stream, origin in positions.items():
        if not stream.startswith(prefix):
            continue
        place = Place.of(origin.end, origin.anchor)
        before, _ = places.get(place.identity, (None, None))
        if before is None or (before.done, before.offset) < (place.done, place.offset):
            places[place.identity] = place, origin
    return places


def _is_of(progress: Progress, file: Spooled) -> bool:
    """True when this file may be meant: Flume's says no more than the path; and devices renumber at boot."""
    return not progress.identity or progress.identity.split(".")[1:] == file.identity.split(".")[1:]
