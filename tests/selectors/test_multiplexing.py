"""The multiplexing selector: a header's value decides."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.registry import find
from shipper.selectors.multiplexing import MultiplexingOptions, MultiplexingSelector

CHANNELS = ("ch1", "ch2", "ch3")


def selector(config: Mapping[str, str], channels: tuple[str, ...] = CHANNELS) -> MultiplexingSelector:
    options, findings = read_options(MultiplexingOptions, config)
    assert options is not None, findings
    return MultiplexingSelector(options, channels)


def recorded(reference: Path) -> list[dict[str, Any]]:
    rows = map(json.loads, (reference / "flume-vectors.jsonl").read_text("utf-8").splitlines())
    return [row for row in rows if row["section"] == "multiplexing_selector"]


def test_recorded_answers_alone(reference: Path) -> None:
    """One event, as Flume routed it: by column and by constant."""
    rows = recorded(reference)
    assert len(rows) == 3
    for row in rows:
        for batch in (
            EventBatch.of([b"x"], [{"myheader": row["value"]}]),
            EventBatch.of([b"x"]).with_header("myheader", row["value"]),
        ):
            routes = selector(row["config"]).route(batch)
            assert [r.channel for r in routes if r.required] == row["required"], row["id"]
            assert [r.channel for r in routes if not r.required] == row["optional"], row["id"]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_recorded_answers_inside_a_shuffled_batch(reference: Path, which: int) -> None:
    """The same event among 1,000 others: it is in the same channels, and all rows keep their order."""
    row = recorded(reference)[which]
    shuffle = random.Random(which)
    values = ["foo", "bar", "xyz", "zebra", "other", "", " ", None]
    headers = [{"other": "1"} if (v := shuffle.choice(values)) is None else {"myheader": v} for _ in range(1000)]
    place = shuffle.randrange(1000)
    headers.insert(place, {"myheader": row["value"], "extra": "y"})
    bodies = [b"%04d" % number for number in range(1001)]
    routes = selector(row["config"]).route(EventBatch.of(bodies, headers))
    mine = b"%04d" % place
    assert [r.channel for r in routes if r.required and mine in r.batch.body.to_pylist()] == row["required"]
    assert [r.channel for r in routes if not r.required and mine in r.batch.body.to_pylist()] == row["optional"]
    for route in routes:
        assert route.batch.body.to_pylist() == sorted(route.batch.body.to_pylist())


def test_a_row_goes_by_the_exact_value_and_a_blank_one_is_unmapped() -> None:
    """`Foo`, ` foo`, blanks, a null value and no header at all go to the default."""
    chosen = selector({"header": "h", "mapping.foo": "ch1", "default": "ch2"})
    headers: list[dict[str, str | None]] = [
        {"h": "foo"}, {"h": "Foo"}, {"h": " foo"}, {"h": "  "}, {"h": ""}, {"h": None}, {}, {"h": "foo"},
    ]  # fmt: skip
    routes = chosen.route(EventBatch.of([b"%d" % n for n in range(8)], headers))
    assert {r.channel: r.batch.body.to_pylist() for r in routes} == {
        "ch1": [b"0", b"7"],
        "ch2": [b"1", b"2", b"3", b"4", b"5", b"6"],
    }


def test_a_constant_header_routes_the_batch_without_touching_rows() -> None:
    """The same batch object arrives."""
    batch = EventBatch.of([b"a", b"b"]).with_header("h", "foo")
    (route,) = selector({"header": "h", "mapping.foo": "ch1", "default": "ch2"}).route(batch)
    assert route.channel == "ch1"
    assert route.batch is batch


def test_a_column_with_one_destination_is_not_filtered() -> None:
    """All rows of a column map to one channel: the same batch object arrives."""
    batch = EventBatch.of([b"a", b"b"], [{"h": "x"}, {"h": "y"}])
    (route,) = selector({"header": "h", "mapping.x": "ch1", "mapping.y": "ch1"}).route(batch)
    assert route.batch is batch


def test_a_sliced_batch_is_routed_by_its_own_rows() -> None:
    """A slice has an offset into its columns; the rows before it do not count."""
    batch = EventBatch.of([b"a", b"b", b"c"], [{"h": "x"}, {"h": "y"}, {"h": "x"}]).slice(1)
    routes = selector({"header": "h", "mapping.x": "ch1", "mapping.y": "ch2"}).route(batch)
    assert {r.channel: r.batch.body.to_pylist() for r in routes} == {"ch1": [b"c"], "ch2": [b"b"]}


def test_without_a_default_other_values_go_nowhere_and_that_is_said() -> None:
    """As in Flume: accepted, and gone. The person is warned."""
    chosen = selector({"header": "h", "mapping.foo": "ch1"})
    assert chosen.route(EventBatch.of([b"a"], [{"h": "bar"}])) == []
    assert chosen.route(EventBatch.of([b"a"])) == []
    _, findings = read_options(MultiplexingOptions, {"header": "h", "mapping.foo": "ch1"})
    assert [(f.severity, f.key) for f in findings] == [("warning", "default")]


def test_the_header_has_flumes_name_by_default() -> None:
    """`flume.selector.header`."""
    batch = EventBatch.of([b"a"]).with_header("flume.selector.header", "x")
    assert [r.channel for r in selector({"mapping.x": "ch3", "default": "ch1"}).route(batch)] == ["ch3"]


def test_unknown_channels_are_problems_under_their_keys() -> None:
    """In mapping, default and optional."""
    options, _ = read_options(
        MultiplexingOptions, {"mapping.a": "ch1 chX", "default": "nope", "optional.b": "ch2 ch4", "header": "h"}
    )
    assert options is not None
    problems = dict(MultiplexingSelector.wiring_problems(options, CHANNELS))
    assert set(problems) == {"mapping.a", "default", "optional.b"}
    assert "chX is not one of the source's channels" in problems["mapping.a"]
    assert "the source has ch1 ch2 ch3" in problems["default"]


def test_a_mapping_without_a_channel_is_an_error() -> None:
    """Flume refuses it too."""
    options, findings = read_options(MultiplexingOptions, {"mapping.a": " ", "default": "ch1"})
    assert options is None
    assert [f.key for f in findings] == ["mapping.a"]


def test_a_channel_that_is_named_twice_for_a_value_gets_the_row_once_and_that_is_said() -> None:
    """Flume would put the event in twice."""
    config = {"header": "h", "mapping.x": "ch1 ch1", "default": "ch2"}
    batch = EventBatch.of([b"a"], [{"h": "x"}])
    assert [r.channel for r in selector(config).route(batch)] == ["ch1"]
    _, findings = read_options(MultiplexingOptions, config)
    assert [(f.severity, f.key) for f in findings] == [("warning", "mapping.x")]


def test_rows_keep_their_headers_and_origins() -> None:
    """A route's batch is the rows of the batch, not something new."""
    batch = EventBatch(
        pa.RecordBatch.from_pydict({"body": pa.array([b"a\n", b"b\n"], pa.binary()), "h:h": ["x", "y"]}),
        trim=1, constants={"k": "v"},
    )  # fmt: skip
    routes = selector({"header": "h", "mapping.x": "ch1", "default": "ch2"}).route(batch)
    assert [r.batch.headers_of(0) for r in routes] == [{"k": "v", "h": "x"}, {"k": "v", "h": "y"}]
    assert [bytes(r.batch.lines()) for r in routes] == [b"a\n", b"b\n"]


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("selector", "MULTIPLEXING") is MultiplexingSelector
    assert find("selector", "org.apache.flume.channel.MultiplexingChannelSelector") is MultiplexingSelector


def test_a_blank_value_is_unmapped_even_where_the_file_maps_it() -> None:
    """As Flume looks at the value before it looks into the mapping."""
    options = MultiplexingOptions(header="h", mapped={" ": ("ch1",)}, default=("ch2",))
    chosen = MultiplexingSelector(options, CHANNELS)
    assert [r.channel for r in chosen.route(EventBatch.of([b"a"], [{"h": " "}]))] == ["ch2"]
    assert [r.channel for r in chosen.route(EventBatch.of([b"a"]).with_header("h", " "))] == ["ch2"]
