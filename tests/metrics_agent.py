"""A real metrics block of r1 -> c1 -> k1, to be filled by a test and read back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from shipper.metrics.block import Entry, Kind, MetricsBlock


@dataclass(frozen=True)
class Agent:
    """A block and its three entries."""

    block: MetricsBlock
    source: Entry
    channel: Entry
    sink: Entry


@pytest.fixture(name="agent")
def agent_block(tmp_path: Path) -> Agent:
    """The block of an agent a1 that has not counted anything yet."""
    block = MetricsBlock.create(tmp_path / "metrics", 3, agent="a1", file="/etc/a1.properties", start_ms=1_000)
    source, channel, sink = block.entries
    source.describe(Kind.SOURCE, "r1", "exec", channels=["c1"], start_ms=2_000)
    channel.describe(Kind.CHANNEL, "c1", "memory")
    sink.describe(Kind.SINK, "k1", "hdfs", channels=["c1"], start_ms=3_000)
    return Agent(block, source, channel, sink)
