"""The stretch of time that a path stands for."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from shipper.files.done_period import Periods, period_problem
from shipper.files.escapes import Rounding, Template

BERLIN = ZoneInfo("Europe/Berlin")


def ms(text: str, zone: object = UTC) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()) * 1000  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "rounding", "at", "start", "end"),
    [
        ("/%Y", None, "2012-06-23T13:46:33", "2012-01-01", "2013-01-01"),
        ("/%Y/%m", None, "2012-12-23T13:46:33", "2012-12-01", "2013-01-01"),
        ("/%y%j", None, "2012-02-28T13:46:33", "2012-02-28", "2012-02-29"),
        ("/%Y-%m-%d", None, "2012-06-23T13:46:33", "2012-06-23", "2012-06-24"),
        ("/%D/%k", None, "2012-06-23T13:46:33", "2012-06-23T13:00", "2012-06-23T14:00"),
        ("/%D/%I%p", None, "2012-06-23T13:46:33", "2012-06-23T13:00", "2012-06-23T14:00"),
        ("/%D/%I", None, "2012-06-23T13:46:33", "2012-06-23", "2012-06-24"),  # 01 is two hours of a day
        ("/%Y%m%d%H%M", None, "2012-06-23T13:46:33", "2012-06-23T13:46", "2012-06-23T13:47"),
        ("/%s", None, "2012-06-23T13:46:33", "2012-06-23T13:46:33", "2012-06-23T13:46:34"),
        ("/%Y%m%d%H%M", ("minute", 10), "2012-06-23T13:46:33", "2012-06-23T13:40", "2012-06-23T13:50"),
        ("/%Y%m%d%H%M", ("minute", 25), "2012-06-23T13:56:33", "2012-06-23T13:50", "2012-06-23T14:00"),
        ("/%Y%m%d%H", ("hour", 6), "2012-06-23T13:46:33", "2012-06-23T12:00", "2012-06-23T18:00"),
        ("/%Y%m%d", ("minute", 10), "2012-06-23T13:46:33", "2012-06-23", "2012-06-24"),
        ("/%c/%{host}", ("hour", 1), "2012-06-23T13:46:33", "2012-06-23T13:00", "2012-06-23T14:00"),
    ],
)
def test_a_period_begins_and_ends_with_the_text(
    path: str, rounding: tuple[str, int] | None, at: str, start: str, end: str
) -> None:
    given = Rounding(unit=rounding[0], value=rounding[1]) if rounding else None
    periods = Periods(Template(path, UTC, given), UTC, given)
    assert periods.of(ms(at)) == (ms(start), ms(end))


@pytest.mark.parametrize("at", ["2012-10-28T00:30:00", "2012-10-28T01:30:00"])
def test_an_hour_that_comes_twice_is_over_after_the_second_one(at: str) -> None:
    """At 3 o'clock Berlin's clocks went back to 2: both hours are /02."""
    periods = Periods(Template("/%Y%m%d%H", BERLIN), BERLIN)
    assert periods.of(ms(at)) == (ms("2012-10-28T00:00:00"), ms("2012-10-28T02:00:00"))


def test_a_day_of_a_zone_begins_there(monkeypatch: pytest.MonkeyPatch) -> None:
    periods = Periods(Template("/%Y%m%d", BERLIN), BERLIN)
    assert periods.of(ms("2012-06-23T22:30:00")) == (ms("2012-06-24", BERLIN), ms("2012-06-25", BERLIN))


@pytest.mark.parametrize("path", ["/%Y/%m/%d", "/%D", "/%c", "/%s", "/%y/%j/%H", "/%Y-%b-%e"])
def test_paths_that_never_come_again_have_an_end(path: str) -> None:
    assert period_problem(Template(path)) is None


@pytest.mark.parametrize("path", ["/logs", "/%m/%d", "/%H%M", "/%A", "/%{host}", "/%Y/%H", "/%t"])
def test_paths_that_come_again_have_none(path: str) -> None:
    assert period_problem(Template(path)) is not None
