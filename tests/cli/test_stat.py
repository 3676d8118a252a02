"""`shipper stat` and `shipper health`: what they say of a running agent, of one that ended, and of none."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shipper.cli.health import health
from shipper.cli.main import main
from shipper.cli.stat import find_blocks, process_bytes, stat
from shipper.metrics.block import Kind, MetricsBlock, State, monotonic_ms


@pytest.fixture(autouse=True)
def running(agent: Any) -> None:
    """The agent's supervisor is this process; both workers have just looked around."""
    agent.source.runs(os.getpid(), 2_000)
    agent.sink.runs(os.getpid(), 2_000)
    for entry in (agent.source, agent.sink):
        entry.counters.set("progress_ms", monotonic_ms())
    agent.block.beat()


def test_stat_shows_rates_components_memory_and_where_it_is_held_up(
    agent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.source.counters.add("EventAcceptedCount", 1_234_567)
    agent.source.counters.set("lag_bytes", 2048)
    agent.sink.counters.add("truncated_lines", 3)
    agent.source.trouble("/f can't be read: Permission denied")
    agent.channel.channel({"size": 34, "capacity": 100, "capacity_bytes": 1 << 20})
    assert stat("a1", tmp_path, look_s=0.0) == 0
    out = capsys.readouterr().out
    assert out.startswith("agent a1  up ")
    for part in (
        "/etc/a1.properties", "source   r1  exec", "1,234,567 events", "2.0 KiB behind",
        "34% full of 100 events or 1.0 MiB",
        "sink     k1  hdfs", "3 lines cut", "memory  processes ", "rings and other segments", "  c1 34% full",
        "\n  r1: /f can't be read: Permission denied",
    ):  # fmt: skip
        assert part in out, part
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_stat_for_programs_is_json(agent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    agent.sink.state(State.WAITING_TARGET, "the close of /out/x")
    assert main(["stat", "a1", "--json", "--run-dir", str(tmp_path)]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["agent"], found["running"], found["pid"]) == ("a1", True, os.getpid())
    assert [worker["name"] for worker in found["workers"]] == ["r1", "k1"]
    assert found["workers"][1]["waits_for"] == "the close of /out/x"
    assert found["memory"]["processes"]["supervisor"] > 1_000_000
    assert found["memory"]["run_dir_bytes"] >= agent.block.path.stat().st_size
    assert found["hold_ups"][0]["held_up"] is True


def test_stat_does_not_write_into_the_block(agent: Any, tmp_path: Path) -> None:
    """Another terminal can look, and can't disturb."""
    before = agent.block.path.read_bytes()
    stat(None, tmp_path, look_s=0.0)
    assert agent.block.path.read_bytes() == before


def test_an_agent_that_nobody_runs_is_said_with_where_it_was_looked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stat("a2", tmp_path, look_s=0.0) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"no sign of agent a2 of this user in {tmp_path}" in captured.err


@pytest.mark.parametrize(("command", "code"), [("stat", 1), ("files", 1), ("ledger", 1), ("health", 3)])
def test_a_directory_that_can_not_be_looked_into_is_said(
    tmp_path: Path, command: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was mistyped, and an agent may run elsewhere."""
    (tmp_path / "file").write_text("")
    for name, reason in (("nowhere", "No such file or directory"), ("file", "Not a directory")):
        assert main([command, "a2", "--run-dir", str(tmp_path / name)]) == code
        captured = capsys.readouterr()
        line = captured.out if command == "health" else captured.err
        assert line.rstrip(".\n").endswith(f"can't look into --run-dir {tmp_path / name}: {reason}")


def test_who_asks_for_an_agent_that_nobody_runs_is_told_who_does(
    agent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that was mistyped, `A1` for `a1`."""
    for command, code in (("stat", 1), ("files", 1), ("health", 3)):
        assert main([command, "A1", "--run-dir", str(tmp_path)]) == code
        captured = capsys.readouterr()
        assert (captured.out + captured.err).rstrip(".\n").endswith((" runs there is a1", " runs is a1")), command


@pytest.mark.parametrize(
    "command", [["export", "--to", "/nowhere"], ["discard", "--yes"], ["adopt", "-n", "x", "-f", "y"]]
)
def test_what_a_running_agent_has_is_not_called_nothing(
    agent: Any, tmp_path: Path, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It has no leftovers, but it is what the person means."""
    assert main(["channel", command[0], "a1", *command[1:], "--run-dir", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err
        == "shipper channel: agent a1 is running, and empties its channels itself: stop it first\n"
    )


def test_an_agent_that_ended_shows_its_last_numbers_to_who_asks_by_name(
    agent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent.block._header[6] += 1  # its process id belongs to another process now
    assert stat(None, tmp_path, look_s=0.0) == 1
    assert stat("a1", tmp_path, look_s=0.0) == 0
    assert "agent a1  not running; these are its last numbers" in capsys.readouterr().out


def test_an_agent_that_has_stopped_is_said_from_its_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its run directory is gone, as after every stop in order."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    (tmp_path / "state" / "a1-0").mkdir(parents=True)
    book = {
        "version": 1, "agent": "a1", "file": "/etc/a1.properties", "run_dir": str(tmp_path / "run" / "a1-0"),
        "run": "x", "closed": True, "at_ms": 1_700_000_000_000, "before": {},
        "last": {"channels": {"c1": {"in_channel": 3}}},
    }  # fmt: skip
    (tmp_path / "state" / "a1-0" / "ledger.json").write_text(json.dumps(book))
    assert stat("a1", tmp_path / "run", as_json=True, look_s=0.0) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["agent"], found["running"], found["channels"]) == ("a1", False, {"c1": {"size": 3}})
    assert stat("a1", tmp_path / "run", look_s=0.0) == 0
    out = capsys.readouterr().out
    assert out.startswith("agent a1 of /etc/a1.properties has stopped at 20") and "; 3 events in c1" in out
    assert health("a1", tmp_path / "run", look_s=0.0) == 2
    assert capsys.readouterr().out == f"CRITICAL - {out}"
    assert stat("a2", tmp_path / "run", as_json=True, look_s=0.0) == 1
    assert main(["files", "a1", "--run-dir", str(tmp_path / "run")]) == 1
    assert capsys.readouterr().err == out


def test_agents_are_found_below_the_place_of_run_directories(tmp_path: Path) -> None:
    """One folder an instance; what is no block, or may not be read, is passed over."""
    for name in ("a1-x", "a2-y", "junk", "empty"):
        (tmp_path / "place" / name).mkdir(parents=True)
    MetricsBlock.create(tmp_path / "place" / "a1-x" / "metrics", 1, agent="a1")
    MetricsBlock.create(tmp_path / "place" / "a2-y" / "metrics", 1, agent="a2")
    (tmp_path / "place" / "junk" / "metrics").write_bytes(b"junk")
    assert [block.agent for block in find_blocks(tmp_path / "place")] == ["a1", "a2"]


def test_memory_of_a_process_counts_no_shared_segments() -> None:
    """The ring is counted once, with the run directory."""
    assert 1_000_000 < process_bytes(os.getpid()) < 1_000_000_000
    assert process_bytes(1 << 22) == -1


@pytest.mark.parametrize(("change", "code", "line"), [
    (lambda agent: None, 0, "OK - a1: in 0 events/s, out 0 events/s | in=0 out=0 waiting=0 lag=0B"),
    (lambda agent: agent.sink.counters.add("rows_set_aside", 2), 1, "WARNING - a1: k1 gave up or set aside 2 events"),
    (lambda agent: agent.sink.state(State.WAITING_TARGET, "x"), 1, "WARNING - a1: k1 waits for x, "),
    (lambda agent: agent.sink.state(State.FAILED, "was killed"), 2, "CRITICAL - a1: k1 failed: was killed"),
    (lambda agent: agent.source.counters.set("progress_ms", 1), 2, "CRITICAL - a1: r1 has made no step for "),
    (lambda agent: agent.channel.channel({"mismatch": 3}), 2, "CRITICAL - a1: 3 events of c1 are not accounted for"),
    (lambda agent: agent.block._header.__setitem__(7, 1), 2, "CRITICAL - a1: the supervisor has not stirred for "),
    (lambda agent: agent.block._header.__setitem__(6, 1), 2, "CRITICAL - a1: not running"),
])  # fmt: skip
def test_health_is_a_line_and_a_code_for_nagios(
    agent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, code: int, line: str
) -> None:
    change(agent)
    assert health("a1", tmp_path, look_s=0.0) == code
    out = capsys.readouterr().out
    assert out.startswith(line)
    assert out.count("\n") == 1


def test_health_takes_a_name_as_agent_does_or_none(
    agent: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a name it is about the running agent that is worst off."""
    agent.source.counters.set("progress_ms", 1)
    (tmp_path / "b2").mkdir()
    MetricsBlock.create(tmp_path / "b2" / "metrics", 0, agent="b2")
    for words, code, line in [
        (["a1"], 2, "CRITICAL - a1: r1 has made no step"),
        (["-n", "b2"], 0, "OK - b2: "),
        ([], 2, "CRITICAL - a1: "),
    ]:
        assert main(["health", *words, "--run-dir", str(tmp_path)]) == code
        assert capsys.readouterr().out.startswith(line)


def test_health_of_an_agent_nobody_knows_is_unknown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "a9", "--run-dir", str(tmp_path)]) == 3
    assert capsys.readouterr().out.startswith("UNKNOWN - ")


def test_workers_of_one_source_have_a_row_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "two").mkdir()
    made = MetricsBlock.create(tmp_path / "two" / "metrics", 2, agent="a7", start_ms=1)
    for index, entry in enumerate(made.entries):
        entry.describe(Kind.SOURCE, "r1", "taildir", worker=index, channels=["c1"])
        entry.runs(os.getpid() if index else os.getppid(), 1)
    stat("a7", tmp_path, look_s=0.0)
    out = capsys.readouterr().out
    assert out.count("source  r1  taildir") == 2
    assert "r1.0 " in out
