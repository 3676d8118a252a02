"""A transfer: lines appear where an agent takes them in, and the clock runs until the last row is delivered.

Each round starts a fresh agent, feeds it (as a rule: the input file is renamed into its directory), waits until the
sinks have committed all rows, stops the agent and looks at what it wrote: the same bytes that went in, where the
format can be read back. The rival runs between the rounds, on the same file. Before each the machine is made warm
(`floor.py`). Medians are reported.
"""

from __future__ import annotations

import os
import shutil
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from perf.harness import machine, usage
from perf.harness.agent import Agent
from perf.harness.command import Settings
from perf.harness.floor import BATCHES, FILTERS, Floor, Writing, warmed
from perf.harness.lines import Input, write_input
from perf.harness.results import Goal, Result, progress
from perf.harness.rivals import Rival, RivalRun
from shipper.metrics.block import Kind

Properties = dict[str, object]
_SLACK_BYTES = 256 << 20
#: beyond that the kernel would begin to write the warming to the disk
_WARMED_BYTES_MAX = 2 << 30


@dataclass(frozen=True)
class Places:
    """Directories of one round: where the file appears, where the output goes, for positions of the source."""

    incoming: Path
    outgoing: Path
    state: Path


class Feed(Protocol):
    """What brings the lines to a running agent: made before the clock runs."""

    def go(self) -> None:
        """Starts to bring them."""

    def end(self) -> float:
        """Everything was delivered: gives everything back. CPU seconds that the feeding cost, outside of the agent."""


class Appearance:
    """The feed of a source of files: the input gets its name in the incoming directory, whole, in one instant."""

    def __init__(self, source: Input, places: Places) -> None:
        self._hidden = places.incoming / ".appearing"
        self._name = places.incoming / "access.log"
        os.link(source.path, self._hidden)

    def go(self) -> None:
        os.rename(self._hidden, self._name)

    def end(self) -> float:
        return 0.0


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What is measured.

    Attributes:
        name, case: of the result.
        properties: of the agent, without `a1.`.
        line_bytes: mean length of a line.
        feed: brings the input to the agent.
        rival: what the time is compared with; None: nothing.
        by_cpu: CPU times are compared, not wall times.
        more_rivals: whose figures are shown beside.
        ended: says when the work is done that goes on behind the last row's delivery: its CPU is counted.
        read_back: the text that an output file holds, piece by piece; None: rows are only counted by the sink.
        ordered: False when lines of several streams are mixed in the output: only the bytes are counted then.
        goals: on the figures.
        on_disk: input and output on a disk instead of in memory.
        logged: the bytes are written to a disk as well, on their way.
        write_bytes: how long the agent's writes are.
    """

    name: str
    case: str
    properties: Callable[[Places], Mapping[str, object]]
    line_bytes: int
    feed: Callable[[Input, Places], Feed] = Appearance
    rival: Rival | None = None
    by_cpu: bool = False
    more_rivals: tuple[Rival, ...] = ()
    ended: Callable[[Places], bool] = lambda _: True
    read_back: Callable[[Path], Iterator[bytes]] | None = None
    ordered: bool = True
    goals: tuple[Goal, ...] = ()
    on_disk: bool = False
    logged: bool = False
    write_bytes: int = BATCHES


@dataclass
class Rounds:
    """What each round took, a list entry a round."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    source_cpu_s: list[float] = field(default_factory=list)
    sink_cpu_s: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)
    feed_cpu_s: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak_bytes: list[float] = field(default_factory=list)
    output_bytes: list[float] = field(default_factory=list)
    floors: list[Floor] = field(default_factory=list)
    rivals: dict[str, list[RivalRun]] = field(default_factory=dict)


def measure(settings: Settings, transfer: Transfer, usual_bytes: int = 10**9) -> Result:
    """Runs the rounds and reports. Raises AssertionError when the output is not what went in."""
    result = rounds_of(settings, transfer, usual_bytes)
    settings.report(result)
    return result


