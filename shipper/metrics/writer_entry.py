"""The entry of a channel's writer: it has none of its own, and says in its channel's why it can't do its work.

The numbers of that entry are the supervisor's; the texts are the writer's, and the supervisor's once it is gone.
"""

from __future__ import annotations

from shipper.metrics.block import Entry, Kind, MetricsBlock
from shipper.metrics.counters import Counters


class WriterEntry:
    """What the writer of one channel says. Its time accounts go nowhere.

    Args:
        channel: its name. When a reload has given its entry to something else, nothing is said.
    """

    def __init__(self, block: MetricsBlock, channel: str) -> None:
        self.counters = Counters.private()
        self._block = block
        self._channel = channel

    def waits_for(self, text: str) -> None:
        """Says why the writer can't run, "" when it does."""
        if (entry := self._entry()) is not None:
            entry.waits_for(text)

    def trouble(self, text: str) -> None:
        """Says why it takes nothing, "" when it takes what comes."""
        if (entry := self._entry()) is not None:
            entry.trouble(text)

    def _entry(self) -> Entry | None:
        found = (entry for entry in self._block.entries if entry.kind == Kind.CHANNEL)
        return next((entry for entry in found if entry.name() == self._channel), None)
