"""Finding the lines of a block: the one look at every byte on the way in.

::

    block of 1 MiB --> [batch/framing.line_ends] --> offsets --> [strip_carriage_returns] --> rows

Goal: 3,000 MB/s for lines of 145 bytes. The ratio is to a copy of the block.
"""

from __future__ import annotations

from perf.harness.command import Settings, run
from perf.harness.results import Goal
from perf.harness.steps import blocks, report, timed
from shipper.batch.framing import line_ends, strip_carriage_returns

GOALS = {20: 800, 145: 3000, 527: 4000}


def benchmark(settings: Settings) -> None:
    """Measures short, usual and long lines."""
    for line_bytes, goal in GOALS.items():
        data = blocks(max(line_bytes, 60), settings.short)
        if line_bytes < 60:  # a log of words
            data = [block.replace(b"/", b"\n") for block in data]
        case = f"{sum(map(len, data)) / sum(block.count(10) for block in data):.0f} B lines"
        with_returns = [block.replace(b"\n", b"\r\n") for block in data]
        figures = timed(settings, "scan", case, line_ends, data)
        figures |= timed(settings, "rows", case, lambda block: strip_carriage_returns(block, line_ends(block)), data)
        figures |= timed(
            settings, "rows_crlf", case, lambda block: strip_carriage_returns(block, line_ends(block)), with_returns
        )
        report(settings, "newline_scan", case, figures, Goal("scan_MB_per_core_s", goal, "MB/s"), "the block")


if __name__ == "__main__":
    run(benchmark)
