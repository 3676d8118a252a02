"""Parking: what the channels of an agent hold when it stops goes to disk, and is taken back at its next start.

The parked file (`parked_file.py`) has every file of the run directory that the next start needs (lanes, put pages,
position tables, overflow files, notes of hand-overs, the run id), of each lane only what waits. Taken back, the run
directory is to every worker what it was: the same positions, the same commits, the same run id. So a source still
knows that these rows are in the channel, and a sink's journal and the lanes still agree.

**While the parked file is there, it is the truth, and the run directory is not.** One rename makes it true, one
removal ends it, and between the two no worker runs::

    write NAME.new, sync it            died: the run directory is the truth; NAME.new is swept
    rename it to NAME, sync            died: NAME is the truth; the run directory, whole or half removed, is not
    remove the run directory           died: likewise
    ... the machine may be started anew ...
    remove what is left of it, make    died: likewise; all of it is done once more
      it anew beside its place
    rename that to its place           died: likewise, though both are whole: nothing has moved since
    remove NAME, sync                  died: the run directory is the truth, and nobody has worked with it yet

If the removal of the parked file were not synced before workers run, a power cut could bring it back, and rows that
were delivered would come once more.

The file is long because what is written and how it is read after a death are one argument.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper import log, whole_file
from shipper.errors import ComponentFailed, ConfigurationError, DamagedData
from shipper.instance import parked_file
from shipper.instance.holdings import Holding, LaneFile, holdings, lane_files
from shipper.instance.instance import Instance, remove_empty
from shipper.instance.letters import settle_letters
from shipper.instance.parked_file import ParkedFile, Source
from shipper.instance.settled import note_settled
from shipper.ring.lane import Lane
from shipper.ring.layout import CONSUMER_ROLE, PRODUCER_ROLE, RING, lane_key
from shipper.ring.puts import NO_LANE, PutPage
from shipper.ring.waiting import Extent, frame_at, waiting
from shipper.shared.segment import Segment
from shipper.units import format_size

#: Of the files in a run directory, those that are made anew at each start.
_MADE_ANEW = ("control", "metrics", "bells", "files")
#: Layout of what is parked. A release reads its own and the one before.
VERSION = 1

ID = "id"


@dataclass(frozen=True)
class Parked:
    """What was parked, or taken back."""

    path: Path
    channels: tuple[Holding, ...]
    size_bytes: int

    @property
    def events(self) -> int:
        """Over all channels."""
        return sum(found.events for found in self.channels)

    def __str__(self) -> str:
        held = [found for found in self.channels if found.events]
        names = ", ".join(found.channel for found in held)
        return f"{self.events} events ({format_size(sum(found.size_bytes for found in held))}) of {names}"


def parked_path(state_dir: Path) -> Path:
    """Where an instance's parked channels lie."""
    return state_dir / "channels.parked"


def put_away(instance: Instance, file: Path, in_order: bool) -> bool:
    """Ends the life of a run directory after the last worker has ended: parks what it holds, or removes it.

    Args:
        file: the agent's first configuration file, for whoever finds what was parked.
        in_order: False when a worker was killed or had given up: what it had committed must be found by its
            next one, also when no events wait.

    Returns:
        False when the rows had to stay where they are. The person has been told.
    """
    if remove_if_empty(instance, in_order):
        return True
    held = holdings(instance.run_dir)
    events = sum(found.events for found in held)
    try:
        parked = park(instance, held, file)
    except (OSError, ComponentFailed) as problem:
        why = problem.strerror if isinstance(problem, OSError) else str(problem)
        if events:
            what, they_stay, them = f"{events} events could not be parked", "they stay", "them"
        else:
            what, they_stay, them = "how far the workers were could not be kept", "that stays", "that"
        log.say(
            "ERROR", "agent", f"{what} in {parked_path(instance.state_dir)}: {why}; {they_stay} in {instance.run_dir}, "
            f"which a reboot empties. Make room and start this agent again: it goes on with {them}",
        )  # fmt: skip
        return False
    if parked.events:
        log.say("WARN", "agent", f"parked {parked} in {parked.path}; the next start of this agent takes them back")
    else:
        log.say("INFO", "agent", f"no events wait in memory; how far the workers were is kept in {parked.path}")
    try:
        remove_empty(instance.run_dir)
    except (OSError, ComponentFailed) as problem:
        log.say("WARN", "agent", f"{problem}; what is left there is not used any more, and the next start removes it")
    return True


