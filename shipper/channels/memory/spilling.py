"""A spilling putter: rows go into memory while there is room, and then into the channel's log.

It is two putters: one over the lanes in memory, one over the lanes to the channel's writer, a pair for each sink
worker. Which of the two a batch goes to is a matter of room alone; that rows leave in order whatever is chosen here is
seen to where they are taken (`order.py`). So nothing of what this object remembers has to outlive its process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from shipper.api import Clock, SystemClock
from shipper.batch.batch import EventBatch, Origin
from shipper.channels.channel import PutOptions
from shipper.channels.file.view import LogView
from shipper.channels.memory.putter import Putter
from shipper.ring.producer import Producer

#: With `onFull = dropNewest`: the lanes to the writer are full for a moment whenever a source is faster than the disk.
_DISK_FULL_S = 1.0


class SpillOptions(PutOptions, Protocol):
    """What a spilling putter asks of the options of its channel, beside what they say of the memory part."""

    @property
    def overflow_capacity(self) -> int | None:
        """Events that may be on disk."""

    @property
    def overflow_timeout_s(self) -> float:
        """How long memory has to be full before rows go to disk."""

    @property
    def back_percent(self) -> int:
        """Percent of the memory part that must be free before rows go there again."""


@dataclass(frozen=True)
class DiskOptions:
    """What bounds the disk part of a channel, as a putter asks for it."""

    capacity: int | None
    on_full: str
    max_age_s: float
    keep_alive_s: float = 0.0
    slots: int | None = None
    slot_bytes: int = 1
    byte_capacity: int | None = None
    strict_batch: bool = False

    @classmethod
    def of(cls, options: SpillOptions) -> DiskOptions:
        """Those of a channel that spills."""
        return cls(options.overflow_capacity, options.on_full, options.max_age_s)


class SpillingPutter:
    """One source worker's side of one channel that spills.

    Args:
        options: of the channel.
        memory, disk: the putters; lane i of both is for the same sink worker.
        sinks: names of those sink workers, as the log knows them.
        log: of the channel.
    """

    def __init__(
        self, options: SpillOptions, memory: Putter, disk: Putter, sinks: Sequence[str], log: LogView,
        clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.name = memory.name
        self.options = options
        self.producers = memory.producers + disk.producers
        self.full_because = ""
        self._memory, self._disk = memory, disk
        self._sinks = tuple(sinks)
        self._log = log
        self._clock = clock or SystemClock()
        self._homes: dict[str, int] = {}
        self._staged: list[tuple[int, EventBatch]] = []
        self._turn = 0
        self._full_s = self._disk_full_s = -1.0
        self._spills = not all(map(self._disk_is_drained, range(len(self._sinks))))
        #: Called before rows are written to a lane to the writer; it costs nothing more when there is nothing to do.
        self.before_spilling: Callable[[], None] | None = None

    @property
    def block_bytes_most(self) -> int:
        """How large a block may be for four of its frames to fit into the smallest lane."""
        return min(self._memory.block_bytes_most, self._disk.block_bytes_most)

    def room(self, block_bytes: int) -> memoryview | None:
        """Memory for a block that can become a frame where it lies; None when there is none now, or no use for it."""
        return (self._disk if self._spills else self._memory).room(block_bytes)

    @property
    def room_comes(self) -> bool:
        """False: where memory is full, rows go to the disk."""
        return False

    def stage(self, batch: EventBatch, put: int) -> tuple[Producer, int] | None:
        """Writes the rows behind the tail of a lane: (its producer, the frame's position), or None: no room now."""
        self._disk_full_s, disk_full_s = -1.0, self._disk_full_s
        index = self._choose(batch.origins)
        if index is None:
            self.full_because = "another lane still holds earlier rows of the same stream"
            self._memory.refused(self._memory.producers)
            return None
        if self._spills and self._memory.free_percent(index) >= self.options.back_percent:
            self._spills = False
        if not self._spills:
            staged = self._memory.stage(batch, put, index)
            if staged is not None:
                self._full_s = -1.0
                self._staged.append((index, batch))
                return staged
            self.full_because = self._memory.full_because
            if not self._memory.is_full or not self._may_spill():
                return None
            self._spills = True
        if self.before_spilling is not None:
            self.before_spilling()
            self.before_spilling = None
        staged = self._disk.stage(batch, put, index)
        if staged is None:
            self.full_because = f"memory is full, and on disk {self._disk.full_because}"
            if self._disk.is_full:
                self._disk_full_s = disk_full_s if disk_full_s >= 0 else self._clock.monotonic_s()
            return None
        self._staged.append((index, batch))
        return staged

    def gives_up(self) -> bool:
        """True when rows that found no room are to be dropped, because both parts are full and the file says so."""
        if self.options.on_full != "dropNewest" or self._disk_full_s < 0:
            return False
        return self._disk.is_at_capacity or self._clock.monotonic_s() - self._disk_full_s >= _DISK_FULL_S

    def want_room(self, batch: EventBatch) -> None:
        """Nothing that is in the channel is given up for new rows."""

    def committed(self) -> None:
        """The put page has committed what was staged: wake whoever sleeps."""
        if len(self._sinks) > 1:
            self._homes.update((origin.stream, index) for index, batch in self._staged for origin in batch.origins)
        self._staged.clear()
        self._memory.committed()
        self._disk.committed()

    def wake(self) -> None:
        """Rings everybody who said that it sleeps. Call after `committed` and a full fence."""
        self._memory.wake()
        self._disk.wake()

    def forget(self) -> None:
        """Drops what was staged."""
        self._staged.clear()
        self._memory.forget()
        self._disk.forget()

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane whether this worker waits for room."""
        self._memory.sleeping(asleep)
        self._disk.sleeping(asleep)

    def rows(self) -> int:
        """Events in the channel."""
        return self._memory.rows() + self._disk.rows()

    @property
    def safe(self) -> bool:
        """True: what a source is promised of this channel is that its memory has the rows."""
        return True

    def close(self) -> None:
        """Lets go of all lanes."""
        self._memory.close()
        self._disk.close()
        self._log.close()

    # --- inside

    def _may_spill(self) -> bool:
        """True when memory was full for long enough, or rows are on disk already."""
        now_s = self._clock.monotonic_s()
        if self._full_s < 0:
            self._full_s = now_s
        return now_s - self._full_s >= self.options.overflow_timeout_s or self._disk.rows() > 0

    def _disk_is_drained(self, index: int) -> bool:
        producer = self._disk.producers[index]
        return producer.drained and self._log.delivered(self._sinks[index], producer.lane.committed().sequence)

    def _choose(self, origins: Sequence[Origin]) -> int | None:
        """The lanes for rows of these streams: where one of them still has rows waiting, else the emptiest."""
        if len(self._sinks) == 1:
            return 0
        homes = {index for o in origins if (index := self._homes.get(o.stream, -1)) >= 0 and not self._drained(index)}
        if len(homes) > 1:
            return None  # they share a put but not a lane: wait until all but one are drained
        if homes:
            return homes.pop()
        if len(self._homes) > 4096:
            self._homes = {stream: index for stream, index in self._homes.items() if not self._drained(index)}
        turn = self._turn % len(self._sinks)
        self._turn += 1
        order = [*range(turn, len(self._sinks)), *range(turn)]
        lanes = (self._disk if self._spills else self._memory).producers
        free = [lane.free_bytes for lane in lanes]
        emptiest: int = max(order, key=lambda index: free[index])
        return emptiest

    def _drained(self, index: int) -> bool:
        return self._memory.producers[index].drained and self._disk_is_drained(index)
