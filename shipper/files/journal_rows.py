"""Rows that a sink's journal says were taken: how far each lane was when what the journal vouches for was written.

After a power cut nobody else knows: the lanes are gone. So a mark, a snapshot and an entry say beside what they vouch
for how many rows had been taken from each lane by then::

    {"synced": [...], "taken": {lane: rows}}      a mark: no file has a row behind these, if only marks count
    {"snapshot": [...], "taken": {lane: rows}}    likewise of a snapshot
    {"at": [...], "take": [..., {lane: rows}]}    an entry: its commit makes it so many

The numbers are of all takes of the lane, by whatever sink: never fewer than what is in these files. A record without
them was written by an older build, or by somebody who takes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shipper.files.journal_record import MAGIC, Record, records_in


def rows_said(records: Iterable[Record], *, marked_only: bool = False) -> dict[str, int]:
    """Rows taken from each lane: the largest number that any record says. They only grow, in the life of a lane.

    Args:
        marked_only: entries behind the last mark do not count.
    """
    found: dict[str, int] = {}
    for record in records:
        _raise(found, record.payload.get("taken", {}))
        if not marked_only:
            _raise(found, _of_take(record.payload.get("take")))
    return found


def rows_vouched_for(data: bytes, boot_id: str) -> dict[str, int]:
    """Rows of each lane that are in the files at most, when the journal's owner starts and the lanes are gone.

    Args:
        boot_id: of this life of the machine. In another one only marks count, where any are made.
    """
    records, _ = records_in(data) if data.startswith(MAGIC) else ([], 0)
    written = next((record.payload["boot"] for record in records if record.payload.get("boot")), boot_id)
    marked = any("synced" in record.payload for record in records)
    return rows_said(records, marked_only=marked and written != boot_id)


class Taken:
    """What a journal says of lanes: what it said before, and what the lanes say now.

    Args:
        rows: asks the lanes; None when the owner of the journal takes from none.
    """

    def __init__(self, rows: Callable[[], Mapping[str, int]] | None) -> None:
        self._rows = rows
        self._before: dict[str, int] = {}

    def read(self, records: Iterable[Record]) -> None:
        """Remembers what was said, since lanes that the owner does not see any more may be among it."""
        self._before = rows_said(records)

    def raise_to(self, rows: Mapping[str, int]) -> None:
        """Somebody else has asked the lanes."""
        _raise(self._before, rows)

    def said(self) -> dict[str, Any]:
        """For the payload of a record."""
        if self._rows is not None:
            _raise(self._before, self._rows())
        return {"taken": dict(self._before)} if self._before else {}


def _raise(found: dict[str, int], rows: Mapping[str, int]) -> None:
    for lane, number in rows.items():
        found[lane] = max(number, found.get(lane, 0))


def _of_take(take: Any) -> Mapping[str, int]:
    last = take[-1] if isinstance(take, list) and take else None
    return last if isinstance(last, dict) else {}