def remove_if_empty(instance: Instance, in_order: bool) -> bool:
    """Removes a run directory that the next start does not need; False when it does."""
    run_dir = instance.run_dir
    if run_dir.is_dir():
        settle_letters(run_dir)
        if not in_order or any(found.events or found.damaged for found in holdings(run_dir)):
            return False
        # Dying behind this: what is left of the directory says nothing that its sources have not kept on disk.
        try:
            note_settled(instance.state_dir, instance.run_id())
        except OSError as problem:
            log.say("WARN", "agent", f"can't write in {instance.state_dir}: {problem.strerror}; {run_dir} stays, and "
                    "the next start goes on with it")  # fmt: skip
            return True
        remove_empty(run_dir)
    return True


def park(instance: Instance, held: Sequence[Holding], file: Path, *, path: Path | None = None) -> Parked:
    """Copies what is needed of the run directory into the state directory.

    Args:
        path: another place than the usual one.

    Raises:
        OSError: no room there; nothing has changed.
        ComponentFailed: a worker still lives and could change what is copied.
    """
    path = path or parked_path(instance.state_dir)
    with contextlib.ExitStack() as stack:
        sources = list(_sources(instance.run_dir, stack))
        about = {
            "version": VERSION, "instance": instance.name, "agent": instance.agent, "file": str(file.absolute()),
            "run_id": instance.run_id(), "parked_ms": time.time_ns() // 1_000_000,
            "channels": [[found.channel, found.events, found.size_bytes] for found in held],
        }  # fmt: skip
        size_bytes = parked_file.write(path, about, sources)
    return Parked(path, tuple(held), size_bytes)


def take_back(instance: Instance) -> Parked | None:
    """Makes the run directory again from what was parked; None when nothing was. Only before any worker runs.

    Raises:
        ComponentFailed: no room for it; it stays parked.
        ConfigurationError: a newer release has parked it.
    """
    path = parked_path(instance.state_dir)
    for half_made in instance.state_dir.glob("*.parked.new"):
        half_made.unlink(missing_ok=True)
    try:
        parked = ParkedFile(path)
    except FileNotFoundError:
        return None
    except DamagedData as problem:
        log.say("ERROR", "agent", f"{problem}: it is set aside as {_set_aside(path)}, and its events are not delivered")
        return None
    if parked.about["version"] > VERSION:
        raise ConfigurationError(
            f"{path} was parked by a newer release (layout {parked.about['version']}; this one reads {VERSION}): start "
            f"that release once, or write its events out with its `shipper channel export`"
        )
    if _is_of_another_run(instance.run_dir, parked):
        log.say(
            "ERROR", "agent", f"{instance.run_dir} holds events that came after {path} was parked: this start goes on "
            f"with them, and the parked ones are set aside as {_set_aside(path)}; see `shipper channel list`",
        )  # fmt: skip
        return None
    found = describe(parked)
    _rebuild(instance.run_dir, parked)
    # Dying here: the parked file is the truth still, and equal to what was made.
    parked_file.remove(path)
    if found.events:
        log.say("INFO", "agent", f"took back {found}, parked {_when(parked)}")
    return found


def say_survived(held: Sequence[Holding]) -> None:
    """Says what a start goes on with that finds the run directory of an agent that was killed."""
    if found := [f"{one.events} in {one.channel}" for one in held if one.events]:
        log.say("INFO", "agent", f"goes on with the events that a killed agent left: {', '.join(found)}")


def take_adopted(instance: Instance) -> None:
    """Adds what a person has adopted to the run directory: lanes of sources that no configuration has.

    Dying in here: it is done once more; nobody has worked with what was added.

    Raises:
        ComponentFailed: no room; it stays parked.
    """
    for path in sorted(instance.state_dir.glob("adopted-*.parked")):
        parked = ParkedFile(path)
        fresh = instance.run_dir.with_name(f".{instance.run_dir.name}.adopted")
        remove_empty(fresh)
        try:
            fresh.mkdir(mode=0o700, parents=True)
            parked.restore(fresh)
            for one in (*fresh.glob("puts/*"), *(found for found in fresh.glob("channels/*/*"))):
                place = instance.run_dir / one.relative_to(fresh)
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.replace(one, place)
            remove_empty(fresh)
        except OSError as problem:
            raise ComponentFailed(
                f"can't take adopted events into {instance.run_dir}: {problem.strerror}; they stay in {path}"
            ) from problem
        parked_file.remove(path)
        log.say("INFO", "agent", f"took over {describe(parked)}, left by agent {parked.about['agent']}")


