"""What is wrong with an agent, judged by what moves: what is dead, what has failed, what is only held up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper import log
from shipper.metrics.block import State, monotonic_ms
from shipper.metrics.health import NOTICES, Finding, Level, findings, unready
from shipper.metrics.observer import Observer
from shipper.supervisor.monitor import Monitor


def ago(seconds: float) -> int:
    """A moment so long ago, as the block has it."""
    return monotonic_ms() - int(seconds * 1000)


def waits_for_target(agent: Any, seconds: float) -> None:
    """The sink can't deliver since then, and goes its rounds."""
    agent.sink.state(State.WAITING_TARGET, "a name node")
    agent.sink.counters.set("progress_ms", ago(0))
    agent.sink._words[5] = ago(seconds)


def unmoved(agent: Any, seconds: float, state: State = State.BUSY) -> None:
    """Rows wait since then, and the sink goes its rounds."""
    agent.sink.counters.set("progress_ms", ago(0))
    agent.sink.state(state)
    agent.channel.channel({"size": 500, "unmoved_since_ms": ago(seconds)})


@pytest.mark.parametrize(("change", "level", "sentence"), [
    (lambda a: a.source.counters.set("progress_ms", ago(31)), Level.DEAD, "r1 has made no step for 31 s"),
    (lambda a: a.sink.counters.set("progress_ms", ago(95)), Level.DEAD, "k1 has made no step for 95 s"),
    (lambda a: unmoved(a, 121), Level.DEAD, "500 events wait in c1, and k1 took none for 2 min"),
    (lambda a: a.sink.stopped(1, State.FAILED, "could not go on"), Level.FAILED, "k1 failed: could not go on"),
    (lambda a: a.channel.channel({"mismatch": 3}), Level.FAILED,
     "3 events of c1 are not accounted for: shipper ledger"),
    (lambda a: a.channel.channel({"lost": 50, "lost_before": 8}), Level.DEGRADED,
     "42 events of c1 are lost since the start: shipper ledger"),
    (lambda a: a.channel.waits_for("a directory is in use"), Level.FAILED, "c1 failed: a directory is in use"),
    (lambda a: (unmoved(a, 121), a.channel.trouble("no room")), Level.DEGRADED, "c1 takes nothing more: no room"),
    (lambda a: waits_for_target(a, 31), Level.DEGRADED, "k1 can't deliver for 31 s: a name node"),
    (lambda a: a.sink.counters.add("rows_set_aside", 2), Level.DEGRADED,
     "k1 gave up or set aside 2 events or files since the start"),
    (lambda a: a.source.trouble("/f can't be read: Permission denied"), Level.DEGRADED,
     "r1: /f can't be read: Permission denied"),
    (lambda a: a.sink.trouble("3 files wait for the target: no room"), Level.DEGRADED,
     "k1: 3 files wait for the target: no room"),
])  # fmt: skip
def test_each_trouble_has_its_level_and_its_sentence(
    agent: Any, change: Callable[[Any], None], level: Level, sentence: str
) -> None:
    change(agent)
    assert findings(agent.block.sample()) == [Finding(level, sentence)]


@pytest.mark.parametrize("change", [
    lambda a: a.source.counters.set("progress_ms", ago(20)),
    lambda a: waits_for_target(a, 20),
    lambda a: unmoved(a, 100),
    lambda a: unmoved(a, 1000, State.WAITING_TARGET),
    lambda a: a.source.stopped(1),
])  # fmt: skip
def test_what_is_only_slow_or_over_is_no_trouble(agent: Any, change: Callable[[Any], None]) -> None:
    change(agent)
    assert [finding for finding in findings(agent.block.sample()) if finding.level == Level.DEAD] == []


def test_the_worst_stands_first(agent: Any) -> None:
    waits_for_target(agent, 40)
    agent.source.counters.set("progress_ms", ago(40))
    found = findings(agent.block.sample(), ["the configuration was refused"])
    assert [finding.level for finding in found] == [Level.DEAD, Level.DEGRADED, Level.DEGRADED]
    assert found[-1].sentence == "the configuration was refused"


