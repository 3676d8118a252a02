"""json_lines: every event comes back from its line, whatever its bytes are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.api import EventBatch
from shipper.clock import SystemClock
from shipper.registry import find
from shipper.serializers.json_lines import JsonLinesOptions, JsonLinesSerializer

AWKWARD = st.sampled_from(
    [b"", b'"', b"\\", b"\\n", b"\n", b"\r\n", b"\t", b"\x00", b"\x1b[0m", b"\x7f", "ä€😀\u2028".encode(),
     b"\xff", b"\xc3", b"\xa4", b"\xe2\x82", b"\xac", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf0\x9f",
     b"\xf4\x90\x80\x80", b"\xf5", b"\xf0\x8f\xbf\xbf", b"\xef\xbf\xbf"]
)  # fmt: skip
BODIES = st.lists(st.one_of(AWKWARD, st.binary(max_size=8), st.text(max_size=8).map(str.encode)), max_size=4)
VALUES = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=5))
HEADERS = st.dictionaries(st.sampled_from(["host", "k", 'q"', "größe"]), VALUES)


def serialize(batch: EventBatch) -> bytes:
    return bytes(JsonLinesSerializer(JsonLinesOptions(), SystemClock()).serialize(batch))


def line_of(headers: dict[str, str | None], body: bytes) -> dict[str, Any]:
    try:
        return {"headers": headers, "body": body.decode()}
    except UnicodeDecodeError:
        return {"headers": headers, "body_base64": base64.b64encode(body).decode()}


@given(st.lists(st.tuples(HEADERS, BODIES.map(b"".join)), max_size=12))
def test_every_event_comes_back_from_its_line(events: list[tuple[dict[str, str | None], bytes]]) -> None:
    """Quotes, control characters, bytes that are no UTF-8 beside such that are, headers there or not or null."""
    written = serialize(EventBatch.of([body for _, body in events], [headers for headers, _ in events]))
    assert [json.loads(line) for line in written.splitlines()] == [line_of(*event) for event in events]
    assert written.count(b"\n") == len(events)


def test_a_line_looks_as_described() -> None:
    """Names, order and blanks."""
    batch = EventBatch.of([b'say "hi"', b"\xff\xfe"], [{"k": "v"}, {}]).with_header("host", "web1")
    assert serialize(batch).decode().splitlines() == [
        '{"headers": {"host": "web1", "k": "v"}, "body": "say \\"hi\\""}',
        '{"headers": {"host": "web1"}, "body_base64": "//4="}',
    ]


def test_a_character_is_not_made_of_two_rows() -> None:
    """Halves of one character in neighbouring rows are no UTF-8, in whatever order."""
    bodies = [b"\xc3", b"\xa4", b"\xe2\x82", b"\xac", b"\xe2", b"\x82\xac", "ä".encode(), b"\xe2", b"\x82"]
    bodies += [b"\xf0", b"\x9f\x98", b"\x80", b"\xf0\x9f", b"\x98\x80", b"\xf0\x9f\x98", b"\x80", "😀".encode()]
    lines = [json.loads(line) for line in serialize(EventBatch.of(bodies)).splitlines()]
    assert lines == [line_of({}, body) for body in bodies]


@pytest.mark.parametrize("body", [
    b"\xff", b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xc3", b"\xc3(", b"\xe0\x9f\xbf", b"\xe2\x82", b"\xe2(\xac",
    b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98", b"\xf0\x9f(\x80", b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
])  # fmt: skip
def test_what_is_no_utf8_is_in_base64(body: bytes) -> None:
    """Alone, and between bodies that are."""
    bodies = [body, "ä€😀".encode(), b"plain" + body + b"plain", b"\xed\x9f\xbf", b"\xf4\x8f\xbf\xbf", b"\xe0\xa0\x80"]
    lines = [json.loads(line) for line in serialize(EventBatch.of(bodies)).splitlines()]
    assert lines == [line_of({}, each) for each in bodies]
    assert ["body_base64" in line for line in lines] == [True, False, True, False, False, False]


def test_a_part_of_a_batch_is_written_alone() -> None:
    """Rows before and behind the slice, and their headers, stay out."""
    batch = EventBatch.of([b"a", b"\xffb", b'"c"', b"d"], [{"n": str(row)} for row in range(4)]).slice(1, 2)
    assert [json.loads(line) for line in serialize(batch).splitlines()] == [
        line_of({"n": "1"}, b"\xffb"), line_of({"n": "2"}, b'"c"'),
    ]  # fmt: skip


def test_null_headers_of_rows_are_null() -> None:
    """Present without a value is not absent."""
    batch = EventBatch.of([b"a", b"b"]).with_header("h", pa.array([None, None], pa.string()))
    batch = batch.with_null_header("h", pa.array([True, False]))
    assert [json.loads(line)["headers"] for line in serialize(batch).splitlines()] == [{"h": None}, {}]


def test_it_is_found_by_its_name() -> None:
    """In any case."""
    assert find("serializer", "JSON_LINES") is JsonLinesSerializer
