"""Framing: the lines of a block as offsets, against a model that splits bytes one at a time."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.batch.batch import EventBatch
from shipper.batch.framing import line_ends, rows_between, rows_of, strip_carriage_returns

BLOCKS = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"\x00", b"\xff", b"bcd"]), max_size=40).map(b"".join)


def lines_of(block: bytes) -> list[bytes]:
    """The model: whole lines with their newline."""
    return [line + b"\n" for line in block.split(b"\n")[:-1]]


def stripped(line: bytes) -> bytes:
    """The model: without the newline and one carriage return before it."""
    line = line[:-1]
    return line[:-1] if line.endswith(b"\r") else line


@given(BLOCKS)
def test_offsets_are_where_a_byte_by_byte_scan_finds_newlines(block: bytes) -> None:
    ends = [0] + [place + 1 for place, byte in enumerate(block) if byte == 10]
    offsets = line_ends(block)
    assert offsets.dtype == np.int32
    assert offsets.tolist() == ends
    assert rows_of(block, offsets).column(0).to_pylist() == lines_of(block)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_block_may_be_any_buffer(kind: type) -> None:
    assert line_ends(kind(b"a\nb\nrest")).tolist() == [0, 2, 4]


@settings(max_examples=40)
@given(
    st.integers(98_300, 98_700),
    st.lists(st.integers(0, 98_299), max_size=300),
    st.lists(st.tuples(st.integers(0, 98_000), st.integers(1, 300)), max_size=4),
)
def test_the_sparse_scan_finds_what_the_plain_scan_finds(size: int, single: list[int], runs: list) -> None:
    """Above 96 KiB newlines are looked for eight bytes at a time: everywhere in a word, alone and in runs."""
    block = np.full(size, 65, np.uint8)
    block[single] = 10
    for start, length in runs:
        block[start : start + length] = 10
    assert line_ends(block.tobytes()).tolist() == [0, *(np.flatnonzero(block == 10) + 1).tolist()]


@pytest.mark.parametrize("every", [1, 2, 3, 7, 8, 9, 16, 64, 1000, 200_000])
def test_a_large_block_of_lines_of_one_length(every: int) -> None:
    block = (b"x" * (every - 1) + b"\n") * (200_000 // every)
    assert line_ends(block).tolist() == list(range(0, len(block) + 1, every))


@given(BLOCKS)
def test_one_carriage_return_before_the_newline_goes_with_it(block: bytes) -> None:
    records, trim = strip_carriage_returns(block, line_ends(block))
    assert EventBatch(records, trim=trim).body.to_pylist() == [stripped(line) for line in lines_of(block)]


@pytest.mark.parametrize(
    ("block", "trim"),
    [(b"a\nb\n", 1), (b"a\r\nb\r\n", 2), (b"a\r\nb\n", 0), (b"a\rb\nc\n", 1), (b"\r\n\r\n", 2), (b"\n\n", 1), (b"", 1)],
)
def test_bodies_are_copied_only_when_line_ends_differ(block: bytes, trim: int) -> None:
    assert strip_carriage_returns(block, line_ends(block))[1] == trim


def test_a_carriage_return_of_the_line_before_is_not_taken() -> None:
    """An empty line after one that ends in a bare carriage return is empty, no more."""
    block = b"a\r\n\nb\r\n"
    records, trim = strip_carriage_returns(block, line_ends(block))
    assert EventBatch(records, trim=trim).body.to_pylist() == [b"a", b"", b"b"]


@given(st.binary(max_size=60), st.data())
def test_rows_between_are_slices_of_the_block(block: bytes, data: st.DataObject) -> None:
    edges = sorted(data.draw(st.lists(st.integers(0, len(block)), max_size=12)))
    pairs = list(zip(edges[0::2], edges[1::2], strict=False))
    records = rows_between(block, np.array([a for a, _ in pairs], int), np.array([b for _, b in pairs], int))
    assert records.column(0).to_pylist() == [block[a:b] for a, b in pairs]


def test_rows_of_an_arrow_buffer_share_it() -> None:
    buffer = pa.py_buffer(b"a\nbb\n")
    records = rows_of(buffer, line_ends(buffer))
    assert records.column(0).buffers()[2].address == buffer.address
