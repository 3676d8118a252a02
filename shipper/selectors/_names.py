"""Channel names in the options of a selector: what can be wrong with a list of them."""

from __future__ import annotations

from collections.abc import Sequence

from shipper.api import likely


def unknown_channels(key: str, names: Sequence[str], channels: Sequence[str]) -> list[tuple[str, str]]:
    """A (key, sentence) pair for each name that is no channel of the source."""
    problems = []
    for name in dict.fromkeys(names):
        if name in channels:
            continue
        near = next(iter(likely(name, channels, 1)), None)
        if "," in name:
            hint = "; names are separated by blanks, not by commas"
        elif near is not None:
            hint = f"; did you mean {near}?"
        else:
            hint = f"; the source has {' '.join(channels) or 'no channel'}"
        problems.append((key, f"{name} is not one of the source's channels{hint}"))
    return problems


def repeated(key: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """A (key, sentence) pair for each name that stands more than once in one list."""
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    return [
        (key, f"{name} is named {names.count(name)} times; it gets each event once (Flume would put it in that often)")
        for name in twice
    ]
