"""Mending: before workers start, what is damaged in the segments is repaired, and what nobody claims is said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from shipper import log
from shipper.instance.holdings import holdings, lane_files
from shipper.ring.layout import lane_key
from shipper.ring.repair import repair_lane, repair_page


def mend(run_dir: Path) -> None:
    """Repairs the lanes and put pages of a run directory (`ring/repair.py`). Only while no worker runs.

    Raises:
        DamagedData: a segment is of another version, or no segment at all.
    """
    pages: dict[Path, dict[int, Path]] = defaultdict(dict)
    for file in lane_files(run_dir):
        for sentence in repair_lane(file.path):
            log.say("ERROR", file.channel, sentence)
        pages[file.page][lane_key(file.channel, file.path.name)] = file.path
    for page, lanes in pages.items():
        if page.exists():
            for sentence in repair_page(page, lanes):
                log.say("ERROR", "agent", sentence)


def say_unclaimed(run_dir: Path, channels: Collection[str]) -> None:
    """Names the channels that hold events and are not in the configuration: they are kept, and nobody empties them."""
    for held in holdings(run_dir):
        if held.events and held.channel not in channels:
            log.say(
                "WARN", held.channel, f"{held.events} events wait in this channel, which the configuration does not "
                f"have any more: they are kept. Write it in again with a sink, or see: shipper channel list",
            )  # fmt: skip
