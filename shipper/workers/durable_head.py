"""The durable head: how far into each lane everything is safe at the target, said by the sink worker for the sources.

A commit says that rows are delivered; whether they survive the death of the machine is known later, once the target
has synced. Until then a source that can read again remembers where (`positions.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shipper.channels.channel import TakeSide
from shipper.sinks.sink import Sink

_LOOK_EVERY_S = 0.05
#: Where nothing is to be synced, sources are told so often: they sync their positions each time.
_PUBLISH_EVERY_S = 1.0


class DurableHead:
    """The durable head of one sink worker.

    Args:
        sinks: of its group; what any of them has not synced is not durable.
        side: the worker's take side.
    """

    def __init__(self, sinks: Sequence[Sink[object]], side: TakeSide) -> None:  # type: ignore[type-var]
        self._sinks = sinks
        self._side = side
        self._interval_s = 0.0
        self._syncing: tuple[tuple[int, Any], ...] | None = None
        self._published: tuple[tuple[int, Any], ...] = ()
        self._look_s = self._begin_s = 0.0

    def look(self, now_s: float) -> None:
        """Begins a sync when one is due, and publishes what the last one made durable. Between transactions."""
        if now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_EVERY_S
        if self._syncing is None and now_s >= self._begin_s:
            committed = self._side.committed()
            if committed == self._published:
                return
            self._interval_s = max((sink.sync_interval_s for sink in self._sinks), default=0.0)
            self._begin_s = now_s + (self._interval_s or _PUBLISH_EVERY_S)
            self._syncing = committed
            for sink in self._sinks:
                sink.sync()
        if self._syncing is not None and all(sink.synced() for sink in self._sinks):
            # Dying before this: what is durable is not known to be, and is read again if the machine goes down.
            self._side.publish_durable(self._syncing, ring=bool(self._interval_s))
            self._published, self._syncing = self._syncing, None
