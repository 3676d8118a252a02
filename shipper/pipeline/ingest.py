"""The left half of the walk: a polled batch goes through interceptors and selector into the channels.

::

    source.poll() -> intercept ... -> route -> begin, put ..., commit -> source.committed()

One put transaction takes the batch into all its required channels, or into none. Optional channels come afterwards,
each by itself: what they have no room for is dropped there and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from shipper.batch.batch import EventBatch
from shipper.channels.memory.put import PutSide
from shipper.interceptors.interceptor import Interceptor
from shipper.metrics.counters import Counters
from shipper.selectors.selector import Route, Selector
from shipper.sources.source import Waiter

_ROOM_SLEEP_S = 0.05


class Ingest:
    """The way of one source worker's batches into its channels.

    Args:
        interceptors: in the order of the file.
        selector: routes what they leave.
        side: the worker's put side.
        counters: of the source.
        waiter: to sleep on while a channel is full.
        rows_max: rows that one put may have.
        keep_alive_s: how long a put waits for room before its source is told.
        stopping: asked while waiting; True ends the wait.
        waiting_for: told the reason while waiting, "" when it is over.
    """

    def __init__(
        self,
        interceptors: Sequence[Interceptor[object]],  # type: ignore[type-var]
        selector: Selector[object],  # type: ignore[type-var]
        side: PutSide,
        counters: Counters,
        waiter: Waiter,
        *,
        rows_max: int,
        keep_alive_s: float,
        stopping: Callable[[], bool],
        waiting_for: Callable[[str], None],
    ) -> None:
        self._interceptors = tuple(interceptors)
        self._selector = selector
        self._side = side
        self._counters = counters
        self._waiter = waiter
        self._rows_max = rows_max
        self._keep_alive_s = keep_alive_s
        self._stopping = stopping
        self._waiting_for = waiting_for
        self._first_channel = selector.channels[0]

    def put(self, batch: EventBatch) -> bool:
        """Takes a batch into the channels.

        Returns:
            True when all required channels have it. False when one had no room within keep-alive, or when the worker
            is stopping: then no channel has any of it.
        """
        counters = self._counters
        counters.add("EventReceivedCount", batch.rows)
        counters.add("AppendBatchReceivedCount")
        for start in range(0, max(batch.rows, 1), self._rows_max):
            piece = batch if batch.rows <= self._rows_max else batch.slice(start, self._rows_max)
            # Only the last piece of a batch that is larger than its channel carries the origins: before it is in,
            # the source has to read all of it again. (Sources that can replay keep to rows_max, so they have one.)
            if start + self._rows_max < batch.rows:
                piece = piece.with_origins(())
            if not self._put_piece(piece):
                return False
        counters.add("EventAcceptedCount", batch.rows)
        counters.add("AppendBatchAcceptedCount")
        counters.add("body_bytes", batch.body_bytes)
        return True

    def _put_piece(self, batch: EventBatch) -> bool:
        for interceptor in self._interceptors:
            batch = interceptor.intercept(batch)
        routes = self._selector.route(batch) if batch.rows else []
        required = [route for route in routes if route.required and route.batch.rows]
        if not required and batch.origins:
            # Nothing is left of it, but that it was read must be remembered: a frame without rows carries the origin.
            required = [Route(self._first_channel, batch.slice(0, 0))]
        if required and not self._commit(required):
            return False
        for route in routes:
            if (
                not route.required
                and route.batch.rows
                and not self._try([Route(route.channel, route.batch.with_origins(()))])
            ):
                self._counters.add("rows_optional_dropped", route.batch.rows)
        return True

    def _commit(self, routes: Sequence[Route]) -> bool:
        if self._try(routes):
            return True
        began_ns = time.monotonic_ns()
        deadline_ns = began_ns + int(self._keep_alive_s * 1e9)
        try:
            while not self._stopping() and time.monotonic_ns() < deadline_ns:
                # Between saying that it sleeps and sleeping it must look once more, or a wake-up could be missed.
                self._side.sleeping(True)
                if self._try(routes):
                    return True
                self._waiter.wait(_ROOM_SLEEP_S)
                if self._try(routes):
                    return True
        finally:
            self._side.sleeping(False)
            self._waiting_for("")
            self._counters.add("waiting_room_ns", time.monotonic_ns() - began_ns)
        self._counters.add("ChannelWriteFail")
        return False

    def _try(self, routes: Sequence[Route]) -> bool:
        transaction = self._side.transaction()
        transaction.begin()
        for route in routes:
            if not transaction.put(route.channel, route.batch):
                transaction.rollback()
                transaction.close()
                self._waiting_for(f"room in {route.channel}: {self._side.putters[route.channel].full_because}")
                return False
        transaction.commit()
        transaction.close()
        return True
