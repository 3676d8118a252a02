"""The logger sink: Flume's line, to the letter."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.registry import find
from shipper.sinks.logger import LoggerOptions, LoggerSink
from shipper.testing.fakes import sink_context
from tests.vectors import vector

Event = tuple[dict[str, str | None], bytes]


def row_of(name: str) -> tuple[Event, int, str]:
    row = vector("logger_sink_dump", name)
    given = row["in"]
    body = bytes.fromhex(given["body_hex"]) if "body_hex" in given else given["body"].encode()
    return (given["headers"], body), given["max"], row["out"]["out"]


def logged(tmp_path: Path, caplog: pytest.LogCaptureFixture, events: list[Event], bytes_max: int = 16) -> list[str]:
    caplog.clear()
    sink = LoggerSink(LoggerOptions(bytes_max=bytes_max))
    sink.open(sink_context(tmp_path))
    with caplog.at_level(logging.INFO, "shipper.sink.logger"):
        sink.deliver(EventBatch.of([body for _, body in events], [headers for headers, _ in events]))
    assert sink.flush() == 0
    sink.close()
    assert {(record.name, record.levelname) for record in caplog.records} <= {("shipper.sink.logger", "INFO")}
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", ["zeros", "seventeen", "hdrs", "hi", "max40"])
def test_recorded_lines(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    """Alone, and among a thousand other events."""
    event, bytes_max, out = row_of(name)
    assert logged(tmp_path, caplog, [event], bytes_max) == [f"Event: {out}"]
    dice = random.Random(4)
    names = ["timestamp", "other", "x"]
    events: list[Event] = [
        ({key: str(number) for key in dice.sample(names, dice.randrange(4))}, dice.randbytes(dice.randrange(60)))
        for number in range(1000)
    ]
    place = dice.randrange(1000)
    events.insert(place, event)
    lines = logged(tmp_path, caplog, events, bytes_max)
    assert len(lines) == 1001
    assert lines[place] == f"Event: {out}"


def test_nothing_to_show_is_refused_at_the_start() -> None:
    """The recorded dump of 0 bytes is an exception's text; Flume's sink takes no such value, nor do we."""
    _, bytes_max, out = row_of("max0")
    assert "Exception while dumping" in out
    for value in (bytes_max, -1):
        options, findings = read_options(LoggerOptions, {"maxBytesToLog": str(value)})
        assert options is None
        assert f"maxBytesToLog = {value}: must be at least 1" in findings[0].message


def test_an_empty_body_and_a_null_header(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No bytes, no row of them."""
    assert logged(tmp_path, caplog, [({}, b""), ({"k": None}, b"")]) == [
        "Event: { headers:{} body: }", "Event: { headers:{k=null} body: }",
    ]  # fmt: skip


def test_no_line_is_made_when_nobody_wants_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log's level says so."""
    sink = LoggerSink(LoggerOptions())
    sink.open(sink_context(tmp_path))
    with caplog.at_level(logging.WARNING, "shipper.sink.logger"):
        sink.deliver(EventBatch.of([b"x"]))
    assert caplog.records == []


def test_it_is_found_by_flumes_names() -> None:
    """Alias and class name."""
    assert find("sink", "logger") is LoggerSink
    assert find("sink", "org.apache.flume.sink.LoggerSink") is LoggerSink
