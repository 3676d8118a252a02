"""header_and_text: which headers are printed, in which order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from shipper.api import EventBatch
from shipper.batch.framing import line_ends, rows_of
from shipper.registry import find
from shipper.serializers.header_and_text import HeaderAndTextSerializer
from tests.vectors import vector, vectors

ROWS = ["h0", "h1", "h4", "h5", "h6", "h7", "h8"]


def batch_of(events) -> EventBatch:
    return EventBatch.of([body for _, body in events], [headers for headers, _ in events])


def alone(serializer, events) -> list[bytes]:
    """What each event is when it comes as a batch of its own. Names of one bucket keep the order of the batch."""
    batch = batch_of(events)
    return [bytes(serializer.serialize(batch.slice(row, 1))) for row in range(batch.rows)]


def test_the_bytes_are_those_of_the_real_agent(make, recorded_events: EventBatch, reference: Path) -> None:
    """Three events with three different sets of headers, through either sink."""
    text = make(HeaderAndTextSerializer).serialize(recorded_events)
    assert bytes(text) == (reference / "flume-files" / "data-header_and_text.txt").read_bytes()
    assert bytes(text) == (reference / "flume-files" / "fr-header_and_text.txt").read_bytes()


@pytest.mark.parametrize("name", ROWS)
def test_headers_are_printed_as_java_prints_them(make, crowd, name: str) -> None:
    """Each recorded map, alone and among a thousand rows with other headers."""
    row = vector("java_hashmap_to_string", name)
    event = (dict(row["in"]["pairs"]), b"body")
    line = f"{row['out']['toString']} body\n".encode()
    serializer = make(HeaderAndTextSerializer)
    assert bytes(serializer.serialize(batch_of([event]))) == line
    events = crowd(event)
    expected = alone(serializer, events)
    assert expected[events.index(event)] == line
    assert bytes(serializer.serialize(batch_of(events))) == b"".join(expected)


def test_every_recorded_map_is_tested() -> None:
    """A row that is added to the recordings must be added here."""
    assert len(vectors("java_hashmap_to_string")) == len(ROWS)


@pytest.mark.parametrize("name", ["hdr_nonl", "hdr_empty"])
def test_recorded_lines(make, crowd, name: str) -> None:
    """With and without a newline of our own, alone and in a crowd."""
    row = vector("event_serializers", name)
    assert row["in"]["type"] == "header_and_text"
    (recorded,) = row["in"]["events"]
    event = (recorded["headers"], recorded["body"].encode())
    serializer = make(HeaderAndTextSerializer, **row["in"]["config"])
    assert bytes(serializer.serialize(batch_of([event]))) == row["out"]["body"].encode()
    events = crowd(event)
    expected = alone(serializer, events)
    assert expected[events.index(event)] == row["out"]["body"].encode()
    assert bytes(serializer.serialize(batch_of(events))) == b"".join(expected)


def test_headers_that_all_rows_share_are_printed_with_the_others(make) -> None:
    """Constants, columns and null values make one map; the order is that of the names each row has."""
    block = b"one\ntwo\nthree\n"
    batch = EventBatch(rows_of(block, line_ends(block)), trim=1, constants={"timestamp": "1", "nil": None})
    batch = batch.with_header("host", pa.array(["web1", None, None]))
    batch = batch.with_null_header("host", pa.array([False, False, True]))
    lines = bytes(make(HeaderAndTextSerializer).serialize(batch)).decode().splitlines()
    assert lines == [
        "{nil=null, host=web1, timestamp=1} one",
        "{nil=null, timestamp=1} two",
        "{nil=null, host=null, timestamp=1} three",
    ]


def test_more_headers_than_fit_into_a_byte_of_flags(make) -> None:
    """Rows with any of twenty headers keep their own."""
    events = [({f"h{n}": "x" for n in range(20) if (row * 7919) >> n & 1}, b"%d" % row) for row in range(300)]
    serializer = make(HeaderAndTextSerializer)
    assert bytes(serializer.serialize(batch_of(events))) == b"".join(alone(serializer, events))


def test_no_rows_are_no_bytes(make) -> None:
    """An empty batch adds nothing."""
    assert bytes(make(HeaderAndTextSerializer).serialize(EventBatch.of([]))) == b""


@pytest.mark.parametrize(
    "name", ["HEADER_AND_TEXT", "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer$Builder"]
)
def test_it_is_found_by_flumes_names(name: str) -> None:
    """The alias in any case, and the class name."""
    assert find("serializer", name) is HeaderAndTextSerializer
