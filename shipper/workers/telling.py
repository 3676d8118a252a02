"""Telling: of which lanes a worker says how many rows it will never put again (`instance/told_rows.py`).

Of lanes that sinks take from, it is said in rows. What is in a log can't be told apart by its source: of a channel that
keeps its rows there, nothing comes twice by a source that goes on where this one log says; else nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from shipper.channels.memory.channel import is_second
from shipper.channels.memory.put import PutSide
from shipper.instance.told_rows import ToldRows
from shipper.workers.heads import LaneHead, lane_heads
from shipper.workers.spec import ChannelSpec, WorkerSpec

if TYPE_CHECKING:
    from shipper.channels.memory.spilling import SpillingPutter


def counted(side: PutSide, channels: Sequence[ChannelSpec]) -> list[LaneHead]:
    """The lanes of a worker that sinks take from."""
    names = [channel.name for channel in channels if channel.seconds or not channel.logged]
    return [head for head in lane_heads(side, names) if not _is_second(head)]


def of_source(
    state_dir: Path, spec: WorkerSpec, side: PutSide, heads: Sequence[LaneHead], required: Sequence[str]
) -> ToldRows:
    """What a source that can replay tells. Before it puts anything."""
    logs = {channel.name for channel in spec.channels if channel.logged and not channel.seconds}
    if len(required) == 1:
        logs -= {required[0]}  # its source goes on where this log says
    spilling = [channel.name for channel in spec.channels if channel.seconds]
    spilled = [name for name in spilling if any(_is_second(head) and head.rows() for head in lane_heads(side, [name]))]
    lanes = [head.name for head in heads]
    told = ToldRows(state_dir, spec.index, spec.common.run_id, lanes, logs.union(spilled))
    for name in spilling:
        cast("SpillingPutter", side.putters[name]).before_spilling = partial(told.spills, name)
    return told


def of_letters(state_dir: Path, spec: WorkerSpec, side: PutSide) -> None:
    """What a worker tells that puts dead letters: nothing, for which of them come again is known when their rows do."""
    logs = [channel.name for channel in spec.letters if channel.logged]
    lanes = [head.name for head in counted(side, spec.letters)]
    ToldRows(state_dir, spec.index, spec.common.run_id, lanes, logs).close()


def _is_second(head: LaneHead) -> bool:
    return is_second(Path(head.name))
