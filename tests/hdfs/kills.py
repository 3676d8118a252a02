"""Kills: an agent that ships a growing file to a cluster is killed again and again; then all lines are counted."""

from __future__ import annotations

import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hdfs.cluster import Cluster

from shipper.testing.agent import Agent

_LINE = re.compile(rb"line (\d{9}) .*")
_PADDING = b"x" * 80


@dataclass
class Outcome:
    """What was found: no faults when all was well."""

    kills: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    files: list[int] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{role} {count}" for role, count in sorted(self.kills.items()))
        longest = max(self.waits_s, default=0.0)
        return (
            f"kills: {killed}; {self.lines} lines in {len(self.files)} files of {min(self.files, default=0)} to "
            f"{max(self.files, default=0)} bytes; {longest:.1f} s at most until rows came again"
        )


class Load:
    """A file that grows by so many lines a second until it is ended."""

    def __init__(self, path: Path, lines_s: int) -> None:
        self.lines = 0
        self._path = path
        self._lines_s = lines_s
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """No line comes any more."""
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        with self._path.open("ab", buffering=0) as file:
            began_s = time.monotonic()
            while not self._ends.wait(0.02):
                due = int((time.monotonic() - began_s) * self._lines_s)
                file.write(b"".join(b"line %09d %s\n" % (number, _PADDING) for number in range(self.lines, due)))
                self.lines = max(self.lines, due)


def campaign(
    cluster: Cluster,
    home: Path,
    seed: int,
    roles: Sequence[str],
    *,
    conf: Path,
    lines_s: int = 5000,
    uri: str = "",
    **sink: str,
) -> Outcome:
    """Kills each of `roles` ("sink", "source", "group") once, at times that the seed gives, and counts."""
    chance = random.Random(seed)
    folder = cluster.folder()
    home.mkdir(parents=True, exist_ok=True)
    outcome = Outcome()
    options = {"path": f"{uri or cluster.uri}{folder}", "rollSize": "0", "rollCount": "0", **sink}
    capacity = options.pop("capacity", "")
    properties = "\n".join([
        "a1.sources = r1", "a1.channels = c1", "a1.sinks = k1", "a1.sources.r1.type = TAILDIR",
        "a1.sources.r1.channels = c1", "a1.sources.r1.filegroups = f", f"a1.sources.r1.filegroups.f = {home}/input",
        f"a1.sources.r1.positionFile = {home}/positions.json", "a1.channels.c1.type = memory",
        *([f"a1.channels.c1.capacity = {capacity}"] if capacity else []),
        "a1.sinks.k1.type = hdfs", "a1.sinks.k1.channel = c1",
        *(f"a1.sinks.k1.hdfs.{key} = {value}" for key, value in options.items()), "",
    ])  # fmt: skip
    load = Load(home / "input", lines_s)
    with Agent(home / "agent", properties, arguments=("-c", str(conf))) as agent:
        agent.start()
        for role in chance.sample(roles, len(roles)):
            threading.Event().wait(chance.uniform(0.1, 4.0))
            began_s = time.monotonic()
            if role == "group":
                agent.send(signal.SIGKILL, everybody=True)
                agent.ended()
                agent.start(wait=chance.random() < 0.5)
            else:
                agent.kill({"sink": "k1", "source": "r1"}[role])
            outcome.kills[role] += 1
            if chance.random() < 0.7:  # else the next death comes while this one is being recovered from
                agent.until(lambda: {"k1", "r1"} <= agent.workers().keys(), "all workers run again")
                outcome.waits_s.append(time.monotonic() - began_s)
        load.end()
        wanted = (home / "input").stat().st_size
        agent.until(lambda: _delivered(agent) >= wanted, "everything is read", 300)
        if code := agent.stop():
            outcome.faults.append(f"it stopped with {code}")
        log = agent.log()
    outcome.lines = load.lines
    _judge(cluster, folder, load.lines, options.get("fileType") == "DataStream", outcome)
    if "Traceback" in log:
        outcome.faults.append("there is a traceback in the log")
    if outcome.faults:
        (home / "faults").write_text("\n".join([f"seed {seed}", *outcome.faults, log]))
    return outcome


def _delivered(agent: Agent) -> int:
    """How far the source has been told that its rows are safe."""
    found = (agent.file.parent.parent / "positions.json").read_text(errors="replace")
    return max((int(number) for number in re.findall(r'"pos": ?(\d+)', found)), default=0)


def _judge(cluster: Cluster, folder: str, lines: int, plain: bool, outcome: Outcome) -> None:
    paths = cluster.files(folder)
    if left := [path for path in paths if path.endswith(".tmp") or "set-aside" in path]:
        outcome.faults.append(f"left under names of files that are being written: {left}")
    if open_files := cluster.open_files(folder):
        outcome.faults.append(f"still open: {open_files}")
    if not cluster.healthy(folder):
        outcome.faults.append("fsck does not find it healthy")
    outcome.files = [cluster.status(path)["length"] for path in paths]  # type: ignore[index]
    counts: Counter[int] = Counter()
    for path, content in zip(paths, map(cluster.read, paths), strict=True) if plain else cluster.text(paths).items():
        for line in content.splitlines():
            if (match := _LINE.fullmatch(line)) is None:
                outcome.faults.append(f"{path} has {line[:60]!r}")
                break
            counts[int(match[1])] += 1
    lost = [number for number in range(lines) if not counts[number]]
    twice = [number for number, count in counts.items() if count > 1]
    if lost:
        outcome.faults.append(f"{len(lost)} lines are lost, from {lost[0]} to {lost[-1]}")
    if twice:
        outcome.faults.append(f"{len(twice)} lines came twice, from {min(twice)} to {max(twice)}")
