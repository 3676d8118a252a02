"""The interceptors that set one header: timestamp, host, static."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from shipper.api import EventBatch, Interceptor
from shipper.config.field import read_options
from shipper.interceptors.host import HostInterceptor
from shipper.interceptors.static import StaticInterceptor
from shipper.interceptors.timestamp import TimestampInterceptor
from shipper.registry import find
from shipper.testing.fakes import ManualClock

CLOCK = ManualClock(1_340_459_193_234)


def make(kind: type[Interceptor[Any]], **config: str) -> Interceptor[Any]:
    options, findings = read_options(kind.Options, config)
    assert options is not None, findings
    return kind(options, CLOCK)


def headers(batch: EventBatch) -> list[dict[str, str | None]]:
    return [batch.headers_of(row) for row in range(batch.rows)]


MIXED: list[dict[str, str | None]] = [{"t": "old", "a": "1"}, {"a": "2"}, {"t": None}, {}]


@pytest.mark.parametrize(
    ("kind", "config", "name", "value", "keeps_by_default"),
    [
        (TimestampInterceptor, {"headerName": "t"}, "t", "1340459193234", False),
        (StaticInterceptor, {"key": "t", "value": "mine"}, "t", "mine", True),
    ],
)
def test_an_event_that_has_the_header_keeps_it_only_when_existing_ones_are_preserved(
    kind: type[Interceptor[Any]], config: dict[str, str], name: str, value: str, keeps_by_default: bool
) -> None:
    """A header with a null value counts as present, as in Flume's map."""
    batch = EventBatch.of([b"x"] * 4, MIXED)
    kept = [{"t": "old", "a": "1"}, {"t": value, "a": "2"}, {"t": None}, {"t": value}]
    replaced = [{"t": value, "a": "1"}, {"t": value, "a": "2"}, {"t": value}, {"t": value}]
    assert headers(make(kind, **config, preserveExisting="true").intercept(batch)) == kept
    assert headers(make(kind, **config, preserveExisting="false").intercept(batch)) == replaced
    assert headers(make(kind, **config).intercept(batch)) == (kept if keeps_by_default else replaced)


def test_a_constant_header_is_kept_or_replaced_as_one() -> None:
    """No column is made for it."""
    batch = EventBatch.of([b"x", b"y"]).with_header("t", "old")
    assert make(StaticInterceptor, key="t").intercept(batch).constants == {"t": "old"}
    assert make(StaticInterceptor, key="t", preserveExisting="false").intercept(batch).constants == {"t": "value"}


def test_defaults_are_flumes() -> None:
    """key=value, and timestamp."""
    assert make(StaticInterceptor).intercept(EventBatch.of([b"x"])).constants == {"key": "value"}
    assert make(TimestampInterceptor).intercept(EventBatch.of([b"x"])).constants == {"timestamp": "1340459193234"}


def test_the_old_name_of_headername_is_understood() -> None:
    """Flume before 1.9 called it `header`."""
    assert make(TimestampInterceptor, header="ts").intercept(EventBatch.of([b"x"])).constants == {"ts": "1340459193234"}


def test_the_timestamp_follows_the_clock_once_a_batch() -> None:
    """All rows of a batch get the same time."""
    clock = ManualClock(5)
    stamp = TimestampInterceptor(TimestampInterceptor.Options(), clock)
    assert stamp.intercept(EventBatch.of([b"x", b"y"])).constants == {"timestamp": "5"}
    clock.advance(2)
    assert stamp.intercept(EventBatch.of([b"x"])).constants == {"timestamp": "2005"}


def test_rows_bodies_and_origins_stay() -> None:
    """Only the header changes, also where the delimiters are still in place."""
    batch = EventBatch.of([b"a\n", b"b\n"]).with_origins(())
    batch = EventBatch(batch.records, trim=1)
    out = make(TimestampInterceptor).intercept(batch)
    assert bytes(out.lines()) == b"a\nb\n"
    assert out.raw_body is batch.raw_body or out.raw_body.equals(batch.raw_body)


def test_host_is_the_address_or_the_canonical_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine called localhost."""
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    batch = EventBatch.of([b"x"])
    assert make(HostInterceptor).intercept(batch).constants == {"host": "127.0.0.1"}
    named = make(HostInterceptor, useIP="false", hostHeader="h").intercept(batch).constants
    assert named == {"h": socket.getnameinfo(("127.0.0.1", 0), 0)[0]}


def test_host_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that changes later does not count before the next start."""
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    host = make(HostInterceptor)
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-machine.invalid")
    assert host.intercept(EventBatch.of([b"x"])).constants == {"host": "127.0.0.1"}


def test_host_adds_nothing_when_the_machine_has_no_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The events go on, and one line says what is missing."""
    monkeypatch.setattr(socket, "gethostname", lambda: "no-such-machine.invalid")
    host = make(HostInterceptor)
    batch = EventBatch.of([b"x"])
    assert host.intercept(batch) is batch
    assert "no-such-machine.invalid" in caplog.text
    assert "/etc/hosts" in caplog.text


def test_host_respects_what_is_there_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """preserveExisting, row by row."""
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    batch = EventBatch.of([b"x", b"y"], [{"host": "web1"}, {}])
    assert headers(make(HostInterceptor, preserveExisting="true").intercept(batch)) == [
        {"host": "web1"}, {"host": "127.0.0.1"},
    ]  # fmt: skip
    assert make(HostInterceptor).intercept(batch).constants == {"host": "127.0.0.1"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("timestamp", TimestampInterceptor),
        ("org.apache.flume.interceptor.TimestampInterceptor$Builder", TimestampInterceptor),
        ("host", HostInterceptor),
        ("org.apache.flume.interceptor.HostInterceptor$Builder", HostInterceptor),
        ("static", StaticInterceptor),
        ("org.apache.flume.interceptor.StaticInterceptor$Builder", StaticInterceptor),
    ],
)
def test_they_are_found_by_alias_and_by_class_name(name: str, kind: type[Interceptor[Any]]) -> None:
    """All spellings of a Flume file."""
    assert find("interceptor", name) is kind
