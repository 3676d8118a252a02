"""From files to a plan: types, options, what is left out, and what can be sent to a worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper import registry
from shipper.config.agents import sort_by_agent
from shipper.config.bind import agent_names, bind, component, load
from shipper.config.plan import Plan
from shipper.config.problem import Problem
from shipper.config.properties import parse
from shipper.errors import ConfigurationError

LoadText = Callable[..., tuple[Plan | None, list[Problem]]]

#: Recorded rows that design.md, "Settled questions" 1, improves on purpose.
SUPERSEDED = {"sink_batch_gt_txcap"}


def told(problems: list[Problem], severity: str | None = None) -> list[tuple[str, int]]:
    return [(p.severity, p.line) for p in problems if severity in (None, p.severity)]


@pytest.mark.vectors("config_materialization")
def test_what_runs_is_what_runs_in_flume(row: dict[str, Any]) -> None:
    agents, _ = sort_by_agent({p.key: p for p in parse(row["in"]["text"].encode(), "f")[0]})
    if row["in"]["agent"] not in agents:
        assert row["id"] == "unknown_agent"  # Flume stays up with nothing; here it is an error: see below
        return
    plan, problems = bind(agents[row["in"]["agent"]], {}, ["f"])
    errors = [p for p in problems if p.severity == "error"]
    if "throws" in row["out"]:
        assert "com.example.Nope" in errors[0].message
        return
    missing = [p for p in errors if "is not in this build" in p.message]
    if missing:
        types = {setting for p in missing for setting in [p.value]}
        assert types <= {"failover", "load_balance", "load_balancing", "null"}
        assert all(registry.find(p.key.split(".")[-2].rstrip("s"), p.value) is None or p for p in missing)
        return
    sources = "[r]" if row.get("want") == "source r kept" else row["out"]["sources"]
    assert sources == f"[{', '.join(s.name for s in plan.sources)}]"
    assert row["out"]["channels"] == f"[{', '.join(c.name for c in plan.channels)}]"
    runners = [group.title for group in plan.groups]
    if row["id"] in SUPERSEDED:
        assert runners == ["k"]
        assert any(p.severity == "warning" and "transactionCapacity" in p.message for p in problems)
    else:
        assert row["out"]["sinkRunners"] == f"[{', '.join(runners)}]"


def test_a_complete_file_gives_a_plan_without_a_word(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete)
    assert problems == []
    assert plan is not None
    [source], [channel], [group] = plan.sources, plan.channels, plan.groups
    assert (
        source.name, source.type, source.channels, source.selector.type, source.properties,
    ) == ("r", "seq", ("c",), "replicating", {})  # fmt: skip
    assert (channel.name, channel.type) == ("c", "memory")
    assert (group.name, group.processor.type, group.channel, group.title) == (None, "default", "c", "k")
    assert group.sinks[0].properties == {"sink.directory": "/tmp"}


def test_a_plan_survives_the_way_to_a_worker(complete: str, load_text: LoadText) -> None:
    text = complete.replace(
        "r.type=seq",
        "r.type=seq\na.sources.r.workers=2\na.sources.r.interceptors=i\n"
        "a.sources.r.interceptors.i.type=static\na.sources.r.interceptors.i.key=k",
    )
    text += (
        "a.sinks.k.batch.linger=2\na.sinks.k.batch.bytes=64KiB\na.channels.c.strictBatch=true\na.channels.c.capacity=7"
    )
    plan, problems = load_text(text)
    assert problems == []
    assert plan is not None
    assert plan == Plan.decode(plan.encode())
    assert plan.sources[0].workers == 2
    [interceptor] = plan.sources[0].interceptors
    assert (interceptor.name, interceptor.type, interceptor.properties) == ("i", "static", {"key": "k"})
    assert (plan.groups[0].sinks[0].linger_s, plan.groups[0].sinks[0].batch_bytes) == (2.0, 65536)
    assert plan.channels[0].strict_batch
    assert plan.source("r") is plan.sources[0]
    assert plan.channel("c") is plan.channels[0]


def test_a_worker_makes_its_component_from_the_plan(complete: str, load_text: LoadText) -> None:
    plan, _ = load_text(complete + "a.sources.r.totalEvents=12")
    assert plan is not None
    kind, options = component("source", plan.sources[0].type, plan.sources[0].properties)
    assert (12, kind.Options) == (options.total_events, type(options))
    with pytest.raises(ConfigurationError, match="not in this build"):
        component("source", "nope", {})
    with pytest.raises(ConfigurationError, match="totalEvents"):
        component("source", "seq", {"totalEvents": "x"})


def test_class_names_of_flume_mean_the_same_components(complete: str, load_text: LoadText) -> None:
    text = complete.replace("type=seq", "type=org.apache.flume.source.SequenceGeneratorSource")
    text = text.replace("type=file_roll", "type=org.apache.flume.sink.RollingFileSink")
    text = text.replace("type=memory", "type=org.apache.flume.channel.MemoryChannel")
    plan, problems = load_text(text)
    assert problems == []
    assert plan is not None
    assert (plan.sources[0].type, plan.channels[0].type, plan.groups[0].sinks[0].type) == ("seq", "memory", "file_roll")


def test_types_are_found_in_any_case_and_keys_are_not(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete.replace("type=seq", "type=SEQ") + "a.sources.r.BatchSize=3")
    assert plan is not None
    assert plan.sources[0].type == "seq"
    assert [p.nearest for p in problems] == ["a.sources.r.batchSize = 3"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("type=seq", "type=org.apache.flume.source.kafka.KafkaSource", "The kafka source is not in this build"),
        ("type=seq", "type=jms", "The jms source is not in this build"),
        ("type=file_roll", "type=hbase2", "The hbase2 sink is not in this build"),
        ("type=memory", "type=jdbc", "The jdbc channel is not in this build"),
        ("type=seq", "type=com.example.MySource", "no Java here"),
        ("type=seq", "type=spoldir", "There is no source of type spoldir"),
        ("type=file_roll", "type=hdsf", "There is no sink of type hdsf"),
    ],
)
def test_an_unknown_type_starts_nothing(old: str, new: str, words: str, complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete.replace(old, new))
    assert plan is None
    assert words in "".join(p.message for p in problems if p.severity == "error")


def test_a_misspelled_type_shows_the_nearest(complete: str, load_text: LoadText) -> None:
    _, problems = load_text(complete.replace("type=file_roll", "type=hdsf"))
    assert problems[0].nearest == "a.sinks.k.type = hdfs"


def test_a_component_whose_package_is_missing_is_an_error(
    complete: str, load_text: LoadText, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(family: str, name: str) -> Any:
        if name == "seq":
            raise ImportError("No module named 'numbers2'", name="numbers2")
        return found(family, name)

    found = registry.find
    monkeypatch.setattr(registry, "find", find)
    plan, problems = load_text(complete)
    assert plan is None
    assert told(problems, "error") == [("error", 4)]
    assert "numbers2" in problems[0].message


@pytest.mark.parametrize(
    ("family", "invented", "lines"),
    [
        ("source", "log4j", ("a.sources.r.type = TAILDIR", "a.sources.r.filegroups.f1 = /path/to/logfile")),
        ("source", "file", ("a.sources.r.type = TAILDIR",)),
        ("source", "directory", ("a.sources.r.type = spooldir", "a.sources.r.spoolDir = /path/to/logfile")),
        ("source", "tcp", ("a.sources.r.type = netcat",)),
        ("sink", "console", ("a.sinks.k.type = logger",)),
        ("sink", "s3", ("a.sinks.k.type = hdfs",)),
        ("sink", "file", ("a.sinks.k.type = file_roll",)),
        ("channel", "mem", ("a.channels.c.type = memory",)),
    ],
)
def test_an_invented_type_shows_what_has_that_job(
    family: str, invented: str, lines: tuple[str, ...], complete: str, load_text: LoadText
) -> None:
    real = {"source": "seq", "sink": "file_roll", "channel": "memory"}[family]
    text = complete.replace(f"type={real}", f"type={invented}") + "a.sources.r.position.file=/path/to/logfile"
    plan, problems = load_text(text)
    assert plan is None
    [problem] = [p for p in problems if p.severity == "error"]
    assert set(lines) <= set(problem.fix)


def test_wrong_options_leave_the_component_out_and_the_rest_runs(complete: str, load_text: LoadText) -> None:
    text = complete.replace("a.sinks=k", "a.sinks=k k2")
    text += "a.sinks.k2.type=file_roll\na.sinks.k2.channel=c\na.sinks.k2.sink.rollInterval=often\n"
    plan, problems = load_text(text)
    assert plan is not None
    assert [group.title for group in plan.groups] == ["k"]
    dropped = [p for p in problems if p.severity == "dropped"]
    assert {"a.sinks.k2.sink.directory", "a.sinks.k2.sink.rollInterval"} == {p.key for p in dropped}
    assert {"sink k2 is left out"} == {p.consequence for p in dropped}
    assert (min(p.line for p in dropped), max(p.line for p in dropped)) == (10, 12)


@pytest.mark.parametrize(
    "line",
    [
        "a.sources.r.batchSize=x",
        "a.sinks.k.sink.rollInterval=x",
        "a.channels.c.strictBatch=true\na.sources.r.batchSize=9\na.channels.c.transactionCapacity=8",
    ],
)
def test_when_no_source_or_no_sink_is_left_nothing_starts(line: str, complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete + line)
    assert plan is None
    assert "error" in {p.severity for p in problems}


def test_all_problems_are_told_at_once_in_the_order_of_the_lines(complete: str, load_text: LoadText) -> None:
    text = complete.replace("type=seq", "type=seqq").replace("type=memory", "type=memry\na.channels.c.capacity=x")
    _, problems = load_text(text + "x=1\na.sinks.k.sink.rollInterval=y\na.sinks.k.colour=z")
    lines = [p.line for p in problems if p.line]
    assert sorted(lines) == lines
    assert {4, 6, 11, 12, 13} <= set(lines)


def test_a_number_of_the_memory_channel_that_is_none_becomes_the_default(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete + "a.channels.c.capacity=many")
    assert plan is not None
    assert plan.channels[0].properties == {}
    assert told(problems) == [("warning", 10)]
    assert "the default is used" in problems[0].message


@pytest.mark.parametrize(
    "line",
    [
        "capacity=9223372036854775808", "capacity=-9223372036854775809", "byteCapacity=" + "9" * 400 + ".0",
        "byteCapacity=" + "9" * 5000, "byteCapacity=8388608T", "keep-alive=" + "9" * 400,
    ],
)  # fmt: skip
def test_a_number_that_no_long_of_java_holds_is_none(line: str, complete: str, load_text: LoadText) -> None:
    plan, [problem] = load_text(f"{complete}a.channels.c.{line}")
    assert plan is not None
    assert plan.channels[0].properties == {}
    assert (problem.severity, problem.line) == ("warning", 10)
    assert "a number lies between -9223372036854775808 and 9223372036854775807 here" in problem.text


@pytest.mark.parametrize(
    "line",
    [
        "channels.c.capacity=9223372036854775807", "channels.c.byteCapacity=9223372036854775807",
        "channels.c.keep-alive=9223372036854775807", "sinks.k.sink.rollInterval=9223372036854775807",
    ],
)  # fmt: skip
def test_the_largest_number_of_java_is_taken(line: str, complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(f"{complete}a.{line}")
    assert plan is not None
    assert problems == []


def test_a_number_out_of_bounds_is_told_with_the_bounds_as_they_are_written(complete: str, load_text: LoadText) -> None:
    _, [problem] = load_text(f"{complete}a.channels.c.ring.bytes=" + "9" * 18)
    assert "must be at least 65536 and at most 1099511627776" in problem.message


def test_a_value_longer_than_any_path_does_not_hide_what_is_said_about_it(complete: str, load_text: LoadText) -> None:
    text = complete.replace("r.type=seq", "r.type=TAILDIR\na.sources.r.filegroups=g\na.sources.r.filegroups.g=/tmp/")
    _, problems = load_text(text.replace("g=/tmp/", "g=/tmp/" + "(" * 3000 + ")" * 3000))
    [problem] = [p for p in problems if "filegroups.g" in p.key]
    assert problem.line == 6
    assert problem.text.startswith("a.sources.r.filegroups.g = /tmp/((((")
    assert "its groups stand in each other hundreds of levels deep" in problem.text


def test_a_channel_that_spills_to_the_agents_state_directory_names_no_place(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(f"{complete}a.channels.c.onFull=spill")
    assert plan is not None
    assert problems == []


def test_a_transaction_that_exceeds_the_capacity_leaves_the_channel_out(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete + "a.channels.c.capacity=10\na.channels.c.transactionCapacity=11")
    assert plan is None
    assert ("dropped", "channel c is left out") in [(p.severity, p.consequence) for p in problems]


@pytest.mark.parametrize(
    ("line", "key"), [("a.sources.r.batchSize=11", "r.batchSize"), ("a.sinks.k.sink.batchSize=11", "k.sink.batchSize")]
)
def test_a_batch_over_the_transaction_capacity_is_a_warning(
    line: str, key: str, complete: str, load_text: LoadText
) -> None:
    """The other one has 10, so that only one of the two exceeds: equal is allowed."""
    text = (
        f"{complete}a.channels.c.transactionCapacity=10\na.sources.r.batchSize=10\na.sinks.k.sink.batchSize=10\n{line}"
    )
    plan, problems = load_text(text)
    assert plan is not None
    warnings = [p for p in problems if "transactionCapacity" in p.message]
    assert [(p.severity, p.key.endswith(key)) for p in warnings] == [("warning", True)]
    assert warnings[0].fix == ("a.channels.c.transactionCapacity = 11",)


def test_under_strict_batch_it_leaves_the_component_out(complete: str, load_text: LoadText) -> None:
    text = f"{complete}a.channels.c.transactionCapacity=200\na.channels.c.strictBatch=true\na.sources.r.batchSize=201"
    plan, problems = load_text(text)
    assert plan is None
    assert "source r is left out" in [p.consequence for p in problems]


def test_an_unknown_key_is_a_warning_and_an_error_under_strict(complete: str, load_text: LoadText) -> None:
    text = complete + "a.sinks.k.rollInterval=5"
    plan, problems = load_text(text)
    assert plan is not None
    assert [(p.severity, p.nearest) for p in problems] == [("warning", "a.sinks.k.sink.rollInterval = 5")]
    plan, problems = load_text(text, strict=True)
    assert plan is None
    assert [p.severity for p in problems] == ["error"]


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("a.sources.r.selector=multiplexing", "a.sources.r.selector.type = multiplexing"),
        ("a.sources.r.interceptor.i.type=host", "a.sources.r.interceptors.i.type = host"),
        ("a.sources.r.batchsize=5", "a.sources.r.batchSize = 5"),
        ("a.sources.r.worker=5", "a.sources.r.workers = 5"),
        ("a.sinks.k.directory=5", "a.sinks.k.sink.directory = 5"),
        ("a.sinks.k.hdfs.rollInterval=5", "a.sinks.k.sink.rollInterval = 5"),
        ("a.channels.c.transactionCapasity=5", "a.channels.c.transactionCapacity = 5"),
        ("a.channels.c.zzz=5", None),
    ],
)
def test_an_unknown_key_shows_the_line_that_was_meant(
    line: str, nearest: str | None, complete: str, load_text: LoadText
) -> None:
    plan, problems = load_text(complete + line)
    assert plan is not None
    assert [("warning", 10, nearest)] == [(p.severity, p.line, p.nearest) for p in problems]


@pytest.mark.parametrize("line", ["a.sources.r.channel=c", "a.sinks.k.channels=c"])
def test_a_second_line_about_the_channel_has_no_effect_and_is_told(
    line: str, complete: str, load_text: LoadText
) -> None:
    plan, problems = load_text(complete + line)
    assert plan is not None
    assert told(problems) == [("warning", 10)]


def test_an_interceptor_that_is_not_listed_does_not_run_and_is_told(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete + "a.sources.r.interceptors.i.type=host")
    assert plan is not None
    assert plan.sources[0].interceptors == ()
    assert [p.fix for p in problems] == [("a.sources.r.interceptors = i",)]


@pytest.mark.parametrize(
    "lines",
    [
        "a.sources.r.interceptors=i",
        "a.sources.r.interceptors=i\na.sources.r.interceptors.i.type=nope",
        "a.sources.r.selector.type=nope",
        "a.sources.r.selector.type=multiplexing\na.sources.r.selector.mapping.x=zz",
        "a.sources.r.selector.optional=zz",
    ],
)
def test_a_wrong_interceptor_or_selector_leaves_the_source_out(lines: str, complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete.replace("a.sources=r", "a.sources=r q") + "a.sources.q.type=seq\n" + lines)
    assert plan is not None
    assert [source.name for source in plan.sources] == ["q"]
    assert "source r is left out" in [p.consequence for p in problems]


def test_interceptors_run_in_the_order_of_their_list(complete: str, load_text: LoadText) -> None:
    lines = "\na.sources.r.interceptors".join(["", "=z y", ".y.type=host", ".z.type=timestamp"])
    plan, _ = load_text(complete + lines)
    assert plan is not None
    assert [(i.name, i.type) for i in plan.sources[0].interceptors] == [("z", "timestamp"), ("y", "host")]


def test_a_channel_that_nobody_uses_is_left_out(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete.replace("a.channels=c", "a.channels=c d") + "a.channels.d.type=memory")
    assert plan is not None
    assert [channel.name for channel in plan.channels] == ["c"]
    assert [(p.severity, p.consequence) for p in problems] == [("warning", "channel d is left out")]


GROUP = """\
a.sinkgroups=g
a.sinks.k2.type=file_roll
a.sinks.k2.sink.directory=/tmp
a.sinks.k2.channel=c
"""


def test_a_group_without_a_processor_takes_exactly_one_sink(complete: str, load_text: LoadText) -> None:
    text = complete.replace("a.sinks=k", "a.sinks=k k2 k3") + GROUP + GROUP.replace("k2", "k3")
    plan, problems = load_text(text + "a.sinkgroups.g.sinks=k2\na.sinkgroups.g.workers=3")
    assert plan is not None
    assert [(g.name, [s.name for s in g.sinks], g.workers) for g in plan.groups] == [
        (None, ["k"], 1),
        (None, ["k3"], 1),
        ("g", ["k2"], 3),
    ]
    plan, problems = load_text(text + "a.sinkgroups.g.sinks=k2 k3")
    assert plan is not None
    assert [group.title for group in plan.groups] == ["k"]
    assert [(p.severity, p.consequence) for p in problems] == [("dropped", "sink group g with its sinks is left out")]


def test_a_key_of_a_group_that_nobody_knows_shows_what_was_meant(complete: str, load_text: LoadText) -> None:
    text = complete + "a.sinkgroups=g\na.sinkgroups.g.sinks=k\na.sinkgroups.g.policy.type=default"
    _, problems = load_text(text)
    assert [p.nearest for p in problems] == ["a.sinkgroups.g.processor.type = default"]


def test_the_sinks_of_a_group_take_from_one_channel(complete: str, load_text: LoadText) -> None:
    text = complete.replace("a.sinks=k", "a.sinks=k k2").replace("a.channels=c", "a.channels=c d")
    text += GROUP.replace("channel=c", "channel=d") + "a.channels.d.type=memory\na.sinkgroups.g.sinks=k k2\n"
    plan, problems = load_text(text)
    assert plan is None
    assert "k from c and k2 from d" in "".join(p.message for p in problems if p.severity == "error")


def test_a_source_that_cannot_be_shared_refuses_workers(
    complete: str, load_text: LoadText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.find("source", "seq"), "replayable", False)
    plan, problems = load_text(complete + "a.sources.r.workers=2")
    assert plan is None
    assert told(problems) == [("error", 10)]


@pytest.mark.parametrize(
    "line", ["a.sources.r.workers=0", "a.sinks.k.workers=many", "a.sinks.k.batch.bytes=7", "a.sinks.k.batch.linger=-1"]
)
def test_a_wrong_value_of_our_own_keys_is_an_error(line: str, complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete + line)
    assert plan is None
    assert told(problems) == [("error", 10)]


def test_back_off_keys_of_sources_that_flume_polls_are_said_to_have_no_effect(
    complete: str, load_text: LoadText
) -> None:
    plan, problems = load_text(complete + "a.sources.r.backoffSleepIncrement=100\na.sources.r.maxBackoffSleep=2000")
    assert plan is not None
    assert [p.severity for p in problems] == ["warning", "warning"]
    assert all("has no effect here" in p.message for p in problems)


def test_an_agent_that_is_not_there_is_an_error_that_names_those_that_are(complete: str, load_text: LoadText) -> None:
    text = complete + complete.replace("a.", "web.")
    plan, problems = load_text(text, "webb")
    assert plan is None
    assert [(p.severity, p.nearest) for p in problems] == [("error", "-n web")]
    assert "which has a, web" in problems[0].message


def test_an_empty_file_has_no_agent(load_text: LoadText) -> None:
    assert [p.severity for p in load_text("# nothing\n")[1]] == ["error"]


def test_problems_of_other_agents_are_one_line_and_do_not_count(complete: str, load_text: LoadText) -> None:
    other = complete.replace("a.", "b.").replace("b.sinks.k.channel=c", "b.sinks.k.channel=d\nb.nope=1")
    plan, problems = load_text(complete + other)
    assert plan is not None
    assert [p.severity for p in problems] == ["note"]
    assert "2 problems" in problems[0].message
    assert load_text(complete + other, strict=True)[0] is not None


def test_a_file_that_does_not_parse_starts_nothing_and_still_tells_the_rest(complete: str, load_text: LoadText) -> None:
    plan, problems = load_text(complete + "a.sinks.k.sink.rollInterval=\\u12\na.sinks.k.colour=z")
    assert plan is None
    assert told(problems) == [("error", 10), ("warning", 11)]


def test_a_missing_file_starts_nothing(complete: str, write: Callable[..., Path], tmp_path: Path) -> None:
    plan, problems = load([write(complete), tmp_path / "none.properties"], "a", {}, {})
    assert plan is None
    assert [p.severity for p in problems] == ["error"]


def test_a_later_file_overrides_and_the_plan_names_the_real_files(
    complete: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    one, two = write(complete, "one"), write("a.sources.r.totalEvents=5\na.sinks.k.colour=z", "two")
    link = tmp_path / "link"
    link.symlink_to(one)
    plan, problems = load([link, two], "a", {}, {})
    assert plan is not None
    assert plan.sources[0].properties == {"totalEvents": "5"}
    assert (str(one.resolve()), str(two.resolve())) == plan.files
    assert [(str(two), 2)] == [(p.file, p.line) for p in problems]


def test_agents_of_files_are_listed(complete: str, write: Callable[..., Path]) -> None:
    assert agent_names([write("X=1\n" + complete + complete.replace("a.", "b."))]) == ["a", "b"]


def test_placeholders_are_resolved_before_anything_is_judged(complete: str, write: Callable[..., Path]) -> None:
    text = complete.replace("type=seq", "type=${T}").replace("/tmp", "${env:DIR}/x") + "T=${sys:kind}"
    plan, problems = load([write(text)], "a", {"kind": "seq"}, {"DIR": "/d"})
    assert problems == []
    assert plan is not None
    assert plan.groups[0].sinks[0].properties["sink.directory"] == "/d/x"


def test_what_is_left_out_for_its_channel_is_read_all_the_same(load_text: LoadText) -> None:
    """One look shows everything: a misspelt key does not hide behind a channel that is not there."""
    _, problems = load_text(
        "a.sources = r s\na.channels = c d\na.sinks = k l\n"
        "a.channels.c.type = memory\na.channels.d.type = memory\n"
        "a.sources.r.type = seq\na.sources.r.channels = c\n"
        "a.sources.s.type = seq\na.sources.s.batchSiz = 5\na.sources.s.interceptors = i\n"
        "a.sources.s.interceptors.i.type = timestam\n"
        "a.sinks.l.type = hdfs\na.sinks.l.channel = c\na.sinks.l.hdfs.path = /tmp/x\n"
        "a.sinks.k.type = hdfs\na.sinks.k.channel = c9\na.sinks.k.hdfs.path = /tmp/x\n"
        "a.sinks.k.hdfs.timeZone = Mars/Olympus\na.sinks.k.hdfs.rolInterval = 5\n"
    )
    keys = {problem.key for problem in problems}
    for key in ("sources.s.batchSiz", "sources.s.interceptors.i.type", "sinks.k.channel", "sinks.k.hdfs.timeZone"):
        assert f"a.{key}" in keys, key
    assert "a.sinks.k.hdfs.rolInterval" in keys
    assert not [problem for problem in problems if problem.severity == "error"]


def test_without_any_channel_sources_and_sinks_are_read_too(load_text: LoadText) -> None:
    _, problems = load_text("a.sources = s\na.sources.s.type = seq\na.sources.s.batchSiz = 5\n")
    assert "a.sources.s.batchSiz" in {problem.key for problem in problems}


@pytest.mark.parametrize(("line", "meant"), [
    ("a.sources.r.filegruops.h = /x/y", "a.sources.r.filegroups.h = /x/y"),
    ("a.sources.r.Filegroups.h = /x/y", "a.sources.r.filegroups.h = /x/y"),
    ("a.sources.r.haeders.h.k.l = v", "a.sources.r.headers.h.k.l = v"),
    ("a.sources.r.filegruops = h", "a.sources.r.filegroups = h"),
    ("a.sources.r.selector.maping.x = c", "a.sources.r.selector.mapping.x = c"),
    ("a.sources.s.deserialiser.other = 9", "a.sources.s.deserializer.other = 9"),
    ("a.sinks.k.sink.serialiser.appendNewline = true", "a.sinks.k.sink.serializer.appendNewline = true"),
])  # fmt: skip
def test_what_was_meant_is_a_whole_key(line: str, meant: str, complete: str, load_text: LoadText) -> None:
    """Also where the mistyped word is the name of a family of keys, and more stands behind it."""
    tail = "".join(f"a.sources.r.{setting}\n" for setting in (
        "type=TAILDIR", "filegroups=h", "filegroups.h=/x/y", "selector.type=multiplexing", "selector.header=h",
        "selector.default=c",
    ))  # fmt: skip
    spool = "a.sources=r s\na.sources.s.type=spooldir\na.sources.s.channels=c\na.sources.s.spoolDir=/x\n"
    text = complete.replace("a.sources.r.type=seq\n", tail).replace("a.sources=r\n", spool)
    _, problems = load_text(f"{text}{line}\n")
    assert meant in [problem.nearest for problem in problems]
