"""Mending: before the workers of an agent start, what is damaged in its segments is repaired, and said."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from shipper import log
from shipper.ring.layout import lane_key
from shipper.ring.repair import repair_lane, repair_page
from shipper.workers.holdings import lane_files


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
