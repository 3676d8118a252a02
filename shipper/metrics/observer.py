"""The observer: the supervisor's once-a-second look at its agent, from which everything shown is made.

It asks the rings for the numbers of the channels, stores them in the metrics block (so that `shipper stat` needs no
ring), and keeps the last two samples: rates and hold-ups are differences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shipper.metrics.block import Entry, Kind, MetricsBlock, Sample
from shipper.metrics.holdup import HoldUp, full_since_ms, hold_ups

#: Channel -> its numbers under the names of `CHANNEL_NAMES` (`full_since_ms` is found out here).
ChannelNumbers = Callable[[], Mapping[str, Mapping[str, int]]]


class Observer:
    """Takes samples of one agent.

    Args:
        block: with one entry of kind CHANNEL for each channel.
        channels: reads the rings; cheap, never blocks.
    """

    def __init__(self, block: MetricsBlock, channels: ChannelNumbers) -> None:
        self.block = block
        self._channels = channels
        self.before = self.now = self.look()

    def tick(self) -> Sample:
        """Takes a sample; to be called about once a second. `before` and `now` are then the last two."""
        self.block.beat()
        self.before, self.now = self.now, self.look()
        for entry in self._channel_entries():
            name = entry.name()
            since_ms = {
                "full_since_ms": full_since_ms(self.before, self.now, name),
                "unmoved_since_ms": _unmoved_since_ms(self.before, self.now, name),
            }
            entry.channel(since_ms)
        return self.now

    def look(self) -> Sample:
        """The numbers of this moment, as an answer to a request needs them; `before` and `now` stay what they are."""
        numbers = self._channels()
        for entry in self._channel_entries():
            entry.channel(numbers.get(entry.name(), {}))
        return self.block.sample()

    def hold_ups(self) -> list[HoldUp]:
        """Where each pipeline was held up between the last two samples."""
        return hold_ups(self.before, self.now)

    def _channel_entries(self) -> list[Entry]:
        return [entry for entry in self.block.entries if entry.kind == Kind.CHANNEL]


def _unmoved_since_ms(before: Sample, now: Sample, channel: str) -> int:
    """Monotonic ms since which rows are in a channel and none is taken, or 0."""
    earlier, numbers = before.channels.get(channel, {}), now.channels.get(channel, {})
    if not numbers.get("size", 0) or not earlier.get("size", 0) or numbers.get("takes") != earlier.get("takes"):
        return 0
    return numbers.get("unmoved_since_ms", 0) or before.at_ms
