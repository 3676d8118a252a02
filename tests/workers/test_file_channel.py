"""Agents with a file channel: nothing is lost and nothing comes twice, whatever is killed; and what else can happen."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from shipper.cli import ledger
from shipper.metrics.block import MetricsBlock, State
from shipper.metrics.health import Level, findings
from shipper.testing.agent import Agent
from shipper.testing.ports import free_port
from tests.waiting import alive
from tests.workers.conftest import agent_of, file_roll, seq, taildir, texts
from tests.workers.test_kills import Writer, channel, judge
from tests.workers.test_power import told_twice

ROUNDS = int(os.environ.get("SHIPPER_KILL_ROUNDS", "2"))

pytestmark = pytest.mark.timeout(300 + 30 * ROUNDS)


def logged(properties: str, directory: Path, *names: str, **options: object) -> str:
    """The same agent with file channels in place of these memory channels."""
    for name in names or ("c1",):
        lines = {
            "type": "file", "checkpointDir": directory / name / "checkpoint", "dataDirs": directory / name / "data",
            "minimumRequiredSpace": "1m", "maxFileSize": "8m", **options,
        }  # fmt: skip
        text = "".join(f"a1.channels.{name}.{key} = {value}\n" for key, value in lines.items())
        properties = properties.replace(f"a1.channels.{name}.type = memory\n", text)
    return properties


def delivered(one: Agent, lines: int, *names: str) -> bool:
    """True when that many rows went through all of these channels."""
    found = [channel(one, name) for name in names or ("c1",)]
    return all(numbers["puts"] >= lines and not numbers["size"] for numbers in found)


def living(one: Agent) -> int:
    """How many workers live and have opened what they need."""
    block = MetricsBlock.view(one.instance_dir() / "metrics")
    open_ones = [w for w in block.sample().workers if w.state not in (State.STARTING, State.FAILED) and alive(w.pid)]
    writers = [pid for name, pid in one.workers().items() if name.startswith("c") and alive(pid)]
    return len(open_ones) + len(writers)


def start_without_target(one: Agent, out: Path) -> None:
    """Starts an agent whose sink can't write, until its source has put all that it has."""
    out.rmdir()
    one.start(wait=False)
    one.until(lambda: "r1: the source has reached its end" in one.log())


def troubles(one: Agent, *levels: Level) -> list[str]:
    """What health says of it, of these levels."""
    found = findings(MetricsBlock.view(one.instance_dir() / "metrics").sample())
    return [finding.sentence for finding in found if not levels or finding.level in levels]


