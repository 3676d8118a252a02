"""A transfer: a file appears where an agent looks for it, and the clock runs until its last row is delivered.

Each round starts a fresh agent, renames the input into its directory, waits until the sinks have committed all rows,
stops the agent and looks at what it wrote: as many lines as went in and, where one stream goes into files that are
read in order, the same bytes. The rival runs between the rounds, on the same file. Medians are reported.
"""

from __future__ import annotations

import os
import shutil
import statistics
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from perf.harness import machine, usage
from perf.harness.agent import Agent
from perf.harness.command import Settings
from perf.harness.lines import Input, write_input
from perf.harness.results import Goal, Result, progress
from perf.harness.rivals import Rival, RivalRun
from shipper.metrics.block import Kind

Properties = dict[str, object]
_SLACK_BYTES = 256 << 20


@dataclass(frozen=True)
class Places:
    """Directories of one round: where the file appears, where the output goes, for positions of the source."""

    incoming: Path
    outgoing: Path
    state: Path


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What is measured.

    Attributes:
        name, case: of the result.
        properties: of the agent, without `a1.`.
        line_bytes: mean length of a line.
        rival: what the wall time is compared with; None: nothing.
        read_back: the text that an output file holds, piece by piece; None: rows are only counted by the sink.
        goals: on the figures, and on `ratio` and `size_ratio`.
        on_disk: input and output on a disk instead of in memory.
        in_file: name of the input in its directory.
    """

    name: str
    case: str
    properties: Callable[[Places], Mapping[str, object]]
    line_bytes: int
    rival: Rival | None = None
    more_rivals: tuple[Rival, ...] = ()
    read_back: Callable[[Path], Iterator[bytes]] | None = None
    goals: tuple[Goal, ...] = ()
    on_disk: bool = False
    in_file: str = "access.log"


@dataclass
class _Rounds:
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    source_cpu_s: list[float] = field(default_factory=list)
    sink_cpu_s: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak_bytes: list[float] = field(default_factory=list)
    output_bytes: list[float] = field(default_factory=list)
    rivals: dict[str, list[RivalRun]] = field(default_factory=dict)


def measure(settings: Settings, transfer: Transfer, usual_bytes: int = 10**9) -> Result:
    """Runs the rounds and reports. Raises AssertionError when the output is not what went in."""
    base = settings.disk if transfer.on_disk else settings.fast
    source = write_input(base / "input", settings.size(usual_bytes), transfer.line_bytes)
    rounds = _Rounds()
    rivals = [rival for rival in (transfer.rival, *transfer.more_rivals) if rival is not None]
    for number in range(settings.rounds):
        progress(f"{transfer.name}: {transfer.case}: round {number + 1} of {settings.rounds}")
        for rival in rivals:
            if rival.there:
                _settle(settings, transfer, source.size_bytes)
                rounds.rivals.setdefault(rival.name, []).append(rival.run(source.path, base / "rival"))
        _round(settings, transfer, source, base, rounds)
    source.path.unlink()
    progress("")
    result = _result(transfer, source, rounds, [rival for rival in rivals if not rival.there])
    result.case += f", {source.size_bytes / 1e9:.3g} GB, {machine.file_system(base)}"
    settings.report(result)
    return result


def _round(settings: Settings, transfer: Transfer, source: Input, base: Path, rounds: _Rounds) -> None:
    places = Places(base / "in", base / "out", settings.disk / "state")
    for place in (places.incoming, places.outgoing, places.state):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    rings = settings.fast / "agent"
    shutil.rmtree(rings, ignore_errors=True)
    rings.mkdir()
    agent = Agent(transfer.properties(places), rings, places.state / "agent")
    with agent:
        _settle(settings, transfer, source.size_bytes)
        with usage.Peak(agent.memory_bytes) as peak, usage.Meter(agent.cpu_s) as meter:
            before = agent.busy_s()
            os.link(source.path, places.incoming / "appearing")
            os.rename(places.incoming / "appearing", places.incoming / transfer.in_file)
            agent.wait_delivered(source.lines)
            cost = meter.stop()
            after = agent.busy_s()
        rows = agent.delivered_rows()
    assert rows == source.lines, f"{rows} events were delivered of {source.lines}"
    rounds.wall_s.append(cost.wall_s)
    rounds.cpu_s.append(cost.cpu_s)
    rounds.source_cpu_s.append(after[Kind.SOURCE] - before[Kind.SOURCE])
    rounds.sink_cpu_s.append(after[Kind.SINK] - before[Kind.SINK])
    rounds.others.append(cost.others)
    rounds.startup_s.append(agent.startup_s)
    rounds.peak_bytes.append(peak.largest)
    rounds.output_bytes.append(sum(path.stat().st_size for path in files_below(places.outgoing)))
    if transfer.read_back is not None:
        _check(transfer.read_back, source, places.outgoing)


def _settle(settings: Settings, transfer: Transfer, size_bytes: int) -> None:
    """Nobody pays for what was before him.

    What is still to be written to the disk is written, and so much free memory is touched as the output will take: a
    virtual machine gets pages that it has not used lately from its host one by one, at ten times the price of a copy.
    """
    if transfer.on_disk:
        os.sync()
    usage.touch_memory(settings.fast, size_bytes + _SLACK_BYTES)


def _result(transfer: Transfer, source: Input, rounds: _Rounds, missing: list[Rival]) -> Result:
    median = statistics.median
    wall_s, cpu_s, output_bytes = median(rounds.wall_s), median(rounds.cpu_s), median(rounds.output_bytes)
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
    }
    ratio = None
    for name, runs in rounds.rivals.items():
        rival_wall_s, rival_cpu_s = median(r.wall_s for r in runs), median(r.cpu_s for r in runs)
        short = name.split()[0]
        figures[f"{short}_wall_s"] = rival_wall_s
        figures[f"{short}_cpu_s"] = rival_cpu_s
        figures[f"wall_over_{short}"] = wall_s / rival_wall_s
        if runs[0].output_bytes != source.size_bytes:
            figures[f"output_over_{short}"] = output_bytes / runs[0].output_bytes
        if transfer.rival is not None and name == transfer.rival.name:
            ratio = (wall_s / rival_wall_s, f"x the wall time of {name} on the same file")
    result = Result(transfer.name, transfer.case, figures, ratio=ratio)
    result.goals = tuple(goal for goal in transfer.goals if goal.figure in figures)
    result.notes = [f"{rival.name} is not here (apt-get install {rival.package}): no ratio" for rival in missing]
    return result


# --- what came out


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


def _check(read_back: Callable[[Path], Iterator[bytes]], source: Input, directory: Path) -> None:
    """The bytes that came out are those that went in, in their order."""
    pieces = (piece for path in files_below(directory) for piece in read_back(path))
    checked = 0
    with source.path.open("rb") as file:
        for piece in pieces:
            assert file.read(len(piece)) == piece, f"the output differs from the input near byte {checked}"
            checked += len(piece)
    assert checked == source.size_bytes, f"{checked} bytes came out of {source.size_bytes}"
