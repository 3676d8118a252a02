"""RS1 in small: an hour under load with a fault in each hundredth tenth of a second; memory and descriptors stay flat.

A log is written and rotated; its lines go through a channel in memory and one on disk. Workers are killed or stand
still, the targets refuse, the files are read again; the supervisor lives, for it is the one that could grow. A seed
draws the faults (`SHIPPER_SEED=N`). With every run five seconds with more faults; at night an hour
(`SHIPPER_SOAK_S=N`).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.testing.agent import Agent
from tests.crash.conftest import agent_of, file_roll, taildir
from tests.proof.test_stalled_sink import anonymous_bytes, descriptors

SEED = int(os.environ.get("SHIPPER_SEED", "1"))
_TICK_S = 0.1
_LINES_A_TICK = 500
_ROTATES_EVERY = 100
_LOOK_EVERY = 100
_GROWS_MOST_BYTES = 1 << 20


class Soak:
    """One run: what is written, what is done to the agent, what is measured."""

    def __init__(self, home: Path, seed: int, faults: float) -> None:
        self.home = home
        self.chance = random.Random(seed)
        self.faults = faults
        self.done = Counter[str]()
        self.lines = 0
        self.looks: list[tuple[int, int]] = []
        self._undo: list[tuple[int, int]] = []  # (tick, process to go on)
        (home / "in").mkdir()
        self.outs = [home / "out1", home / "out2"]
        self.properties = agent_of(
            taildir("r1", "c1 c2", home / "in"),
            file_roll("k1", "c1", self.outs[0]), file_roll("k2", "c2", self.outs[1]),
            channels="c1 c2", sinks="k1 k2",
            more=f"a1.channels.c2.type = file\na1.channels.c2.checkpointDir = {home}/checkpoint\n"
            f"a1.channels.c2.dataDirs = {home}/data\n",
        )  # fmt: skip

    def run(self, one: Agent, seconds: float) -> None:
        """Until the time is over; a tick that comes late is not made up for."""
        began_s, tick = time.monotonic(), 0
        while time.monotonic() - began_s < seconds:
            tick += 1
            next_s = began_s + tick * _TICK_S
            self._write(tick)
            self._go_on(tick)
            if self.chance.random() < self.faults:
                self._fault(one, tick)
            if tick % _LOOK_EVERY == 0:
                self.looks.append((anonymous_bytes(one.pid), descriptors(one.pid)))
            if tick % 600 == 0:
                print(f"{tick // 600} min: {self.lines} lines, {dict(self.done)}, supervisor {self.looks[-1]}",
                      file=sys.stderr, flush=True)  # fmt: skip
            time.sleep(max(0.0, next_s - time.monotonic()))
        self._go_on(1 << 62)

    def _write(self, tick: int) -> None:
        path = self.home / "in" / "app.log"
        with path.open("ab", buffering=0) as file:
            file.write(b"".join(b"%d\n" % number for number in range(self.lines, self.lines + _LINES_A_TICK)))
        self.lines += _LINES_A_TICK
        if tick % _ROTATES_EVERY == 0:
            path.rename(path.with_name(f"app.log.{tick}"))

    def _fault(self, one: Agent, tick: int) -> None:
        workers = one.workers()
        label = self.chance.choice(["r1", "k1", "k2", "c2"])
        kind = self.chance.choice(["killed", "killed", "stopped", "read again"])
        if kind == "read again":
            one.send(signal.SIGHUP)
        elif (pid := workers.get(label)) is None:
            kind = "was not there"
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
            if kind == "stopped":
                self._undo.append((tick + 20, pid))
        self.done[f"{label} {kind}" if kind != "read again" else kind] += 1

    def _go_on(self, tick: int) -> None:
        for entry in [entry for entry in self._undo if entry[0] <= tick]:
            self._undo.remove(entry)
            with contextlib.suppress(ProcessLookupError):
                os.kill(entry[1], signal.SIGCONT)


def soak(home: Path, seconds: float, faults: float) -> None:
    found = Soak(home, SEED, faults)
    with Agent(home / "agent", found.properties) as one:
        one.start()
        found.run(one, seconds)
        for out in found.outs:
            one.until(lambda out=out: rows(out) >= found.lines, "everything is delivered", 180)
        one.until(lambda: {"r1", "k1", "k2", "c2"} <= one.workers().keys(), "all workers are up again", 60)
        assert one.stop() == 0, one.log()
        print(f"seed {SEED}: {found.lines} lines, {dict(found.done)}", file=sys.stderr)
        for out in found.outs:
            counts = Counter(int(row) for path in out.iterdir() for row in path.read_bytes().split())
            assert len(counts) == found.lines and counts.total() == found.lines, f"{out}: {counts.most_common(1)}"
        assert "Traceback" not in one.log()
        (book,) = one.state_dir.glob("*/ledger.json")
        assert not any(map(mismatch, LedgerBook(book).total().channels.values()))
        quarter = len(found.looks) // 4
        if quarter:
            # The least of a while: what is needed for a restart comes and goes.
            first, last = found.looks[quarter : 2 * quarter], found.looks[-quarter:]
            grown = [min(look[kind] for look in last) - min(look[kind] for look in first) for kind in (0, 1)]
            print(f"the supervisor has grown by {grown[0]} bytes and {grown[1]} descriptors", file=sys.stderr)
            assert grown[0] <= _GROWS_MOST_BYTES and grown[1] <= 0, f"the supervisor grows: {found.looks}"


def rows(out: Path) -> int:
    """Lines in all files of a sink."""
    total = 0
    for path in out.iterdir():
        with contextlib.suppress(FileNotFoundError):
            total += path.read_bytes().count(b"\n")
    return total


def test_a_soak_of_seconds(tmp_path: Path) -> None:
    soak(tmp_path, 5, 0.15)


@pytest.mark.nightly
@pytest.mark.timeout(6 * 3600)
def test_a_soak_of_an_hour_with_one_percent_faults(tmp_path: Path) -> None:
    soak(tmp_path, float(os.environ.get("SHIPPER_SOAK_S", "3600")), 0.01)
