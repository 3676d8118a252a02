"""A Java date pattern: `yyyy-MM-dd'T'HH:mm`, written the way Java's SimpleDateFormat and FastDateFormat write it.

Names of months and days are English, whatever the machine's locale.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def format_java_date(pattern: str, moment: datetime) -> str:
    """`moment`, which knows its zone, in the form of `pattern`.

    Raises:
        ValueError: the pattern has a letter that means nothing, or an open quote.
    """
    written: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "'":
            text, at = _quoted(pattern, at)
            written.append(text)
        elif char.isascii() and char.isalpha():
            end = at
            while end < len(pattern) and pattern[end] == char:
                end += 1
            if char not in _LETTERS:
                raise ValueError(
                    f"{char} means nothing in a date pattern; text between letters stands in single quotes"
                )
            written.append(_LETTERS[char](moment, end - at))
            at = end
        else:
            written.append(char)
            at += 1
    return "".join(written)


def _quoted(pattern: str, at: int) -> tuple[str, int]:
    """The text between single quotes, two of which are one; and where the pattern goes on."""
    if pattern[at : at + 2] == "''":
        return "'", at + 2
    text: list[str] = []
    at += 1
    while at < len(pattern):
        if pattern[at] != "'":
            text.append(pattern[at])
            at += 1
        elif pattern[at : at + 2] == "''":
            text.append("'")
            at += 2
        else:
            return "".join(text), at + 1
    raise ValueError("a single quote is not closed")


def _number(value: Callable[[datetime], int]) -> Callable[[datetime, int], str]:
    return lambda moment, width: str(value(moment)).zfill(width)


def _year(moment: datetime, width: int) -> str:
    return f"{moment.year % 100:02d}" if width == 2 else str(moment.year).zfill(width)


def _month(moment: datetime, width: int) -> str:
    name = _MONTHS[moment.month - 1]
    return str(moment.month).zfill(width) if width < 3 else name[:3] if width == 3 else name


def _day_name(moment: datetime, width: int) -> str:
    name = _DAYS[moment.weekday()]
    return name if width >= 4 else name[:3]


def _zone_name(moment: datetime, width: int) -> str:
    return moment.tzname() or "UTC"


def _offset(moment: datetime, colon: bool = False, minutes: bool = True) -> str:
    offset_min = int((moment.utcoffset() or timedelta()).total_seconds()) // 60
    sign, offset_min = ("-", -offset_min) if offset_min < 0 else ("+", offset_min)
    hours = f"{sign}{offset_min // 60:02d}"
    return hours if not minutes else f"{hours}{':' if colon else ''}{offset_min % 60:02d}"


def _rfc_zone(moment: datetime, width: int) -> str:
    return _offset(moment, colon=width == 2)


def _iso_zone(moment: datetime, width: int) -> str:
    if not moment.utcoffset():
        return "Z"
    return _offset(moment, colon=width == 3, minutes=width > 1)


def _week_of_year(moment: datetime) -> int:
    """As in the locale en_US: weeks begin on Sunday, and the first may have a single day."""
    first = moment.replace(month=1, day=1).isoweekday() % 7
    next_first = moment.replace(year=moment.year + 1, month=1, day=1) if moment.year < 9999 else None
    if next_first is not None and (next_first.date() - moment.date()).days <= next_first.isoweekday() % 7:
        return 1
    return (moment.timetuple().tm_yday - 1 + first) // 7 + 1


def _week_of_month(moment: datetime) -> int:
    return (moment.day - 1 + moment.replace(day=1).isoweekday() % 7) // 7 + 1


_LETTERS: dict[str, Callable[[datetime, int], str]] = {
    "G": lambda moment, width: "AD",
    "y": _year,
    "M": _month,
    "d": _number(lambda m: m.day),
    "D": _number(lambda m: m.timetuple().tm_yday),
    "E": _day_name,
    "u": _number(lambda m: m.isoweekday()),
    "F": _number(lambda m: (m.day - 1) // 7 + 1),
    "w": _number(_week_of_year),
    "W": _number(_week_of_month),
    "a": lambda moment, width: "AM" if moment.hour < 12 else "PM",
    "H": _number(lambda m: m.hour),
    "k": _number(lambda m: m.hour or 24),
    "K": _number(lambda m: m.hour % 12),
    "h": _number(lambda m: m.hour % 12 or 12),
    "m": _number(lambda m: m.minute),
    "s": _number(lambda m: m.second),
    "S": _number(lambda m: m.microsecond // 1000),
    "z": _zone_name,
    "Z": _rfc_zone,
    "X": _iso_zone,
}