def test_kills_lose_nothing_and_repeat_nothing(agent: Callable[..., Agent], tmp_path: Path) -> None:
    seed = int(os.environ.get("SHIPPER_SEED", "30"))
    chance = random.Random(seed)
    (tmp_path / "in").mkdir()
    text = agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(logged(text, tmp_path / "log"))
    writer = Writer(tmp_path / "in", seed)
    writer.start()
    one.start()
    for _ in range(ROUNDS):
        for victim in chance.sample(["r1", "k1", "c1", "r1", "k1", "c1", None], 7):
            threading.Event().wait(chance.random() * 0.5)
            one.kill(victim)
            if victim is None:
                one.start(wait=chance.random() < 0.5)
    writer.ending.set()
    writer.join()
    one.until(lambda: living(one) == 3, "all workers are up again", 60)
    one.until(lambda: delivered(one, writer.lines), "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    judge(texts(tmp_path / "out"), writer)
    assert "Traceback" not in one.log(), one.log()


def test_the_loss_of_all_processes_and_of_the_run_directory(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """A power cut, as far as a test can: what was in memory is gone, and what is on disk is enough to go on."""
    seed = int(os.environ.get("SHIPPER_SEED", "31"))
    chance = random.Random(seed)
    (tmp_path / "in").mkdir()
    text = agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(logged(text, tmp_path / "log"))
    writer = Writer(tmp_path / "in", seed)
    writer.start()
    for _ in range(ROUNDS + 1):
        one.start()
        threading.Event().wait(chance.random())
        left = one.children()
        one.kill()
        one.until_gone(left)
        shutil.rmtree(one.run_dir)
        one.run_dir.mkdir()
    one.start()
    writer.ending.set()
    writer.join()
    one.until(lambda: delivered(one, writer.lines), "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    judge(texts(tmp_path / "out"), writer)
    assert told_twice(one) == {"twice_at_most": 0, "twice_unknown": 0}


def test_a_grid_of_both_kinds_of_channel(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Two file channels and one in memory behind one source, two sinks at one of them: each has everything once."""
    seed = int(os.environ.get("SHIPPER_SEED", "32"))
    chance = random.Random(seed)
    (tmp_path / "in").mkdir()
    text = agent_of(
        taildir("r1", "c1 c2 c3", tmp_path / "in", workers=2), file_roll("k1", "c1", tmp_path / "one"),
        file_roll("k2", "c1", tmp_path / "two"), file_roll("k3", "c2", tmp_path / "three"),
        file_roll("k4", "c3", tmp_path / "four"),
        channels="c1 c2 c3", sinks="k1 k2 k3 k4",
    )  # fmt: skip
    one = agent(logged(text, tmp_path / "log", "c1", "c3"))
    writer = Writer(tmp_path / "in", seed)
    writer.start()
    one.start()
    for _ in range(ROUNDS):
        for victim in chance.sample(["r1.0", "r1.1", "k1", "k2", "k3", "k4", "c1", "c3", None], 9):
            threading.Event().wait(chance.random() * 0.4)
            one.kill(victim)
            if victim is None:
                one.start(wait=chance.random() < 0.5)
    writer.ending.set()
    writer.join()
    one.until(lambda: living(one) == 8, "all workers are up again", 60)
    one.until(lambda: delivered(one, writer.lines, "c1", "c2", "c3"), "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    judge(texts(tmp_path / "one") + texts(tmp_path / "two"), writer, ordered=False)
    judge(texts(tmp_path / "three"), writer, ordered=False)
    judge(texts(tmp_path / "four"), writer, ordered=False)
    assert "Traceback" not in one.log(), one.log()


def test_a_backlog_is_delivered_by_the_next_start(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """The sink can't write; the agent is stopped; the next one has all of it in its log, and delivers it."""
    out = tmp_path / "out"
    text = agent_of(seq("r1", "c1", 20_000), file_roll("k1", "c1", out))
    one = agent(logged(text, tmp_path / "log"))
    start_without_target(one, out)
    one.stop(signal.SIGTERM)
    assert not list(one.run_dir.glob("a1-*/channels"))
    assert "c1: 20000 events wait in its log on disk; the next start goes on with them" in one.log()
    out.mkdir()
    began_s = time.monotonic()
    one.start()
    one.until(lambda: len(texts(out).splitlines()) == 20_000)
    assert time.monotonic() - began_s < 20
    assert one.stop() == 0
    assert one.log().count("events wait in its log") == 1, "nothing waits now"
    assert texts(out) == b"".join(b"%d\n" % number for number in range(20_000))


def test_a_directory_of_flume_is_refused_and_not_touched(agent: Callable[..., Agent], tmp_path: Path) -> None:
    data = tmp_path / "log" / "c1" / "data"
    data.mkdir(parents=True)
    (data / "log-1").write_bytes(b"\x7fevents of Flume")
    (data / "log-1.meta").write_bytes(b"meta")
    text = agent_of(seq("r1", "c1", 5), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(logged(text, tmp_path / "log")).start(wait=False)
    one.until(lambda: "holds a file channel of Apache Flume (log-1, log-1.meta)" in one.log())
    assert one.stop() in (0, 3)  # 0: it was being started once more just then
    assert sorted(path.name for path in data.iterdir()) == ["log-1", "log-1.meta"]
    assert (data / "log-1").read_bytes() == b"\x7fevents of Flume"


def test_a_directory_in_use_is_refused(agent: Callable[..., Agent], tmp_path: Path) -> None:
    text = agent_of(seq("r1", "c1", 5), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(logged(text, tmp_path / "log")).start()
    other = agent(logged(text, tmp_path / "log")).start(wait=False)
    other.until(lambda: "is in use by another process" in other.log())
    other.until(lambda: any("is in use by another process" in line for line in troubles(other, Level.FAILED)))
    assert one.stop() == 0
    other.until(lambda: not troubles(other), "it has the directory now")
    other.kill("c1")
    other.until(lambda: troubles(other, Level.FAILED) == ["c1 failed: was killed by SIGKILL"])
    other.until(lambda: not troubles(other), "it was started again")
    assert other.stop() == 0


def test_a_disk_without_room_is_no_reason_to_start_again(agent: Callable[..., Agent], tmp_path: Path) -> None:
    text = agent_of(seq("r1", "c1", 5_000), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(logged(text, tmp_path / "log", minimumRequiredSpace=1 << 60)).start(wait=False)
    one.until(lambda: "c1: takes nothing more" in one.log())
    one.until(lambda: troubles(one), "health says it")
    [said] = troubles(one, Level.DEGRADED)
    assert said.startswith("c1 takes nothing more: "), said
    assert not troubles(one, Level.DEAD)


def test_two_channels_of_one_place_are_refused(agent: Callable[..., Agent], tmp_path: Path) -> None:
    text = agent_of(
        seq("r1", "c1 c2", 5), file_roll("k1", "c1", tmp_path / "out"), file_roll("k2", "c2", tmp_path / "two"),
        channels="c1 c2", sinks="k1 k2",
    )  # fmt: skip
    text = text.replace(".type = memory", ".type = file")
    one = agent(text, environment={"HOME": str(tmp_path)})
    assert one.run() == 1
    assert "c1 and c2 would both lie in" in one.log()


def test_clients_are_answered_when_their_events_are_on_disk(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Many clients with an event each share a sync; what was answered survives the loss of all that was in memory."""
    out = tmp_path / "out"
    port = free_port()
    netcat = f"a1.sources.r1.type = netcat\na1.sources.r1.bind = 127.0.0.1\na1.sources.r1.port = {port}\n"
    text = agent_of(netcat + "a1.sources.r1.channels = c1\n", file_roll("k1", "c1", out))
    one = agent(logged(text, tmp_path / "log")).start()
    answered = 0
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(64)]
        files = [client.makefile("rb") for client in clients]
        for turn in range(20):
            for number, client in enumerate(clients):
                client.sendall(b"%d of %d\n" % (turn, number))
            answered += sum(file.readline() == b"OK\n" for file in files)
    left = one.children()
    one.kill()
    one.until_gone(left)
    shutil.rmtree(one.instance_dir())
    assert answered == 64 * 20
    one.start()
    one.until(lambda: len(texts(out).splitlines()) >= answered)
    assert one.stop() == 0
    rows = texts(out).splitlines()
    assert sorted(rows) == sorted(b"%d of %d" % (turn, number) for turn in range(20) for number in range(64))


def test_the_ledger_counts_what_is_in_the_log(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """A backlog is in the channel, also over a stop and the loss of the run directory; and then it is delivered."""
    out = tmp_path / "out"
    text = agent_of(seq("r1", "c1", 5_000), file_roll("k1", "c1", out))
    one = agent(logged(text, tmp_path / "log"))
    start_without_target(one, out)
    one.stop()

    def numbers() -> tuple[int, int, int, int]:
        [found] = ledger.find("a1", None, one.state_dir)
        of = found.total.channels["c1"]
        return of["accepted"], of["in_channel"] + of["in_log"], of["delivered"], ledger.mismatch(of)

    assert numbers() == (5_000, 5_000, 0, 0)
    out.mkdir()
    one.start()
    one.until(lambda: len(texts(out).splitlines()) >= 5_000)
    one.until(lambda: numbers() == (5_000, 0, 5_000, 0))
    assert one.stop() == 0
    assert numbers() == (5_000, 0, 5_000, 0)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_channel_that_becomes_one_in_memory_tells_of_no_sink_that_died(
    killed: bool, agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """Its lanes were held by its writer, which is no sink; what the writer had not ended with is said as it is."""
    out = tmp_path / "out"
    text = agent_of(seq("r1", "c1", 5_000), file_roll("k1", "c1", out))
    one = agent(logged(text, tmp_path / "log"))
    start_without_target(one, out)
    if killed:
        one.kill_all()
        one.file.write_text(text)
        one.start(wait=False)
    else:
        one.file.write_text(text)
        one.send(signal.SIGHUP)
    out.mkdir()
    one.until(lambda: one.log().count("is running") >= 1, "the memory channel runs")
    [found] = ledger.find("a1", None, one.state_dir)
    assert "the sink that took" not in one.log()
    assert ("the writer that took" in one.log()) == killed
    assert found.total.channels["c1"]["handed_over"] == killed
    assert ("a sink, or the writer of a log, died" in "\n".join(ledger.as_lines(found))) == killed
