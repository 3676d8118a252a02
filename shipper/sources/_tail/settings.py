"""How files are tailed: what `taildir` and `exec` decide before the first file is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shipper.sources._tail.lines import LineRule


@dataclass(frozen=True, kw_only=True)
class TailSettings:
    """How files are tailed.

    Attributes:
        name: what positions belong to, the same after every restart.
        position_file: Flume's JSON, or None to write none.
        apart: it is not the one of the configuration, which is another source's.
        batch_rows: rows of one batch; None leaves it to the context.
        turn_rows: rows that a file may hand out while others wait; None = one batch.
        skip_to_end: files of the first listing that nothing is remembered of begin at their end.
        first_place: (descriptor, size) -> where a file begins at the very first start, as the `tail` command does.
        sweep_step_s, sweep_max_s: after n sweeps that found nothing the next one is n steps later, at most the maximum.
        byte_offset_header, path_header: names of the headers, or None.
    """

    name: str
    rule: LineRule
    position_file: str | None = None
    apart: bool = False
    batch_rows: int | None = None
    turn_rows: int | None = None
    skip_to_end: bool = False
    first_place: Callable[[int, int], int] | None = None
    idle_timeout_s: float = 120.0
    rotate_wait_s: float = 5.0
    save_interval_s: float = 3.0
    sweep_step_s: float = 1.0
    sweep_max_s: float = 5.0
    line_bytes_max: int = 16 << 20
    byte_offset_header: str | None = None
    path_header: str | None = None
    cache_listing: bool = True
    inotify: bool = True
