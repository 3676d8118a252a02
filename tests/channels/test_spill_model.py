"""A channel that spills beside a list: whatever is put, taken, rolled back or killed, rows leave in order, and once.

Several sources and sinks. What is promised: a stream's rows leave in the order in which they went in, for it keeps to
one sink worker as long as it has rows there.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from shipper.api import Origin
from shipper.channels.memory.order import Ways
from tests.channels.spilled import Spilled

_STEPS = 250


class Beside:
    """A channel, and what should be in it."""

    def __init__(self, directory: Path, chance: random.Random, sources: int, sinks: int) -> None:
        properties = {
            "memoryCapacity": str(chance.choice((2, 5, 12))), "maxFileSize": "64k",
            "overflowDeactivationThreshold": str(chance.choice((5, 40, 100))),
            "fsyncPerTransaction": chance.choice(("true", "false")),
        }  # fmt: skip
        self.chance = chance
        self.sources, self.sinks = sources, sinks
        self.channel = Spilled(directory, properties, sources=sources, sinks=sinks)
        self.channel.writer_stands_still = True
        self.put: dict[str, int] = {}
        self.out: dict[str, int] = {}
        self.went_to_disk = 0

    def puts(self) -> None:
        """Some rows of one stream of one source."""
        worker, rows = self.chance.randrange(self.sources), self.chance.randint(1, 4)
        stream = f"r{worker}-{self.chance.choice('ab')}"
        start = self.put.get(stream, 0)
        bodies = [f"{stream} {number}".encode() for number in range(start, start + rows)]
        if self.channel.put(*bodies, worker=worker, origins=[Origin(stream, start, start + rows)]):
            self.put[stream] = start + rows
        self.went_to_disk = max(self.went_to_disk, self.channel.on_disk)

    def takes(self) -> None:
        """One transaction of one sink, perhaps rolled back."""
        worker, commit = self.chance.randrange(self.sinks), self.chance.random() < 0.8
        batches = self.chance.choice((1, 2, None))
        found = self.channel.take(worker, commit=commit, batches=batches)
        if commit:
            self.came_out(found)

    def came_out(self, bodies: list[bytes]) -> None:
        for body in bodies:
            stream, number = body.decode().split()
            assert int(number) == self.out.get(stream, 0), f"{body!r} after {self.out}"
            self.out[stream] = int(number) + 1

    def writes(self) -> None:
        """The writer has its turn."""
        self.channel.writer.step(0.0)

    def dies(self) -> None:
        """Somebody is killed, and started again."""
        # A source that starts anew does not know which lane its streams have rows in.
        who = self.chance.choice(("sink", "source", "writer", "all") if self.sinks == 1 else ("sink", "writer"))
        if who == "sink":
            if self.channel._takes:
                self.channel.kill_sink(self.chance.choice(list(self.channel._takes)))
        elif who == "source":
            if self.channel._puts:
                self.channel._puts.pop(self.chance.choice(list(self.channel._puts))).close()
        elif who == "writer":
            self.channel.kill_writer()
        else:
            self.channel.kill()

    def lets_go(self) -> None:
        """A sink can't deliver for a while: another one may have its lanes."""
        side = self.channel.take_side(self.chance.randrange(self.sinks))
        (side.let_go if self.chance.random() < 0.5 else lambda _: side.come_back())(lambda: None)
        side.give_back(lambda: None)

    def run(self) -> None:
        steps = [self.puts] * 8 + [self.takes] * 5 + [self.writes] * 3 + [self.dies, self.lets_go]
        for _ in range(_STEPS):
            self.chance.choice(steps)()
        sides = [self.channel.take_side(worker) for worker in range(self.sinks)]
        for _ in range(3 * self.sinks):
            for worker, side in enumerate(sides):
                side.come_back()
                side.give_back(lambda: None)
                self.channel.write()
                self.came_out(self.channel.drain(worker))
        assert self.out == self.put


@pytest.mark.parametrize("grid", [(1, 1), (2, 1), (1, 2), (3, 2)], ids=lambda grid: f"{grid[0]}to{grid[1]}")
@pytest.mark.parametrize("seed", range(6))
def test_rows_leave_once_and_in_order(seed: int, grid: tuple[int, int], tmp_path: Path) -> None:
    beside = Beside(tmp_path, random.Random(f"{seed} {grid}"), *grid)
    try:
        beside.run()
        assert beside.went_to_disk
    finally:
        beside.channel.kill()


@pytest.mark.parametrize("question", ["older_in_memory", "older_on_disk"])
def test_without_one_of_the_two_questions_it_is_seen(
    question: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model has teeth."""
    monkeypatch.setattr(Ways, question, lambda self, put: False)
    found = []
    for seed in range(6):
        directory = tmp_path / str(seed)
        directory.mkdir()
        beside = Beside(directory, random.Random(seed), 1, 1)
        try:
            beside.run()
        except AssertionError as problem:
            found.append(str(problem))
        finally:
            beside.channel.kill()
    assert found
