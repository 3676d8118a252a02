"""What a worker is built of: how much it may put at once."""

from __future__ import annotations

import pytest

from shipper.channels.memory.channel import MemoryChannel, MemoryOptions
from shipper.workers.assemble import rows_max_of
from shipper.workers.spec import ChannelSpec, LaneSpec

LANES = tuple(LaneSpec(f"c1/r1.0--k{number}.0", f"bells/k{number}.0") for number in (1, 2))
OTHERS = (("c1/r2.0--k1.0", "put/r2.0"),)


@pytest.mark.parametrize(
    ("lanes", "rivals", "required", "rows"),
    [
        (LANES[:1], (), ("c1",), 1000),
        (LANES, (), ("c1",), 500),  # else one of the sinks would have nothing to do
        (LANES[:1], OTHERS, ("c1",), 500),  # else the other source would find no room for long
        (LANES[:1], (), (), 500),  # what finds no room is dropped, so it shall find some
    ],
)
def test_a_put_fills_a_channel_only_where_nobody_else_needs_it(
    lanes: tuple[LaneSpec, ...], rivals: tuple[tuple[str, str], ...], required: tuple[str, ...], rows: int
) -> None:
    channel = ChannelSpec("c1", "memory", {"capacity": "1000"}, lanes, rivals)
    assert rows_max_of(channel, MemoryChannel, MemoryOptions(capacity=1000), required) == rows
