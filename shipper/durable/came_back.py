"""A segment that came back: it was away when its records should have been read, and nobody may remove it unread."""

from __future__ import annotations

from pathlib import Path

from shipper.durable.disk import Disk

#: Directories of segments that were away when they should have been read; others are called so with a number behind.
CAME_BACK = "came-back"


def set_aside(disk: Disk, path: Path) -> Path:
    """Puts a segment that nobody may remove unread into a directory beside the others, where no log looks for it.

    Dying in here leaves it in one place or the other, whole.

    Returns:
        That directory.

    Raises:
        OSError: it is where it was.
    """
    place, count = path.parent / CAME_BACK, 1
    while path.name in disk.names(place):
        count += 1
        place = path.parent / f"{CAME_BACK}-{count}"
    disk.make_directory(place)
    disk.rename(path, place / path.name)
    disk.sync_directory(place)
    disk.sync_directory(path.parent)
    return place


def said_aside(path: Path, place: Path) -> str:
    """What a person is told about a segment that was set aside."""
    return (
        f"{path} came back after its events were passed as lost: it is kept as {place / path.name}. To look at them: "
        f"`shipper channel export {place} --data {place} --to DIRECTORY`"
    )
