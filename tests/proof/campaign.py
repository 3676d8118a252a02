"""A campaign: an agent of a scenario, under load and watched, is killed again and again; then everything is counted."""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.testing.agent import Agent, AgentFailed
from tests.proof.lines import Stream, line
from tests.proof.load import Load, came_out
from tests.proof.scenario import KINDS, Scenario
from tests.proof.watcher import Watcher, whole
from tests.workers.conftest import numbered

ROLES = ("source", "sink", "supervisor", "group")
WRITER = "writer"  # of a file channel
_QUIET_S = 20.0
_TAKE_BYTES = 8 << 20  # less than two batches: a take ends behind the frame that fills one
_ADDED = Path(__file__).parent / "added"
#: root is not stopped by file modes, unless it puts these aside
_BOUND_BY_MODES = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all")


@dataclass
class Outcome:
    """What a campaign found: the faults are empty when all was well."""

    kills: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    rotations: int = 0
    deleted: int = 0
    looks: int = 0
    taken_back: int = 0
    took_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{role} {self.kills[role]}" for role in (*ROLES, WRITER) if self.kills[role])
        return (
            f"kills: {killed or 'none'}; {self.lines} lines, {self.rotations} rotations, {self.deleted} deletions; "
            f"{self.looks} looks at the output, {self.taken_back} takes were taken back; {self.took_s:.0f} s"
        )


def run(scenario: Scenario, home: Path, roles: list[str]) -> Outcome:
    """Runs it to its end with one kill for each of `roles`, in an order that the seed gives."""
    began_s = time.monotonic()
    chance = random.Random(scenario.seed + 2)
    victims = chance.sample(roles, len(roles))
    modes_bind = os.geteuid() != 0 or shutil.which("setpriv") is not None
    path = os.pathsep.join([str(Path(__file__).parents[2]), str(_ADDED)])
    outcome = Outcome()
    with Agent(
        home / "agent", scenario.properties(home), environment={"PYTHONPATH": path},
        before=_BOUND_BY_MODES if os.geteuid() == 0 and modes_bind else (),
    ) as one:  # fmt: skip
        watcher = Watcher({home / "out" / sink.name: (sink.channel, KINDS[sink.kind]) for sink in scenario.sinks})
        load = Load(scenario, home, watcher)
        watcher.start()
        load.start()
        one.start()
        held = home / "out" / "k2" if scenario.topology == "competing" and modes_bind else None
        refuses = False
        for role in victims:
            if held is not None and chance.random() < 0.5:
                refuses = chance.random() < 0.5
                held.chmod(0o555 if refuses else 0o755)
            if chance.random() < 0.8:
                threading.Event().wait(chance.random() * 0.6)
            _kill(one, scenario, role, chance, refuses)
            outcome.kills[role] += 1
        if held is not None:
            held.chmod(0o755)
        load.end()
        workers = set(scenario.labels("source") + scenario.labels("sink"))
        try:
            one.until(lambda: workers <= one.workers().keys(), "all workers are up again", 60)
            one.until(lambda: _rests(scenario, watcher, load), "everything is delivered", 180)
            code = one.stop()
            if code:
                outcome.faults.append(f"it stopped with {code}")
        except AgentFailed as trouble:
            outcome.faults.append(str(trouble).partition("\n")[0])
        watcher.end()
        outcome.lines = sum(stream.lines for stream in load.streams)
        outcome.rotations, outcome.deleted = load.rotations, load.deleted
        outcome.looks, outcome.taken_back = watcher.looks, len(watcher.taken_back)
        most = (outcome.kills.total() - outcome.kills["source"]) * len(scenario.labels("sink"))
        if len(watcher.taken_back) > most or any(count > _TAKE_BYTES for count in watcher.taken_back):
            outcome.faults.append(f"more than a take of each sink that died was taken back: {watcher.taken_back}")
        outcome.faults += watcher.wrong[:3]
        outcome.faults += judge(scenario, home, load.streams)
        log = one.log()
        if "Traceback" in log:
            outcome.faults.append("there is a traceback in the log")
        book = next(one.state_dir.glob("*/ledger.json"), None)
        if book is not None:
            total = LedgerBook(book).total()
            wrong = {name: n for name, n in total.channels.items() if mismatch(n) or n.get("in_channel")}
            outcome.faults += [f"the ledger of {name} does not balance: {numbers}" for name, numbers in wrong.items()]
        outcome.took_s = time.monotonic() - began_s
        if outcome.faults:
            (home / "faults").write_text("\n".join([str(scenario), *outcome.faults, log]))
    return outcome


