"""Letters: dead letters whose sink died between its take and its put are brought to their channel, or forgotten.

The take commit has decided which (`ring/promise.py`); this asks it. Called before anybody can commit where the promise
looks, or write where its frames stand: at a start, when a dead sink's lanes are opened to others, before a run
directory is parked or removed.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from shipper import log
from shipper.errors import DamagedData
from shipper.ring import promise as promises
from shipper.ring.lane import Lane
from shipper.ring.layout import GENERATION, PRODUCER_ROLE
from shipper.ring.puts import PutPage
from shipper.shared.take_mark import TakeMark

#: How a lane of a log is called whose own sink is not in the configuration; its number follows, in hex.
FOREIGN = "lane "


def settle_letters(run_dir: Path, sink: int | None = None) -> int:
    """Keeps or forgets what dead sink workers have promised; how many promises were kept.

    Dying in here: it is done once more, with the same words. Pages whose worker lives are left alone.

    Args:
        sink: only what this sink worker has promised.
    """
    kept = 0
    for path in sorted((run_dir / "puts").glob(f"*{promises.SUFFIX}")):
        promise = promises.read(path)
        if promise is None or sink not in (None, promise.mark.sink):
            continue
        page = PutPage.ensure(path.with_name(path.name.removesuffix(promises.SUFFIX)))
        with contextlib.closing(page):
            if not page.segment.try_lock(PRODUCER_ROLE):
                continue
            if promises.is_open(page, promise) and _is_taken(run_dir, promise.mark):
                promises.keep(page, promise)
                kept += 1
                log.say(
                    "INFO", promise.mark.channel, "events that a sink had refused before it was killed are in their "
                    "dead-letter channel now",
                )  # fmt: skip
            path.unlink()
    return kept


def _is_taken(run_dir: Path, mark: TakeMark) -> bool:
    """True when the take commit is stored; also when nobody can know: rather twice than lost."""
    generation = _generation(run_dir, mark)
    return generation is None or generation != mark.generation


def _generation(run_dir: Path, mark: TakeMark) -> int | None:
    try:
        if not mark.board:
            with contextlib.closing(Lane.open(run_dir / "channels" / mark.channel / mark.lane)) as lane:
                return lane.words.observe(GENERATION)
        from shipper.durable import board as boards  # an agent that has no log does without

        with contextlib.closing(boards.Board.open(Path(mark.board))) as board:
            named = mark.lane.removeprefix(FOREIGN)
            index = board.lanes().get(boards.lane_id(mark.lane) if named == mark.lane else int(named, 16))
            return None if index is None else board.words.observe(boards.lane_at(index) + boards.GENERATION)
    except (FileNotFoundError, DamagedData):
        return None
