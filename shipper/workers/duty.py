"""A worker's duty: what both kinds of worker owe the supervisor at each step of their loop.

It looks at the order, sleeps on the bell, stores the progress word, and keeps the time accounts from which
`shipper stat` tells where a pipeline is held up.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from shipper.metrics.counters import Counters
from shipper.ring.wait import Doorbell
from shipper.workers import heap
from shipper.workers.control import Control, Order, Phase


class Entry(Protocol):
    """The worker's entry in the metrics block."""

    counters: Counters

    def waits_for(self, text: str) -> None:
        """Says what the worker waits for, "" when it works."""

    def trouble(self, text: str) -> None:
        """Says what a source would read, or a sink bring on, and can't now; "" when there is nothing of the kind."""


class Duty:
    """The duty of one worker.

    Args:
        control: the agent's control page.
        worker: this worker's line in it.
        entry: its entry in the metrics block.
        bell: path of its bell.
    """

    sleeps = True

    def __init__(self, control: Control, worker: int, entry: Entry, bell: Path) -> None:
        self._control = control
        self._worker = worker
        self._entry = entry
        self._counters = entry.counters
        self._bell = Doorbell(bell)
        self._since_ns = time.monotonic_ns()
        self._said = ""
        self._rest = heap.Rest()

    @property
    def fileno(self) -> int:
        """Becomes readable when somebody rings."""
        return self._bell.fileno

    def order(self) -> Order:
        """What the supervisor wants."""
        return self._control.order(self._worker)

    def stopping(self) -> bool:
        """True when the supervisor wants anything but to run."""
        return self._control.order(self._worker) != Order.RUN

    def at_once(self) -> bool:
        """True when nothing may be waited for any more."""
        return self._control.order(self._worker) == Order.NOW

    def phase(self, phase: Phase) -> None:
        """Says how far the worker is."""
        self._control.set_phase(self._worker, phase)

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        """Sleeps on the bell and `fds`; the readable ones of `fds`. Time asleep is booked as waiting for input."""
        return self._sleep("waiting_input_ns", 0 if self.stopping() else timeout_s, fds)

    def wait_for_room(self, timeout_s: float) -> None:
        """Sleeps on the bell because a channel is full: booked as waiting for room."""
        self._sleep("waiting_room_ns", 0 if self.at_once() else timeout_s)

    def rest(self, timeout_s: float) -> None:
        """Sleeps on the bell because the target can't take anything: booked as waiting for the target."""
        self._sleep("waiting_target_ns", 0 if self.at_once() else timeout_s)

    def _sleep(self, account: str, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        began_ns = time.monotonic_ns()
        busy_ns = began_ns - self._since_ns
        self._counters.add("busy_ns", busy_ns)
        ready = self._bell.wait(timeout_s, fds)
        self._since_ns = time.monotonic_ns()
        asleep_ns = self._since_ns - began_ns
        self._counters.add(account, asleep_ns)
        if self._rest.slept(busy_ns, asleep_ns, woken=asleep_ns < timeout_s * 1e9):
            heap.tidy()
        self.progress()
        return ready

    def lag(self, lag_bytes: int) -> None:
        """Stores how many bytes are known to wait behind the source's position."""
        self._counters.set("lag_bytes", lag_bytes)

    def trouble(self, text: str) -> None:
        """Says what the source would read, or the sink finish, and can't now, "" when there is nothing of the kind."""
        self._entry.trouble(text)

    def progress(self) -> None:
        """Stores that the worker is alive and has just looked."""
        self._counters.set("progress_ms", time.monotonic_ns() // 1_000_000)

    def runs(self) -> None:
        """Takes back what a worker before this one has said."""
        self._entry.waits_for("")
        self._entry.trouble("")

    def waits_for(self, text: str) -> None:
        """Says what the worker waits for, "" when it works again."""
        if text != self._said:
            self._said = text
            self._entry.waits_for(text)

    def close(self) -> None:
        """Books the last span of work and lets go."""
        self._counters.add("busy_ns", time.monotonic_ns() - self._since_ns)
        self._bell.close()