def _kill(one: Agent, scenario: Scenario, role: str, chance: random.Random, refuses: bool) -> None:
    """With a target that refuses, its sink may not come up: who is there is killed, and nobody waits for all."""
    if role in ("source", "sink", "writer"):
        there, labels = one.workers(), scenario.labels(role)
        one.kill(chance.choice([label for label in labels if label in there] or labels))
        return
    if role == "group":
        one.send(signal.SIGKILL, everybody=True)
        one.ended()
    else:
        one.kill()
    one.start(wait=chance.random() < 0.5 and not refuses)


def _rests(scenario: Scenario, watcher: Watcher, load: Load) -> bool:
    """True when every line was seen and nothing came for a moment, or nothing comes any more."""
    now = (watcher.looks, sum(map(len, watcher.seen.values())))
    state = load.__dict__.setdefault("_state", {"count": -1, "since_s": 0.0})
    if now[1] != state["count"]:
        state.update(count=now[1], since_s=time.monotonic())
    complete = all(came_out(scenario, watcher, stream) for stream in load.streams)
    return time.monotonic() - state["since_s"] > (2.0 if complete else _QUIET_S)


def judge(scenario: Scenario, home: Path, streams: list[Stream]) -> list[str]:
    """What is wrong with the files: lost, twice, alien, out of order, unfinished."""
    faults: list[str] = []
    for channel, routed in scenario.routes.items():
        counts: dict[str, Counter[int]] = {stream.name: Counter() for stream in streams}
        sinks = [sink for sink in scenario.sinks if sink.channel == channel]
        by_name = {stream.name: stream for stream in streams}
        for sink in sinks:
            last: dict[tuple[str, int], int] = {}
            disorder = 0
            for path in sorted((home / "out" / sink.name).iterdir(), key=numbered):
                data = path.read_bytes()
                text, end = whole(KINDS[sink.kind], data)
                if end != len(data):
                    faults.append(f"{path} has {len(data) - end} bytes behind the last whole one")
                if path.suffix == ".tmp" or path.name.startswith((".", "_")):
                    faults.append(f"{path} is not finished")
                for row in text.splitlines(keepends=True):
                    name, _, digits = row.partition(b" ")[0].partition(b".")
                    stream = by_name.get(name.decode(errors="replace"))
                    if stream is None or not digits.isdigit() or row != line(stream.name, int(digits), stream.thinned):
                        faults.append(f"{path}: alien line {row[:80]!r}")
                        continue
                    number = int(digits)
                    counts[stream.name][number] += 1
                    index = stream.file_of(number)
                    if index not in stream.mixed and last.get((stream.name, index), -1) > number:
                        disorder += 1
                    last[stream.name, index] = number
            if disorder and len(sinks) == 1 and sink.workers == 1:
                faults.append(f"{sink.name}: {disorder} lines came behind later ones of the same file")
        for stream in streams:
            found = counts[stream.name]
            wanted = stream.wanted() if stream.name in routed else set()
            for what, numbers in (
                ("lost", wanted - found.keys()), ("that were not meant for it", found.keys() - wanted),
                ("twice", {number for number, times in found.items() if times > 1}),
            ):  # fmt: skip
                if numbers:
                    files = sorted({stream.file_of(number) for number in numbers})
                    faults.append(
                        f"{channel}: {len(numbers)} of {len(wanted)} lines of {stream.name} {what}, from "
                        f"{min(numbers)} to {max(numbers)}, in its files {files[:5]} of {len(stream.begins)} (copied: "
                        f"{sorted(stream.mixed & set(files))[:5]})"
                    )
    return faults[:20]
