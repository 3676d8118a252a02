"""`spillablememory`: memory until it is full, then a log on disk; what came first leaves first, whichever way it went.

The memory part is full when `memoryCapacity` events, `byteCapacity`, or the bytes of its rings are used up; the disk
part when `overflowCapacity` events are, or the disk is. Flume's defaults for the two capacities are not applied:
without them, bytes are the bound. With `memoryCapacity = 0` it is a file channel, with `overflowCapacity = 0` one in
memory.

What survives: what is in memory, the death of any process of the agent; what is on disk, that of the machine too. As
rows in memory may be older than rows on disk, a source that can read again reads both again after a power cut: nothing
is lost, and what was on disk comes twice. With `memoryCapacity = 0` it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.channels.channel import Channel
from shipper.channels.file.options import LogOptions, too_large
from shipper.channels.memory.channel import make_lanes, rows_max
from shipper.config.field import Kind, at_least, choice, integer, option, seconds, size

#: How long a put waits when both parts are full, beside the time that memory has to be full first.
_KEEP_ALIVE_S = 3.0


def _unused(instead: str) -> Kind:
    return Kind("integer", integer.parse, lambda _: f"is not used by this type of channel, as in Flume: {instead}")


@dataclass(frozen=True, kw_only=True)
class SpillableMemoryOptions(LogOptions):
    """Options of the spillable memory channel."""

    memory_capacity: int | None = option(
        "memoryCapacity", at_least(integer, 0), None,
        help="Events in memory at most; 0 = all go to disk; without it, the rings' bytes are the bound.",
    )  # fmt: skip
    overflow_capacity: int | None = option(
        "overflowCapacity", at_least(integer, 0), None,
        help="Events on disk at most; 0 = none go there; without it, the disk is the bound.",
    )  # fmt: skip
    overflow_timeout_s: float = option(
        "overflowTimeout", at_least(seconds, 0), 3.0,
        help="Seconds that memory has to be full before events go to disk; while some are there, more follow at once.",
    )  # fmt: skip
    back_percent: int = option(
        "overflowDeactivationThreshold", at_least(integer, 0, 100), 5,
        help="Percent of the memory part that must be free before events go there again.",
    )  # fmt: skip
    byte_capacity: int | None = option(
        "byteCapacity", at_least(size, 0), None,
        help="Bytes of bodies in memory at most, in slots of avgEventSize; 0 = no bound.",
    )  # fmt: skip
    byte_capacity_buffer: int = option(
        "byteCapacityBufferPercentage", at_least(integer, 0, 99), 20,
        help="Percent of byteCapacity set aside for headers.",
    )  # fmt: skip
    slot_bytes: int = option(
        "avgEventSize", at_least(size, 1, (1 << 31) - 1), 500,
        help="Bytes of a slot: an event takes one at least, and whole ones.",
    )  # fmt: skip
    on_full: str = option(
        "onFull", choice("block", "dropNewest"), "block", ours=True,
        help="What a put does when both parts are full: wait, or give its own rows up; the ledger counts them.",
    )  # fmt: skip
    file_capacity: int | None = option(
        "capacity", _unused("memoryCapacity and overflowCapacity bound it"), None, help="Not used, as in Flume."
    )
    file_keep_alive: int | None = option(
        "keep-alive", _unused("overflowTimeout says how long memory has to be full"), None,
        help="Not used, as in Flume.",
    )  # fmt: skip

    @property
    def spills(self) -> bool:
        """True when the channel has both parts."""
        return self.memory_capacity != 0 and self.overflow_capacity != 0

    @property
    def capacity(self) -> int | None:
        """Events that the memory part holds; of a channel without one, the disk part."""
        return self.overflow_capacity if self.memory_capacity == 0 else self.memory_capacity

    @property
    def total_capacity(self) -> int | None:
        """Events that both parts hold."""
        both = self.memory_capacity, self.overflow_capacity
        return None if None in both else sum(filter(None, both))

    @property
    def slots(self) -> int | None:
        """Slots of memory that may be in use; None when bytes are not bounded."""
        if not self.byte_capacity or self.memory_capacity == 0:
            return None
        return max(int(self.byte_capacity * (1 - self.byte_capacity_buffer / 100)) // self.slot_bytes, 1)

    @property
    def keep_alive_s(self) -> float:
        """How long a put waits for room before its source is told."""
        return self.overflow_timeout_s + _KEEP_ALIVE_S

    def problems(self) -> list[tuple[str, str]]:
        found = too_large(self.transaction_capacity, "memoryCapacity", self.memory_capacity)
        if self.memory_capacity == 0 and self.overflow_capacity == 0:
            found.append(("overflowCapacity", "memoryCapacity = 0 and overflowCapacity = 0: then it holds nothing"))
        return found + super().problems()


class SpillableMemoryChannel(Channel[SpillableMemoryOptions]):
    """A grid of lanes, each with another one beside it, to the writer of a log."""

    Options = SpillableMemoryOptions
    aliases = ("spillablememory", "org.apache.flume.channel.SpillableMemoryChannel")

    @property
    def logged(self) -> bool:
        return self.options.overflow_capacity != 0

    @property
    def spills(self) -> bool:
        return self.options.spills

    @classmethod
    def places(cls, options: SpillableMemoryOptions) -> tuple[Path, ...]:
        return options.log_settings().directories if options.overflow_capacity != 0 else ()

    @property
    def rows_max(self) -> int | None:
        return rows_max(self.options.capacity, self.options.transaction_capacity, self.options.strict_batch)

    def prepare(self, directory: Path, producers: Sequence[str], consumers: Sequence[str], ring_bytes: int) -> None:
        make_lanes(directory, producers, consumers, self.options.ring_bytes, ring_bytes, spills=self.spills)
