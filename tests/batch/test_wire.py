"""A batch on the wire: what is decoded is what was encoded, and it never needs more room than was asked for."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.batch import wire
from shipper.batch.batch import EventBatch, Origin
from shipper.errors import DamagedData


def carried(batch: EventBatch) -> EventBatch:
    """The batch through exactly as much memory as it asks for."""
    memory = memoryview(bytearray(wire.bound(batch)))
    return wire.decode(memory[: wire.encode(batch, memory)])


def contents(batch: EventBatch) -> tuple[object, ...]:
    """All that a reader can see."""
    typed = {n: batch.records.column(n).to_pylist() for n in batch.records.schema.names if n.startswith("f:")}
    rows = [batch.headers_of(row) for row in range(batch.rows)]
    return batch.body.to_pylist(), bytes(batch.lines()), rows, batch.trim, batch.constants, batch.origins, typed


@settings(max_examples=300)
@given(st.data())
def test_any_batch_comes_back_as_it_was_within_its_bound(batches: st.SearchStrategy, data: st.DataObject) -> None:
    batch = data.draw(batches)
    assert contents(carried(batch)) == contents(batch)


@pytest.mark.parametrize("name_length", [1, 700, 70_000])
def test_long_header_names_fit_in_the_bound(name_length: int) -> None:
    batch = EventBatch.of([b"x"], [{"n" * name_length: "v"}])
    assert contents(carried(batch)) == contents(batch)


@pytest.mark.parametrize("headers", [300, 3000])
def test_very_many_headers_fit_in_the_bound(headers: int) -> None:
    names = [chr(0x4E00 + i) for i in range(headers)]
    columns = EventBatch.of([b"x", b"y"], [dict.fromkeys(names, "v"), {}])
    assert contents(carried(columns)) == contents(columns)
    constants = EventBatch(EventBatch.of([b"x"]).records, constants=dict.fromkeys(names))
    assert contents(carried(constants)) == contents(constants)


def test_control_characters_and_quotes_in_constants_and_origins_survive() -> None:
    every = "".join(map(chr, range(32))) + '"\\\u2028\x7f\U0001f600'
    batch = EventBatch(
        EventBatch.of([b"x"]).records, constants={every: every * 50}, origins=[Origin(every, 0, 1, every)]
    )
    assert contents(carried(batch)) == contents(batch)


def test_very_many_origins_fit_in_the_bound() -> None:
    origins = [Origin("\x01" * 20, 2**63 - 1, 2**63 - 1, "\x02" * 20)] * 5000
    batch = EventBatch.of([b"x"]).with_origins(origins)
    assert carried(batch).origins == tuple(origins)


@pytest.mark.parametrize("trim", [0, 1, 2])
def test_a_slice_of_a_large_block_takes_the_room_of_the_slice(trim: int) -> None:
    """What a slice leaves behind in its block does not go over the wire."""
    batch = EventBatch.of([b"x" * 100 + b"\r\n"[:trim].rjust(trim)] * 10_000)
    part = EventBatch(batch.records, trim=trim).slice(5000, 10)
    assert wire.bound(part) < 4096
    assert contents(carried(part)) == contents(part)


def test_every_kind_of_column_survives() -> None:
    records = EventBatch.of([b"a", b"b", b"c"], [{"h": "1"}, {"h": None}, {}]).records
    columns = {
        "f:i": pa.array([1, None, -(2**63)], pa.int64()),
        "f:d": pa.array([0.5, None, float("inf")]),
        "f:t": pa.array([0, 1, None], pa.timestamp("us", "UTC")),
        "f:b": pa.array([True, None, False]),
        "f:s": pa.array([None, "", "\x00"]),
        "f:m": pa.array([[("k", "v")], [], None], pa.map_(pa.string(), pa.string())),
        "f:l": pa.array([["x"], None, []], pa.list_(pa.string())),
    }
    for name, column in columns.items():
        records = records.append_column(name, column)
    batch = EventBatch(records)
    back = carried(batch)
    assert back.records.to_pydict() == records.to_pydict()
    assert back.records.schema.types == records.schema.types


def test_decoding_copies_nothing() -> None:
    batch = EventBatch.of([b"abc" * 1000])
    memory = memoryview(bytearray(wire.bound(batch)))
    back = wire.decode(memory[: wire.encode(batch, memory)])
    begin = int(np.frombuffer(memory, np.uint8).__array_interface__["data"][0])
    assert begin <= back.raw_body.buffers()[2].address < begin + len(memory)


@pytest.mark.parametrize("data", [b"", b"\x00" * 400, b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"x" * 200])
def test_bytes_that_are_no_batch_are_damaged_data(data: bytes) -> None:
    with pytest.raises(DamagedData, match="holds no batch"):
        wire.decode(memoryview(data))


def test_an_arrow_stream_without_our_metadata_is_damaged_data() -> None:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, EventBatch.of([b"x"]).records.schema) as writer:
        writer.write_batch(EventBatch.of([b"x"]).records)
    with pytest.raises(DamagedData):
        wire.decode(memoryview(sink.getvalue()))
