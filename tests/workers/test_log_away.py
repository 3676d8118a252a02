"""Agents whose file channel lies on a disk, checkpoint and all, that is not mounted at a start."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli import ledger
from shipper.cli.health import OK, health, judged
from shipper.cli.main import main
from shipper.cli.stat import look
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, taildir, texts, total
from tests.workers.test_file_channel import logged

Make = Callable[..., Agent]
FIRST, MORE = 12_000, 2_000


class Disk:
    """A disk on which a channel lies."""

    def __init__(self, tmp_path: Path) -> None:
        self.place, self._away = tmp_path / "ch", tmp_path / "away"

    def unmount(self) -> None:
        """Its mount point is empty."""
        self.place.rename(self._away)
        self.place.mkdir()

    def mount(self) -> None:
        """It is back, over what lies at its mount point now."""
        shutil.rmtree(self.place)
        self._away.rename(self.place)


class Life:
    """An agent that has read lines into its channel's log, and could deliver only some of them."""

    def __init__(self, tmp_path: Path, make: Make) -> None:
        self.logs, self.out, self.disk = tmp_path / "logs", tmp_path / "out", Disk(tmp_path)
        self.logs.mkdir()
        text = agent_of(taildir("r1", "c1", self.logs), file_roll("k1", "c1", self.out))
        self.agent = make(logged(text, self.disk.place.parent, "c1").replace(f"{tmp_path}/c1", f"{self.disk.place}/c1"))

    def write(self, lines: int) -> None:
        """So many lines more to read."""
        with (self.logs / "a.log").open("ab") as file:
            file.write(b"".join(b"%08d\n" % (file.tell() // 9 + number) for number in range(lines)))

    def numbers(self) -> dict[str, int]:
        """The channel's numbers in the ledger."""
        return total(self.agent).channels.get("c1", {})

    def fill(self, delivered: int = 0) -> None:
        """Delivers as many as that, and has `FIRST` events wait."""
        if delivered:
            self.write(delivered)
            self.agent.start()
            self.agent.until(lambda: self.numbers().get("delivered") == delivered)
            self.agent.stop()
        self.out.rename(self.out.with_name("gone"))
        self.write(FIRST)
        self.agent.start(wait=False)
        self.agent.until(lambda: self.numbers().get("in_log") == FIRST, "all of them are in the log")

    def end(self, *, killed: bool) -> None:
        """Ends the agent, in order or by SIGKILL; what waits is noted then."""
        if not killed:
            self.agent.stop()
            return
        note = next(self.agent.state_dir.glob("*/logs/*.json"))
        self.agent.until(lambda: f'"waiting":{FIRST}' in note.read_text(), "the writer has noted it")
        self.agent.kill_all()

    def go_on(self) -> None:
        """Starts it with a sink that can deliver, and more lines."""
        self.out.with_name("gone").rename(self.out)
        self.write(MORE)
        self.agent.start(wait=False)

    def lines(self) -> int:
        """How many lines were delivered, each once."""
        found = texts(self.out).splitlines()
        assert len(found) == len(set(found))
        return len(found)

    def refusal(self) -> str:
        """Waits until the channel was refused, and says why."""
        words = "their disk may not be mounted"
        self.agent.until(lambda: words in self.agent.log(), "the channel is refused")
        return next(line for line in self.agent.log().splitlines() if words in line)

    def ledger(self) -> int:
        """What the command says."""
        return ledger.ledger("a1", None, self.agent.state_dir)


@pytest.fixture
def life(tmp_path: Path, agent: Make) -> Life:
    """Of one test."""
    return Life(tmp_path, agent)


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_log_whose_disk_is_not_mounted_is_waited_for(life: Life, killed: bool) -> None:
    """Checkpoint and data on one disk: nothing there knows of a log. The state directory does."""
    life.fill()
    life.end(killed=killed)
    life.disk.unmount()
    life.go_on()
    said = life.refusal()
    assert f"{FIRST:,} events wait in the log that lay there" in said
    assert f"findmnt -T {life.disk.place}/c1/data" in said
    assert f"shipper channel give-up {life.disk.place}/c1/checkpoint {life.disk.place}/c1/data" in said
    assert not list(life.disk.place.iterdir()), "nothing is made on a mount point"
    assert health("a1", life.agent.run_dir, 0.1) != OK
    assert life.ledger() == 0
    assert (life.numbers()["accepted"], life.numbers()["in_log"]) == (FIRST, FIRST), "as far as anybody knows"
    life.disk.mount()
    life.agent.until(lambda: life.numbers()["delivered"] == FIRST + MORE, "it goes on by itself")
    assert life.agent.stop() == 0
    assert life.lines() == FIRST + MORE
    assert life.ledger() == 0
    assert not life.numbers()["in_log"] and not life.numbers().get("lost")


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_log_whose_disk_is_gone_for_good_is_given_up_and_counted_as_lost(life: Life, killed: bool) -> None:
    """In the ledger and in health; what was delivered before stays delivered, what comes behind it is delivered."""
    life.fill(delivered=100)
    life.end(killed=killed)
    life.disk.unmount()
    life.go_on()
    command = life.refusal().partition("`shipper ")[2].partition("`")[0]
    assert main([*command.split(), "--yes"]) == 0
    life.agent.until(lambda: life.numbers().get("lost") == FIRST, "they are lost")
    life.agent.until(lambda: life.numbers()["delivered"] == 100 + MORE, "it goes on")
    life.agent.until(lambda: f"{FIRST} events of c1 are lost since the start" in health_line(life), "health says it")
    assert life.agent.stop() == 0
    assert life.lines() == 100 + MORE
    assert life.ledger() == 0
    found = life.numbers()
    assert (found["accepted"], found["delivered"], found["lost"], found["in_log"]) == (
        100 + FIRST + MORE, 100 + MORE, FIRST, 0,
    )  # fmt: skip


def health_line(life: Life) -> str:
    """What `shipper health` says."""
    return judged(look("a1", life.agent.run_dir, 0.1)[0])[1]


def test_an_emptied_log_may_be_begun_anew(life: Life) -> None:
    """Nothing is lost with it. And where nobody knows of a log, there is a first start."""
    life.write(10)
    life.agent.start()
    life.agent.until(lambda: life.numbers().get("delivered") == 10)
    life.agent.stop()
    life.disk.unmount()
    life.write(10)
    life.agent.start()
    life.agent.until(lambda: life.numbers()["delivered"] == 20)
    assert life.agent.stop() == 0
    assert (life.lines(), life.ledger(), life.numbers().get("in_log"), life.numbers().get("lost")) == (20, 0, 0, 0)


def test_another_place_and_a_wiped_state_directory_are_no_missing_disk(life: Life, tmp_path: Path) -> None:
    """What waits in the place before is said, as it always was."""
    life.fill()
    life.agent.stop()
    life.agent.file.write_text(life.agent.file.read_text().replace(str(life.disk.place), f"{tmp_path}/other"))
    life.go_on()
    life.agent.until(lambda: life.lines() == MORE)
    assert life.agent.stop() == 0
    assert f"{FIRST} events wait in the log in {life.disk.place}/c1/checkpoint, which no channel" in life.agent.log()
    shutil.rmtree(tmp_path / "other")
    shutil.rmtree(life.agent.state_dir)
    life.agent.start()
    assert life.agent.stop() == 0
    assert "may not be mounted" not in life.agent.log()


def test_what_was_put_behind_the_last_note_is_lost_as_well(life: Life) -> None:
    """The run remembers what went into the log, also in the second before everybody was killed."""
    life.fill(delivered=100)
    note = next(life.agent.state_dir.glob("*/logs/*.json"))
    life.agent.until(lambda: f'"waiting":{FIRST}' in note.read_text(), "the writer has noted it")
    before = note.read_bytes()
    life.write(50)
    life.agent.until(lambda: life.numbers()["in_log"] == FIRST + 50)
    life.agent.kill_all()
    note.write_bytes(before)
    life.disk.unmount()
    life.go_on()
    command = life.refusal().partition("`shipper ")[2].partition("`")[0]
    assert main([*command.split(), "--yes"]) == 0
    life.agent.until(lambda: life.numbers().get("lost") == FIRST + 50, "they are lost")
    life.agent.until(lambda: life.numbers()["delivered"] == 100 + MORE, "it goes on")
    assert "c1: 50 events are lost" in life.agent.log()
    assert life.agent.stop() == 0
    assert (life.ledger(), life.numbers()["in_log"]) == (0, 0)
