"""The null sink: it takes everything, and says so now and then."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.registry import find
from shipper.sinks.null import NullOptions, NullSink
from shipper.testing.fakes import sink_context


def opened(tmp_path: Path, **config: str) -> NullSink:
    options, findings = read_options(NullOptions, config)
    assert options is not None, findings
    sink = NullSink(options)
    sink.open(sink_context(tmp_path))
    return sink


def test_a_line_comes_with_every_so_many_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One for a transaction at most, with the last round number that was reached."""
    sink = opened(tmp_path, logEveryNEvents="10")
    with caplog.at_level(logging.INFO, "shipper.sink.null"):
        for rows in (9, 1, 0, 15, 4, 21):
            sink.deliver(EventBatch.of([b"x"] * rows))
            sink.flush()
    sink.close()
    assert [record.getMessage() for record in caplog.records] == [
        f"Null sink k1 successful processed {rows} events." for rows in (10, 20, 50)
    ]


def test_events_that_come_again_count_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A transaction that was rolled back did not happen."""
    sink = opened(tmp_path, logEveryNEvents="10")
    with caplog.at_level(logging.INFO, "shipper.sink.null"):
        sink.deliver(EventBatch.of([b"x"] * 9))
        sink.rolled_back()
        sink.deliver(EventBatch.of([b"x"] * 9))
        assert sink.flush() == 0
    assert caplog.records == []


def test_defaults_are_flumes() -> None:
    """100 events a batch, a line every 10,000."""
    assert NullOptions() == NullOptions(batch_size=100, log_every_rows=10_000)


@pytest.mark.parametrize("key", ["batchSize", "logEveryNEvents"])
def test_zero_is_refused(key: str) -> None:
    """With the key and the value."""
    options, findings = read_options(NullOptions, {key: "0"})
    assert options is None
    assert f"{key} = 0: must be at least 1" in findings[0].message


def test_it_is_found_by_flumes_names() -> None:
    """Alias and class name."""
    assert find("sink", "null") is NullSink
    assert find("sink", "org.apache.flume.sink.NullSink") is NullSink
