"""Flume's JSON and Prometheus text, made from samples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shipper.metrics.block import Entry, Kind, MetricsBlock
from shipper.metrics.export import Component, Exporter, java_double
from tests.vectors import vectors

SOURCE_COUNTED = ("EventReceivedCount", "EventAcceptedCount", "AppendBatchReceivedCount", "AppendBatchAcceptedCount")
HTTP_COUNTED = (*SOURCE_COUNTED, "ChannelWriteFail", "EventReadFail", "GenericProcessingFail")
COMPONENTS = (
    Component(Kind.SOURCE, "r1", SOURCE_COUNTED),
    Component(Kind.CHANNEL, "c1"),
    Component(Kind.SINK, "k1", ("EventDrainAttemptCount", "EventDrainSuccessCount", "ConnectionCreatedCount")),
)


def flume(made: MetricsBlock, *components: Component, base: dict[str, dict[str, int]] | None = None) -> Any:
    found = json.loads(Exporter(components or COMPONENTS, base or {}).flume_json(made.sample()))
    return {key: entry for key, entry in found.items() if not key.startswith("LEDGER.")}


def test_the_numbers_after_three_posts_are_those_of_flume(agent: Any) -> None:
    """Recorded: http source, channel of capacity 1, posts of 2 (refused), 1 (taken) and 1 (refused) events."""
    wanted = vectors("metrics_json")
    assert len(wanted) == 1
    made = agent.block
    source = agent.source
    channel = agent.channel
    sink = agent.sink
    sink.describe(Kind.FREE, "", "")
    for events, taken in ((2, False), (1, True), (1, False)):
        source.counters.add("EventReceivedCount", events)
        source.counters.add("AppendBatchReceivedCount")
        if taken:
            source.counters.add("EventAcceptedCount", events)
            source.counters.add("AppendBatchAcceptedCount")
        else:
            source.counters.add("ChannelWriteFail")
    channel.channel({"size": 1, "capacity": 1, "puts": 1, "takes": 0})

    found = flume(made, Component(Kind.SOURCE, "r1", HTTP_COUNTED), Component(Kind.CHANNEL, "c1"))

    for entry in found.values():
        assert entry["StartTime"].isdigit()
        entry["StartTime"] = "<ms>"
    assert found == wanted[0]["out"]


def test_the_ledger_of_a_channel_stands_beside_flumes_entries(agent: Any) -> None:
    agent.channel.channel({"mismatch": 2, "expired": 7, "twice_at_most": 9, "twice_unknown": 1})
    exporter = Exporter(COMPONENTS, {})
    entry = json.loads(exporter.flume_json(agent.block.sample()))["LEDGER.c1"]
    assert entry == {
        "Type": "LEDGER", "ledger_mismatch": "2", "ledger_dropped": "0", "ledger_expired": "7",
        "ledger_set_aside": "0", "ledger_lost": "0", "ledger_twice_at_most": "9", "ledger_twice_unknown": "1",
    }  # fmt: skip
    text = exporter.prometheus(agent.block.sample()).decode()
    assert 'shipper_ledger_mismatch{component="c1",kind="channel"} 2' in text
    assert 'shipper_ledger_expired_rows_total{component="c1",kind="channel"} 7' in text
    assert 'shipper_ledger_twice_at_most_rows_total{component="c1",kind="channel"} 9' in text
    assert 'shipper_ledger_twice_unknown_total{component="c1",kind="channel"} 1' in text


def test_all_values_are_strings_and_types_come_first(agent: Any) -> None:
    """Monitoring scripts parse Flume's strings; a bare number would break them."""
    made = agent.block
    found = flume(made)
    assert list(found) == ["SOURCE.r1", "CHANNEL.c1", "SINK.k1"]
    assert all(isinstance(value, str) for entry in found.values() for value in entry.values())
    assert [entry["Type"] for entry in found.values()] == ["SOURCE", "CHANNEL", "SINK"]
    assert [entry["StartTime"] for entry in found.values()] == ["2000", "1000", "3000"]


