"""An agent whose configuration file was moved after a kill: it goes on, or is told what waits and how to have it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli.main import main
from shipper.instance import moved
from shipper.instance.instance import Instance, find
from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.metrics.block import MetricsBlock
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, seq, taildir, texts

Make = Callable[..., Agent]

TOTAL = 10**12


def counting(tmp_path: Path, out: str = "out") -> str:
    """A source that can't be read again: what is lost in a segment is lost; a channel that is full at once."""
    return agent_of(
        seq("r1", "c1", TOTAL), file_roll("k1", "c1", tmp_path / out), more="a1.channels.c1.ring.bytes = 64k\n"
    )


def killed_with_rows(one: Agent, out: Path, more: Callable[[], object] = lambda: None) -> None:
    """It is killed while its sink hangs, so that rows wait and a file is open."""
    one.start()
    one.until(lambda: texts(out).count(b"\n") > 100, "rows came out")
    one.freeze("k1")
    more()
    block = MetricsBlock.view(one.instance_dir() / "metrics")
    one.until(lambda: block.sample().channels["c1"]["size"], "rows wait")
    one.kill_all()


def move(one: Agent, to: Path) -> None:
    """The configuration file lies elsewhere now."""
    os.rename(one.file, to)
    one.file = to


@pytest.mark.parametrize("channel", ["memory", pytest.param("spillablememory", marks=pytest.mark.nightly), "file"])
def test_an_agent_whose_file_was_moved_goes_on_where_it_was_killed(agent: Make, tmp_path: Path, channel: str) -> None:
    """Tail, rows that wait, the open file of the sink and the ledger are those of the same agent."""
    (tmp_path / "in").mkdir()
    wanted = [b"%d" % number for number in range(40_000)]

    def write(rows: list[bytes]) -> None:
        with (tmp_path / "in" / "a.log").open("ab") as file:
            file.write(b"\n".join(rows) + b"\n")

    write(wanted[:10_000])
    places = f"a1.channels.c1.checkpointDir = {tmp_path}/checkpoint\na1.channels.c1.dataDirs = {tmp_path}/data\n"
    small = "a1.channels.c1.memoryCapacity = 5000\na1.channels.c1.overflowTimeout = 0\n"
    one = agent(
        agent_of(
            taildir("r1", "c1", tmp_path / "in", **{"batch.bytes": "64k"}), file_roll("k1", "c1", tmp_path / "out"),
            more=f"a1.channels.c1.type = {channel}\n" + {"file": places, "spillablememory": small}.get(channel, ""),
        )
    )  # fmt: skip
    killed_with_rows(one, tmp_path / "out", lambda: write(wanted[10_000:]))
    move(one, tmp_path / "moved.properties")
    one.start()
    assert f"{one.file} was moved: going on with what agent a1 had at its old place" in one.log()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= len(wanted), "everything is there")
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "out").split() == wanted
    (book,) = one.state_dir.glob("*/ledger.json")
    found = LedgerBook(book).total()
    assert not any(map(mismatch, found.channels.values()))
    assert found.channels["c1"]["accepted"] == len(wanted), "nothing was put twice"


def test_what_an_agent_left_whose_file_was_moved_and_changed_is_said_with_the_command(
    agent: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command does what is said of it."""
    one = agent(counting(tmp_path))
    killed_with_rows(one, tmp_path / "out")
    delivered = texts(tmp_path / "out").count(b"\n")
    move(one, tmp_path / "moved.properties")
    one.file.write_text(counting(tmp_path, "other").replace(str(TOTAL), "1"))
    one.start()
    assert "was moved" not in one.log()
    line = next(line for line in one.log().splitlines() if "events wait in channel c1 of an agent a1" in line)
    assert one.stop() == 0
    command = line.partition("run shipper ")[2].partition(", and start")[0]
    assert main(shlex.split(command)) == 0, capsys.readouterr().err
    one.start()
    one.until(lambda: texts(tmp_path / "other").count(b"\n") > 2, "they are delivered")
    assert one.stop() == 0, one.log()
    rows = [int(row) for row in texts(tmp_path / "other").split()]
    assert rows[0] == 0, "its own"
    waited = [number for number in rows if number]
    assert waited == list(range(waited[0], waited[0] + len(waited))) and waited[0] <= delivered


def test_an_agent_of_another_file_that_is_there_is_left_alone(agent: Make, tmp_path: Path) -> None:
    """It was killed, and is not running; it is not this one, though it says the same to the byte."""
    one = agent(counting(tmp_path))
    killed_with_rows(one, tmp_path / "out")
    one.file = Path(str(one.file) + ".copy")
    one.file.write_text(counting(tmp_path))
    one.start()
    assert "was moved" not in one.log() and "events wait in channel" not in one.log()
    assert one.stop() == 0


class TestFollow:
    """Which directories a new instance is given."""

    @staticmethod
    def made(tmp_path: Path, file: str) -> Instance:
        """An instance that ran once, with a run directory; its file is gone now."""
        path = tmp_path / file
        path.write_text("a1.sources = r1\n")
        one = find("a1", path, run_dir=tmp_path / "run", state_dir=tmp_path / "state")
        one.claim()
        moved.remember(one, path)
        (one.run_dir / "id").write_text(file)
        one.close()
        path.unlink()
        return one

    @staticmethod
    def new(tmp_path: Path, text: str = "a1.sources = r1\n", name: str = "a1") -> Instance:
        path = tmp_path / "new.conf"
        path.write_text(text)
        one = find(name, path, run_dir=tmp_path / "run", state_dir=tmp_path / "state")
        moved.follow(one, path)
        return one

    @pytest.mark.parametrize("done", [False, True])
    def test_death_between_the_two_renames_is_made_good_by_the_next_start(self, tmp_path: Path, done: bool) -> None:
        old = self.made(tmp_path, "old.conf")
        if done:
            old.run_dir.rename(find("a1", tmp_path / "new.conf", run_dir=tmp_path / "run").run_dir)
        one = self.new(tmp_path)
        assert (one.run_dir / "id").read_text() == "old.conf"
        assert (one.state_dir / "lock").exists() and not old.state_dir.exists()

    def test_of_two_that_may_be_it_neither_is_taken(self, tmp_path: Path) -> None:
        self.made(tmp_path, "old.conf")
        self.made(tmp_path, "older.conf")
        assert not self.new(tmp_path).state_dir.exists()

    @pytest.mark.parametrize(("text", "name"), [("a1.sources = r2\n", "a1"), ("a1.sources = r1\n", "a2")])
    def test_another_content_or_name_is_another_agent(self, tmp_path: Path, text: str, name: str) -> None:
        self.made(tmp_path, "old.conf")
        assert not self.new(tmp_path, text, name).state_dir.exists()

    def test_one_that_runs_is_left_alone(self, tmp_path: Path) -> None:
        old = self.made(tmp_path, "old.conf")
        old.claim()
        assert not self.new(tmp_path).state_dir.exists()
        old.close()
