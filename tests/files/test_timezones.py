"""Time zones by Java's names: the known ones mean what Java means, the others are refused with what was meant."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from shipper.files.timezones import local_zone, zone

SUMMER = datetime(2012, 6, 23, 12, tzinfo=UTC)
WINTER = datetime(2012, 12, 23, 12, tzinfo=UTC)


def offsets(name: str) -> tuple[float, float]:
    """Hours east of Greenwich in the northern summer and winter."""
    found = [when.astimezone(zone(name)).utcoffset() for when in (SUMMER, WINTER)]
    return tuple(offset / timedelta(hours=1) for offset in found if offset is not None)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "summer", "winter"),
    [
        ("UTC", 0, 0), ("GMT", 0, 0), ("Z", 0, 0), ("GMT+8", 8, 8), ("GMT-3:30", -3.5, -3.5), ("GMT+0530", 5.5, 5.5),
        ("GMT+5:30", 5.5, 5.5), ("GMT-11", -11, -11), ("GMT+130", 1.5, 1.5), ("CTT", 8, 8), ("PST", -7, -8),
        ("EST", -5, -5), ("MST", -7, -7), ("HST", -10, -10), ("CST", -5, -6), ("IST", 5.5, 5.5), ("JST", 9, 9),
        ("BST", 6, 6), ("ECT", 2, 1), ("AET", 10, 11), ("ACT", 9.5, 9.5), ("AST", -8, -9), ("NST", 12, 13),
        ("Europe/Berlin", 2, 1), ("America/New_York", -4, -5), ("EST5EDT", -4, -5), ("Etc/GMT+8", -8, -8),
        ("SystemV/PST8PDT", -7, -8), ("Asia/Calcutta", 5.5, 5.5),
    ],
)  # fmt: skip
def test_a_zone_means_what_java_means(name: str, summer: float, winter: float) -> None:
    assert offsets(name) == (summer, winter)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Berlin", "did you mean Europe/Berlin"), ("europe/berlin", "did you mean Europe/Berlin"),
        ("New York", "America/New_York"), ("UTC+8", "did you mean GMT+8?"), ("+8", "did you mean GMT+8?"),
        ("PDT", "no time zone has that name"), ("GMT+25", "hours go to 23"),
        ("GMT+8:70", "hours go to 23"), ("", "names are as in"),
        ("../../etc/passwd", "no time zone has that name"), ("/etc/localtime", "no time zone has that name"),
        ("Europe", "no time zone has that name"), ("a\0b", "no time zone has that name"),
    ],
)  # fmt: skip
def test_an_unknown_zone_is_refused_with_the_nearest_names(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        zone(name)


def test_the_machines_zone_is_that_of_tz(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, hours in (("Asia/Tokyo", 9), (":Asia/Tokyo", 9), ("UTC", 0), ("Nowhere/At_All", 0)):
        monkeypatch.setenv("TZ", name)
        assert SUMMER.astimezone(local_zone()).utcoffset() == timedelta(hours=hours)
    monkeypatch.delenv("TZ")
    assert SUMMER.astimezone(local_zone()).utcoffset() == SUMMER.astimezone().utcoffset()
