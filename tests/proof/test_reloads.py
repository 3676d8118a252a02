"""Reloads under load and deaths: channels change size and kind of disk, sinks come, go and change their channels, and
sources and sinks get more or fewer workers.

Two logs go by their header into two channels. At random the file is written anew, somebody is killed before, while or
after it is read, or everybody at once. At the end each line is there once, whoever took it. A seed draws everything
(`SHIPPER_SEED=N`); full size: `python -m pytest -m nightly -n 0 -s tests/proof/test_reloads.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.testing.agent import Agent, AgentFailed

SEED = int(os.environ.get("SHIPPER_SEED", "1"))
STREAMS = ("w1", "w2")


class Variations:
    """The configuration, as it changes.

    Args:
        kind: of both channels.
    """

    def __init__(self, home: Path, kind: str, chance: random.Random) -> None:
        self._home = home
        self._kind = kind
        self._chance = chance
        self.channels = {"k1": "c1", "k2": "c2"}
        self.rolls = dict.fromkeys(("k1", "k2", "k3"), 1)
        self.capacity = {"c1": 2000, "c2": 2000}
        self.workers = dict.fromkeys(("r1", "k1", "k2", "k3"), 1)
        for sink in self.rolls:
            (home / "out" / sink).mkdir(parents=True)

    def change(self) -> str:
        """Changes one thing; what."""
        chance = self._chance
        what = chance.choice(["roll", "capacity", "third", "swap", "swap", "workers", "workers"])
        if what == "roll":
            sink = chance.choice(sorted(self.channels))
            self.rolls[sink] = chance.randint(1, 3)
        elif what == "capacity":
            self.capacity[chance.choice(("c1", "c2"))] = chance.choice((200, 2000, 20_000))
        elif what == "workers":
            self.workers[chance.choice(["r1", "r1", *sorted(self.channels)])] = chance.randint(1, 3)
        elif what == "third":
            if self.channels.pop("k3", None) is None:
                self.channels["k3"] = chance.choice(("c1", "c2"))
        else:
            for sink in ("k1", "k2"):
                self.channels[sink] = "c2" if self.channels[sink] == "c1" else "c1"
        return what

    def text(self) -> str:
        """The file as it is now."""
        home = self._home
        lines = {
            "sources": "r1", "channels": "c1 c2", "sinks": " ".join(sorted(self.channels)),
            "sources.r1.type": "TAILDIR", "sources.r1.channels": "c1 c2", "sources.r1.filegroups": " ".join(STREAMS),
            "sources.r1.rotateWait": "1", "sources.r1.workers": str(self.workers["r1"]),
            "sources.r1.positionFile": str(home / "positions.json"), "sources.r1.selector.type": "multiplexing",
            "sources.r1.selector.header": "who",
        }  # fmt: skip
        for stream, channel in zip(STREAMS, ("c1", "c2"), strict=True):
            lines[f"sources.r1.filegroups.{stream}"] = f"{home}/in/{stream}.log"
            lines[f"sources.r1.headers.{stream}.who"] = stream
            lines[f"sources.r1.selector.mapping.{stream}"] = channel
            lines[f"channels.{channel}.type"] = self._kind
            lines[f"channels.{channel}.ring.bytes"] = "256k"
            size = str(self.capacity[channel])
            if self._kind == "spillablememory":
                lines[f"channels.{channel}.memoryCapacity"] = size
                lines[f"channels.{channel}.overflowTimeout"] = "0"
            else:
                lines[f"channels.{channel}.capacity"] = str(10 * int(size))
            if self._kind != "memory":
                lines[f"channels.{channel}.checkpointDir"] = str(home / channel / "checkpoint")
                lines[f"channels.{channel}.dataDirs"] = str(home / channel / "data")
        for sink, channel in self.channels.items():
            lines |= {
                f"sinks.{sink}.type": "file_roll", f"sinks.{sink}.channel": channel,
                f"sinks.{sink}.sink.directory": str(home / "out" / sink),
                f"sinks.{sink}.sink.rollInterval": str(self.rolls[sink]),
                f"sinks.{sink}.workers": str(self.workers[sink]),
            }  # fmt: skip
        return "".join(f"a1.{key} = {value}\n" for key, value in lines.items())


def delivered(home: Path) -> Counter[bytes]:
    """How often each line came out, of whichever sink."""
    found = Counter[bytes]()
    for path in (home / "out").rglob("*"):
        with contextlib.suppress(IsADirectoryError, FileNotFoundError):
            found.update(path.read_bytes().split())
    return found


def storm(home: Path, seed: int, kind: str, rounds: int) -> None:
    chance = random.Random(seed)
    now = Variations(home, kind, chance)
    logs = [(home / "in" / f"{stream}.log") for stream in STREAMS]
    ending = threading.Event()
    written = [0, 0]
    (home / "in").mkdir()

    def write() -> None:
        own = random.Random(seed + 1)
        while not ending.wait(0.01):
            for index, path in enumerate(logs):
                rows = own.randrange(400)
                with path.open("ab", buffering=0) as file:
                    file.write(b"".join(b"w%d.%d\n" % (index + 1, written[index] + n) for n in range(rows)))
                written[index] += rows

    done: Counter[str] = Counter()
    with Agent(home / "agent", now.text(), arguments=("--no-reload-conf",)) as one:
        one.start()
        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        for _ in range(rounds):
            what = now.change()
            before, after = chance.random() < 0.4, chance.random() < 0.6
            victim = chance.choice(["r1", *sorted(now.channels), "supervisor", *(["c1"] if kind != "memory" else [])])
            if before:
                done[_kill(one, victim)] += 1
            one.file.write_text(now.text())
            done[what] += 1
            if one.pid:
                with contextlib.suppress(ProcessLookupError):
                    one.send(signal.SIGHUP)
                if after:
                    threading.Event().wait(chance.random() * 0.5)
                    done[_kill(one, victim)] += 1
            if not one.pid:
                one.start(wait=False)
            threading.Event().wait(chance.random())
        ending.set()
        writer.join()
        if not one.pid:
            one.start()
        wanted = {b"w%d.%d" % (index + 1, n) for index in (0, 1) for n in range(written[index])}
        trouble = ""
        try:
            one.until(lambda: len(delivered(home)) >= len(wanted), "everything is delivered", 240)
            code = one.stop()
            trouble = f"it stopped with {code}" if code else ""
        except AgentFailed as problem:
            trouble = str(problem).partition("\n")[0]
        found = delivered(home)
        twice = sorted(row for row, times in found.items() if times > 1)
        lost = sorted(wanted - found.keys())
        print(f"seed {seed}, {kind}: {dict(done)}, {len(wanted)} lines", file=sys.stderr, flush=True)
        (home / "log").write_text(one.log())
        about = f"seed {seed}, {kind}, in {home}: {trouble}"
        assert not lost and not twice and not trouble, (
            f"{about}; {len(lost)} lost {lost[:3]}, {len(twice)} twice {twice[:3]}"
        )
        assert found.keys() == wanted
        assert "Traceback" not in one.log(), about
        (book,) = one.state_dir.glob("*/ledger.json")
        wrong = {name: n for name, n in LedgerBook(book).total().channels.items() if mismatch(n)}
        assert not wrong, f"{about}; the ledger does not balance: {wrong}"


def _kill(one: Agent, victim: str) -> str:
    """Kills a worker that is there, or the supervisor."""
    if not one.pid:
        return "nobody"
    if victim == "supervisor":
        one.kill()
        return victim
    # A component with several workers has a label for each; the first of them will do.
    pid = next((pid for label, pid in sorted(one.workers().items()) if label.split(".")[0] == victim), None)
    if pid is None:
        return "nobody"
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return victim[0]


@pytest.mark.timeout(400)
def test_reloads_and_deaths_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    storm(tmp_path, SEED, "spillablememory", 5)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(12))
def test_many_reloads_and_deaths(tmp_path: Path, number: int) -> None:
    storm(tmp_path, SEED + 100 + number, ("memory", "spillablememory", "file")[number % 3], 30)