def rounds_of(settings: Settings, transfer: Transfer, usual_bytes: int) -> Result:
    """Runs the rounds; what came of them, not yet reported."""
    base = settings.disk if transfer.on_disk else settings.fast
    source = write_input(base / "input", settings.size(usual_bytes), transfer.line_bytes)
    rounds = Rounds()
    rivals = [rival for rival in (transfer.rival, *transfer.more_rivals) if rival is not None]
    for number in range(settings.rounds):
        progress(f"{transfer.name}: {transfer.case}: round {number + 1} of {settings.rounds}")
        for rival in rivals:
            if rival.there:
                settle(settings, base, source)
                rounds.rivals.setdefault(rival.name, []).append(rival.run(source.path, base / "rival"))
        run_round(settings, transfer, source, base, rounds)
    source.path.unlink()
    progress("")
    result = _result(transfer, source, rounds, [rival for rival in rivals if not rival.there])
    result.case += f", {source.size_bytes / 1e9:.3g} GB, {machine.file_system(base)}"
    return result


def run_round(settings: Settings, transfer: Transfer, source: Input, base: Path, rounds: Rounds) -> None:
    """One agent from start to stop; its directories below `base` are empty at the start and are left for a look."""
    places = Places(base / "in", base / "out", settings.disk / "state")
    rings = settings.fast / "agent"
    for place in (places.incoming, places.outgoing, places.state, rings):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    agent = Agent(transfer.properties(places), rings, places.state / "agent")
    with agent:
        feed = transfer.feed(source, places)
        log = [settings.disk] if transfer.logged else []
        floor = settle(settings, base, source, transfer.write_bytes, logs=log)
        with usage.Peak(agent.memory_bytes) as peak, usage.Meter(agent.cpu_s) as meter:
            before = agent.busy_s()
            feed.go()
            agent.wait_delivered(source.lines)
            cost = meter.stop()
            wait_until(lambda: transfer.ended(places))
            whole = meter.stop()
            after = agent.busy_s()
        feed_cpu_s = feed.end()
        rows = agent.delivered_rows()
    assert rows == source.lines, f"{rows} events were delivered of {source.lines}"
    rounds.wall_s.append(cost.wall_s)
    rounds.cpu_s.append(whole.cpu_s)
    rounds.source_cpu_s.append(after[Kind.SOURCE] - before[Kind.SOURCE])
    rounds.sink_cpu_s.append(after[Kind.SINK] - before[Kind.SINK])
    rounds.feed_cpu_s.append(feed_cpu_s)
    rounds.others.append(max(cost.others - feed_cpu_s / cost.wall_s, 0.0))
    rounds.floors.append(floor)
    rounds.startup_s.append(agent.startup_s)
    rounds.peak_bytes.append(peak.largest)
    rounds.output_bytes.append(sum(path.stat().st_size for path in files_below(places.outgoing)))
    if transfer.read_back is not None:
        check_output(transfer.read_back, source, places.outgoing, transfer.ordered)


def settle(
    settings: Settings, directory: Path, source: Input, piece_bytes: int = FILTERS, *, logs: Sequence[Path] = ()
) -> Floor:
    """Nobody pays for what was before him: nothing is left to be written to a disk, and the machine is warm.

    Args:
        logs: where the bytes are written as well on their way, in batches.
    """
    if any(machine.file_system(place) != "tmpfs" for place in (directory, *logs)) and not settings.short:
        os.sync()
    most = source.size_bytes if settings.short else min(source.size_bytes + _SLACK_BYTES, _WARMED_BYTES_MAX)
    beside = [Writing(log, most, BATCHES) for log in logs]
    return warmed(Writing(directory, most, piece_bytes), source.path, beside, settings.short)


