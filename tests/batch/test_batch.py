"""A batch: rows of one body column and a column a header, whatever is still in the block behind it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from shipper.batch.batch import EventBatch, Origin, delimiter_of
from shipper.batch.framing import line_ends, rows_of

LINES = [b"first", b"", b"third line", b"\xff\x00 raw"]


def framed(trim: int, bodies: list[bytes] = LINES) -> EventBatch:
    """The bodies in one block with their delimiters in place."""
    delimiter = delimiter_of(trim)
    block = b"".join(body + delimiter for body in bodies)
    offsets = np.cumsum([0] + [len(body) + len(delimiter) for body in bodies]).astype(np.int32)
    return EventBatch(rows_of(block, offsets), trim=trim)


def address(view: memoryview) -> int:
    """Where the first byte lies."""
    return int(np.frombuffer(view, np.uint8).__array_interface__["data"][0])


@pytest.mark.parametrize("trim", [0, 1, 2])
class TestDelimitersInPlace:
    """Nobody can see from outside whether the delimiters are still in the block."""

    def test_bodies_come_without_delimiters(self, trim: int) -> None:
        assert framed(trim).body.to_pylist() == LINES

    def test_lines_end_in_a_newline_each(self, trim: int) -> None:
        assert bytes(framed(trim).lines()) == b"".join(line + b"\n" for line in LINES)

    def test_bodies_run_together(self, trim: int) -> None:
        assert bytes(framed(trim).concatenated()) == b"".join(LINES)

    def test_lengths_and_sums_count_bodies_only(self, trim: int) -> None:
        batch = framed(trim)
        assert batch.body_lengths().tolist() == [len(line) for line in LINES]
        assert batch.body_bytes == sum(map(len, LINES))

    def test_every_slice_is_as_the_list_slice(self, trim: int) -> None:
        batch = framed(trim)
        for start in range(len(LINES) + 1):
            for rows in range(len(LINES) - start + 1):
                part = batch.slice(start, rows)
                expected = LINES[start : start + rows]
                assert part.body.to_pylist() == expected
                assert bytes(part.lines()) == b"".join(line + b"\n" for line in expected)
                assert part.body_lengths().tolist() == [len(line) for line in expected]
                assert part.body_bytes == sum(map(len, expected))

    def test_a_slice_of_a_slice_counts_from_the_slice(self, trim: int) -> None:
        assert framed(trim).slice(1).slice(1, 1).body.to_pylist() == LINES[2:3]

    def test_filter_and_take_keep_the_delimiters_secret(self, trim: int) -> None:
        batch = framed(trim)
        assert batch.filter(pa.array([True, False, True, False])).body.to_pylist() == [LINES[0], LINES[2]]
        assert batch.take(pa.array([3, 0])).body.to_pylist() == [LINES[3], LINES[0]]
        assert bytes(batch.slice(1).take(pa.array([2, 0])).lines()) == LINES[3] + b"\n" + LINES[1] + b"\n"

    def test_an_own_copy_shares_no_byte(self, trim: int) -> None:
        block = bytearray(b"".join(line + delimiter_of(trim) for line in LINES))
        offsets = np.cumsum([0] + [len(line) + trim for line in LINES]).astype(np.int32)
        batch = EventBatch(rows_of(block, offsets), trim=trim, constants={"k": "v"}, origins=(Origin("s", 0, 1),))
        copy = batch.slice(1).own()
        block[:] = b"\xdb" * len(block)
        assert copy.body.to_pylist() == LINES[1:]
        assert (copy.trim, copy.constants, copy.origins) == (trim, {"k": "v"}, (Origin("s", 0, 1),))

    def test_other_bodies_need_no_delimiters(self, trim: int) -> None:
        batch = framed(trim).with_header("h", "v").with_body(pa.array([b"a", b"b", b"c", b"d"], pa.binary()))
        assert batch.trim == 0
        assert batch.body.to_pylist() == [b"a", b"b", b"c", b"d"]
        assert batch.headers_of(2) == {"h": "v"}


def test_lines_of_a_block_with_newlines_are_not_copied() -> None:
    """`lines` of a block that still has its newlines is that block."""
    block = b"one\ntwo\nthree\n"
    batch = EventBatch(rows_of(block, line_ends(block)), trim=1)
    assert address(batch.lines()) == address(memoryview(block))
    assert address(batch.slice(1).lines()) == address(memoryview(block)) + 4
    assert bytes(batch.slice(1, 1).lines()) == b"two\n"


def test_a_batch_without_rows_answers_everything_with_nothing() -> None:
    for trim in (0, 1, 2):
        for batch in (framed(trim, []), framed(trim).slice(2, 0), framed(trim).filter(pa.array([False] * 4))):
            assert batch.rows == batch.body_bytes == 0
            assert bytes(batch.lines()) == bytes(batch.concatenated()) == b""
            assert batch.body_lengths().tolist() == batch.body.to_pylist() == []
            assert batch.own().rows == 0


class TestHeaders:
    """Columns for values that differ, constants for values that do not, a mask for the rare null value."""

    ROWS = ({"a": "1"}, {"a": None, "b": "2"}, {})

    def batch(self) -> EventBatch:
        return EventBatch.of([b"x", b"y", b"z"], self.ROWS)

    def test_absent_and_null_are_two_things(self) -> None:
        assert [self.batch().headers_of(row) for row in range(3)] == list(self.ROWS)

    def test_a_header_is_a_column_with_null_where_it_is_absent(self) -> None:
        batch = self.batch()
        assert batch.header("a").to_pylist() == ["1", None, None]
        assert batch.null_header("a").to_pylist() == [False, True, False]
        assert batch.null_header("b") is None
        assert batch.header("c") is None and not batch.has_header("c")

    def test_a_constant_is_one_value_and_a_column_when_asked_for(self) -> None:
        batch = self.batch().with_header("host", "h1")
        assert batch.constants == {"host": "h1"}
        assert batch.header("host").to_pylist() == ["h1"] * 3
        assert batch.header_names == ["host", "a", "b"]
        assert batch.headers_of(2) == {"host": "h1"}

    def test_a_null_constant_is_present_in_every_row(self) -> None:
        assert EventBatch.of([b"x"]).with_header("k", None).headers_of(0) == {"k": None}

    def test_setting_a_header_replaces_column_mask_and_constant(self) -> None:
        batch = self.batch().with_header("a", "all")
        assert [batch.headers_of(row)["a"] for row in range(3)] == ["all"] * 3
        batch = batch.with_header("a", pa.array(["p", None, "q"], pa.string()))
        assert "a" not in batch.constants
        assert batch.header("a").to_pylist() == ["p", None, "q"]
        assert batch.null_header("a") is None

    def test_taking_a_header_away_takes_its_mask_away(self) -> None:
        batch = self.batch().without_header("a")
        assert batch.headers_of(1) == {"b": "2"} and batch.null_header("a") is None
        assert EventBatch.of([b"x"]).with_header("k", "v").without_header("k").headers_of(0) == {}

    def test_slices_filters_and_takes_carry_the_headers_along(self) -> None:
        batch = self.batch().with_header("host", "h1")
        assert batch.slice(1, 1).headers_of(0) == {"host": "h1", "a": None, "b": "2"}
        assert batch.filter(pa.array([False, False, True])).headers_of(0) == {"host": "h1"}
        assert batch.take(pa.array([1, 0])).headers_of(1) == {"host": "h1", "a": "1"}
        assert batch.own().headers_of(1) == batch.headers_of(1)

    def test_a_batch_never_changes(self) -> None:
        """What is derived from a batch leaves the batch as it was."""
        batch = self.batch().with_header("host", "h1")
        before = [batch.headers_of(row) for row in range(3)]
        batch.with_header("host", "h2").with_header("new", "x").without_header("a").constants["b"] = "changed"
        assert [batch.headers_of(row) for row in range(3)] == before


def test_origins_stay_whole_whatever_is_kept() -> None:
    """Origins say what was read, not what was kept: no cut loses one."""
    origins = (Origin("f1", 0, 10, "crc"), Origin("f2", 5, 9))
    batch = framed(1).with_origins(origins)
    for derived in (
        batch.slice(1, 1), batch.filter(pa.array([False] * 4)), batch.take(pa.array([0])), batch.own(),
        batch.with_header("a", "b"), batch.without_header("a"), batch.with_body(batch.body), batch.slice(0, 0),
    ):  # fmt: skip
        assert derived.origins == origins
