"""Where a batch is cut so that files end when Flume ends them: it looks before each append."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.api import EventBatch
from shipper.files.roll import RollLimits, cuts


def one_by_one(limits: RollLimits, lengths: list[int], rows: int, size_bytes: int) -> list[int]:
    """What Flume does: the model."""
    found = []
    for index, length in enumerate(lengths):
        if (limits.rows and rows >= limits.rows) or (limits.size_bytes and size_bytes >= limits.size_bytes):
            found.append(index)
            rows = size_bytes = 0
        rows += 1
        size_bytes += length
    return found


@given(
    st.integers(0, 7), st.integers(0, 40), st.lists(st.integers(0, 30), max_size=60), st.integers(0, 9),
    st.integers(0, 50),
)  # fmt: skip
def test_a_batch_is_cut_where_flume_would_roll(
    limit_rows: int, limit_bytes: int, lengths: list[int], rows: int, size_bytes: int
) -> None:
    limits = RollLimits(rows=limit_rows, size_bytes=limit_bytes)
    batch = EventBatch.of([b"x" * length for length in lengths])
    rows = min(rows, limit_rows) if limit_rows else rows
    assert cuts(limits, batch, rows, size_bytes) == one_by_one(limits, lengths, rows, size_bytes)


@pytest.mark.parametrize("held", [0, 10])
def test_a_batch_of_a_thousand_makes_a_hundred_files_of_ten(held: int) -> None:
    batch = EventBatch.of([b"x"] * 1000)
    assert cuts(RollLimits(rows=10), batch, held, held) == list(range(0 if held else 10, 1000, 10))


def test_a_thousand_events_of_three_bytes_make_ten_files_of_three_hundred() -> None:
    """Flume's own test of its size roller."""
    assert cuts(RollLimits(size_bytes=300), EventBatch.of([b"foo"] * 1000), 0, 0) == list(range(100, 1000, 100))


def test_nothing_is_cut_without_limits() -> None:
    limits = RollLimits(interval_s=30, idle_s=5)
    assert not limits.by_content
    assert cuts(limits, EventBatch.of([b"foo"] * 10), 5, 5) == []
