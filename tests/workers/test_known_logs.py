"""Logs on disk that no channel has any more are named at each start, as long as they hold rows."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from shipper.cli.main import main
from shipper.durable import offline
from shipper.instance import known_logs
from shipper.instance.machine import cgroup_limit_bytes
from shipper.metrics.health import read_notices
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, seq, texts

Make = Callable[..., Agent]
EVENTS = 5_000


def test_a_log_that_no_channel_has_is_said_and_delivered_when_one_has_it_again(
    agent: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    parts = (seq("r1", "c1", EVENTS), file_roll("k1", "c1", out))
    logged = (
        f"a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {tmp_path}/checkpoint\n"
        f"a1.channels.c1.dataDirs = {tmp_path}/data\n"
    )
    with_log = agent_of(*parts).replace("a1.channels.c1.type = memory\n", logged)
    without = agent_of(seq("r1", "c1", 1), file_roll("k1", "c1", tmp_path / "other"))
    one = agent(with_log)
    out.rmdir()
    one.start(wait=False)
    one.until(lambda: "r1: the source has reached its end" in one.log())
    places = (tmp_path / "checkpoint", [tmp_path / "data"])
    one.until(lambda: offline.inspect(*places).rows_waiting == EVENTS, "all of it is in the log")
    one.kill_all()
    said = f"{EVENTS} events wait in the log in {tmp_path}/checkpoint, which no channel of this configuration reads"
    one.file.write_text(without)
    for times in (1, 2):
        one.start()
        assert one.log().count(said) == times, "at each start"
        listed = ["channel", "list", "--run-dir", str(one.run_dir), "--state-dir", str(one.state_dir)]
        assert main(listed) == 0, "while it runs"
        assert one.stop() == 0
        assert main(listed) == 0
        told = capsys.readouterr().out
        assert told.count(f"channel c1: {EVENTS} events wait in the log in {tmp_path}/checkpoint:") == 2, told
    assert main(["channel", "export", f"{tmp_path}/checkpoint", "--to", f"{tmp_path}/exported"]) == 0, capsys
    assert b"".join(path.read_bytes() for path in (tmp_path / "exported").iterdir()).count(b"\n") == EVENTS
    out.mkdir()
    one.file.write_text(with_log)
    one.start()
    one.until(lambda: texts(out).count(b"\n") >= EVENTS)
    assert main(listed) == 0
    assert "wait in the log" not in capsys.readouterr().out, "an agent has it open"
    assert one.stop() == 0
    one.file.write_text(without)
    one.start()
    assert one.log().count("which no channel of this configuration reads") == 2, "it is empty now"
    assert one.stop() == 0


@pytest.mark.parametrize(
    ("own", "limits", "wanted"),
    [
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "300", "a.slice/memory.max": "200"}, 200),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "max", "memory.max": "max"}, None),
        ("0::/\n", {"memory.max": "100"}, 100),
        ("0::/docker/not-there\n", {"memory.max": "100"}, 100),
        ("5:cpu:/x\n4:memory:/y/z\n0::/\n", {"memory/y/z/memory.limit_in_bytes": "64"}, 64),
        ("4:memory:/y\n", {"memory/y/memory.limit_in_bytes": str((1 << 63) - 4096)}, None),
        ("", {}, None),
    ],
)
def test_the_memory_of_a_group_is_that_of_the_tightest_around_it(
    tmp_path: Path, own: str, limits: dict[str, str], wanted: int | None
) -> None:
    """The rings of an agent in a service with MemoryMax are an eighth of that, as in a container."""
    (tmp_path / "own").write_text(own)
    for name, text in limits.items():
        path = tmp_path / "root" / name
        os.makedirs(path.parent, exist_ok=True)
        path.write_text(f"{text}\n")
    assert cgroup_limit_bytes(tmp_path / "own", tmp_path / "root") == wanted


def test_a_log_that_a_reload_leaves_behind_is_said_and_stands_in_health(agent: Make, tmp_path: Path) -> None:
    """The channel goes on in other directories, and its rows wait in those that it had."""
    out = tmp_path / "out"
    text = agent_of(seq("r1", "c1", EVENTS), file_roll("k1", "c1", out)).replace(
        "a1.channels.c1.type = memory\n",
        f"a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {tmp_path}/one/checkpoint\n"
        f"a1.channels.c1.dataDirs = {tmp_path}/one/data\n",
    )
    one = agent(text)
    out.rmdir()
    one.start(wait=False)
    one.until(lambda: "r1: the source has reached its end" in one.log())
    places = (tmp_path / "one" / "checkpoint", [tmp_path / "one" / "data"])
    one.until(lambda: offline.inspect(*places).rows_waiting == EVENTS, "all of it is in the log")
    one.file.write_text(text.replace(f"{tmp_path}/one", f"{tmp_path}/two"))
    one.send(signal.SIGHUP)
    said = f"{EVENTS} events wait in the log in {tmp_path}/one/checkpoint, which no channel of this configuration reads"
    one.until(lambda: any(said in line for line in read_notices(one.instance_dir())), "health says it")
    one.until(lambda: said in one.log(), "and the log")
    one.file.write_text(text)
    one.send(signal.SIGHUP)
    one.until(lambda: not any(said in line for line in read_notices(one.instance_dir())), "a channel has it again")


def test_a_log_that_nobody_changes_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor asks twice a minute, and a log of very small records takes seconds."""
    checkpoint, data = tmp_path / "checkpoint", tmp_path / "data"
    checkpoint.mkdir()
    data.mkdir()
    (checkpoint / "shipper.checkpoint").write_bytes(b"1")
    known_logs.follow(tmp_path, {"c1": (checkpoint, [data])})
    read: list[str] = []

    def left_in(entry: Mapping[str, str]) -> str:
        read.append(entry["checkpoint"])
        return f"{len(read)} events wait"

    monkeypatch.setattr(known_logs, "_left_in", left_in)
    unread = known_logs.Unread(tmp_path)
    assert unread.beside([]) == unread.beside([]) == [("c1", "1 events wait")]
    assert unread.beside([checkpoint]) == []
    assert unread.beside([]) == [("c1", "2 events wait")]
    for changed in (checkpoint / "shipper.checkpoint", data):
        os.utime(changed, (1, 1))
        assert unread.beside([]) == [("c1", f"{len(read)} events wait")]
    assert len(read) == 4
