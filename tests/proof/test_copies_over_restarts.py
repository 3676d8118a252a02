"""copytruncate while nobody reads, and deaths in the middle of it: the end of the old content comes once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.sources._tail.positions import PositionStore, Remembered
from tests.sources.conftest import TailWorld

OLD = [f"line {number} of a log that is long enough to be known again by its content" for number in range(100)]
UNREAD = [f"unread {number}" for number in range(10)]
NEW = [f"new {number}" for number in range(5)]

groups = pytest.mark.parametrize("group", ["app\\.log", "app\\.log.*"], ids=["beside", "in the group"])


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TailWorld]:
    """Nobody waits for the disk here."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    made = TailWorld(tmp_path)
    yield made
    made.close()


def content(lines: list[str]) -> str:
    """Of a file."""
    return "".join(f"{line}\n" for line in lines)


def copytruncate(world: TailWorld, name: str = "app.log.1") -> None:
    """As logrotate does it."""
    shutil.copy(world.logs / "app.log", world.logs / name)
    os.truncate(world.logs / "app.log", 0)


def options(world: TailWorld, group: str) -> dict[str, str]:
    """Of a source of that group."""
    return {"filegroups.g": f"{world.logs}/{group}"}


@groups
@pytest.mark.parametrize("from_channel", [True, False], ids=["the channel knows", "the store knows"])
@pytest.mark.parametrize("unread", [UNREAD, []], ids=["an unread end", "all was read"])
@pytest.mark.parametrize("new", [NEW, []], ids=["written on", "left empty"])
def test_what_was_truncated_while_nobody_ran_is_read_on_in_its_copy(
    world: TailWorld, group: str, from_channel: bool, unread: list[str], new: list[str]
) -> None:
    given = options(world, group)
    world.write("app.log", content(OLD))
    source = world.start(given)
    assert world.read(source) == OLD
    source.close()
    world.append("app.log", content(unread))
    copytruncate(world)
    world.append("app.log", content(new))
    source = world.start(given, from_channel=from_channel)
    assert sorted(world.wait_and_read(source, 10)) == sorted(unread + new)
    source.close()
    again = world.start(given, from_channel=from_channel)
    assert world.wait_and_read(again, 10) == []


@groups
@pytest.mark.parametrize("batches", range(4))
def test_a_death_after_any_batch_of_a_truncated_file_repeats_nothing(
    world: TailWorld, group: str, batches: int
) -> None:
    """The process dies with so many batches put since the truncation: what it had saved itself is as old as can be."""
    given = options(world, group) | {"writePosInterval": "1000000"}
    world.write("app.log", content(OLD))
    source = world.start(given)
    assert world.read(source) == OLD
    world.append("app.log", content(UNREAD))
    copytruncate(world)
    world.append("app.log", content(NEW))
    read = []
    for _, batch in zip(range(batches), world.batches(source, wait_s=0.5), strict=False):
        read += [body.decode() for body in batch.body.to_pylist()]
        world.channel.update({origin.stream: origin for origin in batch.origins})
    again = world.start(given, from_channel=True)
    assert sorted(read + world.wait_and_read(again, 10)) == sorted(UNREAD + NEW)


@groups
def test_two_generations_that_nobody_saw_are_each_read_once(world: TailWorld, group: str) -> None:
    """Where the copies are in the group; beside it, nobody reads a file of which nothing was known."""
    given = options(world, group)
    world.write("app.log", content(OLD))
    source = world.start(given)
    assert world.read(source) == OLD
    source.close()
    world.append("app.log", content(UNREAD))
    copytruncate(world)
    world.append("app.log", "between\n")
    copytruncate(world, "app.log.2")
    world.append("app.log", content(NEW))
    found = sorted(world.wait_and_read(world.start(given, from_channel=True), 10))
    assert found == sorted(UNREAD + NEW + (["between"] if "*" in group else []))


def test_a_copy_that_is_there_at_the_start_waits_for_the_truncation(world: TailWorld) -> None:
    given = options(world, "app\\.log.*")
    world.write("app.log", content(OLD))
    source = world.start(given)
    assert world.read(source) == OLD
    source.close()
    shutil.copy(world.logs / "app.log", world.logs / "app.log.1")
    source = world.start(given, from_channel=True)
    assert world.read(source) == []
    os.truncate(world.logs / "app.log", 0)
    world.append("app.log", content(NEW))
    assert world.wait_and_read(source, 10) == NEW


def test_an_inode_of_a_followed_file_that_is_another_file_now_is_left_alone(world: TailWorld) -> None:
    """A log left its group and was deleted while nobody ran; a file beside the group has its inode."""
    given = options(world, "app\\.log")
    world.write("app.log", content(OLD))
    source = world.start(given)
    assert world.read(source) == OLD
    source.close()
    os.rename(world.logs / "app.log", world.logs / "other")
    world.write("other", "no line of ours\n")
    world.write("app.log", content(NEW))
    assert world.wait_and_read(world.start(given, from_channel=True), 10) == NEW


def test_a_new_file_with_the_same_content_is_read_after_a_while(world: TailWorld) -> None:
    """People do put the same lines into two files; without a truncation it is no copy."""
    given = options(world, "app\\.log.*")
    world.write("app.log", content(OLD))
    source = world.start(given)
    assert world.read(source) == OLD
    source.close()
    shutil.copy(world.logs / "app.log", world.logs / "app.log.1")
    source = world.start(given, from_channel=True)
    assert world.wait_and_read(source, 10) == OLD


def test_a_position_file_that_another_worker_writes_in_this_moment_is_nobodys_hand(
    world: TailWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all that this worker reads would come twice: the file would count, and it is behind the channels."""
    names = [f"app.log.{number}" for number in range(20)]
    for name in names:
        world.write(name, content(OLD))
    sources = [world.start(worker=worker, workers=2) for worker in range(2)]
    assert len([line for source in sources for line in world.read(source)]) == 20 * len(OLD)
    for source in sources:
        source.close()
    first = world.start(worker=0, workers=2, from_channel=True)
    loads = PositionStore.load

    def interrupted(store: PositionStore, *, note: bool = True) -> Remembered:
        found = loads(store, note=note)
        if not writings:
            writings.append("one")
            world.append(next(file.path for file in first._tail._files).rpartition("/")[2], "more\n")  # type: ignore
            world.wait_and_read(first, 5)
            first.close()
        return found

    writings: list[str] = []
    monkeypatch.setattr(PositionStore, "load", interrupted)
    assert world.read(world.start(worker=1, workers=2, from_channel=True)) == []
    assert "as " + str(world.position_file) not in world.words()
