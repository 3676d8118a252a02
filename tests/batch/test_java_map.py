"""The order of a Java map: names that a real HashMap was asked about, and rows grouped by the names they have."""

from __future__ import annotations

import pytest

from shipper.api import EventBatch
from shipper.batch.java_map import java_map_order, rows_by_headers


@pytest.mark.parametrize(
    ("names", "printed"),
    [
        ("", ""),
        ("timestamp nil host", "nil host timestamp"),
        ("k timestamp k2", "k timestamp k2"),
        ("header1 header2", "header2 header1"),
        ("a q A Q", "a q A Q"),
        ("größe €uro 😀 host", "😀 host größe €uro"),
        ("h1 h2 h3 h4 h5 h6 h7 h8 h9 h10 h11 h12 h13", "h10 h12 h1 h11 h2 h3 h13 h4 h5 h6 h7 h8 h9"),
    ],
)
def test_names_stand_in_javas_order(names: str, printed: str) -> None:
    """As `new HashMap<>(map).keySet()` of Java 17 gave them; names of one bucket in the order of their coming."""
    assert " ".join(java_map_order(names.split())) == printed


def test_rows_are_grouped_by_the_headers_that_they_have() -> None:
    """Each group says which rows it has; together they are all rows."""
    batch = EventBatch.of([b"0", b"1", b"2", b"3"], [{"a": "x"}, {}, {"a": None}, {"b": "y", "a": "z"}])
    groups = {names: (rows.body.to_pylist(), list(which)) for names, rows, which in rows_by_headers(batch)}
    assert groups == {("a",): ([b"0", b"2"], [0, 2]), (): ([b"1"], [1]), ("a", "b"): ([b"3"], [3])}


def test_rows_with_the_same_headers_are_one_group_that_is_the_batch() -> None:
    """Nothing is copied then."""
    batch = EventBatch.of([b"0", b"1"], [{"a": "x"}, {"a": "y"}]).with_header("c", None)
    assert list(rows_by_headers(batch)) == [(java_map_order(["c", "a"]), batch, None)]
