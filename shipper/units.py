"""Sizes and durations as people write them: `64MiB`, `30 seconds`, `250 ms`."""

from __future__ import annotations

import re

_SIZES = {
    "": 1, "b": 1, "byte": 1, "bytes": 1,
    "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10,
    "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
    "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
    "t": 1 << 40, "tb": 1 << 40, "tib": 1 << 40,
}  # fmt: skip
_SECONDS = {
    "us": 1e-6, "ms": 1e-3, "millis": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
    "s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0,
    "m": 60.0, "min": 60.0, "mins": 60.0, "minute": 60.0, "minutes": 60.0,
    "h": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([a-zA-Z]*)\Z")
_WHOLE = re.compile(r"[+-]?\d+\Z")

#: No number is larger: Java's `long` ends here, as do file offsets and the words that processes share.
NUMBER_MAX = (1 << 63) - 1
_BEYOND = float(1 << 63)  # what it is as a float, which is one more

# Python turns no more than 4300 digits into a number; far fewer are too many already.
_DIGITS_MAX = 400


def parse_integer(text: str) -> int:
    """A whole number; `_` may stand between its digits.

    Raises:
        ValueError: the text is none, or Java's `long` can't hold it.
    """
    digits = text.strip().replace("_", "")
    if _WHOLE.match(digits) is None:
        raise ValueError("a whole number is needed")
    return _whole(digits, 1)


def parse_size(text: str) -> int:
    """Bytes from `text`: a bare number is bytes, K/M/G/T are powers of 1024.

    Raises:
        ValueError: the text is no size, or Java's `long` can't hold it; the message says what is right.
    """
    match = _QUANTITY.match(text.strip())
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError("a size is a number of bytes with an optional unit, as in 1048576, 512k or 64MiB")
    unit_bytes = _SIZES[match[2].lower()]
    return _size(float(match[1]) * unit_bytes) if "." in match[1] else _whole(match[1], unit_bytes)


def parse_seconds(text: str, unit_s: float) -> float:
    """Seconds from `text`; a bare number counts in the option's own unit of `unit_s` seconds.

    Raises:
        ValueError: the text is no duration, or more seconds than Java's `long` can hold.
    """
    match = _QUANTITY.match(text.strip())
    if match is None or (match[2] and match[2].lower() not in _SECONDS):
        raise ValueError("a duration is a number with an optional unit, as in 30, 500 ms, 30 seconds or 2h")
    seconds = float(match[1]) * (_SECONDS[match[2].lower()] if match[2] else unit_s)
    if not -_BEYOND <= seconds <= _BEYOND:
        raise _too_large()
    return seconds


def _whole(digits: str, unit: int) -> int:
    """So many units, counted exactly."""
    number = int(digits) * unit if len(digits) <= _DIGITS_MAX else NUMBER_MAX + 1
    if not -NUMBER_MAX - 1 <= number <= NUMBER_MAX:
        raise _too_large()
    return number


def _size(size_bytes: float) -> int:
    if not -_BEYOND <= size_bytes < _BEYOND:
        raise _too_large()
    return int(size_bytes)


def _too_large() -> ValueError:
    return ValueError(f"a number lies between {-NUMBER_MAX - 1} and {NUMBER_MAX} here, as in Flume")


def format_size(size_bytes: float) -> str:
    """A size for a person: `512 B`, `1.5 KiB`, `64.0 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1024:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    return f"{size_bytes:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """A duration for a person: `250 ms`, `12 s`, `4 min`, `3.5 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
