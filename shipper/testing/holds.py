"""Whether something holds that is asked again and again, of files that others rename meanwhile."""

from __future__ import annotations

from collections.abc import Callable


def holds(condition: Callable[[], object]) -> bool:
    """True when the condition is; it is not while a file that it listed gets another name before it is read."""
    try:
        return bool(condition())
    except FileNotFoundError:
        return False
