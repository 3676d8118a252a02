"""RC4: a sink worker that stands still (SIGSTOP) keeps what it owns, and costs nobody else anything."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from shipper.ring.lane import Lane
from shipper.ring.layout import HOLDER
from shipper.testing.agent import Agent
from shipper.workers.grid import sink_id
from tests.crash.conftest import Make, Writer, agent_of, file_roll, taildir, texts

LINES_A_SECOND = 5000
LOSS_MOST = 0.05  # over a minute; of some seconds more may be under way on a busy machine

seconds_c_and_n = pytest.mark.parametrize(
    "seconds", [3, pytest.param(60, marks=[pytest.mark.nightly, pytest.mark.timeout(600)])]
)


def three_sinks(agent: Make, tmp_path: Path) -> Agent:
    """Two sinks that compete for one channel, and one with a channel to itself."""
    return agent(
        agent_of(
            taildir("r1", "c1", tmp_path / "one"), taildir("r2", "c2", tmp_path / "two"),
            file_roll("k1", "c1", tmp_path / "k1"), file_roll("k2", "c1", tmp_path / "k2"),
            file_roll("k3", "c2", tmp_path / "k3"), sources="r1 r2", channels="c1 c2", sinks="k1 k2 k3",
        )
    ).start()  # fmt: skip


def delivered(directory: Path) -> int:
    """Lines in the files of a sink."""
    return texts(directory).count(b"\n")


def holders(one: Agent) -> dict[str, int]:
    """Who holds each lane of c1."""
    found = {}
    for path in (one.instance_dir() / "channels" / "c1").glob("r1.0--*"):
        lane = Lane.open(path)
        found[path.name] = lane.words.load(HOLDER)
        lane.close()
    return found


@seconds_c_and_n
@pytest.mark.parametrize("then", ["continues", "is killed"])
def test_others_go_on_and_nothing_is_lost_or_comes_twice(agent: Make, tmp_path: Path, seconds: int, then: str) -> None:
    writers = [Writer(tmp_path / name / "a.log", LINES_A_SECOND) for name in ("one", "two")]
    for writer in writers:
        writer.start()
    one = three_sinks(agent, tmp_path)
    one.until(lambda: delivered(tmp_path / "k3") > LINES_A_SECOND // 2)
    victim = one.worker("k1")
    mine = sink_id("k1.0")
    one.until(lambda: holders(one).get("r1.0--k1.0") == mine, "k1 holds its lane")
    one.freeze("k1")
    began_s, before = time.monotonic(), delivered(tmp_path / "k3")
    frozen = texts(tmp_path / "k1")
    while time.monotonic() - began_s < seconds:
        time.sleep(0.1)
        assert holders(one)["r1.0--k1.0"] == mine, "a stopped owner still owns"
    lasted_s, there = time.monotonic() - began_s, delivered(tmp_path / "k3") - before
    written = writers[1].lines
    one.until(lambda: delivered(tmp_path / "k3") >= written, "the other pipeline goes on")
    assert texts(tmp_path / "k1") == frozen, "nobody else writes its files"
    os.kill(victim, signal.SIGCONT if then == "continues" else signal.SIGKILL)
    loss = 1 - there / (lasted_s * LINES_A_SECOND)
    print(
        f"stopped for {lasted_s:.1f} s; the other pipeline delivered {there} lines, {loss:+.2%} less than were written"
    )
    if seconds >= 60:
        assert loss < LOSS_MOST
    lines = [writer.end() for writer in writers]
    one.until(lambda: delivered(tmp_path / "k3") >= lines[1])
    one.until(lambda: delivered(tmp_path / "k1") + delivered(tmp_path / "k2") >= lines[0])
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "k3") == b"".join(b"%d\n" % i for i in range(lines[1]))
    both = (texts(tmp_path / "k1") + texts(tmp_path / "k2")).split()
    assert sorted(map(int, both)) == list(range(lines[0])), "each line went to one of the two, once"
