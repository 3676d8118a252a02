"""avro_event: the container is the real agent's to the byte, and other readers read it."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from shipper.api import EventBatch
from shipper.batch.framing import line_ends, rows_of
from shipper.config.field import read_options
from shipper.registry import find
from shipper.serializers.avro_event import AvroEventSerializer
from tests.vectors import vector


def read(data: bytes) -> list[dict[str, Any]]:
    return list(fastavro.reader(io.BytesIO(data)))  # type: ignore[arg-type]


def blocks(data: bytes) -> list[int]:
    return [block.num_records for block in fastavro.block_reader(io.BytesIO(data))]


def file_of(serializer, *batches: EventBatch) -> bytes:
    return b"".join((serializer.header(), *(serializer.serialize(batch) for batch in batches), serializer.footer()))


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("data-avro_event.avro", "null"),
        ("fr-avro_event.avro", "null"),
        ("data-avro_event-deflate.avro", "deflate"),
        ("data-avro_event-snappy.avro", "snappy"),
    ],
)
def test_the_bytes_are_those_of_the_real_agent(make, recorded_events, reference: Path, name: str, codec: str) -> None:
    """With the sync marker of the recording, which is random."""
    recorded = (reference / "flume-files" / name).read_bytes()
    serializer = make(AvroEventSerializer, recorded[-16:].hex(), compressionCodec=codec)
    assert file_of(serializer, recorded_events) == recorded


def test_each_batch_ends_a_block(make, recorded_events: EventBatch, reference: Path) -> None:
    """Two batches are two blocks, as recorded."""
    recorded = (reference / "flume-files" / "data-avro_event-2.avro").read_bytes()
    serializer = make(AvroEventSerializer, recorded[-16:].hex())
    assert file_of(serializer, recorded_events.slice(0, 2), recorded_events.slice(2)) == recorded


def test_recorded_container(make, crowd) -> None:
    """The recorded file, and its events among a thousand others."""
    row = vector("avro_event_file", "two_events")
    events = [(event["headers"], event["body"].encode()) for event in row["in"]["events"]]
    batch = EventBatch.of([body for _, body in events], [headers for headers, _ in events])
    data = file_of(make(AvroEventSerializer, row["in"]["sync"]), batch)
    assert data.hex() == row["out"]["hex"]
    assert len(data) == row["out"]["length"]
    for event in events:
        many = crowd(event)
        batch = EventBatch.of([body for _, body in many], [headers for headers, _ in many])
        rows = read(file_of(make(AvroEventSerializer), batch))
        without_null = [{name: value or "" for name, value in headers.items()} for headers, _ in many]
        assert rows == [{"headers": h, "body": body} for h, (_, body) in zip(without_null, many, strict=True)]


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_other_readers_read_every_codec(make, codec: str) -> None:
    """fastavro; snappy and zstandard are read by Hadoop's shell elsewhere."""
    dice = random.Random(3)
    sizes = [0, 1, 63, 64, 127, 128, 8191, 8192, 1 << 20, 3]  # where the length takes a byte more
    bodies = [dice.randbytes(size) for size in sizes]
    batch = EventBatch.of(bodies, [{"n": "x" * size} for size in sizes]).with_header("host", "web1")
    expected = [
        {"headers": {"n": "x" * size, "host": "web1"}, "body": b} for size, b in zip(sizes, bodies, strict=True)
    ]
    assert read(file_of(make(AvroEventSerializer, compressionCodec=codec), batch)) == expected


def test_zstandard_blocks_are_frames(make) -> None:
    """fastavro reads them with a further library only: what is in the block is what an uncompressed file has there."""
    batch = EventBatch.of([b"some text " * 50] * 10, [{"n": str(row)} for row in range(10)])
    plain, packed = (make(AvroEventSerializer, "ab" * 16, compressionCodec=name) for name in ("null", "zstandard"))
    assert b"avro.codec\x12zstandard" in packed.header()

    def block(data: bytes) -> tuple[bytes, bytes]:
        """Number of records as it stands there, and the records."""
        return data[:1], data[3:-16]  # the length takes two bytes here

    rows, records = block(packed.serialize(batch))
    stream = pa.CompressedInputStream(pa.BufferReader(records), "zstd")
    assert (rows, stream.read()) == block(plain.serialize(batch))


def test_a_block_ends_when_it_is_long_enough(make) -> None:
    """With the record that makes it so, as in Avro's writer: 3 records of 42 bytes are more than 100."""
    batch = EventBatch.of([b"x" * 40] * 7)
    assert blocks(file_of(make(AvroEventSerializer, syncIntervalBytes="100"), batch)) == [3, 3, 1]
    assert blocks(file_of(make(AvroEventSerializer, syncIntervalBytes="126"), batch)) == [3, 3, 1]
    assert blocks(file_of(make(AvroEventSerializer, syncIntervalBytes="127"), batch)) == [4, 3]
    assert blocks(file_of(make(AvroEventSerializer), batch)) == [7]


def test_another_process_goes_on_with_the_file(make) -> None:
    """It is given the state; the markers match, or no reader would go past the first block."""
    first = make(AvroEventSerializer)
    data = file_of(first, EventBatch.of([b"one"]))
    second = make(AvroEventSerializer, first.state())
    data += bytes(second.serialize(EventBatch.of([b"two"])))
    assert [row["body"] for row in read(data)] == [b"one", b"two"]
    assert second.state() == first.state()


def test_two_files_have_different_markers(make) -> None:
    """A reader that looks for one must not find it in another file's bytes."""
    assert make(AvroEventSerializer).state() != make(AvroEventSerializer).state()


def test_a_null_header_is_an_empty_string(make) -> None:
    """Avro's map has no null; Flume's file channel makes the same of it."""
    block = b"one\ntwo\n"
    batch = EventBatch(rows_of(block, line_ends(block)), trim=1, constants={"k": None})
    assert read(file_of(make(AvroEventSerializer), batch)) == [
        {"headers": {"k": ""}, "body": b"one"}, {"headers": {"k": ""}, "body": b"two"},
    ]  # fmt: skip


def test_no_rows_are_no_block(make) -> None:
    """A block of nothing would be legal and useless."""
    assert make(AvroEventSerializer).serialize(EventBatch.of([])) == b""


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("compressionCodec", "lz4", "must be one of null, deflate, snappy, bzip2, xz, zstandard"),
        ("syncIntervalBytes", "31", "must be at least 32"),
    ],
)
def test_what_avro_does_not_know_is_refused_at_the_start(key: str, value: str, said: str) -> None:
    """Flume writes uncompressed files then, with a warning in its log."""
    options, findings = read_options(AvroEventSerializer.Options, {key: value})
    assert options is None
    assert said in findings[0].message
    assert f"{key} = {value}" in findings[0].message


@pytest.mark.parametrize("name", ["AVRO_EVENT", "org.apache.flume.serialization.FlumeEventAvroEventSerializer$Builder"])
def test_it_is_found_by_flumes_names(name: str) -> None:
    """The alias in any case, and the class name."""
    assert find("serializer", name) is AvroEventSerializer
