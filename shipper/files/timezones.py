"""Time zones by the names that Java gives them: `Europe/Berlin`, `GMT+8`, `GMT-3:30`, `CTT`, `PST`, `EST`.

Java takes a name that it does not know for GMT without a word; here it is an error with the nearest names.
"""

from __future__ import annotations

import os
import re
import zoneinfo
from datetime import UTC, timedelta, timezone, tzinfo
from functools import cache

from shipper.config.field import Kind
from shipper.likely import likely

#: Java's three-letter ids. Those that zoneinfo has too mean the same there, or are not what Java means.
_SHORT = {
    "ACT": "Australia/Darwin", "AET": "Australia/Sydney", "AGT": "America/Argentina/Buenos_Aires",
    "ART": "Africa/Cairo", "AST": "America/Anchorage", "BET": "America/Sao_Paulo", "BST": "Asia/Dhaka",
    "CAT": "Africa/Harare", "CNT": "America/St_Johns", "CST": "America/Chicago", "CTT": "Asia/Shanghai",
    "EAT": "Africa/Addis_Ababa", "ECT": "Europe/Paris", "IET": "America/Indiana/Indianapolis", "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo", "MIT": "Pacific/Apia", "NET": "Asia/Yerevan", "NST": "Pacific/Auckland",
    "PLT": "Asia/Karachi", "PNT": "America/Phoenix", "PRT": "America/Puerto_Rico", "PST": "America/Los_Angeles",
    "SST": "Pacific/Guadalcanal", "VST": "Asia/Ho_Chi_Minh",
}  # fmt: skip
#: Ids of fixed offsets, in hours.
_FIXED = {"EST": -5, "MST": -7, "HST": -10, "UTC": 0, "GMT": 0, "UT": 0, "Z": 0, "GMT0": 0, "Zulu": 0, "UCT": 0}
_SYSTEM_V = {
    "AST4ADT": "America/Halifax", "EST5EDT": "America/New_York", "CST6CDT": "America/Chicago",
    "MST7MDT": "America/Denver", "PST8PDT": "America/Los_Angeles", "YST9YDT": "America/Anchorage",
    "AST4": "America/Puerto_Rico", "EST5": "America/Indiana/Indianapolis", "CST6": "America/Regina",
    "MST7": "America/Phoenix", "PST8": "Pacific/Pitcairn", "YST9": "Pacific/Gambier", "HST10": "Pacific/Honolulu",
}  # fmt: skip
_CUSTOM = re.compile(r"GMT([+-])(?:(\d{1,2})|(\d{1,2}):?(\d\d))", re.ASCII)


def zone(name: str) -> tzinfo:
    """The zone that Java means by `name`.

    Raises:
        ValueError: nobody knows it; the message has the nearest names.
    """
    if name in _FIXED:
        return _offset(_FIXED[name] * 60)
    if (custom := _CUSTOM.fullmatch(name)) is not None:
        hours, minutes = int(custom[2] or custom[3]), int(custom[4] or 0)
        if hours > 23 or minutes > 59:
            raise ValueError("hours go to 23 and minutes to 59, as in GMT+8 or GMT-3:30")
        return _offset((hours * 60 + minutes) * (1 if custom[1] == "+" else -1))
    full = _SHORT.get(name) or _SYSTEM_V.get(name.removeprefix("SystemV/")) or name
    if full not in _known():
        raise ValueError(f"no time zone has that name{_guess(name)}")
    return zoneinfo.ZoneInfo(full)


def local_zone() -> tzinfo:
    """The machine's zone: `TZ`, else `/etc/localtime`, else UTC."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if name:
        try:
            return zone(name)
        except ValueError:
            if os.path.isabs(name) and os.path.isfile(name):
                with open(name, "rb") as file:
                    return zoneinfo.ZoneInfo.from_file(file, key=name)
            return UTC  # as the C library does with a TZ that nobody knows
    try:
        with open("/etc/localtime", "rb") as file:
            return zoneinfo.ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):
        return UTC


def _parse(value: str) -> tzinfo:
    return zone(value.strip())


time_zone = Kind("time zone", _parse)


def _offset(minutes: int) -> tzinfo:
    return timezone(timedelta(minutes=minutes))


@cache
def _known() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _guess(name: str) -> str:
    """The nearest names, as the end of a sentence."""
    offset = re.fullmatch(r"(?:UTC|GMT|UT)?\s*([+-]\s*\d.*)", name, re.ASCII | re.IGNORECASE)
    if offset is not None:
        return f"; did you mean GMT{offset[1].replace(' ', '')}?"
    names = [*_known(), *_SHORT, *_FIXED]
    lower = {known.lower(): known for known in names}
    cities = {known.rpartition("/")[2].lower(): known for known in sorted(names, reverse=True)}
    wanted = name.lower().replace(" ", "_")
    found = [lower[near] for near in likely(wanted, lower, 3, 0.75)]
    found += [cities[near] for near in likely(wanted.rpartition("/")[2], cities, 2, 0.8)]
    found = list(dict.fromkeys(found))[:3]
    return f"; did you mean {' or '.join(found)}?" if found else "; names are as in Europe/Berlin, UTC or GMT+8"