SETS = {
    "SOURCE.r1": "EventReceivedCount EventAcceptedCount AppendReceivedCount AppendAcceptedCount "
    "AppendBatchReceivedCount AppendBatchAcceptedCount OpenConnectionCount EventReadFail ChannelWriteFail "
    "GenericProcessingFail",
    "CHANNEL.c1": "ChannelSize ChannelCapacity ChannelFillPercentage EventPutAttemptCount EventPutSuccessCount "
    "EventTakeAttemptCount EventTakeSuccessCount",
    "SINK.k1": "ConnectionCreatedCount ConnectionClosedCount ConnectionFailedCount BatchEmptyCount "
    "BatchUnderflowCount BatchCompleteCount EventDrainAttemptCount EventDrainSuccessCount EventWriteFail "
    "ChannelReadFail",
}


@pytest.mark.parametrize("key", SETS)
def test_each_kind_has_the_attributes_of_flumes_bean(agent: Any, key: str) -> None:
    """The set is the kind's, whatever the component fills; what it does not fill is 0."""
    made = agent.block
    source = agent.source
    source.counters.add("OpenConnectionCount", 3)  # an exec source counts none: Flume shows 0
    found = flume(made)[key]
    assert set(found) == {"Type", "StartTime", "StopTime", *SETS[key].split()}
    assert found.get("OpenConnectionCount", "0") == "0"


def test_kafka_components_have_the_attributes_of_their_own_beans(agent: Any) -> None:
    """Flume's Kafka source has no failure counters, its Kafka sink neither; both have timers."""
    made = agent.block
    found = flume(
        made,
        Component(Kind.SOURCE, "r1", SOURCE_COUNTED, kafka=True),
        Component(Kind.SINK, "k1", ("EventDrainSuccessCount",), kafka=True),
    )
    assert {"KafkaEventGetTimer", "KafkaCommitTimer", "KafkaEmptyCount"} <= set(found["SOURCE.r1"])
    assert {"KafkaEventSendTimer", "RollbackCount"} <= set(found["SINK.k1"])
    assert not {"EventReadFail", "ChannelWriteFail", "GenericProcessingFail"} & set(found["SOURCE.r1"])
    assert not {"EventWriteFail", "ChannelReadFail"} & set(found["SINK.k1"])


def test_a_component_that_counts_nothing_has_no_entry(agent: Any) -> None:
    """As Flume's netcat source and null sink."""
    made = agent.block
    found = flume(made, Component(Kind.SOURCE, "r1"), Component(Kind.CHANNEL, "c1"), Component(Kind.SINK, "k1"))
    assert list(found) == ["CHANNEL.c1"]


def test_a_channel_of_another_kind_brings_attributes_of_its_own(agent: Any) -> None:
    """A file channel says Open, Closed, Unhealthy as Flume does."""
    made = agent.block
    channel = Component(Kind.CHANNEL, "c1", attributes=lambda: {"Open": "true", "Closed": "0", "Unhealthy": "0"})
    assert flume(made, channel)["CHANNEL.c1"]["Open"] == "true"


def test_workers_of_a_component_are_added_up(tmp_path: Path) -> None:
    """Two workers of r1 are one SOURCE.r1; it has stopped only when both have."""
    made = MetricsBlock.create(tmp_path / "metrics", 2, start_ms=1)
    entries: list[Entry] = list(made.entries)
    for index, entry in enumerate(entries):
        entry.describe(Kind.SOURCE, "r1", "exec", worker=index, start_ms=50 + index)
        entry.counters.add("EventAcceptedCount", 10 + index)
    component = Component(Kind.SOURCE, "r1", SOURCE_COUNTED)
    entries[0].stopped(stop_ms=99)
    found = flume(made, component)["SOURCE.r1"]
    assert (found["EventAcceptedCount"], found["StartTime"], found["StopTime"]) == ("21", "50", "0")
    entries[1].stopped(stop_ms=98)
    assert flume(made, component)["SOURCE.r1"]["StopTime"] == "99"


