"""Words that several messages share."""

from __future__ import annotations


def events_are(count: int) -> str:
    """`1 event is`, `2 events are`: what follows is true of either."""
    return "1 event is" if count == 1 else f"{count} events are"
