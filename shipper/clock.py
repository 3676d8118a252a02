"""The two clocks: wall time for what is written, monotonic time for what is waited for."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a component may ask about time. Tests hand in one that stands still."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC. May jump; never used for a time-out."""

    def monotonic_s(self) -> float:
        """Seconds that never go back. Its zero means nothing."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()
