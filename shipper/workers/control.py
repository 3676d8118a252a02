"""The control page: one line a worker, through which the supervisor says stop and the worker says how far it is.

::

    offset (from the worker's line)   what              writer
         0                            ORDER             supervisor: 0 run, 1 stop in order, 2 stop now
        64                            PHASE             worker: see Phase
        72                            EPOCH             worker: + 1 at each start

The worker's bell is rung after ORDER was stored; workers look at the word at each step of their loop.
"""

from __future__ import annotations

from enum import IntEnum
from pathlib import Path

from shipper.shared.segment import Segment
from shipper.shared.words import LINE_BYTES, Words

_ORDER, _PHASE, _EPOCH = 0, 64, 72
WORKERS_MAX = 255


class Order(IntEnum):
    """What the supervisor wants of a worker."""

    RUN = 0
    STOP = 1  # a source: read no more; a sink: empty the lanes, then end
    NOW = 2  # end after the transaction that is under way


_ORDERS = tuple(Order)


class Phase(IntEnum):
    """How far a worker is."""

    STARTING = 0
    READY = 1
    ENDING = 2
    ENDED = 3
    FINISHED = 4  # nothing will ever come again
    FAILED = 5


class Control:
    """The control page of one agent."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._words = Words(segment.memory)

    @classmethod
    def create(cls, path: Path) -> Control:
        """A new page, all workers at RUN and STARTING. Replaces the page of an agent that ended."""
        path.unlink(missing_ok=True)
        return cls(Segment.create(path, (WORKERS_MAX + 1) * LINE_BYTES, lambda _: None))

    @classmethod
    def open(cls, path: Path) -> Control:
        """The page of a running agent."""
        return cls(Segment.open(path))

    def order(self, worker: int) -> Order:
        """What the worker shall do."""
        return _ORDERS[self._words.load(worker * LINE_BYTES + _ORDER)]

    def give_order(self, worker: int, order: Order) -> None:
        """Only the supervisor may."""
        self._words.publish(worker * LINE_BYTES + _ORDER, order)

    def phase(self, worker: int) -> Phase:
        """How far the worker is."""
        return Phase(self._words.load(worker * LINE_BYTES + _PHASE))

    def set_phase(self, worker: int, phase: Phase) -> None:
        """Only the worker may; the supervisor for one that is dead."""
        self._words.publish(worker * LINE_BYTES + _PHASE, phase)

    def close(self) -> None:
        """Lets go of the memory."""
        self._words.close()
        self.segment.close()
