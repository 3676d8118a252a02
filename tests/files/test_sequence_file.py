"""SequenceFile: the real agent's bytes, numbers of every width, and keys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shipper.api import EventBatch, Refused
from shipper.batch.framing import line_ends, rows_of
from shipper.files.compress import find_codec
from shipper.files.sequence_file import (
    SequenceFileOptions,
    SequenceFileSerializer,
    find_write_format,
    vint,
    vints,
)
from shipper.testing.fakes import ManualClock

NOW_MS = 1_700_000_000_000


def serializer(write_format: str = "Writable", codec: str = "", state: str | None = None) -> SequenceFileSerializer:
    return SequenceFileSerializer(
        SequenceFileOptions(write_format=write_format, codec=codec), ManualClock(NOW_MS), state
    )


def recorded_events() -> EventBatch:
    return EventBatch.of(
        [b"first event", "zweites Ereignis äöü €".encode(), b"third\twith tab"],
        [{"timestamp": f"134045919323{digit}"} for digit in (4, 5, 6)],
    )


def sync_of(data: bytes) -> str:
    place = data.index(b"\xff\xff\xff\xff") + 4
    return data[place : place + 16].hex()


def file_of(made: SequenceFileSerializer, *batches: EventBatch) -> bytes:
    return b"".join((made.header(), *(made.serialize(batch) for batch in batches), made.footer()))


def keys_of(made: SequenceFileSerializer, batch: EventBatch) -> list[int]:
    """Keys of the records; all bodies must be one byte long."""
    data = bytes(made.serialize(batch))[:-20]
    return [int.from_bytes(data[start + 8 : start + 16], "big", signed=True) for start in range(0, len(data), 21)]


@pytest.mark.parametrize(
    ("name", "write_format", "codec"),
    [
        ("seq-writable.seq", "Writable", ""), ("seq-writable-2.seq", "Writable", ""), ("seq-text.seq", "Text", ""),
        ("seq-text-2.seq", "Text", ""), ("seq-snappy.seq", "Writable", "snappy"),
    ],
)  # fmt: skip
def test_the_bytes_are_those_of_the_real_agent(reference: Path, name: str, write_format: str, codec: str) -> None:
    """With the recording's sync marker. In -2 files, the third event came as a batch of its own."""
    recorded = (reference / "flume-files" / name).read_bytes()
    events = recorded_events()
    batches = [events.slice(0, 2), events.slice(2)] if "-2." in name else [events]
    assert file_of(serializer(write_format, codec, sync_of(recorded)), *batches) == recorded


@pytest.mark.parametrize(
    ("name", "write_format", "codec"),
    [
        ("seq-default.seq", "Text", "default"), ("seq-default-2.seq", "Writable", "default"),
        ("seq-gzip.seq", "Writable", "gzip"), ("seq-bzip2.seq", "Writable", "bzip2"),
    ],
)  # fmt: skip
def test_the_header_is_the_real_agents_also_where_another_library_packs(
    reference: Path, name: str, write_format: str, codec: str
) -> None:
    """Two libraries choose different bits for the same text; what the blocks say is read by Hadoop elsewhere."""
    recorded = (reference / "flume-files" / name).read_bytes()
    made = serializer(write_format, codec, sync_of(recorded))
    begin = bytes(made.header()) + b"\xff\xff\xff\xff" + bytes.fromhex(sync_of(recorded))
    assert recorded.startswith(begin)
    assert file_of(made, recorded_events()).startswith(begin)


def test_recorded_record() -> None:
    """One record of the recorded behaviours: `event 0` as Text."""
    batch = EventBatch.of([b"event 0"], [{"timestamp": "1700000000000"}])
    data = bytes(serializer("Text").serialize(batch))
    assert data[:-20].hex() == "00000010000000080000018bcfe56800076576656e742030"


@pytest.mark.parametrize("value", [0, 1, 127, 128, 255, 256, 65_535, 65_536, (1 << 24) - 1, 1 << 24, (1 << 31) - 1])
def test_a_vint_is_the_same_alone_and_in_a_column(value: int) -> None:
    """At each width, beside others of other widths."""
    others = [0, 127, 128, 300, 70_000]
    column = vints(np.array([*others, value, *others], np.int64)).to_pylist()
    assert column == [vint(number) for number in (*others, value, *others)]


