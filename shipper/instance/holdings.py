"""Holdings: what the channels in a run directory hold, whoever runs them, or nobody.

Read from the lanes and put pages themselves, as `meters.py` does for the channels of a plan; but here channels that
no configuration names any more count too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from shipper.channels.memory.channel import lane_names
from shipper.errors import DamagedData
from shipper.ring.lane import Lane
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage

#: In the name of a put page: it is that of a sink worker, which puts its dead letters there. No component is so called.
LETTERS = "%dead"


def worker_name(component: str, index: int | str) -> str:
    """Name of a worker as files have it: two dashes stand between the workers of a lane, and nowhere else."""
    safe = component.replace("%", "%25").replace("/", "%2F").replace("--", "-%2D")
    return f"{safe}.{index}"


@dataclass(frozen=True)
class Holding:
    """What one channel holds.

    Attributes:
        events, size_bytes: that wait; bytes of bodies.
        damaged: what can't be counted, a sentence each. Then there may be more than the numbers say.
    """

    channel: str
    events: int
    size_bytes: int
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True)
class LaneFile:
    """A lane that lies in a run directory.

    Attributes:
        producer, home: the source worker that fills it, and the sink worker that it was made for.
    """

    channel: str
    path: Path
    page: Path
    producer: str
    home: str


def lane_files(run_dir: Path) -> Iterator[LaneFile]:
    """All lanes of a run directory, in the order of their names."""
    base = run_dir / "channels"
    if not base.is_dir():
        return
    for directory in sorted(path for path in base.rglob("*") if path.is_dir()):
        for file, (producer, home) in lane_names(directory).items():
            if (directory / file).is_file():
                page = run_dir / "puts" / producer
                yield LaneFile(str(directory.relative_to(base)), directory / file, page, producer, home)


def holdings(run_dir: Path) -> list[Holding]:
    """What each channel that ever was in this run directory holds. Nothing is changed."""
    found: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    for file in lane_files(run_dir):
        events, size_bytes, damaged = found.get(file.channel, (0, 0, ()))
        try:
            rows, body_bytes = _waiting(file)
        except DamagedData as problem:
            found[file.channel] = (events, size_bytes, (*damaged, str(problem)))
        else:
            found[file.channel] = (events + rows, size_bytes + body_bytes, damaged)
    return [Holding(channel, *numbers) for channel, numbers in found.items()]


def _waiting(file: LaneFile) -> tuple[int, int]:
    """Events and bytes of bodies that wait in a lane."""
    if not file.page.exists():
        return 0, 0  # its put page is made before the first put: nothing has ever been in it
    with contextlib.closing(Lane.open(file.path)) as lane, contextlib.closing(PutPage.ensure(file.page)) as page:
        taken = lane.committed()  # first: what is taken was put, so a put in between makes no number negative
        try:
            put = page.lane(page.index(lane_key(file.channel, file.path.name)))
        except KeyError:
            return 0, 0
        return max(put.rows - taken.rows, 0), max(put.size_bytes - taken.size_bytes, 0)
