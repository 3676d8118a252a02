"""Whose a position file is: two sources with one and the same path never take each other's offsets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from shipper.api import Source
from shipper.testing.agent import Agent
from tests.sources.conftest import TailWorld
from tests.workers.conftest import file_roll, texts


class Agents:
    """Agents with state directories and configuration files of their own, which read the same log."""

    def __init__(self, world: TailWorld, folder: Path) -> None:
        self.world = world
        self.folder = folder

    def file(self, name: str, *agents: str, sources: str = "r1") -> str:
        """A configuration file that names these agents."""
        path = self.folder / name
        path.write_text("".join(f"{agent}.sources = {sources}\n" for agent in agents))
        return str(path)

    def start(self, agent: str, file: str, **more: int) -> Source:
        """A source of an agent, open; a restart when it was there before."""
        self.world.state = self.folder / f"state-{agent}-{os.path.basename(file)}"
        return self.world.start(agent=agent, file=file, **more)

    def run(self, agent: str, file: str) -> list[str]:
        """What an agent reads between a start and a stop."""
        source = self.start(agent, file)
        rows = self.world.read(source)
        source.close()
        return rows


@pytest.fixture
def agents(world: TailWorld, tmp_path: Path) -> Agents:
    return Agents(world, tmp_path)


def test_two_agents_that_run_both_read_all_lines_and_go_on_where_each_was_left(
    world: TailWorld, agents: Agents
) -> None:
    a, b = agents.file("a.conf", "a1"), agents.file("b.conf", "a2")
    world.write("app.log", "1\n2\n")
    one, other = agents.start("a1", a), agents.start("a2", b)
    assert world.read(one) == ["1", "2"]
    assert world.read(other) == ["1", "2"]
    assert "of agent a2" not in world.words()
    assert f"holds the places of source r1 of agent a1 ({a})" in world.words()
    one.close()
    world.append("app.log", "3\n")
    assert world.read(other) == ["3"]
    other.close()
    assert agents.run("a1", a) == ["3"]
    assert agents.run("a2", b) == []


def test_an_owner_that_has_stopped_and_is_configured_is_kept_apart_too(world: TailWorld, agents: Agents) -> None:
    both = agents.file("both.conf", "a1", "a2")
    world.write("app.log", "1\n")
    assert agents.run("a1", both) == ["1"]
    assert agents.run("a2", both) == ["1"]
    world.append("app.log", "2\n")
    assert [agents.run(name, both) for name in ("a2", "a1", "a2", "a1")] == [["2"], ["2"], [], []]


def test_two_sources_of_one_agent_are_kept_apart(world: TailWorld, tmp_path: Path, agents: Agents) -> None:
    file = agents.file("a.conf", "a1", sources="r1 r2")
    world.write("app.log", "1\n")
    assert agents.run("a1", file) == ["1"]
    path = world.position_file.parent / ".taildir_position.json.owner"
    claim = json.loads(path.read_text())
    assert claim == {"user": os.getuid(), "agent": "a1", "file": file, "source": "r1"}
    path.write_text(json.dumps(claim | {"source": "r2"}) + "\n")
    world.append("app.log", "2\n")
    assert agents.run("a1", file) == ["2"], "an upgrade: r1 was there before anybody claimed, and goes on"
    assert agents.run("a1", file) == []


def test_the_agent_of_a_file_that_was_moved_goes_on(world: TailWorld, agents: Agents) -> None:
    old, new = agents.file("old.conf", "a1"), str(agents.folder / "new.conf")
    world.write("app.log", "1\n")
    assert agents.run("a1", old) == ["1"]
    os.rename(old, new)
    world.append("app.log", "2\n")
    assert agents.run("a1", new) == ["2"]
    assert "holds the places of" not in world.words()


def test_an_agent_that_was_renamed_goes_on(world: TailWorld, agents: Agents) -> None:
    file = agents.file("a.conf", "a1")
    world.write("app.log", "1\n")
    assert agents.run("a1", file) == ["1"]
    world.append("app.log", "2\n")
    assert agents.run("a2", agents.file("a.conf", "a2")) == ["2"]


@pytest.mark.parametrize(("line", "shared"), [
    ("a1.sources.r1.positionFile = /elsewhere/p.json", False),
    (" a1.sources.r1.positionFile:/elsewhere/p.json ", False),
    ("a1.sources.r1.positionFile = {file}", True),
    ("a1.sources.r1.positionFile = /elsewhere/p.json\na1.sources.r1.positionFile = {file}", True),
    ("a1.sources.r1.positionFile = ~/positions/taildir_position.json", True),
    ("a1.sources.r1.positionFile = ~/p.json", False),
    ("a1.sources.r1.positionFile = ${{env:WHERE}}/p.json", True),
    ("a1.sources.r1.positionFile = p.json", True),
    ("a1.sources.r2.positionFile = /elsewhere/p.json", True),
    ("a1.sources.r1.type = TAILDIR", True),
    ("a1.sources.r1.type = org.apache.flume.source.taildir.TaildirSource", True),
    ("a1.sources.r1.type = exec", False),
])  # fmt: skip
def test_an_owner_that_got_another_path_shares_nothing(
    world: TailWorld, agents: Agents, line: str, shared: bool
) -> None:
    """Its file was changed, as the warning says how; what nobody can know is taken for shared."""
    file = agents.file("a.conf", "a1")
    world.write("app.log", "1\n")
    assert agents.run("a1", file) == ["1"]
    with open(file, "a") as opened:
        opened.write(line.format(file=world.position_file) + "\n")
    agents.run("a2", agents.file("b.conf", "a2"))
    assert ("holds the places of source r1 of agent a1" in world.words()) == shared


def test_a_shared_path_is_said_once_for_all_workers(world: TailWorld, agents: Agents) -> None:
    agents.run("a1", agents.file("a.conf", "a1"))
    file = agents.file("b.conf", "a2")
    for worker in range(2):
        agents.start("a2", file, worker=worker, workers=2)
    assert world.words().count("holds the places of") == 1


def test_who_was_apart_keeps_its_places_when_the_owner_is_gone(world: TailWorld, agents: Agents) -> None:
    a, b = agents.file("a.conf", "a1"), agents.file("b.conf", "a2")
    world.write("app.log", "1\n")
    assert agents.run("a1", a) == ["1"]
    assert agents.run("a2", b) == ["1"]
    world.append("app.log", "2\n")
    assert agents.run("a1", a) == ["2"]
    os.unlink(a)
    assert agents.run("a2", b) == ["2"], "not where the position file says that the other one was"
    world.append("app.log", "3\n")
    world.said.clear()
    assert agents.run("a2", b) == ["3"]
    assert "holds the places of" not in world.words()


def test_all_workers_of_a_source_own_its_position_file(world: TailWorld, agents: Agents) -> None:
    file, other = agents.file("a.conf", "a1"), agents.file("b.conf", "a2")
    names = [f"app.log.{number}" for number in range(8)]
    for name in names:
        world.write(name, f"{name}\n")
    first, second = (agents.start("a1", file, worker=index, workers=2) for index in range(2))
    assert sorted(world.read(first) + world.read(second)) == names
    first.close()
    os.unlink(file)
    assert sorted(world.read(agents.start("a2", other))) == names, "one of them lives on"


@pytest.mark.parametrize("content", ["", '{"user": 1', "{}\n", "[]\n"])
def test_a_claim_that_names_nobody_is_taken(world: TailWorld, agents: Agents, content: str) -> None:
    a, b = agents.file("a.conf", "a1"), agents.file("b.conf", "a2")
    world.write("app.log", "1\n")
    assert agents.run("a1", a) == ["1"]
    (world.position_file.parent / ".taildir_position.json.owner").write_text(content)
    assert agents.run("a2", b) == []
    assert agents.run("a1", a) == []


def test_two_real_agents_with_flumes_default_path_neither_lose_nor_repeat(tmp_path: Path) -> None:
    """One file, two agents, no word of a positionFile; killed and started again in turn."""
    logs = tmp_path / "logs"
    logs.mkdir()
    names = ("a1", "a2")

    def properties(name: str) -> str:
        return (
            "a1.sources = r1\na1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n"
            "a1.sources.r1.channels = c1\n"
            f"a1.sources.r1.type = TAILDIR\na1.sources.r1.filegroups = f\na1.sources.r1.filegroups.f = {logs}/.*\n"
            + file_roll("k1", "c1", tmp_path / name)
        ).replace("a1.", f"{name}.")

    def write(first: int, end: int) -> None:
        with (logs / "app.log").open("a") as file:
            file.writelines(f"{number}\n" for number in range(first, end))

    def arrived(name: str) -> list[bytes]:
        return texts(tmp_path / name).split()

    both = "".join(map(properties, names))
    with (
        Agent(tmp_path / "first", both, name="a1", environment={"HOME": str(tmp_path)}) as one,
        Agent(tmp_path / "other", both, name="a2", environment={"HOME": str(tmp_path)}) as other,
    ):
        other.file = one.file  # one and the same
        agents = {"a1": one, "a2": other}
        total = 0
        for number, name in enumerate((*names, *names)):
            write(total, total := total + 500)
            if number < 2:
                agents[name].start()
            else:
                agents[name].kill()
                write(total, total := total + 500)
                agents[name].start()
        for name, found in agents.items():
            found.until(lambda name=name: len(arrived(name)) >= total, f"{name} has everything")
        for name, found in agents.items():
            assert found.stop() == 0, found.log()
            assert arrived(name) == [b"%d" % number for number in range(total)]
        assert "holds the places of source r1 of agent a1" in other.log()
