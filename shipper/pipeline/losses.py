"""Losses: rows that were given up because the file says so, told to a person at once and then every 30 seconds.

Each reason has its own count; the ledger has all of them, whether they were said or not.
"""

from __future__ import annotations

from collections.abc import Callable

from shipper.clock import Clock

SAID_EVERY_S = 30.0


class Losses:
    """What one worker gave up.

    Args:
        say: one line for the person.
        clock: for the pauses between lines.
    """

    def __init__(self, say: Callable[[str, str], None], clock: Clock) -> None:
        self._say = say
        self._clock = clock
        self._unsaid: dict[str, int] = {}
        self._due_s: dict[str, float] = {}

    def add(self, reason: str, rows: int) -> None:
        """Counts rows, and says so unless it was said a moment ago."""
        self._unsaid[reason] = self._unsaid.get(reason, 0) + rows
        self.tick()

    def tick(self, *, last: bool = False) -> None:
        """Says what is due; all that is not said yet when it is the last time."""
        if not self._unsaid:
            return
        now_s = self._clock.monotonic_s()
        for reason in [reason for reason in self._unsaid if last or self._due_s.get(reason, now_s) <= now_s]:
            self._due_s[reason] = now_s + SAID_EVERY_S
            rows = self._unsaid.pop(reason)
            self._say("warning", f"{rows} {'event was' if rows == 1 else 'events were'} dropped: {reason}")