def test_counters_of_a_channel_begin_at_the_agents_start(agent: Any) -> None:
    """What the rings counted in earlier runs is taken off; the size is what is in it."""
    made = agent.block
    channel = agent.channel
    sink = agent.sink
    channel.channel({"size": 5, "capacity": 10, "puts": 112, "takes": 107})
    sink.counters.add("BatchEmptyCount", 2)
    found = flume(made, base={"c1": {"puts": 100, "takes": 98}})["CHANNEL.c1"]
    assert (found["EventPutSuccessCount"], found["EventTakeSuccessCount"], found["ChannelSize"]) == ("12", "9", "5")
    assert found["EventTakeAttemptCount"] == "11", "empty takes are attempts"
    assert found["ChannelFillPercentage"] == "50.0"


@pytest.mark.parametrize(
    ("numbers", "capacity", "fill"),
    [
        ({"size": 1, "capacity": 1}, "1", "100.0"),
        ({"size": 0, "capacity": 100}, "100", "0.0"),
        ({"size": 1, "capacity": 3}, "3", "33.333333333333336"),
        ({"size": 1, "capacity": 1_000_000_000}, "1000000000", "1.0E-7"),
        ({"size": 0, "capacity": 0}, "0", "1.7976931348623157E308"),
        ({"size": 10, "bytes": 500, "capacity_bytes": 1000}, "20", "50.0"),
    ],
)
def test_the_fill_of_a_channel_is_written_as_java_writes_it(
    agent: Any, numbers: dict[str, int], capacity: str, fill: str
) -> None:
    """Bounded by rows: of the capacity. Bounded by bytes: of the bytes, and the capacity is what would fit."""
    made = agent.block
    channel = agent.channel
    channel.channel(numbers)
    found = flume(made)["CHANNEL.c1"]
    assert (found["ChannelCapacity"], found["ChannelFillPercentage"]) == (capacity, fill)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (100.0, "100.0"),
        (0.001, "0.001"),
        (0.0005, "5.0E-4"),
        (1e7, "1.0E7"),
        (12345678.9, "1.23456789E7"),
        (0.0, "0.0"),
    ],
)
def test_doubles_look_as_in_java(value: float, text: str) -> None:
    assert java_double(value) == text


LINE = re.compile(r'[a-zA-Z_:][a-zA-Z0-9_:]*\{([a-z_]+="(\\.|[^"\\\n])*",?)+\} -?[0-9.e+-]+$')


def test_prometheus_text_is_what_prometheus_reads(agent: Any) -> None:
    """Every metric has one HELP and one TYPE before its samples, and all of these stand together."""
    made = agent.block
    source = agent.source
    channel = agent.channel
    source.counters.add("EventAcceptedCount", 7)
    source.counters.add("busy_ns", 1_500_000_000)
    channel.channel({"size": 3, "capacity": 4})
    text = Exporter(COMPONENTS, {}).prometheus(made.sample()).decode()

    current, seen = "", set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            assert current not in seen
            seen.add(current)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert (name, name.endswith("_total")) == (current, kind == "counter")
        else:
            assert LINE.match(line), line
            assert line.partition("{")[0] == current
    assert 'Flume_EventAcceptedCount_total{component="r1"} 7\n' in text
    assert 'Flume_ChannelSize{component="c1"} 3\n' in text
    assert 'Flume_ChannelFillPercentage{component="c1"} 75.0\n' in text
    assert 'shipper_worker_seconds_total{component="r1",kind="source",state="busy"} 1.5\n' in text


def test_a_name_can_not_break_prometheus_text(tmp_path: Path) -> None:
    """Quotes, backslashes and line ends in a component's name are escaped."""
    made = MetricsBlock.create(tmp_path / "metrics", 1)
    name = 'a"b\\c\nd'
    made.entries[0].describe(Kind.SINK, name, "hdfs")
    text = Exporter([Component(Kind.SINK, name, ("EventDrainSuccessCount",))], {}).prometheus(made.sample()).decode()
    assert 'component="a\\"b\\\\c\\nd"' in text
    assert all(line.startswith("#") or LINE.match(line) for line in text.splitlines())
