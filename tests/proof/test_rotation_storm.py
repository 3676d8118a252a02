"""RT1-RT14: thousands of rotations of every kind, with restarts and deaths of the source in between: 0 lost, 0 twice.

One seed a run (`SHIPPER_SEED=N`); the full size is `python -m pytest -m nightly -n 0 -s tests/proof`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.proof.storm import Storm
from tests.sources.conftest import TailWorld

SEED = int(os.environ.get("SHIPPER_SEED", "1"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TailWorld]:
    """Nobody waits for the disk here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    made = TailWorld(tmp_path)
    yield made
    made.close()


class Readings:
    """What was read: how often each line, and which lines of each stream."""

    def __init__(self) -> None:
        self.counts = Counter[tuple[str, int]]()
        self.seen: dict[str, set[int]] = {}

    def add(self, bodies: list[str]) -> None:
        for body in bodies:
            stream, _, number = body.partition(" ")[0].rpartition(".")
            self.counts[stream, int(number)] += 1
            self.seen.setdefault(stream, set()).add(int(number))


@pytest.mark.parametrize(
    ("seed", "rotations"),
    [
        *((SEED + number, 75) for number in range(4)),
        *(pytest.param(SEED + 100 + number, 1000, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])
          for number in range(10)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dies", [False, True], ids=["lives", "dies"])
def test_a_storm_of_rotations_loses_and_repeats_nothing(
    world: TailWorld, seed: int, rotations: int, dies: bool
) -> None:
    storm, read, deaths = Storm(world.logs, seed), Readings(), 0
    options = {"filegroups.g": f"{world.logs}/app.*", "rotateWait": "1", "writePosInterval": "1000"}
    source = world.start(options)
    while storm.ways.total() < rotations:
        for _ in range(storm.chance.randrange(4)):
            storm.write()
        if storm.chance.random() < 0.6 and (world.logs / "app.log").exists():
            storm.rotate(read.seen)
        if storm.chance.random() < 0.5:
            read.add(world.read(source))
            if storm.chance.random() < 0.5:
                read.add(world.wait_and_read(source, 2))
        if dies and storm.chance.random() < 0.1:
            deaths += 1
            if storm.chance.random() < 0.3:
                source.close()
            world.clock.advance(1)
            source = world.start(options, from_channel=True)  # the one before is left as it stands
    read.add(world.wait_and_read(source, 15))
    wanted = {(stream.name, number) for stream in storm.streams.values() for number in range(stream.lines)}
    print(f"seed {seed}: {dict(storm.ways)}, {deaths} deaths, {len(wanted)} lines")
    lost, twice = wanted - read.counts.keys(), {line for line, times in read.counts.items() if times > 1}
    assert not lost, f"seed {seed}: {len(lost)} of {len(wanted)} lines lost: {sorted(lost)[:5]}"
    assert not twice, f"seed {seed}: {len(twice)} of {len(wanted)} lines twice: {sorted(twice)[:5]}"


def test_what_was_seen_and_truncated_without_a_copy_is_counted(world: TailWorld) -> None:
    world.write("app.log", "".join(f"line {number}\n" for number in range(10_000)))
    source = world.start(batch_bytes=1024)
    assert next(world.batches(source)).rows
    world.write("app.log", "new\n")
    assert world.wait_and_read(source, 2) == ["new"]
    assert world.counters.get("files_lost") == 1
    assert "app.log was truncated or written anew before" in world.words()


def test_what_was_truncated_after_it_was_read_is_not_counted(world: TailWorld) -> None:
    world.write("app.log", "a\nb\n")
    source = world.start()
    assert world.read(source) == ["a", "b"]
    for content in ("c\n", "", "d\ne\nf\n"):
        world.write("app.log", content)
        assert world.wait_and_read(source, 2) == content.split()
    assert world.counters.get("files_lost") == 0
