"""A staged plan: what becomes of rows that are staged first."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.files.columns.format import ColumnsFormat
from shipper.files.columns.room import Room


@dataclass(frozen=True, kw_only=True)
class StagedPlan:
    """What a sink's options say of its files of columns.

    Attributes:
        kind, codec: of new files; one that was begun before becomes what it was begun as.
        group_bytes: of a group of rows, before compression; likewise.
        target_bytes: of a file, after compression; 0 = any.
        stage_bytes: that all stages may take.
        room: where the newest rows of stages lie.
    """

    kind: ColumnsFormat
    codec: str
    group_bytes: int
    target_bytes: int
    stage_bytes: int
    room: Room
