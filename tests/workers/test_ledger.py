"""The ledger of real agents: no row is unaccounted for at any moment, whatever dies."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.instance import ledger_book
from shipper.instance.ledger import CHANNEL, Ledger, mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.shared.tally import sink_key
from shipper.testing.agent import Agent
from tests.waiting import until_dead
from tests.workers.conftest import agent_of, file_roll, seq, taildir, texts, total
from tests.workers.test_kills import Writer, judge

ROUNDS = int(os.environ.get("SHIPPER_KILL_ROUNDS", "2"))

pytestmark = pytest.mark.timeout(300 + 60 * ROUNDS)


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


def test_a_run_that_ends_while_it_is_looked_at_is_counted_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory goes when the book has its end: whoever read the book before finds less, or nothing."""
    book, run_dir, counts = LedgerBook(tmp_path / "ledger.json"), tmp_path / "run", Ledger()
    counts.channels["c1"] = {**dict.fromkeys(CHANNEL, 0), "accepted": 5}
    run_dir.mkdir()
    (run_dir / "id").write_text("one")
    book.open_run("one", run_dir, "a1", tmp_path / "a1.properties", {})
    looking = LedgerBook(book.path)

    def ends(_: Path) -> Ledger:
        monkeypatch.setattr(ledger_book, "read", lambda _: counts)
        book.save(closed=True)
        return Ledger()

    monkeypatch.setattr(ledger_book, "read", ends)
    assert looking.total().channels["c1"]["accepted"] == 5


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
    workers = list(one.workers().values())
    one.kill()
    until_dead(workers)
    shutil.rmtree(one.instance_dir())
    one.start()
    one.until(lambda: total(one).channels["c1"]["accepted"] >= 1000)
    code, text = shown(one)
    assert code == 0
    assert "unknown: a run that began" in text
    one.stop()


DEATHS = 3
#: Every process of the agent begins with this: the first so many calls of that verb of a quarantine end in a death.
DYING = """
import os
from shipper.pipeline.quarantine import Quarantine
original = Quarantine.{line}
def dying(self, *arguments):
    original(self, *arguments)
    with open("{marks}", "ab") as marks:
        if marks.tell() < 3:
            marks.write(b"x")
            marks.flush()
            os.kill(os.getpid(), 9)
Quarantine.{line} = dying
"""


class TestPoison:
    """Events that a target refuses for good: each is in the quarantine once, the others are delivered once."""

    @pytest.mark.parametrize("line", ["add", "committed"])
    def test_the_sink_dies_on_the_line_behind_the_quarantine_or_the_commit(
        self, line: str, agent: Callable[..., Agent], tmp_path: Path
    ) -> None:
        """A path with a date refuses events without a timestamp; only one of two groups of files has the header."""
        for folder in ("good", "bad", "out"):
            (tmp_path / folder).mkdir()
        source = taildir(
            "r1", "c1", tmp_path / "good",
            **{
                "filegroups": "f b", "filegroups.b": f"{tmp_path}/bad/.*", "headers.f.timestamp": "1700000000000",
                "headers.f.kind": "good",
            },
        )  # fmt: skip
        sink = "".join(
            f"a1.sinks.k1.{key} = {value}\n" for key, value in {
                "type": "hdfs", "hdfs.path": f"file://{tmp_path}/out/%Y", "hdfs.fileType": "DataStream",
                "hdfs.rollInterval": 1, "channel": "c1", "batch.bytes": "4k",
            }.items()
        )  # fmt: skip
        (tmp_path / "deaths").touch()
        (tmp_path / "customized").mkdir()
        (tmp_path / "customized" / "sitecustomize.py").write_text(DYING.format(line=line, marks=tmp_path / "deaths"))
        path = os.pathsep.join([str(tmp_path / "customized"), str(Path(__file__).parents[2])])
        one = agent(agent_of(source, sink), environment={"PYTHONPATH": path}).start()

        def quarantined() -> list[bytes]:
            found = sorted(one.state_dir.glob("*/sinks/k1.0/quarantine*.jsonl"))
            return [json.loads(line)["body"].encode() for path in found for line in path.read_bytes().splitlines()]

        rounds = 3 + ROUNDS
        for number in range(rounds):
            with (tmp_path / "good" / "a.log").open("ab") as good, (tmp_path / "bad" / "a.log").open("ab") as bad:
                good.write(b"".join(b"good %d %d\n" % (number, row) for row in range(2000)))
                bad.write(b"".join(b"bad %d %d\n" % (number, row) for row in range(300)))
            deaths = min(number + 1, DEATHS)
            one.until(lambda least=deaths: (tmp_path / "deaths").stat().st_size >= least, "it has died once more")
        wanted = {b"bad %d %d" % (number, row) for number in range(rounds) for row in range(300)}
        one.until(lambda: total(one).channels["c1"]["accepted"] == 2300 * rounds, "all is read")
        one.until(lambda: not total(one).channels["c1"]["in_channel"], "all is delivered or set aside", 90)
        assert one.stop() == 0, one.log()
        found = quarantined()
        assert len(found) == len(set(found)) and set(found) == wanted
        lines = [line for path in (tmp_path / "out" / "2023").iterdir() for line in path.read_bytes().splitlines()]
        assert sorted(lines) == sorted(b"good %d %d" % (number, row) for number in range(rounds) for row in range(2000))
        numbers = total(one).channels["c1"]
        assert (numbers["delivered"], numbers["set_aside"], mismatch(numbers)) == (2000 * rounds, 300 * rounds, 0)
        code, text = shown(one)
        assert code == 0 and "quarantine.jsonl" in text
        assert "Traceback" not in one.log()

    def test_a_full_quarantine_stops_its_sink_and_drops_nothing(
        self, agent: Callable[..., Agent], tmp_path: Path
    ) -> None:
        (tmp_path / "in").mkdir()
        sink = (
            f"a1.sinks.k1.type = hdfs\na1.sinks.k1.hdfs.path = file://{tmp_path}/out/%Y\na1.sinks.k1.channel = c1\n"
            "a1.sinks.k1.quarantine.maxBytes = 64k\n"
        )
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink)).start()
        with (tmp_path / "in" / "a.log").open("ab") as bad:
            for row in range(8):
                bad.write(b"%d" % row + b"x" * 10_000 + b"\n")
                bad.flush()
                one.until(
                    lambda row=row: (
                        total(one).channels["c1"]["set_aside"] > row or "the quarantine is full" in one.log()
                    )
                )
        numbers = total(one).channels["c1"]
        assert (numbers["set_aside"], numbers["in_channel"]) == (7, 1)
        size_bytes = next(one.state_dir.glob("*/sinks/k1.0/quarantine.jsonl")).stat().st_size
        assert 64 << 10 <= size_bytes <= (64 << 10) + 11_000, "the limit, and what is refused of one take"


