"""What a person sees from start to stop: problems, the plan, hold-ups that last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper import log
from shipper.cli import view as module
from shipper.cli.view import TerminalView, plan_lines
from shipper.config.plan import ChannelPlan, ComponentPlan, Plan, SinkGroupPlan, SinkPlan, SourcePlan
from shipper.config.problem import Problem
from shipper.metrics.block import State, monotonic_ms
from shipper.metrics.observer import Observer

PLAN = Plan(
    agent="a1",
    files=("/etc/a1.properties",),
    sources=(
        SourcePlan(
            name="r1", type="exec", channels=("c1", "c2"), selector=ComponentPlan(type="multiplexing"), workers=2,
            interceptors=(ComponentPlan(name="i1", type="host"),), properties={"command": "tail -F /var/log/x"},
        ),
    ),
    channels=(
        ChannelPlan(name="c1", type="memory", properties={"capacity": "10"}),
        ChannelPlan(name="c2", type="memory"),
    ),
    groups=(
        SinkGroupPlan(
            name="g1", processor=ComponentPlan(type="failover"), channel="c1",
            sinks=(SinkPlan(name="k1", type="hdfs", channel="c1", properties={"hdfs.proxyPassword": "geheim"}),),
        ),
        SinkGroupPlan(
            name=None, processor=ComponentPlan(type="default"), channel="c2",
            sinks=(SinkPlan(name="k2", type="null", channel="c2"),),
        ),
    ),
)  # fmt: skip


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that this process's log takes."""
    lines: list[str] = []
    earlier = log.current()
    log.configure(log.Log([("INFO", lambda level, component, text: lines.append(f"{level} {component}: {text}"))]))
    yield lines
    log.configure(earlier)


def test_a_dry_run_shows_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    TerminalView({}).plan(PLAN)
    assert capsys.readouterr().out.splitlines() == [
        "agent a1 of /etc/a1.properties would run:",
        "  source r1 (exec)  -> c1, c2  2 workers",
        "    command = tail -F /var/log/x",
        "    interceptor i1 (host)",
        "    selector multiplexing",
        "  channel c1 (memory)",
        "    capacity = 10",
        "  channel c2 (memory)",
        "  sink k1 (hdfs)  <- c1",
        "    hdfs.proxyPassword = (hidden)",
        "  sink group g1 (failover): k1",
        "  sink k2 (null)  <- c2",
        "4 worker processes and a supervisor; nothing was started.",
    ]
    assert plan_lines(PLAN)


def test_each_problem_of_the_file_is_a_line(said: list[str]) -> None:
    TerminalView({}).problems([
        Problem("error", "there is no type exce", file="a1.properties", line=3, nearest="exec"),
        Problem("dropped", "k1 has no channel", consequence="sink k1 is left out"),
        Problem("warning", "odd"),
        Problem("note", "another agent"),
    ])  # fmt: skip
    assert [line.split(":")[0] for line in said] == ["ERROR config", "ERROR config", "WARN config", "INFO config"]
    assert "a1.properties:3: there is no type exce. Did you mean exec?" in said[0]


def test_our_own_log_below_a_source_is_a_warning_at_the_start(said: list[str], tmp_path: Path) -> None:
    plan = Plan(
        agent="a1", files=(), channels=(), groups=(),
        sources=(
            SourcePlan(
                name="r1", type="exec", channels=("c1",), selector=ComponentPlan(type="replicating"),
                properties={"command": f"tail -F {tmp_path}/*.log"},
            ),
        ),
    )  # fmt: skip
    system = {"flume.root.logger": "INFO,LOGFILE", "flume.log.dir": str(tmp_path)}
    TerminalView(system).starting(plan)
    assert len(said) == 1
    assert said[0].startswith("WARN agent: r1 reads ")
    TerminalView({}).starting(plan)  # the log goes to the console: nothing to take in
    assert len(said) == 1


def test_a_hold_up_that_lasts_is_logged_once_and_its_end_too(
    agent: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOLD_UP_MS", 0)
    observer, view = Observer(agent.block, dict), TerminalView({})
    for entry in (agent.source, agent.sink):
        entry.counters.set("progress_ms", monotonic_ms())
    agent.sink.state(State.WAITING_TARGET, "the close of /out/x")
    for _ in range(3):
        observer.tick()
        view.sample(observer)
    assert len(said) == 1
    assert said[0].startswith("WARN agent: k1 waits for the close of /out/x, ")
    agent.sink.state(State.BUSY)
    observer.tick()
    observer.tick()
    view.sample(observer)
    assert said[1:] == ["INFO agent: c1 is not held up any more"]


def test_whoever_waits_for_the_start_is_told_once_every_worker_is_up(agent: Any, said: list[str]) -> None:
    told: list[str] = []
    observer, view = Observer(agent.block, dict), TerminalView({}, on_running=lambda: told.append("running"))
    observer.tick()
    view.sample(observer)
    assert told == []
    for entry in (agent.source, agent.sink):
        entry.counters.set("progress_ms", monotonic_ms())
    for _ in range(2):
        observer.tick()
        view.sample(observer)
    assert told == ["running"]


def test_a_short_hold_up_is_not_logged(agent: Any, said: list[str]) -> None:
    observer, view = Observer(agent.block, dict), TerminalView({})
    agent.sink.state(State.WAITING_TARGET, "x")
    observer.tick()
    view.sample(observer)
    view.end()
    assert said == []
