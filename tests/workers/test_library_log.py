"""Lines of the standard `logging` in a worker's log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from shipper import log
from shipper.api import EventBatch
from shipper.sinks.logger import LoggerOptions, LoggerSink
from shipper.workers.library_log import listen


@pytest.fixture
def said() -> Iterator[list[tuple[str, str, str]]]:
    """What reaches the log of a worker called k1; everything is as before afterwards."""
    lines: list[tuple[str, str, str]] = []
    root, ours, before = logging.getLogger(), logging.getLogger("shipper"), log.current()
    kept = root.handlers, root.level, ours.level
    log.configure(log.Log([("INFO", lambda *fact: lines.append(fact))]))
    listen("k1")
    yield lines
    log.configure(before)
    root.handlers, level, ours_level = kept
    root.setLevel(level)
    ours.setLevel(ours_level)


def test_equal_lines_are_all_said(said: list[tuple[str, str, str]]) -> None:
    """Two equal events are two lines, and a long one is several."""
    for _ in range(2):
        logging.getLogger("shipper.sink.logger").info("Event: { headers:{} body: %s }", "41\n00000010 42")
    assert said == 2 * [("INFO", "k1", "Event: { headers:{} body: 41"), ("INFO", "k1", "00000010 42 }")]


def test_what_a_sink_delivers_waits_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library has nothing to say that data would have to wait for."""
    waiting: list[tuple[str, bool]] = []
    monkeypatch.setattr(log, "pass_on", lambda level, name, text, *, waits: waiting.append((text, waits)))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(logging.getLogger("shipper"), "level", logging.INFO)
    listen("k1")
    sink = LoggerSink(LoggerOptions())
    sink.deliver(EventBatch.of([b"a"]))
    logging.getLogger("some.library").warning("lost")
    assert [(text[:7], waits) for text, waits in waiting] == [("Event: ", True), ("lost", False)]


def test_a_line_can_not_be_forged(said: list[tuple[str, str, str]]) -> None:
    """Control characters of a header are spelt out."""
    logging.getLogger("shipper.sink.logger").info("headers:{k=%s}", "\x1b[31m\x01")
    assert said == [("INFO", "k1", "headers:{k=\\x1b[31m\\x01}")]


def test_libraries_are_heard_when_they_warn(said: list[tuple[str, str, str]]) -> None:
    """Their gossip is not."""
    logging.getLogger("some.library").info("connected")
    logging.getLogger("some.library").warning("lost")
    logging.getLogger("some.library").critical("over")
    assert said == [("WARN", "k1", "lost"), ("FATAL", "k1", "over")]