class TestOnFull:
    """What a full channel gives up is counted, and said."""

    def test_drop_newest_never_holds_its_source_up(self, agent: Callable[..., Agent], tmp_path: Path) -> None:
        wanted = 200_000
        more = "a1.channels.c1.capacity = 1000\na1.channels.c1.onFull = dropNewest\n"
        one = agent(agent_of(seq("r1", "c1", wanted), file_roll("k1", "c1", tmp_path / "out"), more=more)).start()
        one.until(lambda: total(one).sources["r1"]["rows"] == wanted, "all is read")
        one.until(lambda: not total(one).channels["c1"]["in_channel"], "all that was accepted is delivered")
        assert one.stop() == 0, one.log()
        numbers = total(one).channels["c1"]
        assert numbers["offered"] == wanted and numbers["dropped_new"] > 0
        assert numbers["delivered"] == wanted - numbers["dropped_new"] == texts(tmp_path / "out").count(b"\n")
        assert mismatch(numbers) == 0
        assert "events were dropped: c1 is full and its onFull is dropNewest" in one.log()

    def test_drop_oldest_keeps_the_newest_while_the_target_is_down(
        self, agent: Callable[..., Agent], tmp_path: Path
    ) -> None:
        wanted = 20_000
        more = "a1.channels.c1.capacity = 1000\na1.channels.c1.onFull = dropOldest\n"
        (tmp_path / "out").write_text("no directory")
        sink = "".join(
            f"a1.sinks.k1.{key} = {value}\n" for key, value in {
                "type": "hdfs", "hdfs.path": f"file://{tmp_path}/out", "hdfs.fileType": "DataStream",
                "hdfs.rollInterval": 1, "channel": "c1",
            }.items()
        )  # fmt: skip
        one = agent(agent_of(seq("r1", "c1", wanted), sink, more=more)).start()
        one.until(
            lambda: total(one).sources["r1"]["rows"] == wanted, "all is read, though nothing can be delivered", 90
        )
        (tmp_path / "out").unlink()
        one.until(lambda: not total(one).channels["c1"]["in_channel"], "what is left is delivered")
        assert one.stop() == 0, one.log()
        numbers = total(one).channels["c1"]
        lines = [int(line) for path in (tmp_path / "out").iterdir() for line in path.read_bytes().splitlines()]
        assert sorted(lines) == list(range(wanted - len(lines), wanted)), "the newest"
        assert numbers["delivered"] == len(lines) == wanted - numbers["dropped_old"]
        assert mismatch(numbers) == 0
        assert "events were dropped: the channel was full and its onFull is dropOldest" in one.log()
