"""Dead letters of real agents: what a sink refuses for good is in its channel once, whatever is killed at random."""

from __future__ import annotations

import os
import random
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from shipper.instance.ledger import mismatch
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, numbered, taildir, texts, total
from tests.workers.test_file_channel import logged
from tests.workers.test_kills import Writer, channel, judge

ROUNDS = int(os.environ.get("SHIPPER_KILL_ROUNDS", "1"))
TIME_MS = 1_700_000_000_000

pytestmark = pytest.mark.timeout(300 + 60 * ROUNDS)


def by_year(name: str, channel_name: str, directory: Path, letters: str) -> str:
    """A sink that can't place events without a time."""
    lines = {
        "type": "hdfs", "hdfs.path": f"file://{directory}/%Y", "hdfs.fileType": "DataStream", "channel": channel_name,
        "hdfs.rollInterval": 0, "hdfs.rollCount": 0, "hdfs.rollSize": 3 << 20, "deadLetter": letters,
        "hdfs.writeFormat": "Text",
    }  # fmt: skip
    return "".join(f"a1.sinks.{name}.{key} = {value}\n" for key, value in lines.items())


def two_kinds(directory: Path) -> str:
    """A source that reads events with a time from one directory, and without one from another."""
    groups = {
        "filegroups": "f bad", "filegroups.f": f"{directory}/good/.*", "filegroups.bad": f"{directory}/bad/.*",
        "headers.f.timestamp": TIME_MS,
    }  # fmt: skip
    for name in ("good", "bad"):
        (directory / name).mkdir(parents=True)
    return taildir("r1", "c1", directory, **groups)


def dated(directory: Path) -> bytes:
    """What is in the files of the hdfs sink, in order."""
    return b"".join(path.read_bytes() for path in sorted(directory.glob("2023/*"), key=numbered))


@pytest.mark.parametrize("disk", ["d1", "c1"], ids=["memory to file", "file to memory"])
def test_any_death_leaves_each_dead_letter_once(disk: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("SHIPPER_SEED", "28"))
    chance = random.Random(seed)
    print(f"SHIPPER_SEED={seed}")
    parts = (
        two_kinds(tmp_path / "in"), by_year("k1", "c1", tmp_path / "out", "d1"),
        file_roll("k2", "d1", tmp_path / "letters"),
    )  # fmt: skip
    properties = logged(agent_of(*parts, channels="c1 d1", sinks="k1 k2"), tmp_path / "log", disk)
    with ExitStack() as stack:
        one = stack.enter_context(Agent(tmp_path / "agent", properties))
        writers = [Writer(tmp_path / "in" / "good", seed), Writer(tmp_path / "in" / "bad", seed + 1)]
        for writer in writers:
            writer.start()
        one.start()
        for _ in range(ROUNDS):
            for victim in chance.sample(["k1", "k1", "k1", "k2", "r1", disk, None, None], 8):
                threading.Event().wait(chance.random() * 0.5)
                one.kill(victim)
                if victim is None:
                    one.start(wait=chance.random() < 0.5)
        if chance.random() < 0.5:  # and a stop in order, with whatever is in the channels
            one.until(lambda: len(one.workers()) == 4, "all workers are up again", 60)
            assert one.stop() == 0, one.log()
            one.start()
        for writer in writers:
            writer.ending.set()
            writer.join()
        good, bad = writers

        def all_there() -> bool:
            found = total(one).channels
            left = channel(one, "c1")["size"] + channel(one, "d1")["size"]
            return found["c1"]["accepted"] >= good.lines + bad.lines and not left

        one.until(lambda: len(one.workers()) == 4, "all workers are up again", 60)
        one.until(all_there, "everything is delivered", 90)
        assert one.stop() == 0, one.log()
    judge(dated(tmp_path / "out"), good)
    judge(texts(tmp_path / "letters"), bad)
    found = total(one)
    assert {name: mismatch(numbers) for name, numbers in found.channels.items()} == {"c1": 0, "d1": 0}
    assert found.channels["c1"]["delivered"] == good.lines
    assert found.channels["c1"]["set_aside"] == found.letters["k1"]["d1"]["accepted"] == bad.lines
    assert found.channels["d1"]["delivered"] == bad.lines
    assert not list(one.state_dir.rglob("quarantine*"))
    assert "Traceback" not in one.log(), one.log()


def test_a_stop_in_order_empties_the_dead_letter_channel_last(tmp_path: Path) -> None:
    """The sink of the letters ends when nobody can put one any more: nothing is left, nothing is parked."""
    parts = (
        two_kinds(tmp_path / "in"), by_year("k1", "c1", tmp_path / "out", "d1"),
        file_roll("k2", "d1", tmp_path / "letters"),
    )  # fmt: skip
    (tmp_path / "in" / "bad" / "a.log").write_bytes(b"".join(b"%d\n" % number for number in range(300_000)))
    with Agent(tmp_path / "agent", agent_of(*parts, channels="c1 d1", sinks="k1 k2")) as one:
        one.start()
        one.until(lambda: channel(one, "c1")["puts"] > 0, "reading has begun")
        assert one.stop() == 0, one.log()
        assert "parked" not in one.log(), one.log()
        found = total(one).channels
        assert found["d1"]["delivered"] == found["c1"]["set_aside"] == found["c1"]["accepted"] > 0
