"""One sink of a group with what belongs to it: its counters, and where its rows go that are refused for good."""

from __future__ import annotations

from typing import Any

from shipper.metrics.counters import Counters
from shipper.metrics.tied import TiedToTakes
from shipper.pipeline.aside import Aside
from shipper.sinks.sink import Sink


class GroupSink:
    """A member of a group of sinks; `tied` are those of its counters that take commits add to."""

    def __init__(
        self, name: str, sink: Sink[Any], counters: Counters, aside: Aside, tied: TiedToTakes | None = None
    ) -> None:
        self.name = name
        self.sink = sink
        self.counters = counters
        self.aside = aside
        self.tied = tied or TiedToTakes.private(counters)
