"""Leftovers: events in channels that no running agent will ever deliver unless a person says what becomes of them.

They lie in the run directory of an agent that was killed, or parked in its state directory; their agent was renamed,
its file moved, its channel taken out of the file, or it is just not running now. Nothing here is ever removed without
an order: `adopt`, `discard`.
"""

from __future__ import annotations

import contextlib
import glob
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.errors import ComponentFailed, ConfigurationError, DamagedData
from shipper.instance import parked_file, parking
from shipper.instance.holdings import Holding, LaneFile, holdings, lane_files
from shipper.instance.instance import Instance, Place, remove_empty
from shipper.instance.ledger_book import LedgerBook
from shipper.instance.parked_file import ParkedFile
from shipper.metrics.block import MetricsBlock
from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import CONSUMER_ROLE, HOLDER, LANE_KEYS, lane_key
from shipper.ring.puts import PutPage
from shipper.shared.segment import Segment
from shipper.shared.tally import DISCARDED

RUN_DIRECTORY, PARKED, ASIDE = "run directory", "parked", "set aside"


@dataclass(frozen=True)
class Leftover:
    """What one place holds.

    Attributes:
        name: of the instance, as its directories are called.
        kind: RUN_DIRECTORY, PARKED (the next start of the agent takes it back) or ASIDE.
        place: the run directory, or the parked file.
        agent, file: whose it was; "" when nothing says so.
        channels: what is in it; those that hold nothing are left out.
        since_s: when it was parked, or when its agent last stirred (Unix time).
        running: its agent runs, and does not know these channels any more.
    """

    name: str
    kind: str
    place: Path
    agent: str
    file: str
    channels: tuple[Holding, ...]
    since_s: float
    running: bool = False

    @property
    def adopted(self) -> bool:
        """True when it is `name` that delivers it at its next start, and not the agent that left it."""
        return self.place.name.startswith("adopted-")


def find(run_places: Iterable[Path], state_places: Iterable[Path]) -> list[Leftover]:
    """All leftovers in these places."""
    found: list[Leftover] = []
    parked: dict[str, str] = {}
    for place in state_places:
        for path in sorted(place.glob("*/*.parked*")):
            if path.name.endswith(".new"):
                continue
            with contextlib.suppress(OSError, DamagedData):
                one = ParkedFile(path)
                found.append(_parked(path, one))
                if path == parking.parked_path(path.parent):
                    parked[path.parent.name] = one.about["run_id"]
    for place in run_places:
        for run_dir in sorted(path for path in place.glob("*-*") if (path / "channels").is_dir()):
            with contextlib.suppress(OSError):
                # While it is parked, what is left of the run directory does not count.
                if parked.get(run_dir.name) != _run_id(run_dir) and (one_more := _run_directory(run_dir)) is not None:
                    found.append(one_more)
    return found


def _parked(path: Path, found: ParkedFile) -> Leftover:
    channels = tuple(one for one in parking.describe(found).channels if one.events)
    kind = PARKED if path == parking.parked_path(path.parent) or path.name.startswith("adopted-") else ASIDE
    about = found.about
    return Leftover(path.parent.name, kind, path, about["agent"], about["file"], channels, about["parked_ms"] / 1000)


def _run_directory(run_dir: Path) -> Leftover | None:
    agent, file, since_s, running, known = run_dir.name.rpartition("-")[0], "", run_dir.stat().st_mtime, False, set()
    with contextlib.suppress(OSError, DamagedData):
        block = MetricsBlock.view(run_dir / "metrics")
        agent, file, since_s, running = block.agent, block.file, time.time() - block.beat_age_s(), block.is_running()
        known = set(block.sample().channels) if running else set()
    held = tuple(h for h in holdings(run_dir) if (h.events or h.damaged) and h.channel not in known)
    return Leftover(run_dir.name, RUN_DIRECTORY, run_dir, agent, file, held, since_s, running) if held else None


def _run_id(run_dir: Path) -> str:
    try:
        return (run_dir / parking.ID).read_text()
    except OSError:
        return ""


# --- looking into one


def _passing(prefix: str, above: Path) -> contextlib.AbstractContextManager[str]:
    """A directory that is gone afterwards."""
    import tempfile  # for those who look into a leftover: a supervisor that starts only lists them

    return tempfile.TemporaryDirectory(prefix=prefix, dir=above)


@contextlib.contextmanager
def opened(found: Leftover) -> Iterator[Path]:
    """A directory with the lanes of a leftover, to be read.

    Raises:
        ConfigurationError: its agent runs.
        OSError: no room to unpack it.
    """
    if found.kind == RUN_DIRECTORY:
        yield found.place
        return
    with _passing(".reading-", found.place.parent) as directory:
        ParkedFile(found.place).restore(Path(directory))
        yield Path(directory)


@contextlib.contextmanager
def claimed(state_dir: Path, name: str) -> Iterator[None]:
    """Keeps an agent from starting while its leftovers are changed.

    Raises:
        ConfigurationError: it runs.
    """
    path = state_dir / "lock"
    if not path.exists():
        yield
        return
    with Segment.open(path) as lock:
        if not lock.try_lock(0):
            raise ConfigurationError(f"the agent of {name} is running: stop it first")
        yield


