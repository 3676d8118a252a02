"""The ledger of real agents: no row is unaccounted for at any moment, whatever dies."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.shared.tally import sink_key
from shipper.testing.agent import Agent
from shipper.workers.ledger import Ledger, mismatch
from shipper.workers.ledger_book import LedgerBook
from tests.workers.conftest import agent_of, file_roll, seq, taildir, texts
from tests.workers.test_kills import Writer, judge

ROUNDS = int(os.environ.get("SHIPPER_KILL_ROUNDS", "2"))

pytestmark = pytest.mark.timeout(300 + 60 * ROUNDS)


def total(one: Agent) -> Ledger:
    """What the book and the memory of an agent say now."""
    path = next(one.state_dir.glob("*/ledger.json"), None)
    return LedgerBook(path).total() if path else Ledger()


class Auditor(threading.Thread):
    """Reads the ledger again and again, and keeps what was wrong."""

    def __init__(self, one: Agent) -> None:
        super().__init__(daemon=True)
        self.one = one
        self.ending = threading.Event()
        self.looks = 0
        self.wrong: list[str] = []
        self.accepted: dict[str, int] = {}

    def run(self) -> None:
        while not self.ending.wait(0.01):
            try:
                found = total(self.one)
            except FileNotFoundError:
                continue  # a segment that was being made or removed
            self.looks += 1
            for name, numbers in found.channels.items():
                if mismatch(numbers) or numbers["in_channel"] < 0:
                    self.wrong.append(f"{name}: {numbers}")
                if numbers["accepted"] < self.accepted.get(name, 0):
                    self.wrong.append(f"{name} has forgotten: {self.accepted[name]} were accepted, now {numbers}")
                self.accepted[name] = numbers["accepted"]
            self.wrong += found.damaged


@pytest.mark.parametrize("grid", [False, True], ids=["one to one", "a grid"])
def test_every_row_is_accounted_for_while_everything_is_killed(
    grid: bool, agent: Callable[..., Agent], tmp_path: Path
) -> None:
    chance = random.Random(int(os.environ.get("SHIPPER_SEED", "22")))
    (tmp_path / "in").mkdir()
    if grid:
        parts = (
            taildir("r1", "c1 c2", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "one"),
            file_roll("k2", "c1", tmp_path / "two"), file_roll("k3", "c2", tmp_path / "three"),
        )  # fmt: skip
        one = agent(agent_of(*parts, channels="c1 c2", sinks="k1 k2 k3"))
    else:
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "one")))
    victims = ["r1", "k1", "k2", "k3", None] if grid else ["r1", "k1", None]
    writer, auditor = Writer(tmp_path / "in", 22), Auditor(one)
    writer.start()
    auditor.start()
    one.start()
    for _ in range(ROUNDS):
        for victim in chance.sample(victims, len(victims)):
            threading.Event().wait(chance.random() * 0.5)
            one.kill(victim)
            if victim is None:
                one.start(wait=chance.random() < 0.5)
        if chance.random() < 0.7:  # and a stop in order: what was in memory goes into the book
            one.until(lambda: len(one.workers()) == len(victims) - 1, "all workers are up again", 60)
            assert one.stop() == 0, one.log()
            one.start()
    writer.ending.set()
    writer.join()
    channels = ("c1", "c2") if grid else ("c1",)

    def all_there() -> bool:
        found = total(one).channels
        return all(found[name]["accepted"] >= writer.lines and not found[name]["in_channel"] for name in channels)

    one.until(all_there, "everything is delivered", 120)
    assert one.stop() == 0, one.log()
    auditor.ending.set()
    auditor.join()
    assert auditor.looks > 20 and not auditor.wrong, auditor.wrong[:3]
    judge(texts(tmp_path / "one") + (texts(tmp_path / "two") if grid else b""), writer, ordered=False)
    found = total(one)
    assert found.sources["r1"]["rows"] == writer.lines
    bytes_read = len(b"".join((tmp_path / "in" / name).read_bytes() for name in os.listdir(tmp_path / "in")))
    assert found.sources["r1"]["size_bytes"] == bytes_read - writer.lines, "bodies have no line ends"
    for name in channels:
        numbers = found.channels[name]
        assert numbers["accepted_bytes"] == numbers["delivered_bytes"] == found.sources["r1"]["size_bytes"]
        moved = {key: number for key, number in numbers.items() if number and not key.endswith("_bytes")}
        assert moved == dict.fromkeys(("offered", "accepted", "taken", "delivered"), writer.lines)
    folders = {"k1": "one", "k2": "two", "k3": "three"} if grid else {"k1": "one"}
    for sink, folder in folders.items():
        assert found.sinks[f"{sink_key(sink):016x}"]["delivered"] == texts(tmp_path / folder).count(b"\n")
    print(f"{auditor.looks} looks, {writer.lines} lines")


def shown(one: Agent, *arguments: str) -> tuple[int, str]:
    """What the command says about an agent: its code and its text."""
    command = [sys.executable, "-m", "shipper.cli.main", "ledger", "-n", one.name, "--state-dir", str(one.state_dir)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_the_command_shows_the_ledger_while_the_agent_runs_and_after_it_stopped(
    agent: Callable[..., Agent], tmp_path: Path
) -> None:
    one = agent(agent_of(seq("r1", "c1", 1000), file_roll("k1", "c1", tmp_path / "out")))
    one.start()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") == 1000)

    def data() -> Any:
        code, text = shown(one, "--json")
        assert code == 0
        return json.loads(text)[0]

    one.until(lambda: data()["channels"]["c1"]["delivered"] == 1000, "it is committed")
    running = data()
    assert running["running"] and running["ledger_mismatch"] == 0
    assert one.stop() == 0
    stopped = data()
    assert not stopped["running"]
    for key in ("sources", "channels", "sinks"):
        assert stopped[key] == running[key]
    assert stopped["sinks"]["k1"]["delivered"] == 1000
    code, text = shown(one)
    assert code == 0
    assert "channel c1" in text and "0              difference" in text


def test_a_mismatch_is_said_and_is_the_exit_code(agent: Callable[..., Agent], tmp_path: Path) -> None:
    one = agent(agent_of(seq("r1", "c1", 1000), file_roll("k1", "c1", tmp_path / "out")))
    one.start()
    one.until(lambda: texts(tmp_path / "out").count(b"\n") == 1000)
    assert one.stop() == 0
    path = next(one.state_dir.glob("*/ledger.json"))
    data = json.loads(path.read_text())
    data["last"]["channels"]["c1"]["delivered"] -= 3
    path.write_text(json.dumps(data))
    code, text = shown(one)
    assert code == 2
    assert "3 events of c1: left it, and no sink has delivered or set them aside" in text


def test_a_power_cut_leaves_what_is_unknown_unknown(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """The memory vanishes with what the channel held: the rows are neither delivered nor forgotten."""
    import shutil

    blocked = tmp_path / "out"
    one = agent(agent_of(seq("r1", "c1", 1000), file_roll("k1", "c1", blocked)))
    one.start()
    one.until(lambda: total(one).channels["c1"]["delivered"] == 1000)
    path = next(one.state_dir.glob("*/ledger.json"))
    LedgerBook(path).save()  # the look that an agent takes every 30 seconds
    one.kill()
    time.sleep(0.2)
    shutil.rmtree(one.instance_dir())
    one.start()
    one.until(lambda: total(one).channels["c1"]["accepted"] >= 1000)
    code, text = shown(one)
    assert code == 0
    assert "unknown: a run that began" in text
    one.stop()
