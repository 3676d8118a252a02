"""Periods: the stretch of time that a path stands for, as an hour for `/logs/%Y-%m-%d/%H`.

Only a path whose text never comes again has periods with an end: `/logs/%H` is the same every day.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

from shipper.files.escapes import Rounding, Template

#: From the coarsest to the finest.
_UNITS = ("year", "month", "day", "hour", "minute", "second")
#: escape -> the units of a time that it tells
_TELLS = {
    "Y": "year", "y": "year", "m": "month", "n": "month", "b": "month", "B": "month", "d": "day", "e": "day",
    "H": "hour", "k": "hour", "M": "minute", "S": "second", "D": "year month day", "j": "month day",
    "c": "year month day hour minute second", "s": "year month day hour minute second",
}  # fmt: skip
_MORNING_OR_NOT = "p"


class Periods:
    """The periods of a path.

    Args:
        template: the path; `period_problem` has found nothing wrong with it.
        zone, rounding: of its times.
    """

    def __init__(self, template: Template, zone: tzinfo, rounding: Rounding | None = None) -> None:
        self._zone = zone
        told = _told(template)
        self._unit = next(unit for unit in reversed(_UNITS) if unit in told)
        # A coarser rounding makes longer periods; a finer one shows nowhere in the text.
        coarser = rounding is not None and _UNITS.index(rounding.unit) <= _UNITS.index(self._unit)
        self._rounding = rounding if coarser else None

    def of(self, ms: int) -> tuple[int, int]:
        """From when, and up to when, times have the same path as `ms`.

        Where the clock is set back and a text comes twice, the period lasts until the second one is over.
        """
        wall = datetime.fromtimestamp(ms // 1000, self._zone)
        if self._rounding is not None:
            wall = self._rounding.down(wall)
            unit, count = self._rounding.unit, self._rounding.value
        else:
            unit, count = self._unit, 1
        start = _floor(wall, unit)
        end = _later(start, unit, count)
        if count > 1:  # 50 minutes and 20 more end with the hour, where the next multiples begin
            above = _UNITS[_UNITS.index(unit) - 1]
            end = min(end, _later(_floor(start, above), above, 1))
        return min(self._stamps(start)), max(self._stamps(end))

    def _stamps(self, wall: datetime) -> tuple[int, int]:
        """The one or two moments at which a clock on the wall shows this."""
        first, second = (int(wall.replace(tzinfo=self._zone, fold=fold).timestamp()) * 1000 for fold in (0, 1))
        return first, second


def period_problem(template: Template) -> str | None:
    """Why a path has no periods that end; None when it has."""
    if "t" in template.time_tokens:
        return "has a folder for every millisecond (%t)"
    told = _told(template)
    if not told:
        return "has no time in it"
    finest = max(_UNITS.index(unit) for unit in told)
    missing = [unit for unit in _UNITS[: finest + 1] if unit not in told]
    if missing:
        return f"comes again: its times do not say the {' and the '.join(missing)}"
    return None


def _told(template: Template) -> set[str]:
    tokens = template.time_tokens
    told = {unit for token in tokens for unit in _TELLS.get(token, "").split()}
    if _MORNING_OR_NOT in tokens and tokens & {"I", "l"}:
        told.add("hour")
    return told


def _floor(wall: datetime, unit: str) -> datetime:
    """The beginning of its unit, as a time without a zone."""
    kept = _UNITS.index(unit) + 1
    fields = (wall.year, wall.month, wall.day, wall.hour, wall.minute, wall.second)
    return datetime(*(*fields[:kept], *(1, 1, 1, 0, 0, 0)[kept:]))  # type: ignore[arg-type]


def _later(wall: datetime, unit: str, count: int) -> datetime:
    if unit == "year":
        return wall.replace(year=wall.year + count)
    if unit == "month":
        years, months = divmod(wall.month - 1 + count, 12)
        return wall.replace(year=wall.year + years, month=months + 1)
    return wall + timedelta(**{f"{unit}s": count})


def whole(text: str) -> str | None:
    """What a constant template says; None when it is not constant."""
    template = Template(text, UTC)
    return template.render(0, {}) if template.constant else None
