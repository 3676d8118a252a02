"""Data directories that are away: the checkpoint knows of them, and a start does not find them.

A disk that is not mounted is no loss. So a log whose checkpoint names what was not delivered, and which lies where
nothing is now, is not opened: nothing is made, stored or removed, and the next try, with the disk, goes on as if it
had been there. A file that is missing from a directory that is there is damage, and counted as lost.

Where the checkpoint lies on that disk too, nothing is there that knows of a log: it is the same as at a first start. So
whoever opens a log has a note of it elsewhere (`Noted`), and is refused likewise.

Who knows that a disk does not come back says so (`give_up`), and the next start counts the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from shipper.durable import offline
from shipper.durable.checkpoint import CHECKPOINT_NAME, Checkpoint, Stored, load_newest
from shipper.durable.directory import Claim, has_segments, log_was_in, refuse_newer
from shipper.durable.disk import Disk
from shipper.durable.opening import board_of_this_boot
from shipper.durable.recovery import NUMBERS_APART
from shipper.durable.segment import NewerVersion, is_segment_name, name_number, segment_name
from shipper.durable.settings import LogSettings
from shipper.durable.state import State
from shipper.errors import ConfigurationError, DamagedData


class Noted(NamedTuple):
    """A log that is known to have lain somewhere, from a note that does not lie there.

    Attributes:
        state: its outline (`Log.outline`).
        options: of `shipper channel give-up`, so that it finds the note.
    """

    state: State
    options: str = ""

    @property
    def rows_waiting(self) -> int:
        """Rows that were not delivered then."""
        return sum(max(lane.tail.rows - lane.head.rows, 0) for lane in self.state.lanes.values())


def refuse_unmounted(disk: Disk, settings: LogSettings, noted: Noted) -> None:
    """Refuses to make a new log where one with rows is known to have lain. Changes nothing.

    Raises:
        ConfigurationError: there is no checkpoint, and files are missing that hold what was not delivered.
        OSError: a directory can't be read.
    """
    if load_newest(disk, settings.checkpoint_dirs) is not None:
        return  # it knows better
    state = noted.state
    places = tuple(map(Path, state.directories or ())) or settings.data_dirs
    away = [place for place in places if not has_segments(disk, [place])]
    numbers = [name_number(n) for place in settings.data_dirs for n in disk.names(place) if is_segment_name(n)]
    # One that was not stopped may have begun a segment behind the note.
    if away and (state.missing(numbers, state.first_waiting()) or not state.stopped):
        raise ConfigurationError(_unmounted(settings, away, noted))


def _unmounted(settings: LogSettings, away: Sequence[Path], noted: Noted) -> str:
    lay = f"{noted.rows_waiting:,} events wait in the log that lay there"
    if not noted.state.stopped:
        lay += ", and perhaps some more: the channel was not stopped in order"
    places = _listed(list(dict.fromkeys((settings.checkpoint_dir, *away))))
    return (
        f"the channel's directories {places} are not there, or empty: their disk may not be mounted. {lay}. Nothing "
        f"was changed. Mount the disk (`findmnt -T {away[0]}` shows what is there now), and the channel goes on by "
        f"itself. Only if it is gone for good: `shipper channel give-up {settings.checkpoint_dir} "
        f"{' '.join(map(str, away))}{noted.options}`; the channel then goes on without those events, and counts them "
        f"as lost"
    )


def refuse_absent(disk: Disk, settings: LogSettings) -> None:
    """Refuses to open a log of which a data directory is away with what was not delivered. Changes nothing.

    Raises:
        ConfigurationError: it is.
        OSError: a directory can't be read.
    """
    found = load_newest(disk, settings.checkpoint_dirs)
    if found is None or isinstance(found, NewerVersion):
        return
    state, configured = found.state, settings.data_dirs
    known = configured if state.directories is None else tuple(map(Path, state.directories))
    away = [place for place in known if place not in configured or not log_was_in(disk.names(place))]
    if not away:
        return
    numbers = [name_number(n) for place in configured for n in disk.names(place) if is_segment_name(n)]
    missing = list(state.missing(numbers, _low(disk, settings, state)))
    # A log that was not stopped may have begun a segment since its checkpoint.
    if missing or (not state.stopped and any(place in configured for place in away)):
        raise ConfigurationError(_message(disk, settings, away, missing, state.stopped))


def _low(disk: Disk, settings: LogSettings, state: State) -> int:
    board = board_of_this_boot(disk, settings.board)
    if board is None:
        return state.first_waiting()
    heads = {}
    for lane, index in board.lanes().items():
        try:
            heads[lane] = board.head(index)
        except DamagedData:
            continue
    ours = board.log_id == state.log_id
    board.close()
    return state.first_waiting(heads if ours else None)


def _message(disk: Disk, settings: LogSettings, away: Sequence[Path], missing: Sequence[int], stopped: bool) -> str:
    report = offline.inspect(settings.checkpoint_dir, settings.data_dirs, disk=disk)
    gone = [place for place in away if place in settings.data_dirs]
    unnamed = [place for place in away if place not in settings.data_dirs]
    what = []
    if gone:
        what.append(f"the channel's data directory {_listed(gone)} is not there, or empty: its disk may not be mounted")
    if unnamed:
        what.append(f"the channel's dataDirs do not name {_listed(unnamed)} any more, where it has lain until now")
    names = f" ({', '.join(map(segment_name, missing[:5]))}{', ...' if len(missing) > 5 else ''})" if missing else ""
    lies = f"{report.rows_missing:,} events that wait are missing with it{names}"
    if not stopped:
        lies += ", and perhaps some more: the channel was not stopped in order"
    steps = []
    if gone:
        steps.append(
            f"Mount the disk (`findmnt -T {gone[0]}` shows what is there now), and the channel goes on by itself"
        )
    if unnamed:
        steps.append(f"Name {_listed(unnamed)} in dataDirs until the channel is empty")
    others = f"{report.rows_waiting - report.rows_missing:,} others are safe"
    return (
        f"{'; '.join(what)}. {lies}; {others}. Nothing was changed. {'. '.join(steps)}. Only if it is gone for good: "
        f"`shipper channel give-up {settings.checkpoint_dir} {' '.join(map(str, away))}`; the channel then goes on "
        f"without those events, and counts them as lost"
    )


def _listed(places: Sequence[Path]) -> str:
    return " and ".join(map(str, places))


def give_up(
    checkpoint_dir: Path, places: Sequence[Path], *, noted: Noted | None = None, disk: Disk | None = None
) -> None:
    """Has the checkpoint forget data directories that are gone for good: the next start counts what was there as lost.

    Dying in here leaves the checkpoint of before, or this one; segments that are there are in both.

    Args:
        noted: what is known of the log; a checkpoint is made of it when that is gone too.

    Raises:
        ConfigurationError: a directory is there, or none of this log's; or an agent has the log open.
        OSError: the checkpoint can't be stored.
    """
    disk = disk or Disk()
    claim = Claim(disk)
    claim.take([checkpoint_dir])
    try:
        found = load_newest(disk, [checkpoint_dir])
        if isinstance(found, NewerVersion):
            refuse_newer([found])
        if found is None and noted is not None:
            found = Stored(0, noted.state)
        if found is None or isinstance(found, NewerVersion):
            raise ConfigurationError(f"no checkpoint of a channel lies in {checkpoint_dir}: name its checkpointDir")
        state = found.state
        for place in places:
            if state.directories is not None and str(place) not in state.directories:
                known = _listed([Path(name) for name in state.directories])
                raise ConfigurationError(f"{place} is no data directory of the channel, which has {known}")
            # The lock in the checkpoint's own directory may have been made by this command.
            if has_segments(disk, [place]) or (place != checkpoint_dir and log_was_in(disk.names(place))):
                raise ConfigurationError(f"{place} is there: name it in dataDirs, and the channel reads it")
        state.directories = [name for name in state.directories or () if Path(name) not in places]
        # Numbers of segments that were begun since the checkpoint are not used again: their files may come back.
        state.next_number += NUMBERS_APART
        checkpoint = Checkpoint(disk, checkpoint_dir / CHECKPOINT_NAME)
        checkpoint.open()
        try:
            checkpoint.store(found.generation + 1, state.to_bytes())
        finally:
            checkpoint.close()
    finally:
        claim.give_back()
