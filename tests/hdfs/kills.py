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

import numpy as np
from hdfs.cluster import Cluster

from shipper.testing.agent import Agent

_LINE_BYTES = 95
_DIGITS = slice(5, 14)  # of the number in a line
#: What the log of a DataNode says that does not recover a replica.
_REFUSAL = "Block length mismatch"


@dataclass
class Outcome:
    """What was found: no faults when all was well.

    Attributes:
        late: files whose lease the cluster had not given back when the agent stopped.
        refused: True when a DataNode refused to recover a replica for as long as it lived.
    """

    kills: Counter[str] = field(default_factory=Counter)
    lines: int = 0
    line_bytes: int = _LINE_BYTES
    load_s: float = 0.0
    files: list[int] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    late: int = 0
    refused: bool = False
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        killed = ", ".join(f"{role} {count}" for role, count in sorted(self.kills.items()))
        longest = max(self.waits_s, default=0.0)
        mb_s = self.lines * self.line_bytes / 1e6 / max(self.load_s, 1e-9)
        return (
            f"kills: {killed}; {self.lines} lines at {mb_s:.1f} MB/s in {len(self.files)} files of "
            f"{min(self.files, default=0)} to {max(self.files, default=0)} bytes; "
            f"{longest:.1f} s at most until rows came again"
            + (f"; {self.late} leases came late" if self.late else "")
            + ("; a replica was not recovered by its DataNode" if self.refused else "")
        )


def _line(number: int, line_bytes: int) -> bytes:
    return (b"line %09d " % number).ljust(line_bytes - 1, b"x") + b"\n"


class Load:
    """A file that grows by so many lines a second until it is ended."""

    def __init__(self, path: Path, lines_s: int, line_bytes: int = _LINE_BYTES) -> None:
        self.lines = 0
        self._line_bytes = line_bytes
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
                file.write(b"".join(_line(number, self._line_bytes) for number in range(self.lines, due)))
                self.lines = max(self.lines, due)


def campaign(
    cluster: Cluster,
    home: Path,
    seed: int,
    roles: Sequence[str],
    *,
    conf: Path,
    lines_s: int = 5000,
    line_bytes: int = _LINE_BYTES,
    uri: str = "",
    tended: bool = False,
    **sink: str,
) -> Outcome:
    """Kills each of `roles` ("sink", "source", "group") once, at times that the seed gives, and counts.

    Args:
        tended: somebody does what docs/hdfs.md says: starts a DataNode again that refuses to recover a replica. It is
            needed where the web port is closed.
    """
    chance = random.Random(seed)
    folder = cluster.folder()
    home.mkdir(parents=True, exist_ok=True)
    outcome = Outcome(line_bytes=line_bytes)
    refusals = cluster.datanodes[0].said(_REFUSAL)
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
    load, load_began_s = Load(home / "input", lines_s, line_bytes), time.monotonic()
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
        outcome.load_s = time.monotonic() - load_began_s
        wanted = (home / "input").stat().st_size
        agent.until(lambda: _delivered(agent) >= wanted, "everything is read", 300)
        code = agent.stop()
        outcome.refused = cluster.datanodes[0].said(_REFUSAL) > refusals
        if left := _unnamed(cluster, folder):
            # A busy DataNode recovers a lease when it has time, or 30 heartbeats later: the next start waits for it.
            outcome.late = len(left)
            if outcome.refused and tended:
                cluster.kill_datanode()
                cluster.start_datanode()
            agent.start()
            agent.until(lambda: not _unnamed(cluster, folder), "files that the dead had open have their names", 180)
            code = agent.stop()
        if code:
            outcome.faults.append(f"it stopped with {code}")
        log = agent.log()
    outcome.lines = load.lines
    _judge(cluster, folder, load.lines, options.get("fileType") == "DataStream", outcome)
    if "Traceback" in log:
        outcome.faults.append("there is a traceback in the log")
    if outcome.faults:
        (home / "faults").write_text("\n".join([f"seed {seed}", *outcome.faults, log]))
    else:  # a gigabyte each, at the full size
        (home / "input").unlink()
        cluster.rest("DELETE", folder, "DELETE", recursive="true")
    return outcome


def _delivered(agent: Agent) -> int:
    """How far the source has been told that its rows are safe."""
    found = (agent.file.parent.parent / "positions.json").read_text(errors="replace")
    return max((int(number) for number in re.findall(r'"pos": ?(\d+)', found)), default=0)


def _unnamed(cluster: Cluster, folder: str) -> list[str]:
    return [path for path in cluster.files(folder) if path.endswith(".tmp") or "set-aside" in path]


def _judge(cluster: Cluster, folder: str, lines: int, plain: bool, outcome: Outcome) -> None:
    paths = cluster.files(folder)
    if left := _unnamed(cluster, folder):
        outcome.faults.append(f"left under names of files that are being written: {left}")
    if open_files := cluster.open_files(folder):
        outcome.faults.append(f"still open: {open_files}")
    if not cluster.healthy(folder):
        outcome.faults.append("fsck does not find it healthy")
    outcome.files = [cluster.status(path)["length"] for path in paths]  # type: ignore[index]
    counts = np.zeros(lines, np.int64)
    for path, content in zip(paths, map(cluster.read, paths), strict=True) if plain else cluster.text(paths).items():
        numbers, odd = _numbers(content, outcome.line_bytes)
        if odd or (len(numbers) and numbers.max() >= lines):
            outcome.faults.append(f"{path} has {odd[:60]!r}")
            break
        counts += np.bincount(numbers, minlength=lines)
    lost = np.flatnonzero(counts == 0)
    twice = np.flatnonzero(counts > 1)
    for some, what in ((lost, "are lost"), (twice, "came twice")):
        if len(some):
            outcome.faults.append(f"{len(some)} lines {what}, from {some[0]} to {some[-1]}")


def _numbers(content: bytes, size: int) -> tuple[np.ndarray, bytes]:
    """The numbers of the lines; and the first line that the load did not write, b"" when there is none."""
    rows = np.frombuffer(content[: len(content) // size * size], np.uint8).reshape(-1, size)
    wanted = np.frombuffer(_line(0, size), np.uint8)
    same = rows == wanted
    same[:, _DIGITS] = (rows[:, _DIGITS] >= ord("0")) & (rows[:, _DIGITS] <= ord("9"))
    odd = np.flatnonzero(~same.all(axis=1))
    place = odd[0] * size if len(odd) else len(rows) * size
    digits = rows[: place // size, _DIGITS].astype(np.int64) - ord("0")
    return digits @ 10 ** np.arange(8, -1, -1), content[place : place + size]
