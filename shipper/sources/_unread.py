"""What a source would read and can't now: files, or whole groups of them, each with the reason, until it can."""

from __future__ import annotations

import os
from collections.abc import Callable

_SHOWN_CHARACTERS = 120  # of a name: the reason behind it has to be seen as well


class Unread:
    """The names that can't be read now. Who looks at them says what was found; others ask for the sentence."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    def failed(self, name: str, why: str) -> bool:
        """It can't be read; True when that was not known yet."""
        if self._why.get(name) == why:
            return False
        self._why[name] = why
        return True

    def readable(self, name: str) -> None:
        """It can be read, or is none of ours."""
        self._why.pop(name, None)

    def keep(self, wanted: Callable[[str], bool]) -> None:
        """Forgets the names that nobody wants any more."""
        for name in [name for name in self._why if not wanted(name)]:
            del self._why[name]

    def sentence(self) -> str:
        """The first of them with its reason, and how many there are besides; "" when there are none."""
        if not self._why:
            return ""
        name, why = next(iter(self._why.items()))
        shown = name if len(name) <= _SHOWN_CHARACTERS else f"...{name[3 - _SHOWN_CHARACTERS :]}"
        more = f", and {len(self._why) - 1} more" if len(self._why) > 1 else ""
        return f"{shown} can't be read{more}: {why}"


def is_there(path: str) -> bool:
    """False when nothing has this name; True as well when nobody may look."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
