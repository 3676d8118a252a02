"""Batches of every shape, as hypothesis draws them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import strategies as st

from shipper.batch.batch import EventBatch, Origin

#: Everything that can be written as UTF-8; control characters and astral ones come up often.
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)
HEADERS = st.dictionaries(NAMES, st.none() | TEXT, max_size=4)


@st.composite
def _batches(draw: st.DrawFn) -> EventBatch:
    """Any batch that a source or an interceptor can make: delimiters in place or not, sliced or not, all columns."""
    trim = draw(st.sampled_from([0, 1, 2]))
    delimiter = [b"", b"\n", b"\r\n"][trim]
    bodies = draw(st.lists(st.binary(max_size=40), max_size=12))
    rows = [draw(HEADERS) for _ in bodies] if draw(st.booleans()) else None
    made = EventBatch.of([body + delimiter for body in bodies], rows)
    records = made.records
    if draw(st.booleans()):
        numbers = pa.array(range(len(bodies)), pa.int64())
        records = records.append_column(pa.field(f"f:{draw(NAMES)}", pa.int64()), numbers)
    taken = {name.removeprefix("h:") for name in records.schema.names}
    constants = {k: v for k, v in draw(HEADERS).items() if k not in taken}
    origins = draw(
        st.lists(st.builds(Origin, TEXT, st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), TEXT), max_size=3)
    )
    batch = EventBatch(records, trim=trim, constants=constants, origins=origins)
    if bodies and draw(st.booleans()):
        start = draw(st.integers(0, len(bodies)))
        batch = batch.slice(start, draw(st.integers(0, len(bodies) - start)))
    return batch


@pytest.fixture(scope="session")
def batches() -> st.SearchStrategy[EventBatch]:
    """Draws batches."""
    return _batches()