def reading(run_dir: Path, channel: str) -> Iterator[Consumer]:
    """A reader of each lane of a channel, at what was committed last. It holds nothing and must not release."""
    for file in lane_files(run_dir):
        if file.channel == channel and file.page.exists():
            with contextlib.ExitStack() as stack:
                yield _reader(file, stack)


def _reader(file: LaneFile, stack: contextlib.ExitStack) -> Consumer:
    page = stack.enter_context(contextlib.closing(PutPage.ensure(file.page)))
    lane = stack.enter_context(contextlib.closing(Lane.open(file.path)))
    slot = lane.committed()
    return Consumer(lane, page, page.index(lane_key(file.channel, file.path.name)), slot.sink or 1)


# --- changing one


def discard(run_dir: Path, channel: str) -> int:
    """Commits everything that waits in a channel, without delivering it; events. Nobody may work with the lanes.

    The ledger has them as thrown away by a person, in the very words of the commit.

    Dying in here: the lanes before are empty, the others as they were.

    Raises:
        ComponentFailed: a process does.
    """
    events = 0
    for consumer in reading(run_dir, channel):
        if not consumer.lane.segment.try_lock(CONSUMER_ROLE):
            raise ComponentFailed(f"a process still works with {consumer.lane.segment.path}")
        before = consumer.lane.committed()
        while (frame := consumer.peek()) is not None:
            rows = frame.rows - consumer.rows_done
            consumer.step()
            consumer.book(DISCARDED, 0, 0, rows)
        if consumer.moved:
            consumer.release(before.sequence)
        events += consumer.lane.committed().rows - before.rows
        consumer.lane.segment.unlock(CONSUMER_ROLE)
    return events


def tidy(found: Leftover, state_dir: Path, run_dir: Path, held: Sequence[Holding]) -> None:
    """Puts a leftover away after a change: removed if nothing needs it, parked as small as it is now."""
    instance = _instance(found, state_dir, run_dir)
    # Dying before this: the commits say what was thrown away. After it: the book says it too.
    LedgerBook(state_dir / "ledger.json").amend(_run_id(run_dir), run_dir)
    needed = any(one.events or one.damaged for one in held) or any(_holder(file) for file in lane_files(run_dir))
    if found.kind == RUN_DIRECTORY:
        if needed:
            parking.park(instance, held, Path(found.file))
        remove_empty(run_dir)
    elif needed:
        parking.park(instance, held, Path(found.file), path=found.place)
    else:
        parked_file.remove(found.place)


def adopt(found: Leftover, target: Instance, channels: Callable[[str], str]) -> Path:
    """Gives a leftover to another agent, which delivers it from its next start on. The target must be claimed.

    Its lanes become lanes of a source that the target does not have: they are drained, and no source of the target
    takes their origins for its own.

    Dying in here: the leftover is where it was. Dying before the last step: it is in both places; adopting it again
    replaces the first copy as long as the target has not been started.

    Args:
        channels: the target's channel for one of the leftover.

    Returns:
        The parked file in the target's state directory.
    """
    with opened(found) as run_dir, _passing(".adopting-", target.state_dir) as made:
        copy = Path(made)
        run_id = _run_id(run_dir)
        instance = Instance(found.agent, found.name, target.run_place, target.state_place)
        instance.run_dir, instance.state_dir = run_dir, copy
        everything = parking.park(instance, holdings(run_dir), Path(found.file), path=copy / "all")
        ParkedFile(everything.path).restore(copy / "run")
        _rename(copy / "run", f"adopted-{run_id}", channels)
        instance.run_dir = copy / "run"
        path = target.state_dir / f"adopted-{run_id}.parked"
        parking.park(instance, holdings(instance.run_dir), Path(found.file), path=path)
    if found.kind == RUN_DIRECTORY:
        remove_empty(found.place)
    else:
        parked_file.remove(found.place)
    return path


def _rename(run_dir: Path, producer: str, channels: Callable[[str], str]) -> None:
    """Gives every lane, its put page and its overflow files the name of another producer."""
    pages: dict[Path, PutPage] = {}
    for number, path in enumerate(sorted({file.page for file in lane_files(run_dir)})):
        os.rename(path, fresh := path.with_name(f"{producer}.{number}"))
        pages[path] = PutPage.ensure(fresh)
    for table in (run_dir / "puts").glob("*.positions"):
        table.unlink()
    for file in list(lane_files(run_dir)):
        page, old, channel = pages[file.page], file.path.name, channels(file.channel)
        name = f"{page.segment.path.name}--{file.home}"
        index = page.index(lane_key(file.channel, old))
        page.words.publish(LANE_KEYS + 8 * index, lane_key(channel, name))
        with contextlib.closing(Lane.open(file.path)) as lane:
            lane.words.publish(HOLDER, 0)  # whoever held it is not of the target
        directory = run_dir / "channels" / channel
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left in list(file.path.parent.glob(f"{glob.escape(old)}.*")):  # overflow files: frames name them so
            os.rename(left, directory / left.name)
        os.rename(file.path, directory / name)
    for page in pages.values():
        page.close()


def _instance(found: Leftover, state_dir: Path, run_dir: Path) -> Instance:
    place = Place(run_dir.parent, "", "")
    instance = Instance(found.agent, found.name, place, Place(state_dir.parent, "", ""))
    instance.run_dir, instance.state_dir = run_dir, state_dir
    return instance


def _holder(file: LaneFile) -> int:
    with contextlib.closing(Lane.open(file.path)) as lane:
        return lane.words.load(HOLDER)
