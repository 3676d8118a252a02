"""`seq`: the numbers 0, 1, 2, ... as text, one an event, over restarts; under another name from 0 again.

It is for trying a pipeline and for measuring it. What was put is not put again, so that a test of deaths can count on
it: a start goes on behind the last number that reached the channels, and says so. Flume's begins with 0 every time.

The numbers are a column from the start: counted by numpy, written as decimals by one Arrow cast. Several workers share
them out in blocks of 65,536: block b belongs to worker b % workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shipper.api import EventBatch, Options, Origin, Source, SourceContext, at_least, integer, option

_LONG_MAX = (1 << 63) - 1
_BLOCK = 1 << 16
_OFFSET_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class SeqOptions(Options):
    """Options of the seq source."""

    total_events: int = option(
        "totalEvents",
        at_least(integer, 0, _LONG_MAX),
        _LONG_MAX,
        help="Numbers to send, over all its runs; then the source is done.",
    )
    batch_size: int = option(
        "batchSize", at_least(integer, 1), 1, help="Numbers in a transaction, where a channel's strictBatch is true."
    )


class SeqSource(Source[SeqOptions]):
    """Counts."""

    Options = SeqOptions
    aliases = ("seq", "org.apache.flume.source.sequencegeneratorsource")
    replayable = True
    awaits_durable = False
    light = True
    counted = ("EventAcceptedCount", "AppendBatchAcceptedCount", "ChannelWriteFail")

    def open(self, context: SourceContext) -> None:
        self._worker, self._workers = context.worker, context.workers
        self._stream = "seq" if context.workers == 1 else f"seq:{context.worker}/{context.workers}"
        self._rows_max = min(context.rows_max, self.options.batch_size) if context.strict else context.rows_max
        self._batch_bytes = context.batch_bytes
        known = context.positions.get(self._stream)
        self._next = self._own(known.end if known is not None else 0)
        if self._next > _BLOCK * self._worker:
            context.say(
                "info", f"goes on with {self._next}: what came before was put; under another name it begins with 0"
            )

    def poll(self, wait_s: float) -> EventBatch | None:
        first = self._next
        end = self._end_of_batch(first)
        if end <= first:
            return None
        numbers = pa.array(np.arange(first, end, dtype=np.int64))
        batch = EventBatch.of(numbers.cast(pa.string()).cast(pa.binary()))
        self._next = self._own(end)
        return batch.with_origins((Origin(self._stream, first, end),))

    def position(self, origins: Sequence[Origin]) -> None:
        for origin in origins[:1]:
            self._next = origin.start

    def finished(self) -> bool:
        return self._next >= self.options.total_events

    def close(self) -> None:
        """Nothing is held."""

    def _own(self, number: int) -> int:
        """`number`, or the first one behind it that belongs to this worker."""
        block = number // _BLOCK
        ahead = (self._worker - block) % self._workers
        return number if not ahead else (block + ahead) * _BLOCK

    def _end_of_batch(self, first: int) -> int:
        # What a row takes: its digits, and its entry among the offsets.
        rows = self._batch_bytes // (len(str(first)) + _OFFSET_BYTES)
        rows = max(1, min(self._rows_max, self._batch_bytes // (len(str(first + rows)) + _OFFSET_BYTES)))
        end = min(first + rows, self.options.total_events)
        return end if self._workers == 1 else min(end, (first // _BLOCK + 1) * _BLOCK)
