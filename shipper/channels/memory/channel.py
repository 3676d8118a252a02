"""`memory`: lanes in shared memory. Survives the death of any process of the agent; the machine's death empties it.

With `onFull = spill` what finds no room goes to a log on disk (`spilling.py`), and leaves the channel in the order in
which it came.

What bounds it is the first to be used up of: `capacity` events when the file gives it, `byteCapacity` when the file
gives it, and the bytes of its rings. Flume's default of 100 events is not applied: without a `capacity` the ring's
size is the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipper.channels.channel import Channel
from shipper.config.field import Options, at_least, choice, flag, integer, option, path, seconds, size
from shipper.ring.lane import Lane

if TYPE_CHECKING:  # most memory channels have no log
    from shipper.durable.keys import Keys
    from shipper.durable.settings import LogSettings

#: Flume counts bytes in slots of so many.
SLOT_BYTES = 100
#: In the names of overflow files, which lie beside the lanes (`overflow.py`).
OVERFLOW_MARK = ".overflow-"
#: Of a capacity that is no larger, a put may take all.
_ROWS_ALONE = 10_000
#: Before the name of the sink worker in the name of a lane to the writer; no worker is called so (`workers/grid.py`).
_SECOND = "%~"
RING_BYTES_LEAST = 4 << 20
RING_BYTES_DEFAULT = 64 << 20


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
        "ring.bytes", at_least(size, 64 << 10, 1 << 40), None, ours=True,
        help="Shared memory over all lanes; default 64 MiB, less where memory is scarce, 4 MiB a lane at least.",
    )  # fmt: skip
    strict_batch: bool = option(
        "strictBatch", flag, False, ours=True, help="Take batchSize and transactionCapacity literally, as Flume does."
    )

    on_full: str = option(
        "onFull", choice("block", "dropNewest", "dropOldest", "spill"), "block", ours=True,
        help="What a put does that finds no room: wait, give its own rows up, or the oldest (the ledger counts them), "
        "or go to disk.",
    )  # fmt: skip
    spill_directory: str | None = option(
        "spill.directory", path, None, ours=True,
        help="With onFull = spill: where the log lies, of no other channel; in the agent's state directory without it.",
    )  # fmt: skip
    spill_capacity: int | None = option(
        "spill.capacity", at_least(integer, 1), None, ours=True,
        help="With onFull = spill: events on disk at most; without it, the disk is the bound.",
    )  # fmt: skip
    spill_minimum_free_bytes: int = option(
        "spill.minimumRequiredSpace", at_least(size, 1 << 20, 1 << 60), 524_288_000, ours=True,
        help="With onFull = spill: bytes that are left free on that disk.",
    )  # fmt: skip
    max_age_s: float = option(
        "maxAge", at_least(seconds, 0), 0.0, ours=True,
        help="Seconds in the channel after which events are not delivered any more, but counted as expired; 0 = never.",
    )  # fmt: skip

    slot_bytes = SLOT_BYTES
    # What a channel that spills is asked for beside that (`spilling.py`), and its log.
    overflow_timeout_s = 0.0
    back_percent = 5
    sync_each = True
    sync_interval_s = 0.0

    @property
    def overflow_capacity(self) -> int | None:
        """Events that may be on disk."""
        return self.spill_capacity

    def keys(self) -> Keys | None:
        """None: to have it encrypted, write type = spillablememory."""
        return None

    def log_settings(self, keys: Keys | None = None) -> LogSettings:
        """Where the log lies of a channel that spills."""
        from shipper.durable.settings import LogSettings

        assert self.spill_directory is not None, "the place of a log is known when the agent's directories are"
        place = Path(self.spill_directory).expanduser().absolute()
        return LogSettings(
            checkpoint_dir=place / "checkpoint", data_dirs=(place / "data",), keys=keys,
            minimum_free_bytes=self.spill_minimum_free_bytes,
        )  # fmt: skip

    def doubts(self) -> list[tuple[str, str]]:
        given = {
            "spill.directory": self.spill_directory is not None, "spill.capacity": self.spill_capacity is not None,
            "spill.minimumRequiredSpace": self.spill_minimum_free_bytes != 524_288_000,
        }  # fmt: skip
        if self.on_full == "spill":
            return []
        return [(key, f"{key} is not used unless onFull = spill") for key, is_given in given.items() if is_given]

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

    @property
    def logged(self) -> bool:
        return self.spills

    @property
    def spills(self) -> bool:
        return self.options.on_full == "spill"

    @classmethod
    def places(cls, options: MemoryOptions) -> tuple[Path, ...]:
        if options.on_full != "spill" or options.spill_directory is None:
            return ()  # in the agent's state directory each channel has a place of its own
        return options.log_settings().directories

    @property
    def rows_max(self) -> int | None:
        return rows_max(self.options.capacity, self.options.transaction_capacity, self.options.strict_batch)

    @property
    def rows_max_alone(self) -> int | None:
        options = self.options
        if options.strict_batch or options.capacity is None or options.on_full != "block" or options.slots is not None:
            return self.rows_max
        # While the sink has one put in its hands, the source has the next one ready in its own: half as many of them
        # are moved for the same rows. A sink that is slow gives room in smaller steps, so there is an end to it.
        return max(
            rows_max(options.capacity, options.transaction_capacity, strict=False) or 0,
            min(options.capacity, _ROWS_ALONE),
        )

    def prepare(self, directory: Path, producers: Sequence[str], consumers: Sequence[str], ring_bytes: int) -> None:
        make_lanes(directory, producers, consumers, self.options.ring_bytes, ring_bytes, spills=self.spills)


def rows_max(capacity: int | None, transaction_capacity: int | None, strict: bool) -> int | None:
    """Rows that one put may have at most; None when nothing bounds them."""
    if strict and transaction_capacity:
        return transaction_capacity
    if capacity is None:
        return None
    # Half of it, so that a source can fill one half while a sink empties the other; but at least what the file says
    # that a transaction carries.
    return max(capacity // 2, min(transaction_capacity or 1, capacity))


def make_lanes(
    directory: Path, producers: Sequence[str], consumers: Sequence[str], wanted_bytes: int | None, ring_bytes: int, *,
    spills: bool = False,
) -> None:  # fmt: skip
    """Makes the lanes of a channel that are not there yet.

    Args:
        wanted_bytes: shared memory over all of them, as the file says.
        ring_bytes: the same when it does not.
        spills: beside each lane there is one to the channel's writer; it has a quarter of the memory.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lanes = max(len(producers) * len(consumers), 1)
    least = 64 << 10 if wanted_bytes is not None else RING_BYTES_LEAST
    per_lane = (wanted_bytes or ring_bytes) // lanes
    second = per_lane // 4 if spills else 0
    for producer in producers:
        for consumer in consumers:
            Lane.ensure(directory / lane_name(producer, consumer), max(per_lane - second, least)).close()
            if spills:
                Lane.ensure(directory / second_lane_name(producer, consumer), max(second, least)).close()


def lane_name(producer: str, consumer: str) -> str:
    """File name of the lane from a source worker to the sink worker that it was made for."""
    return f"{producer}--{consumer}"


def second_lane_name(producer: str, consumer: str) -> str:
    """File name of the lane by which rows for that sink worker go to the channel's writer, when memory is full."""
    return lane_name(producer, f"{_SECOND}{consumer}")


def is_second(lane: Path) -> bool:
    """True when it is a lane to the writer, beside one in memory."""
    return lane.name.partition("--")[2].startswith(_SECOND)


def sink_of(lane: Path) -> str:
    """The sink worker that a lane was made for."""
    return lane.name.partition("--")[2].removeprefix(_SECOND)


def lane_names(directory: Path) -> dict[str, tuple[str, str]]:
    """The lanes that lie in a channel's directory: file name -> (source worker, home sink worker)."""
    found: Mapping[str, Sequence[str]] = {
        entry.name: entry.name.split("--")
        for entry in sorted(directory.iterdir())
        if "--" in entry.name and OVERFLOW_MARK not in entry.name
    }
    return {name: (parts[0], parts[1]) for name, parts in found.items() if len(parts) == 2 and name[0] != "."}
