"""`memory`: lanes in shared memory. Survives the death of any process of the agent; the machine's death empties it.

What bounds it is the first to be used up of: `capacity` events when the file gives it, `byteCapacity` when the file
gives it, and the bytes of its rings. Flume's default of 100 events is not applied: without a `capacity` the ring's
size is the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shipper.channels.channel import Channel
from shipper.config.field import Kind, Options, at_least, choice, flag, integer, option, seconds, size
from shipper.ring.lane import Lane

#: Flume counts bytes in slots of so many.
SLOT_BYTES = 100
#: In the names of overflow files, which lie beside the lanes (`overflow.py`).
OVERFLOW_MARK = ".overflow-"
RING_BYTES_LEAST = 4 << 20
RING_BYTES_DEFAULT = 64 << 20


_FULL = choice("block", "dropNewest", "dropOldest", "spill")


def _on_full(value: str) -> str:
    found: str = _FULL.parse(value)
    if found == "spill":
        raise ValueError(
            "a memory channel that spills to disk is not in this build yet; write block, dropNewest or dropOldest, or "
            "type = file: its log takes what its sinks can't"
        )
    return found


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(Options):
    """Options of the memory channel."""

    capacity: int | None = option(
        "capacity",
        at_least(integer, 1),
        None,
        help="Events it holds at most; without it, the ring's bytes are the bound.",
    )
    transaction_capacity: int | None = option(
        "transactionCapacity", at_least(integer, 1), None,
        help="Events a transaction carries at most when strictBatch is true; else one carries what is waiting.",
    )  # fmt: skip
    keep_alive_s: float = option(
        "keep-alive", at_least(seconds, 0), 3.0, help="Seconds that a put waits for room before its source is told."
    )
    byte_capacity: int | None = option(
        "byteCapacity", at_least(size, 0), None, help="Bytes of bodies it holds at most, in slots of 100; 0 = no bound."
    )
    byte_capacity_buffer: int = option(
        "byteCapacityBufferPercentage", at_least(integer, 0, 99), 20,
        help="Percent of byteCapacity set aside for headers.",
    )  # fmt: skip
    ring_bytes: int | None = option(
        "ring.bytes", at_least(size, 64 << 10), None, ours=True,
        help="Shared memory over all lanes; default 64 MiB, less where memory is scarce, 4 MiB a lane at least.",
    )  # fmt: skip
    strict_batch: bool = option(
        "strictBatch", flag, False, ours=True, help="Take batchSize and transactionCapacity literally, as Flume does."
    )

    on_full: str = option(
        "onFull", Kind("block | dropNewest | dropOldest", _on_full), "block", ours=True,
        help="What a put does that finds no room: wait, give its own rows up, or the oldest; the ledger counts them.",
    )  # fmt: skip
    max_age_s: float = option(
        "maxAge", at_least(seconds, 0), 0.0, ours=True,
        help="Seconds in the channel after which events are not delivered any more, but counted as expired; 0 = never.",
    )  # fmt: skip

    def problems(self) -> list[tuple[str, str]]:
        if self.capacity and self.transaction_capacity and self.transaction_capacity > self.capacity:
            return [
                (
                    "transactionCapacity",
                    f"transactionCapacity = {self.transaction_capacity} is more than capacity = {self.capacity}: no "
                    f"transaction could ever be that large; raise capacity or lower transactionCapacity",
                )
            ]
        return []

    @property
    def slots(self) -> int | None:
        """Slots of `SLOT_BYTES` that may be in use; None when bytes are not bounded."""
        if not self.byte_capacity:
            return None
        return max(int(self.byte_capacity * (1 - self.byte_capacity_buffer / 100)) // SLOT_BYTES, 1)


class MemoryChannel(Channel[MemoryOptions]):
    """A grid of lanes: source workers times sink workers."""

    Options = MemoryOptions
    aliases = ("memory", "org.apache.flume.channel.MemoryChannel")
    counted = (
        "ChannelCapacity", "ChannelSize", "ChannelFillPercentage", "EventPutAttemptCount", "EventPutSuccessCount",
        "EventTakeAttemptCount", "EventTakeSuccessCount",
    )  # fmt: skip

    @property
    def rows_max(self) -> int | None:
        options = self.options
        if options.strict_batch and options.transaction_capacity:
            return options.transaction_capacity
        if options.capacity is None:
            return None
        # Half of it, so that a source can fill one half while a sink empties the other; but at least what the file
        # says that a transaction carries.
        return max(options.capacity // 2, min(options.transaction_capacity or 1, options.capacity))

    def prepare(self, directory: Path, producers: Sequence[str], consumers: Sequence[str], ring_bytes: int) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lanes = max(len(producers) * len(consumers), 1)
        per_lane = max((self.options.ring_bytes or ring_bytes) // lanes, 64 << 10)
        if self.options.ring_bytes is None:
            per_lane = max(per_lane, RING_BYTES_LEAST)
        for producer in producers:
            for consumer in consumers:
                Lane.ensure(directory / lane_name(producer, consumer), per_lane).close()


def lane_name(producer: str, consumer: str) -> str:
    """File name of the lane from a source worker to the sink worker that it was made for."""
    return f"{producer}--{consumer}"


def lane_names(directory: Path) -> dict[str, tuple[str, str]]:
    """The lanes that lie in a channel's directory: file name -> (source worker, home sink worker)."""
    found: Mapping[str, Sequence[str]] = {
        entry.name: entry.name.split("--")
        for entry in sorted(directory.iterdir())
        if "--" in entry.name and OVERFLOW_MARK not in entry.name
    }
    return {name: (parts[0], parts[1]) for name, parts in found.items() if len(parts) == 2 and name[0] != "."}
