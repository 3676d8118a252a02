"""Cutting over-long lines into pieces of so many characters, all lines of a block at once.

The places where pieces begin are computed: line start + 1 x max, + 2 x max, ... for as many as the line has. In ASCII a
character is a byte and that is all; else the characters' own offsets say where the n-th one is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shipper.sources._charset import is_ascii, java_chars


def cut_lines(text: bytearray, ends: Any, chars_max: int, *, terminated: bool) -> tuple[Any, Any, int]:
    """The pieces of the lines in `text` (UTF-8): (starts, stops, lines that were cut).

    A line of exactly `chars_max` characters gives a second, empty piece, as in Flume: its end is looked for only after
    the first one.

    Args:
        ends: 0, then the place behind each line's newline.
        terminated: False when the last newline is not in the file: then what it ends is not looked for.
    """
    size = int(ends[-1])
    lines = len(ends) - 1
    if is_ascii(text, size):
        chars = np.arange(0)
        first_chars = ends.astype(np.int64)
    else:
        data = np.frombuffer(text, np.uint8, size)
        begins = np.flatnonzero((data & 0xC0) != 0x80)
        # How many characters there are before each one, and before the end of the text.
        chars = np.zeros(len(begins) + 1, np.int64)
        np.cumsum(java_chars(data[begins]), out=chars[1:])
        begins = np.append(begins, size)
        first_chars = chars[np.searchsorted(begins, ends)]
    lengths = np.diff(first_chars) - 1
    cuts = lengths // chars_max
    if not terminated and lengths[-1] and lengths[-1] % chars_max == 0:
        cuts[-1] -= 1
    # 1, 2, ... for each line that is cut.
    ordinal = np.arange(int(cuts.sum())) - np.repeat(np.cumsum(cuts) - cuts, cuts) + 1
    places = np.repeat(first_chars[:lines], cuts) + ordinal * chars_max
    if len(chars):
        places = begins[np.searchsorted(chars, places)]
    starts = np.sort(np.concatenate([ends[:-1], places]))
    stops = np.append(starts[1:], size)
    # A piece that ends where a line ends gives its newline away.
    stops = stops - (ends[np.searchsorted(ends, stops)] == stops)
    return starts, stops, int(np.count_nonzero(cuts))
