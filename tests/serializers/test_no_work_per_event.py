"""Serializers execute as many instructions of Python for ten thousand rows as for a thousand.

What they loop over is distinct: sets of headers, kinds of characters to escape, blocks of a file, schemas.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from shipper.api import EventBatch, Serializer
from shipper.files.sequence_file import SequenceFileOptions, SequenceFileSerializer
from shipper.serializers.avro_datum import LITERAL_HEADER, AvroDatumOptions, AvroDatumSerializer
from shipper.serializers.avro_event import AvroEventSerializer, AvroOptions
from shipper.serializers.header_and_text import HeaderAndTextOptions, HeaderAndTextSerializer
from shipper.serializers.json_lines import JsonLinesOptions, JsonLinesSerializer
from shipper.serializers.text import TextOptions, TextSerializer
from shipper.testing.fakes import ManualClock
from shipper.testing.instructions import work_of

SERIALIZERS = [
    (TextSerializer, TextOptions()),
    (TextSerializer, TextOptions(append_newline=False)),
    (HeaderAndTextSerializer, HeaderAndTextOptions()),
    (JsonLinesSerializer, JsonLinesOptions()),
    (AvroEventSerializer, AvroOptions()),
    (AvroDatumSerializer, AvroDatumOptions()),
    (SequenceFileSerializer, SequenceFileOptions()),
    (SequenceFileSerializer, SequenceFileOptions(write_format="Text", codec="gzip")),
]


def instructions(serializer: Serializer[Any], batch: EventBatch) -> int:
    """How many instructions of Python `serialize` executes."""
    return work_of(lambda: serializer.serialize(batch)).instructions


def rows(count: int) -> EventBatch:
    """Bodies of many lengths, some of them no UTF-8; headers that all have, that some have, and a null value."""
    bodies = [b'%d "quoted"\t' % row + b"x" * (row % 37) + (b"\xff" if row % 10 == 9 else b"") for row in range(count)]
    batch = EventBatch.of(bodies).with_header("host", "web1").with_header(LITERAL_HEADER, '{"type": "null"}')
    batch = batch.with_header("timestamp", pa.array([str(1_700_000_000_000 + row) for row in range(count)]))
    values = pa.array([None if row % 3 else f"v{row}" for row in range(count)], pa.string())
    return batch.with_header("some", values).with_null_header("some", pa.array([row % 3 == 1 for row in range(count)]))


@pytest.mark.parametrize(("kind", "options"), SERIALIZERS, ids=lambda value: getattr(value, "__name__", None))
def test_rows_cost_no_instructions(kind: type[Serializer[Any]], options: Any) -> None:
    """The first call warms up what is remembered: orders of headers, codecs, modules."""
    serializer = kind(options, ManualClock())
    instructions(serializer, rows(1_000))
    more = instructions(serializer, rows(10_000)) - instructions(serializer, rows(1_000))
    assert 0 <= more < 50, "the length of a block may have a digit more"
