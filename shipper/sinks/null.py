"""`null`: events are taken and forgotten. For trying a source, an interceptor or a channel out."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shipper.api import EventBatch, Options, Sink, SinkContext, at_least, integer, option

_LOG = logging.getLogger("shipper.sink.null")


@dataclass(frozen=True, kw_only=True)
class NullOptions(Options):
    """Options of the null sink."""

    batch_size: int = option("batchSize", at_least(integer, 1), 100,
        help="Events of a complete batch, in the counters and with strictBatch.")  # fmt: skip
    log_every_rows: int = option("logEveryNEvents", at_least(integer, 1), 10_000,
        help="A log line each time so many more events were taken, at most one a transaction.")  # fmt: skip


class NullSink(Sink[NullOptions]):
    """Takes everything."""

    Options = NullOptions
    aliases = ("null", "org.apache.flume.sink.NullSink")
    promise = "at least once"

    def open(self, context: SinkContext) -> None:
        self._name = context.name
        self._rows = self._delivered = 0

    def deliver(self, batch: EventBatch) -> None:
        self._delivered += batch.rows

    def flush(self) -> int:
        before, every = self._rows, self.options.log_every_rows
        self._rows += self._delivered
        self._delivered = 0
        if self._rows // every > before // every:
            _LOG.info("Null sink %s successful processed %d events.", self._name, self._rows // every * every)
        return 0

    def rolled_back(self) -> None:
        self._delivered = 0

    def close(self) -> None:
        """There is nothing to give back."""