def test_vints_are_hadoops() -> None:
    """Known pairs: the first byte says how many follow."""
    known = {0: "00", 127: "7f", 128: "8f80", 255: "8fff", 256: "8e0100", 70_000: "8d011170", 1 << 24: "8c01000000"}
    assert {value: vint(value).hex() for value in known} == known


def test_the_key_is_the_timestamp_or_now() -> None:
    """From a column with gaps, from a constant, from nowhere."""
    made = serializer()
    batch = EventBatch.of([b"a", b"b", b"c", b"d"], [{"timestamp": "5"}, {}, {"timestamp": "-7"}, {"timestamp": None}])
    assert keys_of(made, batch) == [5, NOW_MS, -7, NOW_MS]
    bare = EventBatch.of([b"a", b"b"])
    assert keys_of(made, bare.with_header("timestamp", "42")) == [42, 42]
    assert keys_of(made, bare.with_header("timestamp", None)) == [NOW_MS, NOW_MS]
    assert keys_of(made, bare) == [NOW_MS, NOW_MS]


def test_what_java_reads_as_a_long_is_a_key() -> None:
    """A plus sign and leading zeros, up to the last number that fits."""
    values = ["+5", "0017", "9223372036854775807", "-9223372036854775808"]
    batch = EventBatch.of([b"x"] * 4, [{"timestamp": value} for value in values])
    assert keys_of(serializer(), batch) == [5, 17, (1 << 63) - 1, -(1 << 63)]


@pytest.mark.parametrize("value", ["yesterday", "", " 5", "1.5", "9223372036854775808", "1e3", "0x10"])
@pytest.mark.parametrize("codec", ["", "gzip"])
def test_rows_with_another_timestamp_are_refused_by_name(value: str, codec: str) -> None:
    """Flume fails on them for ever. The message has the value, the rows that are fine are not named."""
    headers = [{"timestamp": "1"}, {"timestamp": value}, {}, {"timestamp": value}, {"timestamp": "+2"}]
    with pytest.raises(Refused, match="2 of 5 events") as caught:
        serializer(codec=codec).serialize(EventBatch.of([b"x"] * 5, headers))
    assert caught.value.rows == (1, 3)
    assert repr(value) in str(caught.value)
    with pytest.raises(Refused) as caught:
        serializer(codec=codec).serialize(EventBatch.of([b"x"] * 2).with_header("timestamp", value))
    assert caught.value.rows == (0, 1)


def test_blocks_are_of_about_a_megabyte() -> None:
    """Each begins with the marker: its first record may be found from anywhere in the file."""
    made = serializer(codec="gzip")
    data = bytes(made.serialize(EventBatch.of([b"x" * 1000] * 2500)))  # of 1,012 bytes each
    assert data.count(bytes.fromhex(made.state() or "")) == 3


def test_another_process_goes_on_with_the_file() -> None:
    """The marker is its state."""
    first = serializer()
    second = serializer(state=first.state())
    batch = EventBatch.of([b"x"])
    assert second.serialize(batch) == first.serialize(batch)
    assert serializer().state() != first.state()


def test_delimiters_of_the_source_are_not_part_of_the_value() -> None:
    """The lines lie in their block with CRLF."""
    block = b"one\r\nthree\r\n"
    lines = EventBatch(rows_of(block, line_ends(block)), trim=2)
    made = serializer("Text")
    assert bytes(made.serialize(lines)) == bytes(made.serialize(EventBatch.of([b"one", b"three"])))


def test_no_rows_are_no_bytes() -> None:
    """Not even a marker."""
    assert serializer().serialize(EventBatch.of([])) == b""
    assert serializer(codec="gzip").serialize(EventBatch.of([])) == b""


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Writable", "Writable"), ("TEXT", "Text"), ("org.apache.flume.sink.hdfs.HDFSTextSerializer$Builder", "Text"),
        ("org.apache.flume.sink.hdfs.HDFSWritableSerializer$Builder", "Writable"),
    ],
)  # fmt: skip
def test_write_formats_are_known_by_flumes_names(said: str, meant: str) -> None:
    """Either in any case, or the class."""
    assert find_write_format(said) == meant


def test_another_write_format_is_refused() -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match="must be Writable or Text"):
        find_write_format("Nope")


def test_every_codec_stands_in_the_header_by_its_class() -> None:
    """A reader loads the class of that name."""
    header = bytes(serializer(codec="zstd").header())
    assert find_codec("zstd").class_name.encode() in header
    assert pa.Codec.is_available("zstd")