def describe(parked: ParkedFile) -> Parked:
    """What a parked file holds, as its writer counted it."""
    return Parked(parked.path, tuple(Holding(*numbers) for numbers in parked.about["channels"]), parked.size_bytes)


def _rebuild(run_dir: Path, parked: ParkedFile) -> None:
    """Puts the parked run directory in the place of what is there."""
    fresh = run_dir.with_name(f".{run_dir.name}.new")
    remove_empty(fresh)
    try:
        fresh.mkdir(mode=0o700, parents=True)
        damaged = parked.restore(fresh)
    except OSError as problem:
        remove_empty(fresh)
        mend = "Make room there"
        if isinstance(problem, PermissionError):
            mend = f"Let this user write in {run_dir.parent}"
        raise ComponentFailed(
            f"can't take parked events back into {run_dir}: {problem.strerror}; they stay parked in {parked.path}. "
            f"{mend}, or give another --run-dir"
        ) from problem
    if damaged:
        log.say("ERROR", "agent", f"{parked.path} is damaged in {', '.join(damaged)}: what is whole in it is delivered")
    remove_empty(run_dir)
    os.rename(fresh, run_dir)


def _is_of_another_run(run_dir: Path, parked: ParkedFile) -> bool:
    """True when the run directory holds something that is not what was parked."""
    try:
        if (run_dir / ID).read_text() == parked.about["run_id"]:
            return False
    except OSError:
        pass  # its removal had begun, or it is new
    return any(found.events or found.damaged for found in holdings(run_dir))


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f"{path.name}.aside-{time.time_ns() // 1_000_000}")
    os.rename(path, aside)
    whole_file.sync_directory(path.parent)
    return aside


def _when(parked: ParkedFile) -> str:
    at = time.localtime(parked.about["parked_ms"] / 1000)
    return time.strftime("at %Y-%m-%d %H:%M:%S", at)


# --- what of each file


def _sources(run_dir: Path, stack: contextlib.ExitStack) -> Iterator[Source]:
    """Every file that the next start needs, and which bytes of it. They stay mapped until the stack is closed."""
    lanes = {file.path: file for file in lane_files(run_dir)}
    pages: dict[Path, PutPage] = {}
    for file in lanes.values():
        if file.page not in pages and file.page.exists():
            pages[file.page] = stack.enter_context(contextlib.closing(PutPage.ensure(file.page)))
            _must_be_free(pages[file.page].segment, PRODUCER_ROLE)
    for path in sorted(path for path in run_dir.rglob("*") if path.is_file()):
        name = str(path.relative_to(run_dir))
        if name.split("/")[0] in _MADE_ANEW or path.name.startswith("."):
            continue
        if path in lanes:
            yield _lane(name, lanes[path], pages.get(lanes[path].page), stack)
        else:
            content = memoryview(path.read_bytes())
            yield Source(name, len(content), content, [(0, len(content))] if content else [])


def _lane(name: str, file: LaneFile, page: PutPage | None, stack: contextlib.ExitStack) -> Source:
    segment = stack.enter_context(Segment.open(file.path))
    _must_be_free(segment, PRODUCER_ROLE)
    _must_be_free(segment, CONSUMER_ROLE)
    whole = Source(name, segment.size_bytes, segment.memory, [(0, segment.size_bytes)])
    if page is None:
        return whole
    try:
        with contextlib.closing(Lane.open(file.path)) as lane:
            lane.committed()
            extents = [(0, RING), *_frames(lane, file, page)]
    except (DamagedData, KeyError):
        return whole  # what of it waits can't be told: the next start repairs what can be repaired
    return Source(name, segment.size_bytes, segment.memory, extents)


def _frames(lane: Lane, file: LaneFile, page: PutPage) -> list[Extent]:
    """What waits, and the frame of the worker's last put: a worker that was killed reads its origins there."""
    state, index = page.state(), page.index(lane_key(file.channel, file.path.name))
    extents = waiting(lane, state.lanes[index].tail) if index < len(state.lanes) else []
    if state.origin_lane == index != NO_LANE and state.origin_position < lane.head():
        extents += frame_at(lane, state.origin_position)
    return extents


def _must_be_free(segment: Segment, role: int) -> None:
    """Nobody may put or take while rows are copied: a worker that hangs in a system call is not dead yet."""
    if not segment.try_lock(role):
        raise ComponentFailed(f"a process still works with {segment.path}")
