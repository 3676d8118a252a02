"""Events as rows of a file: what a column takes, and what becomes of a value that it does not take."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shipper.api import EventBatch, Refused
from shipper.files.columns.rows import Rows, Unreadable
from shipper.files.columns.schema import REFUSE, Columns, parse
from shipper.testing.fakes import sink_context
from shipper.testing.instructions import work_of


def rows_of(batch: EventBatch, columns: str = "", **more: Any) -> list[dict[str, Any]]:
    return Rows(Columns(parse(columns), **more)).of(batch).to_pylist()


INSTANT = datetime(2012, 6, 23, 13, 46, 33, tzinfo=UTC)
VALUES = [
    ("string", "any thing", "any thing"), ("int32", "-2147483648", -2147483648), ("int64", "+12", 12),
    ("int64", "9223372036854775807", 9223372036854775807), ("double", "1e3", 1000.0), ("double", ".5", 0.5),
    ("boolean", "TRUE", True), ("boolean", "0", False), ("date", "2026-11-21", date(2026, 11, 21)),
    ("timestamp_s", "1340459193", INSTANT), ("timestamp_ms", "1340459193000", INSTANT),
    ("timestamp_us", "1340459193000000", INSTANT), ("int64", "-9223372036854775808", -(1 << 63)),
    ("int64", "0000000000000000000000000017", 17), ("int32", "+2147483647", (1 << 31) - 1), ("int32", "-0", 0),
    ("double", "-inf", float("-inf")), ("double", "1e400", float("inf")), ("double", "9" * 400, float("inf")),
    ("date", "2024-02-29", date(2024, 2, 29)), ("date", "2000-02-29", date(2000, 2, 29)),
]  # fmt: skip
NONE = [
    ("int32", "2147483648"), ("int32", "1.0"), ("int64", "0x10"), ("int64", " 1"), ("int64", ""), ("double", "1,5"),
    ("int64", "9223372036854775808"), ("boolean", "yes"), ("date", "2026-13-01"), ("date", "21.11.2026"),
    ("int64", "-9223372036854775809"), ("int64", "92233720368547758070"), ("int32", "-2147483649"), ("int64", "-"),
    ("date", "2023-02-29"), ("date", "2100-02-29"), ("date", "2026-04-31"), ("date", "2026-11-00"),
    ("timestamp_s", "9223372037"), ("timestamp_us", "-9223372036854776"), ("timestamp_s", "99999999999"),
    ("timestamp_ms", "soon"), ("timestamp_us", "1e9"),
]  # fmt: skip
OTHERS = {"int32": "1", "int64": "2", "double": "3", "boolean": "1", "date": "2020-01-01"}


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("kind", "text", "value"), VALUES)
def test_a_text_becomes_the_value_of_its_column(kind: str, text: str, value: Any, constant: bool) -> None:
    batch = EventBatch.of([b"x"]).with_header("c", text) if constant else EventBatch.of([b"x"], [{"c": text}])
    assert rows_of(batch, f"c:{kind}") == [{"body": b"x", "c": value, "headers": []}]


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize(("kind", "text"), NONE)
def test_a_text_that_is_no_value_becomes_null_and_stays_in_the_map(kind: str, text: str, constant: bool) -> None:
    batch = EventBatch.of([b"x"]).with_header("c", text) if constant else EventBatch.of([b"x"], [{"c": text}])
    assert rows_of(batch, f"c:{kind}") == [{"body": b"x", "c": None, "headers": [("c", text)]}]


@pytest.mark.parametrize(("kind", "text"), NONE)
def test_one_bad_value_among_a_thousand_harms_no_other(kind: str, text: str) -> None:
    good = OTHERS.get(kind, "1340459193")
    headers = [{"c": good} for _ in range(1000)]
    headers[617] = {"c": text}
    rows = rows_of(EventBatch.of([b"x"] * 1000, headers), f"c:{kind}")
    assert [number for number, row in enumerate(rows) if row["c"] is None] == [617]
    assert [number for number, row in enumerate(rows) if row["headers"]] == [617]


@pytest.mark.parametrize("kind", ["int32", "int64", "timestamp_s", "timestamp_ms", "timestamp_us"])
def test_the_largest_and_the_least_value_are_values_and_the_next_ones_are_none(kind: str) -> None:
    units = {"timestamp_s": 1, "timestamp_ms": 10**3, "timestamp_us": 10**6}
    most = ((1 << 63) - 1) * units[kind] // 10**9 if kind in units else (1 << (31 if kind == "int32" else 63)) - 1
    least = -most if kind in units else -most - 1
    good = [least, least + 1, -10, -1, 0, 9, 10, most - 1, most]
    texts = [str(number) for number in (*good, least - 1, most + 1, least * 10, most * 10)] + ["no number"]
    batch = EventBatch.of([b"x"] * len(texts), [{"c": text} for text in texts])
    column = Rows(Columns(parse(f"c:{kind}"))).of(batch).column("c")
    assert column.is_valid().to_pylist() == [True] * len(good) + [False] * 5
    factor = 10**3 if kind == "timestamp_s" else 1  # files know no coarser instants than milliseconds
    numbers = column.cast("int64").to_pylist()[: len(good)]
    assert numbers == [number * factor for number in good]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("int64", "92233720368547{:05}"),
        ("date", "{:04}-02-30"),
        ("timestamp_s", "99999999{:05}"),
        ("double", "1e{:05}x"),
    ],
)
def test_values_that_look_right_and_are_not_cost_no_work_for_each(kind: str, text: str) -> None:
    rows = Rows(Columns(parse(f"c:{kind}")))

    def of(count: int) -> EventBatch:
        batch = EventBatch.of([b"x"] * count)
        return batch.with_header("c", pa.array([text.format(number) for number in range(count)]))

    few, many = of(100), of(5_000)
    work_of(lambda: rows.of(of(100)))  # the first time costs more
    costs = work_of(lambda: rows.of(few)), work_of(lambda: rows.of(many))
    assert costs[1].instructions == costs[0].instructions
    assert costs[1].objects < costs[0].objects + 100


def test_values_that_are_made_null_are_counted_and_said_once(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    context = sink_context(tmp_path, said=said)
    rows = Rows(Columns(parse("n:int64")), Unreadable(context))
    for text in ("a", "b"):
        rows.of(EventBatch.of([b"x", b"y"], [{"n": text}, {"n": "1"}]))
    assert context.counters.get("decode_errors") == 2
    assert said == [("warning", "column n: 1 of 2 events have a header n that is not int64: 'a'; it is null there; the "
                     "text stays in the column headers")]  # fmt: skip


def test_refuse_names_the_rows_and_takes_none() -> None:
    batch = EventBatch.of([b"x", b"\xff", b"z"], [{"n": "1"}, {"n": "2"}, {"n": "three"}])
    with pytest.raises(Refused) as refusal:
        rows_of(batch, "n:int64", invalid=REFUSE, body="string")
    assert refusal.value.rows == (1, 2)
    assert "body that is not UTF-8" in str(refusal.value)
    assert "'three'" in str(refusal.value)


def test_a_text_body_is_text() -> None:
    assert rows_of(EventBatch.of(["gr\u00fc\u00df".encode()]), body="string", headers=False) == [
        {"body": "gr\u00fc\u00df"}
    ]


def test_headers_without_a_column_stand_in_the_map_with_their_nulls() -> None:
    batch = EventBatch.of([b"x", b"y"], [{"h": "1", "a": "A", "n": None}, {"b": "B"}]).with_header("f", "/v")
    assert rows_of(batch, "h") == [
        {"body": b"x", "h": "1", "headers": [("f", "/v"), ("a", "A"), ("n", None)]},
        {"body": b"y", "h": None, "headers": [("f", "/v"), ("b", "B")]},
    ]
    assert rows_of(batch, "h", headers=False) == [{"body": b"x", "h": "1"}, {"body": b"y", "h": None}]


def test_columns_are_read_from_one_line() -> None:
    assert parse("host, timestamp:timestamp_ms  a:b:INT64") == (
        ("host", "string"), ("timestamp", "timestamp_ms"), ("a:b", "int64")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("n:int46", "did you mean n:int64?"), ("n:timestmp", "did you mean n:timestamp_"),
        (":int64", "as in timestamp"),
        ("body:string", "the column body is there already"), ("Headers", "the column headers is there already"),
        ("host HOST:int32", "there is a column host already"),
    ],
)  # fmt: skip
def test_a_wrong_column_is_refused_with_what_would_be_right(line: str, said: str) -> None:
    with pytest.raises(ValueError) as problem:
        parse(line)
    assert said in str(problem.value)
