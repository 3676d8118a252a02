"""The durable head of lanes: how far into each lane everything is safe at the target, said by the sink worker.

A commit says that rows are delivered; whether they survive the death of the machine is known later, once the target
has synced. Until then a source that can read again remembers where (`positions.py`). Rows that became dead letters are
safe when they are so in their own channel: no head passes them before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from shipper.channels.channel import TakeSide
from shipper.sinks.sink import Sink
from shipper.workers.heads import Head

_LOOK_EVERY_S = 0.05
#: Where nothing is to be synced, sources are told so often: they sync their positions each time.
_PUBLISH_EVERY_S = 1.0
#: At its end a worker waits so long for its letters.
_END_S = 2.0

_Committed = tuple[tuple[int, Any], ...]


class DurableHead:
    """The durable head of one sink worker.

    Args:
        sinks: of its group; what any of them has not synced is not durable.
        side: the worker's take side.
        letters: heads of the lanes that it puts dead letters into.
    """

    def __init__(self, sinks: Sequence[Sink[object]], side: TakeSide, letters: Sequence[Head] = ()) -> None:  # type: ignore[type-var]
        self._sinks = sinks
        self._side = side
        self._letters = tuple(letters)
        self._interval_s = 0.0
        self._syncing: tuple[_Committed, tuple[int, ...]] | None = None
        self._synced: _Committed = ()
        #: Synced, and how far letters must be durable before it may be said.
        self._waiting: deque[tuple[_Committed, tuple[int, ...]]] = deque()
        self._look_s = self._begin_s = 0.0

    def look(self, now_s: float) -> None:
        """Begins a sync when one is due, and publishes what the last one made durable. Between transactions."""
        if now_s < self._look_s:
            return
        self._look_s = now_s + _LOOK_EVERY_S
        if self._syncing is None and now_s >= self._begin_s:
            self._begin(now_s)
        if self._syncing is not None and all(sink.synced() for sink in self._sinks):
            if len(self._waiting) > 1:
                self._waiting.pop()  # the first is waited for still, and behind it only the newest is of use
            self._waiting.append(self._syncing)
            self._synced, self._syncing = self._syncing[0], None
        while self._waiting and self._are_durable(self._waiting[0][1]):
            # Dying before this: what is durable is not known to be, and is read again if the machine goes down.
            self._side.publish_durable(self._waiting.popleft()[0], ring=bool(self._interval_s))

    def letters_are_durable(self) -> bool:
        """True when all dead letters so far survive the death of the machine."""
        return self._are_durable(self._tails())

    def end(self, at_once: Callable[[], bool]) -> None:
        """Gives the letters a moment to become durable, before the lanes are let go for good."""
        deadline_s = time.monotonic() + _END_S
        while not self.letters_are_durable() and not at_once() and time.monotonic() < deadline_s:
            time.sleep(0.01)

    def _begin(self, now_s: float) -> None:
        committed = self._side.committed()
        if committed == self._synced and not any(sink.unsynced for sink in self._sinks):
            return
        self._interval_s = max((sink.sync_interval_s for sink in self._sinks), default=0.0)
        self._begin_s = now_s + (self._interval_s or _PUBLISH_EVERY_S)
        self._syncing = committed, self._tails()
        for sink in self._sinks:
            sink.sync()

    def _tails(self) -> tuple[int, ...]:
        return tuple(head.put() for head in self._letters)

    def _are_durable(self, tails: Sequence[int]) -> bool:
        return all(head.durable() >= tail for head, tail in zip(self._letters, tails, strict=True))