def test_rows_count_as_unmoved_from_the_first_look_that_finds_them_so(agent: Any) -> None:
    numbers = {"c1": {"size": 5, "takes": 10}}
    observer = Observer(agent.block, lambda: numbers)

    def since_ms() -> int:
        observer.tick()
        return agent.block.sample().channels["c1"]["unmoved_since_ms"]

    first = since_ms()
    assert first > 0
    assert since_ms() == first
    numbers["c1"]["takes"] = 11
    assert since_ms() == 0
    assert since_ms() > 0
    numbers["c1"]["size"] = 0
    assert since_ms() == 0


def answers(agent: Any, ready: bool = True) -> tuple[tuple[bool, str], tuple[bool, str]]:
    """What the pages say: (health, ready)."""
    monitor = Monitor({}, Observer(agent.block, dict), lambda: ready)
    return monitor._health(), monitor._ready()


def test_a_target_that_is_down_is_no_reason_to_start_again(agent: Any) -> None:
    agent.source.state(State.BUSY)
    waits_for_target(agent, 40)
    assert answers(agent) == ((True, "degraded: k1 can't deliver for 40 s: a name node"), (True, ""))


def test_a_worker_that_hangs_is(agent: Any) -> None:
    agent.source.state(State.BUSY)
    agent.sink.state(State.BUSY)
    agent.sink.counters.set("progress_ms", ago(40))
    assert answers(agent)[0] == (False, "not alive: k1 has made no step for 40 s")


def test_a_component_that_failed_is_alive_but_not_ready(agent: Any) -> None:
    agent.source.state(State.BUSY)
    agent.sink.stopped(1, State.FAILED, "could not go on")
    assert answers(agent) == ((True, "failed: k1 failed: could not go on"), (False, "k1 is failed: could not go on"))


def test_an_agent_is_not_ready_before_all_have_started(agent: Any) -> None:
    agent.source.state(State.BUSY)
    assert unready(agent.block.sample()) == ["k1 is starting"]
    assert unready(agent.block.sample(), started=True) == [], "its first step is still to come"
    agent.sink.state(State.BUSY)
    assert answers(agent, ready=False)[1] == (False, "not every component has started")
    assert answers(agent)[1] == (True, "")


def test_a_channel_whose_writer_cant_run_is_alive_but_not_ready(agent: Any) -> None:
    agent.source.state(State.BUSY)
    agent.sink.state(State.BUSY)
    agent.channel.waits_for("a directory is in use")
    assert answers(agent, ready=False) == (
        (True, "failed: c1 failed: a directory is in use"), (False, "c1 is failed: a directory is in use")
    )  # fmt: skip


@pytest.mark.parametrize("port", ["abc", "70000", "-1", "", "8080x"])
def test_what_is_no_port_is_said_and_nothing_listens(agent: Any, port: str) -> None:
    """As in Flume, whose agent runs on; the port that nobody asked for may be another agent's."""
    said: list[str] = []
    earlier = log.current()
    log.configure(log.Log([("ERROR", lambda level, component, text: said.append(text))]))
    try:
        system = {"flume.monitoring.type": "http", "flume.monitoring.port": port}
        monitor = Monitor(system, Observer(agent.block, dict), lambda: True)
    finally:
        log.configure(earlier)
    assert monitor.server is None
    assert [line.partition(":")[0] for line in said] == [f"-Dflume.monitoring.port={port} is no port"]
    assert "No metrics are served, and the agent runs without" in said[0]


def test_a_port_may_have_blanks_around_it(agent: Any) -> None:
    """Flume trims it."""
    system = {"flume.monitoring.type": "http", "flume.monitoring.port": " 0 "}
    monitor = Monitor(system, Observer(agent.block, dict), lambda: True)
    assert monitor.server is not None and monitor.server.port > 0
    monitor.close()


def test_what_the_supervisor_has_to_say_is_shown(agent: Any, tmp_path: Path) -> None:
    (tmp_path / NOTICES).write_text("12 events wait in channel c9\n")
    assert answers(agent)[0] == (True, "degraded: 12 events wait in channel c9")
