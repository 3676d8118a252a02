"""Flume's escapes in paths: `/logs/%{host}/%Y-%m-%d/%H` and what they stand for.

A template is compiled once. What it says depends on a row's time and on some of its headers; `resolution_s` says how
fine the time has to be known, so that the many rows of a batch come down to a few distinct times before any text is
made. Names of months and days are English whatever the machine's language is.

A header's value may bring folders (`a/b`), as in Flume. It can't leave the folder that the template names, nor bring
what the store refuses: parts that are `..` or `.` become `__` and `_`, control characters become `_` (on a cluster
colons too, those of `%c` among them), a value can't make the whole path absolute, and a part that is too long for a
file system is cut and ends in its checksum (`path_rules.py`).

Rounding is done on the fields of the calendar in the sink's zone. An hour that the clock goes through twice stays the
one it was; Java takes the second one there, so that `%s` and `%z` differ from Flume's for that hour of the year.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from shipper.files.path_rules import LOCAL, PathRules

_TOKEN = re.compile(r"%(?:([A-Za-z0-9_%])|\{([A-Za-z0-9_.-]+)\}|\[([A-Za-z0-9_.-]+)\])")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_OWN = "\0"  #: marks a `..` of the template itself; values can't have it

#: Milliseconds that a datetime can say: the years 1 to 9999, with a day of room for zones.
EARLIEST_MS = -62_135_510_400_000
LATEST_MS = 253_402_214_400_000

_SECOND, _MINUTE, _QUARTER = 1, 60, 900
#: Before 1990 some zones were not whole quarters of an hour off, before 1972 not whole minutes.
WHOLE_QUARTERS_FROM_S = 631_152_000


def _clock12(t: datetime) -> int:
    return t.hour % 12 or 12


#: token -> (its text, how fine a time it needs)
_TIMES: dict[str, tuple[Callable[[datetime], str], int]] = {
    "s": (lambda t: str(int(t.timestamp() // 1)), _SECOND),
    "a": (lambda t: _DAYS[t.weekday()][:3], _QUARTER),
    "A": (lambda t: _DAYS[t.weekday()], _QUARTER),
    "b": (lambda t: _MONTHS[t.month - 1][:3], _QUARTER),
    "B": (lambda t: _MONTHS[t.month - 1], _QUARTER),
    "c": (
        lambda t: (
            f"{_DAYS[t.weekday()][:3]} {_MONTHS[t.month - 1][:3]} {t.day} "
            f"{t.hour:02}:{t.minute:02}:{t.second:02} {t.year:04}"
        ),
        _SECOND,
    ),
    "d": (lambda t: f"{t.day:02}", _QUARTER),
    "e": (lambda t: str(t.day), _QUARTER),
    "D": (lambda t: f"{t.month:02}/{t.day:02}/{t.year % 100:02}", _QUARTER),
    "H": (lambda t: f"{t.hour:02}", _QUARTER),
    "I": (lambda t: f"{_clock12(t):02}", _QUARTER),
    "j": (lambda t: f"{t.timetuple().tm_yday:03}", _QUARTER),
    "k": (lambda t: str(t.hour), _QUARTER),
    "l": (lambda t: str(_clock12(t)), _QUARTER),
    "m": (lambda t: f"{t.month:02}", _QUARTER),
    "n": (lambda t: str(t.month), _QUARTER),
    "M": (lambda t: f"{t.minute:02}", _MINUTE),
    "p": (lambda t: "PM" if t.hour >= 12 else "AM", _QUARTER),
    "S": (lambda t: f"{t.second:02}", _SECOND),
    "y": (lambda t: f"{t.year % 100:02}", _QUARTER),
    "Y": (lambda t: f"{t.year:04}", _QUARTER),
    "z": (lambda t: t.strftime("%z")[:5], _QUARTER),
    "%": (lambda t: "%", _QUARTER),
}


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """Times are rounded down to a multiple of `value` units: "second", "minute" or "hour"."""

    value: int
    unit: str

    @property
    def resolution_s(self) -> int:
        """How fine a time has to be known to be rounded."""
        return {"second": _SECOND, "minute": _MINUTE, "hour": _QUARTER}[self.unit]

    def down(self, t: datetime) -> datetime:
        """`t` rounded down, on the fields of the calendar in its own zone."""
        zone = t.tzinfo
        if self.unit == "second":
            down = t.replace(second=t.second - t.second % self.value, microsecond=0)
        elif self.unit == "minute":
            down = t.replace(minute=t.minute - t.minute % self.value, second=0, microsecond=0)
        else:
            down = t.replace(hour=t.hour - t.hour % self.value, minute=0, second=0, microsecond=0)
        # There and back: a wall time that the clock leapt over becomes the one that it leapt to.
        return datetime.fromtimestamp(down.timestamp(), zone)


@dataclass(frozen=True, slots=True)
class _Piece:
    kind: str  # "text", "header", "time", "ms"
    text: str


class Template:
    """A text with escapes.

    Args:
        text: as a person wrote it.
        zone: for times.
        rounding: of all times but `%t`; None = none.
        rules: of the store whose paths it makes.

    Attributes:
        headers: names of the headers that it needs.
        needs_time: True when it needs the time of each row, and so the header `timestamp` or a clock.
        resolution_s: times of the same multiple of it give the same text; 0 when every millisecond matters.
        unknown: escapes that mean nothing to Flume and give an empty text.
    """

    def __init__(
        self, text: str, zone: tzinfo = UTC, rounding: Rounding | None = None, rules: PathRules = LOCAL
    ) -> None:
        self.text = text
        self.rules = rules
        self._zone = zone
        self._rounding = rounding
        self.unknown = tuple(m[0] for m in _TOKEN.finditer(text) if m[1] and m[1] not in _TIMES and m[1] != "t")
        self._pieces = _compile(text)
        self.headers = tuple(dict.fromkeys(p.text for p in self._pieces if p.kind == "header"))
        times = [p for p in self._pieces if p.kind in ("time", "ms")]
        self.needs_time = bool(times)
        resolutions = [0 if p.kind == "ms" else _resolution(p.text) for p in times]
        self.resolution_s = min(resolutions, default=_QUARTER)
        if rounding is not None and self.resolution_s:
            self.resolution_s = max(self.resolution_s, rounding.resolution_s)
        first = self._pieces[0] if self._pieces else None
        self._starts_open = first is not None and first.kind == "header"

    @property
    def time_tokens(self) -> frozenset[str]:
        """Letters of its escapes that depend on the time: `Y` for `%Y`."""
        return frozenset(p.text for p in self._pieces if p.kind in ("time", "ms") and p.text in (*_TIMES, "t")) - {"%"}

    @property
    def constant(self) -> bool:
        """True when every row gets the same text."""
        return not self.needs_time and not self.headers

    def changes(self, headers: Mapping[str, str]) -> list[str]:
        """The headers whose values can't stand in a path as they are."""
        return [name for name in self.headers if not self.rules.fits(headers.get(name, ""))]

    def render(self, ms: int, headers: Mapping[str, str]) -> str:
        """The text for a time (ignored when none is needed) and header values (absent ones are empty)."""
        when = datetime.fromtimestamp(0, self._zone)
        if self.needs_time:
            when = datetime.fromtimestamp(ms // 1000, self._zone)
            if self._rounding is not None:
                when = self._rounding.down(when)
        parts = []
        for piece in self._pieces:
            if piece.kind == "text":
                parts.append(piece.text)
            elif piece.kind == "header":
                parts.append(self.rules.value(headers.get(piece.text, "")))
            elif piece.kind == "ms":
                parts.append(str(ms))
            else:
                parts.append(self.rules.value(_TIMES[piece.text][0](when)) if piece.text in _TIMES else "")
        text = "".join(parts)
        if self.headers:
            text = self.rules.path(text.lstrip("/") if self._starts_open else text)
        return text.replace(_OWN, "")


def problems(text: str) -> list[str]:
    """What is wrong with a template: one sentence each."""
    found = []
    for match in _TOKEN.finditer(text):
        if match[3] and match[3].lower() not in ("localhost", "ip", "fqdn"):
            found.append(f"{match[0]} is not known; there are %[localhost], %[IP] and %[FQDN]")
    if "\0" in text:
        found.append("a path can't have a NUL byte in it")
    return found


def literal(text: str) -> str:
    """A template with `%` in the place of each escape: what the person wrote as it is."""
    return _TOKEN.sub("%", text)


def _resolution(token: str) -> int:
    return _TIMES[token][1] if token in _TIMES else _QUARTER


def _compile(text: str) -> list[_Piece]:
    # A `..` of the template itself is the person's own wish, and is marked so that it stays.
    text = re.sub(r"(?<![^/])(\.\.?)(?![^/])", lambda own: _OWN + own[1], text)
    pieces: list[_Piece] = []
    at = 0
    for match in _TOKEN.finditer(text):
        pieces.append(_Piece("text", text[at : match.start()]))
        at = match.end()
        if match[2]:
            pieces.append(_Piece("header", match[2]))
        elif match[3]:
            pieces.append(_Piece("text", _host(match[3])))
        else:
            pieces.append(_Piece("ms" if match[1] == "t" else "time", match[1]))
    pieces.append(_Piece("text", text[at:]))
    return [piece for piece in pieces if piece.kind != "text" or piece.text]


def _host(name: str) -> str:
    """This machine, as `%[...]` names it."""
    host = socket.gethostname()
    try:
        if name.lower() == "ip":
            return socket.gethostbyname(host)
        if name.lower() == "fqdn":
            return socket.getfqdn(host)
    except OSError:
        return "127.0.0.1" if name.lower() == "ip" else host
    return host


def all_headers(templates: Sequence[Template]) -> tuple[str, ...]:
    """The headers that any of the templates needs, each once."""
    return tuple(dict.fromkeys(name for template in templates for name in template.headers))
