"""When a file ends and the next one begins: a decision, carried out by others.

Flume looks before it appends: a file that holds `rows` events or `size_bytes` of bodies takes no more, so it may be
larger than `size_bytes` by one event, and a file that is exactly full stays open until the next event comes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shipper.batch.batch import EventBatch


@dataclass(frozen=True, kw_only=True)
class RollLimits:
    """What ends a file; 0 is off.

    Attributes:
        size_bytes: bytes of event bodies, before the serializer and the compression.
        interval_s: since the file was begun.
        idle_s: since the last row.
    """

    rows: int = 0
    size_bytes: int = 0
    interval_s: float = 0.0
    idle_s: float = 0.0

    @property
    def by_content(self) -> bool:
        """True when a batch may have to be cut."""
        return bool(self.rows or self.size_bytes)


def cuts(limits: RollLimits, batch: EventBatch, rows: int, size_bytes: int) -> list[int]:
    """Where a batch is cut: row indices before which a new file begins, in order, each once.

    Args:
        rows, size_bytes: what the present file holds already. 0 in the result means that not even the first row
            goes there.
    """
    total = batch.rows
    fits_rows = not limits.rows or rows + total <= limits.rows
    if fits_rows and (not limits.size_bytes or size_bytes + batch.body_bytes < limits.size_bytes):
        return []  # the usual case: nobody has to look at a row's length
    if not limits.size_bytes:
        return list(range(max(limits.rows - rows, 0), total, limits.rows)) if limits.rows else []
    ends = np.cumsum(batch.body_lengths(), dtype=np.int64)  # ends[i] = bytes of rows 0..i
    found: list[int] = []
    start, full_at = 0, limits.size_bytes - size_bytes
    while True:  # once a file, not once a row
        # The row that reaches the limit still goes in; the one behind it finds the file full.
        cut = int(np.searchsorted(ends, full_at)) + 1 if full_at > 0 or start else 0
        if limits.rows:
            cut = min(cut, start + max(limits.rows - rows, 0))
        if cut >= total:
            return found
        found.append(cut)
        start, rows = cut, 0
        full_at = limits.size_bytes + (int(ends[cut - 1]) if cut else 0)
