"""Bodies that are Avro records already: whose schema, and what does not fit."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest

from shipper.api import EventBatch, Refused, RetryLater
from shipper.config.field import read_options
from shipper.registry import find
from shipper.serializers.avro_datum import LITERAL_HEADER, URL_HEADER, AvroDatumSerializer

POINT = {"type": "record", "name": "Point", "fields": [{"name": "x", "type": "long"}, {"name": "s", "type": "string"}]}
OTHER = {"type": "record", "name": "Other", "fields": [{"name": "y", "type": "long"}]}
LITERAL = json.dumps(POINT, indent=2)


def datum(row: dict[str, Any]) -> bytes:
    data = io.BytesIO()
    fastavro.schemaless_writer(data, POINT, row)
    return data.getvalue()


ROWS = [{"x": number, "s": "text " * number} for number in range(50)]


def points(headers: dict[str, str | None]) -> EventBatch:
    return EventBatch.of([datum(row) for row in ROWS], [headers] * len(ROWS))


def read(*pieces: Any) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(b"".join(pieces))))  # type: ignore[arg-type]


def refused(serializer, batch: EventBatch) -> tuple[str, tuple[int, ...] | None]:
    with pytest.raises(Refused) as caught:
        serializer.serialize(batch)
    return str(caught.value), caught.value.rows


def test_the_schema_is_in_a_header(make) -> None:
    """Blanks of the schema are left out in the file; the records are the bodies as they came."""
    serializer = make(AvroDatumSerializer)
    data = [serializer.header(), serializer.serialize(points({LITERAL_HEADER: LITERAL}))]
    data.append(serializer.serialize(points({LITERAL_HEADER: json.dumps(POINT)})))
    assert read(*data) == ROWS * 2
    assert json.dumps(POINT, separators=(",", ":")).encode() in bytes(data[1])


def test_the_schema_is_behind_a_url(make, tmp_path: Path) -> None:
    """The URL in a header goes before the text in one, and both before `schemaURL`."""
    (tmp_path / "point.avsc").write_text(LITERAL)
    (tmp_path / "other.avsc").write_text(json.dumps(OTHER))
    point, other = (tmp_path / "point.avsc").as_uri(), (tmp_path / "other.avsc").as_uri()
    for headers, url in [
        ({URL_HEADER: point, LITERAL_HEADER: json.dumps(OTHER)}, other), ({LITERAL_HEADER: LITERAL}, other), ({}, point)
    ]:  # fmt: skip
        serializer = make(AvroDatumSerializer, schemaURL=url)
        assert read(serializer.header(), serializer.serialize(points(headers))) == ROWS


def test_rows_of_another_schema_are_refused_by_name(make) -> None:
    """Flume would write them into the file, and no reader could make sense of it. The rest stays writable."""
    serializer = make(AvroDatumSerializer)
    begun = bytes(serializer.serialize(points({LITERAL_HEADER: LITERAL})))
    names = [LITERAL, json.dumps(OTHER), LITERAL, json.dumps(OTHER)]
    mixed = EventBatch.of([datum(row) for row in ROWS[:4]], [{LITERAL_HEADER: name} for name in names])
    message, rows = refused(serializer, mixed)
    assert rows == (1, 3)
    assert "2 of 4" in message
    assert '"Other"' in message
    assert "%{flume.avro.schema.url}" in message
    rest = serializer.serialize(mixed.slice(0, 1))
    assert read(begun, rest) == [*ROWS, ROWS[0]]


def test_the_first_event_decides_also_when_it_has_company(make) -> None:
    """In the first batch of a file."""
    mixed = EventBatch.of([b"", b"", b""], [{LITERAL_HEADER: json.dumps(s)} for s in (OTHER, POINT, OTHER)])
    assert refused(make(AvroDatumSerializer), mixed)[1] == (1,)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "neither header flume.avro.schema.url nor flume.avro.schema.literal"),
        ({LITERAL_HEADER: "{not json"}, "is not JSON"),
        ({URL_HEADER: "hdfs://nn/schema.avsc"}, "not from hdfs://nn/schema.avsc"),
    ],
)
def test_rows_without_a_schema_are_refused(make, headers: dict[str, str | None], said: str) -> None:
    """The message says what is wrong with them; the rows with a schema are not named."""
    batch = EventBatch.of([b"", datum(ROWS[0])], [headers, {LITERAL_HEADER: LITERAL}])
    message, rows = refused(make(AvroDatumSerializer), batch)
    assert rows == (0,)
    assert said in message


def test_a_schema_that_can_not_be_had_now_is_waited_for(make, tmp_path: Path) -> None:
    """Nothing of the batch is written meanwhile, and the next try succeeds."""
    url = (tmp_path / "later.avsc").as_uri()
    serializer = make(AvroDatumSerializer, schemaURL=url)
    with pytest.raises(RetryLater, match="later"):
        serializer.serialize(points({}))
    assert serializer.state() is None
    (tmp_path / "later.avsc").write_text(LITERAL)
    assert read(serializer.serialize(points({}))) == ROWS


def test_another_process_goes_on_with_the_file(make) -> None:
    """It knows the marker, and which schema the file has."""
    first = make(AvroDatumSerializer, compressionCodec="deflate")
    begun = bytes(first.serialize(points({LITERAL_HEADER: LITERAL})))
    second = make(AvroDatumSerializer, first.state(), compressionCodec="deflate")
    assert read(begun, second.serialize(points({LITERAL_HEADER: LITERAL}))) == ROWS * 2
    assert refused(second, EventBatch.of([b""], [{LITERAL_HEADER: json.dumps(OTHER)}]))[1] == (0,)


def test_a_schema_url_of_another_kind_is_an_error_at_the_start() -> None:
    """With the value and what can be read."""
    _, findings = read_options(AvroDatumSerializer.Options, {"schemaURL": "hdfs://nn/schema.avsc"})
    assert [finding.severity for finding in findings] == ["error"]
    assert "file:, http: and https:" in findings[0].message


def test_it_is_found_by_flumes_name() -> None:
    """Which is not that of avro_event."""
    assert find("serializer", "org.apache.flume.sink.hdfs.AvroEventSerializer$Builder") is AvroDatumSerializer