def _result(transfer: Transfer, source: Input, rounds: Rounds, missing: list[Rival]) -> Result:
    median = statistics.median
    wall_s, output_bytes = median(rounds.wall_s), median(rounds.output_bytes)
    cpu_s = max(median(rounds.cpu_s), usage.TICK_S)
    feed_cpu_s = median(rounds.feed_cpu_s)
    floor_s = median(floor.cpu_s(source.size_bytes, output_bytes) for floor in rounds.floors)
    figures = {
        "wall_s": wall_s,
        "cpu_s": cpu_s,
        "source_cpu_s": median(rounds.source_cpu_s),
        "sink_cpu_s": median(rounds.sink_cpu_s),
        "MB_per_core_s": source.size_bytes / 1e6 / cpu_s,
        "MB/s_wall": source.size_bytes / 1e6 / wall_s,
        "events_per_core_s": source.lines / cpu_s,
        "events/s_wall": source.lines / wall_s,
        "peak_memory_MB": max(rounds.peak_bytes) / 1e6,
        "output_MB": output_bytes / 1e6,
        "startup_s": median(rounds.startup_s),
        "cores_used_by_others": median(rounds.others),
        "write_floor_s_per_GB": median(floor.write_s for floor in rounds.floors),
        "worst_write_floor_s_per_GB": max(floor.write_s for floor in rounds.floors),
        "read_floor_s_per_GB": median(floor.read_s for floor in rounds.floors),
        "cpu_over_floor": cpu_s / floor_s,
    }
    if feed_cpu_s:
        figures["feeding_cpu_s"] = feed_cpu_s
    ratio = None
    for name, runs in rounds.rivals.items():
        rival_wall_s, rival_cpu_s = median(r.wall_s for r in runs), median(r.cpu_s for r in runs)
        short = name.split()[0]
        figures[f"{short}_wall_s"] = rival_wall_s
        figures[f"{short}_cpu_s"] = rival_cpu_s
        figures[f"wall_over_{short}"] = wall_s / rival_wall_s
        figures[f"cpu_over_{short}"] = cpu_s / rival_cpu_s
        if runs[0].output_bytes != source.size_bytes:
            figures[f"output_over_{short}"] = output_bytes / runs[0].output_bytes
        if transfer.rival is not None and name == transfer.rival.name:
            kind = "CPU" if transfer.by_cpu else "wall"
            ratio = (figures[f"{kind.lower()}_over_{short}"], f"x the {kind} time of {name} on the same file")
    result = Result(transfer.name, transfer.case, figures, ratio=ratio)
    result.goals = tuple(goal for goal in transfer.goals if goal.figure in figures)
    result.notes = [f"{rival.name} is not here (apt-get install {rival.package}): no ratio" for rival in missing]
    result.notes += [goal.sentence(figures) for goal in transfer.goals if goal.figure not in figures]
    return result


# --- what came out


def wait_until(done: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Waits for work that goes on behind the last row's delivery."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline_s, f"the work was not done after {timeout_s:.0f} s"
        time.sleep(0.002)


def files_below(directory: Path) -> list[Path]:
    """Files that are there, hidden ones left out, in the order of their names and ages."""
    found = [path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: (len(path.name), path.name))


def text_of(path: Path) -> Iterator[bytes]:
    """A file as it is."""
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            yield piece


def gzip_text_of(path: Path) -> Iterator[bytes]:
    """What is in a file of gzip members."""
    with subprocess.Popen(["gzip", "-dc"], stdin=path.open("rb"), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := process.stdout.read(1 << 22):
            yield piece
    assert process.returncode == 0, f"gzip can't read {path}"


def hadoop_lz4_text_of(path: Path) -> Iterator[bytes]:
    """What is in a file of Hadoop's lz4 blocks: raw size, packed size, raw LZ4 block."""
    codec = pa.Codec("lz4_raw")
    with path.open("rb") as file:
        while head := file.read(8):
            raw_bytes, packed_bytes = struct.unpack(">II", head)
            yield codec.decompress(file.read(packed_bytes), raw_bytes, asbytes=True)


def check_output(read_back: Callable[[Path], Iterator[bytes]], source: Input, directory: Path, ordered: bool) -> None:
    """The bytes that came out are those that went in; in their order, or at least as many of each value."""
    pieces = (piece for path in files_below(directory) for piece in read_back(path))
    if not ordered:
        assert (_histogram(pieces) == _histogram(text_of(source.path))).all(), "the output is not what went in"
        return
    checked = 0
    with source.path.open("rb") as file:
        for piece in pieces:
            assert file.read(len(piece)) == piece, f"the output differs from the input near byte {checked}"
            checked += len(piece)
    assert checked == source.size_bytes, f"{checked} bytes came out of {source.size_bytes}"


def _histogram(pieces: Iterator[bytes]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    total = np.zeros(256, np.int64)
    for piece in pieces:
        total += np.bincount(np.frombuffer(piece, np.uint8), minlength=256)
    return total
