"""Escapes in paths: what Flume's own class answers, alone and in a batch, and what a header's value can't do."""

from __future__ import annotations

import random
from datetime import datetime
from operator import itemgetter
from typing import Any

import pytest

from shipper.api import EventBatch, Refused
from shipper.files.bucket import Buckets
from shipper.files.escapes import Rounding, Template, problems
from shipper.files.path_rules import HDFS, LOCAL, PathRules
from shipper.files.timezones import zone
from shipper.testing.fakes import ManualClock
from tests.vectors import vectors


def buckets(given: dict[str, Any]) -> Buckets:
    rounding = Rounding(value=given["value"], unit=given["unit"]) if given.get("round") else None
    template = Template(given["in"], zone(given["tz"]), rounding)
    clock = ManualClock(given.get("now", 0))
    return Buckets([template], clock, use_clock=given.get("useLocal", False), remedy="do something")


def others(random_: random.Random, count: int) -> list[dict[str, str | None]]:
    """Headers of other events: other times, hosts, and some of neither."""
    return [
        {
            "timestamp": str(random_.randrange(1_000_000_000_000, 1_700_000_000_000)),
            **random_.choice([{}, {"host": f"h{random_.randrange(50)}"}, {"type": None}, {"x": "y"}]),  # type: ignore[dict-item]
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("row", vectors("bucket_path"), ids=itemgetter("id"))
def test_a_path_is_what_flume_makes_of_it(row: dict[str, Any]) -> None:
    given = row["in"]
    batch = EventBatch.of([b"x"], [given["headers"]])
    if "throws" in row["out"]:
        with pytest.raises(Refused) as refused:
            buckets(given).groups(batch)
        assert refused.value.rows == (0,)
    else:
        ((texts, rows, _),) = buckets(given).groups(batch)
        assert texts == (row["out"]["out"],)
        assert rows.body.to_pylist() == [b"x"]


@pytest.mark.parametrize("row", vectors("bucket_path"), ids=itemgetter("id"))
def test_a_path_is_the_same_among_a_thousand_other_events(row: dict[str, Any]) -> None:
    given = row["in"]
    random_ = random.Random(row["id"])
    headers = others(random_, 1000)
    place = random_.randrange(1000)
    headers.insert(place, given["headers"])
    batch = EventBatch.of([b"%d" % n for n in range(1001)], headers)
    if "throws" in row["out"]:
        with pytest.raises(Refused) as refused:
            buckets(given).groups(batch)
        assert refused.value.rows == (place,)
        return
    found = {}
    for texts, rows, numbers in buckets(given).groups(batch):
        bodies = rows.body.to_pylist()
        assert bodies == sorted(bodies, key=int)  # order is kept
        assert numbers is None or numbers.tolist() == [int(body) for body in bodies]
        found |= dict.fromkeys(bodies, texts)
    assert len(found) == 1001
    assert found[b"%d" % place] == (row["out"]["out"],)
    for n in random_.sample(range(1001), 50):  # and each of the others has what it would have alone
        ((alone, _, _),) = buckets(given).groups(batch.slice(n, 1))
        assert found[b"%d" % n] == alone


@pytest.mark.parametrize("row", vectors("timestamp_round_down"), ids=itemgetter("id"))
def test_a_time_is_rounded_as_flume_rounds_it(row: dict[str, Any]) -> None:
    given = row["in"]
    rounding = Rounding(value=given["value"], unit=given["unit"])
    down = rounding.down(datetime.fromtimestamp(given["ts"] // 1000, zone(given["tz"])))
    assert str(int(down.timestamp()) * 1000) == row["out"]["out"]


@pytest.mark.parametrize("tz", ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "GMT-3:30", "ACT"])
@pytest.mark.parametrize("template", ["%Y%m%d%H", "%H%M", "%s", "%z %H", "%t", "%c", "%j", "%l%p"])
@pytest.mark.parametrize("rounding", [None, Rounding(value=5, unit="minute"), Rounding(value=6, unit="hour")])
def test_a_batch_of_times_is_grouped_as_each_is_by_itself(tz: str, template: str, rounding: Rounding | None) -> None:
    """The coarse times that a batch is brought down to must not be coarser than the template can tell."""
    random_ = random.Random(7)
    around = [1_352_008_800_000, 1_330_000_000_000, 0, 600_000_000_000, -5_000_000_000_000]  # DST's end, old zones
    times = [random_.choice(around) + random_.randrange(-7_200_000, 7_200_000) for _ in range(300)]
    made = Buckets([Template(template, zone(tz), rounding)], ManualClock(), use_clock=False, remedy="")
    batch = EventBatch.of([b"%d" % t for t in times], [{"timestamp": str(t)} for t in times])
    for texts, rows, _ in made.groups(batch):
        for body in rows.body.to_pylist():
            assert texts == (Template(template, zone(tz), rounding).render(int(body), {}),)


def test_an_hour_that_comes_twice_stays_the_one_it_was() -> None:
    first, second = 1_352_007_900_000, 1_352_011_500_000  # 01:45 twice, on 4 November 2012 in New York
    template = Template("%H:%M %z", zone("America/New_York"), Rounding(value=30, unit="minute"))
    assert template.render(first, {}) == "01:30 -0400"
    assert template.render(second, {}) == "01:30 -0500"


def test_a_wall_time_that_does_not_exist_becomes_the_one_that_the_clock_leapt_to() -> None:
    """In Sao Paulo midnight itself was left out on 21 October 2012."""
    template = Template("%d %H:%M", zone("America/Sao_Paulo"), Rounding(value=12, unit="hour"))
    assert template.render(1_350_790_200_000, {}) == "21 01:00"  # 01:30 local


def test_five_hours_are_counted_from_midnight() -> None:
    template = Template("%H", zone("UTC"), Rounding(value=5, unit="hour"))
    assert [template.render(hour * 3_600_000, {}) for hour in (4, 5, 14, 19, 23)] == ["00", "05", "10", "15", "20"]


def test_names_are_english_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert Template("%a %A %b %B %p").render(1_340_459_193_234, {}) == "Sat Saturday Jun June PM"


@pytest.mark.parametrize(
    ("template", "headers", "path"),
    [
        ("/logs/%{h}/f", {"h": "a/b"}, "/logs/a/b/f"),
        ("/logs/%{h}/f", {"h": "../../etc/cron.d"}, "/logs/__/__/etc/cron.d/f"),
        ("/logs/%{h}/f", {"h": ".."}, "/logs/__/f"),
        ("/logs/%{h}/f", {"h": "."}, "/logs/_/f"),
        ("/logs/%{h}%{g}/f", {"h": ".", "g": "."}, "/logs/__/f"),
        ("/logs/.%{h}/f", {"h": "."}, "/logs/__/f"),
        ("/logs/%{h}./f", {"h": "."}, "/logs/__/f"),
        ("/logs/%{h}/f", {"h": "/etc"}, "/logs//etc/f"),
        ("%{h}/f", {"h": "/etc"}, "etc/f"),
        ("%{g}%{h}/f", {"g": "", "h": "//etc"}, "etc/f"),
        ("/logs/%{h}/f", {"h": "a\0b\n\x1b[2J\x85"}, "/logs/a_b__[2J_/f"),
        ("/logs/../x/./%{h}", {"h": "a"}, "/logs/../x/./a"),  # the template's own are the person's wish
        ("/logs/%{h}/f", {"h": "a%Y%{g}"}, "/logs/a%Y%{g}/f"),  # a value is not a template
        ("/logs/%{h}/f", {"h": "ä€"}, "/logs/ä€/f"),
        ("/logs/%{h}/f", {"h": "..a/b..", "g": ""}, "/logs/..a/b../f"),
    ],
)
def test_a_header_can_name_folders_but_not_leave_them(template: str, headers: dict[str, str], path: str) -> None:
    assert Template(template).render(0, headers) == path


def test_a_part_that_no_file_system_takes_is_cut_and_told_apart_by_its_checksum() -> None:
    one, two = (Template("/l/%{h}/f").render(0, {"h": "x" * 300 + end}) for end in "ab")
    assert one != two
    assert all(len(part.encode()) <= 200 for part in one.split("/"))
    assert Template("/l/%{h}").render(0, {"h": "€" * 100}).encode().count(b"\xe2\x82\xac") == 63


@pytest.mark.parametrize(
    ("template", "value", "path"),
    [
        ("/l/%{h}/f", "10.0.0.1:8080", "/l/10.0.0.1_8080/f"),
        ("/l/%{h}/f", "::1", "/l/__1/f"),
        ("/l/%{h}/f", ".snapshot", "/l/_snapshot/f"),
        ("/l/.%{h}/f", "snapshot", "/l/_snapshot/f"),
        ("/l/%{h}/f", "a.snapshot/.snapshots", "/l/a.snapshot/.snapshots/f"),
        ("%{h}/f", ".snapshot", "_snapshot/f"),
        ("/%{h}/f", ".reserved", "/_reserved/f"),
        ("/l/%{h}/f", ".reserved", "/l/.reserved/f"),  # a name like any other there
        ("/l/%c", "", "/l/Thu Jan 1 00_00_00 1970"),
    ],
)
def test_what_a_cluster_refuses_is_changed_for_a_cluster(template: str, value: str, path: str) -> None:
    assert Template(template, rules=HDFS).render(0, {"h": value}) == path


def test_what_only_a_cluster_refuses_stays_on_a_disk() -> None:
    assert Template("/l/%{h}/%c").render(0, {"h": "a:b/.snapshot"}) == "/l/a:b/.snapshot/Thu Jan 1 00:00:00 1970"
    assert Template("/l/%{h}").changes({"h": "a:b"}) == []
    assert Template("/l/%{h}", rules=HDFS).changes({"h": "a:b"}) == ["h"]


@pytest.mark.parametrize(
    ("rules", "fits", "too_long"),
    [
        (LOCAL, "€" * 60, "/".join(["€" * 60] * 21)),  # 181 bytes a part
        (HDFS, "/".join(["€" * 60] * 21), "/".join(["y" * 190] * 41)),
        (HDFS, "/".join("a" * 990), "/".join("a" * 1001)),
    ],
)
def test_only_events_whose_path_is_too_long_for_the_store_are_refused(
    rules: PathRules, fits: str, too_long: str
) -> None:
    made = Buckets(
        [Template("/l/%{h}", rules=rules), Template("%{p}", rules=rules)], ManualClock(), use_clock=False, remedy=""
    )
    values = [fits, too_long, "b", too_long]
    batch = EventBatch.of([b"x"] * 4, [{"h": value} for value in values])
    for _ in range(2):  # known by then
        with pytest.raises(Refused, match=f"/l/%{{h}}: their path would have more than .* {rules.place} takes") as bad:
            made.groups(batch)
        assert bad.value.rows == (1, 3)
        with pytest.raises(Refused) as alone:
            made.groups(batch.slice(1, 1))
        assert alone.value.rows == (0,)
    assert [texts for texts, _, _ in made.groups(batch.slice(0, 1))] == [(f"/l/{fits}", "")]


def test_a_missing_and_a_null_header_are_empty() -> None:
    made = Buckets([Template("/x/%{h}/f")], ManualClock(), use_clock=False, remedy="")
    batch = EventBatch.of([b"1", b"2", b"3", b"4"], [{}, {"h": None}, {"h": ""}, {"h": "a"}])
    assert {texts: rows.body.to_pylist() for texts, rows, _ in made.groups(batch)} == {
        ("/x//f",): [b"1", b"2", b"3"],
        ("/x/a/f",): [b"4"],
    }


@pytest.mark.parametrize(
    "value", [None, "", "abc", " 1340459193234", "0x10", "1e3", "9" * 15, "-" + "9" * 18, "9" * 19]
)
def test_an_event_whose_time_is_no_time_is_refused_by_name(value: str | None) -> None:
    made = Buckets([Template("/a/%Y")], ManualClock(), use_clock=False, remedy="set hdfs.useLocalTimeStamp = true")
    good = {"timestamp": "1340459193234"}
    bad: dict[str, str | None] = {"timestamp": value} if value is not None else {}
    with pytest.raises(Refused) as refused:
        made.groups(EventBatch.of([b"1", b"2", b"3"], [good, bad, good]))
    assert refused.value.rows == (1,)
    message = str(refused.value)
    assert "/a/%Y" in message
    assert "1 of 3 events" in message
    assert '"timestamp"' in message
    assert "hdfs.useLocalTimeStamp = true" in message
    if value:
        assert value[:40] in message
    ((_, rows, _),) = made.groups(EventBatch.of([b"1", b"3"], [good, good]))
    assert rows.rows == 2


def test_a_constant_that_is_no_time_refuses_all_rows() -> None:
    made = Buckets([Template("/a/%Y")], ManualClock(), use_clock=False, remedy="")
    for value in ("abc", None):
        with pytest.raises(Refused) as refused:
            made.groups(EventBatch.of([b"1", b"2"]).with_header("timestamp", value))
        assert refused.value.rows == (0, 1)
    ((texts, _, _),) = made.groups(EventBatch.of([b"1", b"2"]).with_header("timestamp", "+1340459193234"))
    assert texts == ("/a/2012",)


def test_the_clock_is_looked_at_once_a_batch() -> None:
    class Running(ManualClock):
        def now_ms(self) -> int:
            self.advance(1)
            return self.wall_ms

    made = Buckets([Template("%s"), Template("%S")], Running(1_366_513_198_000), use_clock=True, remedy="")
    ((texts, _, _),) = made.groups(EventBatch.of([b"x"] * 100, [{"h": str(n)} for n in range(100)]))
    assert texts == ("1366513199", "59")


def test_a_path_and_a_prefix_are_grouped_together() -> None:
    made = Buckets([Template("/a/%Y"), Template("%{h}")], ManualClock(), use_clock=False, remedy="")
    years = {"2012": "1340459193234", "2013": "1366513199000"}
    headers = [{"h": host, "timestamp": years[year]} for year in years for host in "xyx"]
    groups = made.groups(EventBatch.of([b"%d" % n for n in range(6)], headers))
    assert {texts: rows.body.to_pylist() for texts, rows, _ in groups} == {
        ("/a/2012", "x"): [b"0", b"2"], ("/a/2012", "y"): [b"1"],
        ("/a/2013", "x"): [b"3", b"5"], ("/a/2013", "y"): [b"4"],
    }  # fmt: skip


def test_a_batch_of_one_bucket_is_not_copied() -> None:
    made = Buckets([Template("/a/%Y/%{h}")], ManualClock(), use_clock=False, remedy="")
    batch = EventBatch.of(
        [b"1", b"2"], [{"timestamp": "1340459193234", "h": "a"}, {"timestamp": "1340459193999", "h": "a"}]
    )
    ((_, rows, numbers),) = made.groups(batch)
    assert rows is batch
    assert numbers is None


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "IP", "FQDN"])
def test_the_agents_host_is_known_in_any_case(name: str) -> None:
    text = Template(f"/x/%[{name}]").render(0, {})
    assert text.startswith("/x/")
    assert len(text) > 3


def test_an_unknown_host_escape_is_a_problem_with_the_right_names() -> None:
    assert problems("/x/%[hostname]") == ["%[hostname] is not known; there are %[localhost], %[IP] and %[FQDN]"]
    assert problems("/x/%[ip]/%Y/%{h}/%q") == []


def test_escapes_without_a_meaning_are_named() -> None:
    assert Template("/a%20b/%q/%Y/%_").unknown == ("%2", "%q", "%_")


def test_a_lone_percent_sign_needs_no_time() -> None:
    assert Template("/100%").constant
    assert Template("/100%").render(0, {}) == "/100%"
    assert Template("/a% b").constant
    assert Template("/%%").needs_time
