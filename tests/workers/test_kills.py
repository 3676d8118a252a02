"""SIGKILL of anything at any moment: no line is lost, none comes twice, and the order is kept.

A writer appends numbered lines and rotates its file; source, sink and supervisor are killed in turn at moments that
one seed gives. `SHIPPER_KILL_ROUNDS` makes the runs longer.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, hdfs_lz4, lz4_texts, taildir, texts

ROUNDS = int(os.environ.get("SHIPPER_KILL_ROUNDS", "2"))
LINES_A_BLOCK = 2000

pytestmark = pytest.mark.timeout(300 + 30 * ROUNDS)


def line(number: int) -> bytes:
    """An access-log line."""
    return b'%010d 127.0.0.1 - - [20/May/2011:07:01:19 +0000] "GET /wp-admin/css/install.css HTTP/1.0" 200\n' % number


class Writer(threading.Thread):
    """Appends lines to a file and rotates it now and then, as a server would, until it is stopped."""

    def __init__(self, directory: Path, seed: int) -> None:
        super().__init__(daemon=True)
        self.directory = directory
        self.chance = random.Random(seed)
        self.ending = threading.Event()
        self.lines = 0
        self.begins = [0]

    def run(self) -> None:
        generation = 0
        file = (self.directory / "app.log").open("ab", buffering=0)
        while not self.ending.wait(0.004):
            block = b"".join(line(self.lines + i) for i in range(LINES_A_BLOCK))
            cut = self.chance.randrange(len(block))
            file.write(block[:cut])  # a line that is still being written when it is read
            file.write(block[cut:])
            self.lines += LINES_A_BLOCK
            if self.chance.random() < 0.02:
                generation += 1
                self.begins.append(self.lines)
                file.close()
                os.rename(self.directory / "app.log", self.directory / f"app.log.{generation}")
                file = (self.directory / "app.log").open("ab", buffering=0)
            self.ending.wait(self.chance.random() * 0.03)
        file.close()


def judge(out: bytes, writer: Writer, *, ordered: bool = True) -> None:
    """Says what is missing, what came twice, what is in disorder within one of the writer's files."""
    lines = writer.lines
    numbers = [int(text[:10]) for text in out.splitlines()]
    missing = sorted(set(range(lines)) - set(numbers))
    assert not missing, f"{len(missing)} of {lines} lines are missing, {missing[:3]}... to {missing[-1]}"
    assert len(numbers) == lines, f"{len(numbers) - lines} lines came twice"
    assert out == b"".join(map(line, numbers)), "a line is not what was written"
    for first, end in itertools.pairwise([*writer.begins, lines] if ordered else []):
        of_file = [number for number in numbers if first <= number < end]
        assert of_file == sorted(of_file), f"lines {first} to {end} are in disorder"


SINKS = {"file_roll": (file_roll, texts), "hdfs lz4": (hdfs_lz4, lz4_texts)}


@pytest.mark.parametrize("kind", SINKS)
def test_kills_lose_nothing_and_repeat_nothing(kind: str, agent: Callable[..., Agent], tmp_path: Path) -> None:
    seed = int(os.environ.get("SHIPPER_SEED", "20"))
    chance = random.Random(seed)
    sink, read = SINKS[kind]
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink("k1", "c1", tmp_path / "out")))
    writer = Writer(tmp_path / "in", seed)
    writer.start()
    one.start()
    kills = 0
    for _ in range(ROUNDS):
        for victim in chance.sample(["r1", "k1", "r1", "k1", None], 5):
            threading.Event().wait(chance.random() * 0.5)
            one.kill(victim)
            kills += 1
            if victim is None:
                one.start(wait=chance.random() < 0.5)
    writer.ending.set()
    writer.join()
    size = sum(path.stat().st_size for path in (tmp_path / "in").iterdir())

    def all_there() -> bool:
        numbers = channel(one)
        return numbers["puts"] >= writer.lines and not numbers["size"]

    one.until(lambda: len(one.workers()) == 2, "both workers are up again", 60)
    one.until(all_there, "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    judge(read(tmp_path / "out"), writer)
    assert "Traceback" not in one.log(), one.log()
    print(f"{kind}: {kills} kills, {size / 1e6:.0f} MB, {writer.lines} lines, seed {seed}")


def test_kills_in_a_grid_lose_nothing_and_repeat_nothing(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Two workers of one source, two channels, two sinks at one of them and two workers of one sink at the other."""
    seed = int(os.environ.get("SHIPPER_SEED", "21"))
    chance = random.Random(seed)
    (tmp_path / "in").mkdir()
    one = agent(
        agent_of(
            taildir("r1", "c1 c2", tmp_path / "in", workers=2), file_roll("k1", "c1", tmp_path / "one"),
            file_roll("k2", "c1", tmp_path / "two"), file_roll("k3", "c2", tmp_path / "three", workers=2),
            channels="c1 c2", sinks="k1 k2 k3",
        )
    )  # fmt: skip
    writer = Writer(tmp_path / "in", seed)
    writer.start()
    one.start()
    kills = 0
    for _ in range(ROUNDS):
        for victim in chance.sample(["r1.0", "r1.1", "k1", "k2", "k3.0", "k3.1", None], 7):
            threading.Event().wait(chance.random() * 0.4)
            one.kill(victim)
            kills += 1
            if victim is None:
                one.start(wait=chance.random() < 0.5)
    writer.ending.set()
    writer.join()

    def all_there() -> bool:
        return all(
            numbers["puts"] >= writer.lines and not numbers["size"] for numbers in (channel(one), channel(one, "c2"))
        )

    one.until(lambda: len(one.workers()) == 6, "all workers are up again", 60)
    one.until(all_there, "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    judge(texts(tmp_path / "one") + texts(tmp_path / "two"), writer, ordered=False)
    judge(texts(tmp_path / "three"), writer, ordered=False)
    assert "Traceback" not in one.log(), one.log()
    print(f"grid: {kills} kills, {writer.lines} lines, seed {seed}")


def channel(one: Agent, name: str = "c1") -> dict[str, int]:
    """The numbers of a channel: they go on over all deaths."""
    from shipper.metrics.block import MetricsBlock

    return dict(MetricsBlock.view(one.instance_dir() / "metrics").sample().channels[name])
