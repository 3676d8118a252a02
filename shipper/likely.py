"""What was likely meant: the known words that resemble one that a person mistyped."""

from __future__ import annotations

from collections.abc import Iterable


def likely(word: str, known: Iterable[str], most: int = 1, likeness: float = 0.6) -> list[str]:
    """The known words that come nearest, the nearest first; none when nothing comes near.

    Args:
        most: how many at most.
        likeness: from 0 (anything) to 1 (the word itself).
    """
    import difflib  # only a person who mistyped pays for it: a worker of an agent that runs has never loaded it

    return difflib.get_close_matches(word, list(known), most, likeness)
