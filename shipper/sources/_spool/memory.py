"""What is remembered of files that were left half read: by the channels, and by the progress files.

Both only move forward, so the greater place counts. The channels' places are exact: they carry the file's identity and
a checksum of what was read. A progress file of Flume's knows but the path and the offset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from shipper.api import DamagedData, Origin
from shipper.sources._spool.progress import Progress, read_progress
from shipper.sources._spool.spooled import Place, Spooled

PROGRESS_NAME = ".flumespool-main{}.meta"


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

    def place_of(self, file: Spooled) -> tuple[int, bool]:
        """Where a file that was just opened is to be read on, and whether all of it was delivered already."""
        offset = 0
        place = self._places.pop(file.identity, None)
        if place is not None and not file.fits(place):
            self._say("warning", f"spooldir: {file.path} is not what was read last time: reading it from its beginning")
        elif place is not None:
            if place.done and place.size == file.size:
                return place.offset, True
            offset = place.offset
        progress = self._progress.pop(file.path, None)
        if progress is not None and _is_of(progress, file) and offset < progress.offset <= file.size:
            offset = progress.offset
            self._say("info", f"spooldir: {file.path}: going on at byte {offset}, as the progress file says")
        return offset, False

    def put_back(self, place: Place) -> None:
        """The file will be asked for once more: it grew after all of it had been read."""
        self._places[place.identity] = replace(place, done=False)
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


def _places(positions: Mapping[str, Origin], prefix: str) -> dict[str, Place]:
    """Where the channels say that reading stopped, by the file's identity."""
    places: dict[str, Place] = {}
    for stream, origin in positions.items():
        if not stream.startswith(prefix):
            continue
        place = Place.of(origin.end, origin.anchor)
        before = places.get(place.identity)
        if before is None or (before.done, before.offset) < (place.done, place.offset):
            places[place.identity] = place
    return places


def _is_of(progress: Progress, file: Spooled) -> bool:
    """True when this file may be meant: Flume's says no more than the path; and devices renumber at boot."""
    return not progress.identity or progress.identity.split(".")[1:] == file.identity.split(".")[1:]
