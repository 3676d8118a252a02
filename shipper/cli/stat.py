"""`shipper stat`: what a running agent does, seen from another terminal.

It finds the agent's run directory by name, maps the metrics block read-only, looks at it twice and shows the
difference. It asks nobody: it works while workers hang, and it can't disturb them.
The file is long because each kind of row has words of its own.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.cli.live import rates, short
from shipper.cli.named_places import no_sign
from shipper.errors import DamagedData
from shipper.metrics.block import Kind, MetricsBlock, Sample, State, WorkerSample
from shipper.metrics.holdup import HoldUp, fill_share, hold_ups
from shipper.units import format_seconds, format_size

#: Between the two looks. Long enough that workers, which book their time once a second, have booked some.
LOOK_S = 1.0

#: Of the files of a sink: `shipper files` says which.
_WAITING_FILES = {
    "files_closing": "being closed", "files_renaming": "without final name", "files_leased": "leased to others",
    "files_unmade": "staged that can't be made", "rows_late": "events late",
}  # fmt: skip

#: A process of many components is called after so many of them.
_NAMES_MOST = 3


@dataclass(frozen=True)
class Memory:
    """What the agent holds in memory.

    Attributes:
        processes: name -> bytes of its own and its share of what processes share (PSS without the segments), -1 when
            this user may not look.
        run_dir_bytes: all files of the run directory: the rings, above all.
    """

    processes: Mapping[str, int]
    run_dir_bytes: int

    @property
    def processes_bytes(self) -> int:
        """Of all processes that could be looked at."""
        return sum(size for size in self.processes.values() if size > 0)


@dataclass(frozen=True)
class AgentStat:
    """All that is shown of one agent."""

    agent: str
    file: str
    run_dir: str
    pid: int
    running: bool
    beat_age_s: float
    before: Sample
    now: Sample
    memory: Memory
    hold_ups: tuple[HoldUp, ...]


def stat(name: str | None = None, run_dir: Path | None = None, as_json: bool = False, look_s: float = LOOK_S) -> int:
    """Prints what the agents of that name do (all agents without a name); 0, or 1 when there is none."""
    found = look(name, run_dir, look_s)
    if as_json:
        data = [as_data(agent) for agent in found] or in_books(name, run_dir)
        print(json.dumps(data, indent=2, ensure_ascii=False))
        return 0 if data else 1
    if not found:
        if lines := ended(name, run_dir):
            print("\n".join(lines))
            return 0
        print(no_sign("stat", name, running_names(run_dir), places(run_dir), run_dir), file=sys.stderr)
        return 1
    print("\n\n".join("\n".join(as_lines(agent)) for agent in found))
    return 0


def look(name: str | None, run_dir: Path | None, look_s: float = LOOK_S) -> list[AgentStat]:
    """The agents of that name, each looked at twice."""
    blocks = [block for block in find_blocks(run_dir) if name is None or block.agent == name]
    running = [block for block in blocks if block.is_running()]
    # Leftovers of agents that ended are shown only to a person who asks for them by name, and finds nothing better.
    blocks = running or (blocks if name is not None else [])
    before = [block.sample() for block in blocks]
    if running:
        time.sleep(look_s)
    return [_stat(block, earlier) for block, earlier in zip(blocks, before, strict=True)]


def ended(name: str | None, run_dir: Path | None) -> list[str]:
    """What is known of agents of that name that have stopped: one sentence each."""
    return _parked(name) or [_stopped_line(book) for book in in_books(name, run_dir)]


def _parked(name: str | None) -> list[str]:
    """What agents of that name, which do not run, have parked: one sentence each."""
    if name is None:
        return []
    from shipper.instance import leftovers
    from shipper.instance.instance import state_places

    # What was adopted lies in the directory of the agent that delivers it, and says whose it was.
    return [
        f"agent {name}{'' if one.adopted else f' of {one.file}'} has stopped; "
        f"{counted(sum(held.events for held in one.channels), 'event', 'events')}"
        f" of {', '.join(held.channel for held in one.channels)} {'adopted' if one.adopted else 'parked'}: "
        "its next start delivers them"
        for one in leftovers.find([], state_places())
        if one.kind == leftovers.PARKED and one.channels
        and name == (one.name.rpartition("-")[0] if one.adopted else one.agent)
    ]  # fmt: skip


def in_books(name: str | None, run_dir: Path | None) -> list[dict[str, Any]]:
    """What the ledgers of agents of that name say that have stopped, for programs."""
    if name is None:
        return []
    from shipper.cli import ledger

    return [
        {
            "agent": name, "file": found.book.data.get("file", ""), "run_dir": found.book.data.get("run_dir", ""),
            "running": False, "stopped_ms": found.book.data.get("at_ms", 0),
            "channels": {
                channel: {"size": numbers.get("in_channel", 0) + numbers.get("in_log", 0)}
                for channel, numbers in found.total.channels.items()
            },
        }
        for found in ledger.find(name, run_dir, None)
        if found.book.data.get("closed")
    ]  # fmt: skip


def _stopped_line(book: Mapping[str, Any]) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(book["stopped_ms"] / 1000))
    held = [f"{counted(numbers['size'], 'event', 'events')} in {name}" for name, numbers in book["channels"].items()]
    return (
        f"agent {book['agent']} of {book['file']} has stopped at {at}; {', '.join(held) or 'nothing in its channels'}"
    )


def places(run_dir: Path | None) -> list[Path]:
    """Where run directories are looked for."""
    if run_dir is not None:
        return [run_dir]
    from shipper.instance.instance import run_places

    return run_places()


def find_blocks(run_dir: Path | None = None) -> Iterator[MetricsBlock]:
    """The metrics blocks of all agents of this user, running or not."""
    seen: set[str] = set()
    for place in places(run_dir):
        for path in (place / "metrics", *sorted(place.glob("*/metrics"))):
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            try:
                yield MetricsBlock.view(path)
            except (OSError, DamagedData):
                continue  # another user's, an older release's, or no block at all


def running_names(run_dir: Path | None) -> list[str]:
    """The names of all agents of this user that run."""
    return sorted({block.agent for block in find_blocks(run_dir) if block.is_running()})


def as_lines(found: AgentStat) -> list[str]:
    """What a person reads."""
    now, before = found.now, found.before
    taken, taken_bytes = rates(before, now, Kind.SOURCE)
    given, given_bytes = rates(before, now, Kind.SINK)
    if not found.running:
        lines = [f"agent {found.agent}  not running; these are its last numbers  ({found.file})"]
    else:
        up_s = max(0.0, time.time() - now.start_ms / 1000)
        lines = [f"agent {found.agent}  up {format_seconds(up_s)}  process {found.pid}  {found.file}"]
        if found.beat_age_s > 10:
            lines.append(f"  the supervisor has not stirred for {format_seconds(found.beat_age_s)}")
    lines.append(f"  in   {short(taken):>7} events/s  {short(taken_bytes, 'B/s'):>10}")
    lines.append(f"  out  {short(given):>7} events/s  {short(given_bytes, 'B/s'):>10}")
    rows = [_source_row(w) for w in now.workers if w.kind == Kind.SOURCE]
    rows += [_channel_row(name, numbers) for name, numbers in now.channels.items()]
    rows += [_sink_row(w) for w in now.workers if w.kind == Kind.SINK]
    lines += ["", *("  " + line for line in _columns(rows)), ""]
    if found.running:
        processes = ", ".join(f"{name} {_mebibytes(size)}" for name, size in found.memory.processes.items())
        lines.append(f"  memory  processes {_mebibytes(found.memory.processes_bytes)} ({processes})")
        lines.append(f"          rings and other segments {_mebibytes(found.memory.run_dir_bytes)} in {found.run_dir}")
        lines += ["", *(f"  {hold_up.sentence}" for hold_up in found.hold_ups)]
        lines += [f"  {worker.name}: {worker.trouble}" for worker in now.workers if worker.trouble]
    return lines


def as_data(found: AgentStat) -> dict[str, Any]:
    """What a program reads."""
    now = found.now
    taken, taken_bytes = rates(found.before, now, Kind.SOURCE)
    given, given_bytes = rates(found.before, now, Kind.SINK)
    return {
        "agent": found.agent, "file": found.file, "run_dir": found.run_dir, "pid": found.pid,
        "running": found.running, "start_ms": now.start_ms, "supervisor_beat_age_s": round(found.beat_age_s, 3),
        "in": {"events_per_s": round(taken, 1), "bytes_per_s": round(taken_bytes, 1)},
        "out": {"events_per_s": round(given, 1), "bytes_per_s": round(given_bytes, 1)},
        "workers": [
            {
                "kind": w.kind.name.lower(), "name": w.name, "worker": w.worker, "type": w.type, "pid": w.pid,
                "state": w.state.name.lower(), "waits_for": w.waits_for, "trouble": w.trouble, "restarts": w.restarts,
                "channels": list(w.channels), "start_ms": w.start_ms, "stop_ms": w.stop_ms,
                "counters": {key: value for key, value in w.counters.items() if key not in ("state",)},
            }
            for w in now.workers
        ],
        "channels": {
            name: {**numbers, "fill": round(fill_share(numbers), 4)} for name, numbers in now.channels.items()
        },
        "memory": {
            "processes_bytes": found.memory.processes_bytes, "processes": dict(found.memory.processes),
            "run_dir_bytes": found.memory.run_dir_bytes,
        },
        "hold_ups": [{"channel": h.channel, "held_up": h.held_up, "sentence": h.sentence} for h in found.hold_ups],
    }  # fmt: skip


def memory(block: MetricsBlock, sample: Sample) -> Memory:
    """What the agent's processes and its run directory hold now."""
    names: dict[int, list[str]] = {}
    for worker in sample.workers:
        if worker.pid and worker.pid != block.supervisor_pid and not worker.stop_ms:
            several = sum(w.name == worker.name and w.kind == worker.kind for w in sample.workers) > 1
            names.setdefault(worker.pid, []).append(f"{worker.name}.{worker.worker}" if several else worker.name)
    processes = {"supervisor": process_bytes(block.supervisor_pid)}
    for pid, found in names.items():  # sinks of a group, and light sources that share a worker, are one process
        more = f" and {len(found) - _NAMES_MOST} more" if len(found) > _NAMES_MOST else ""
        processes[" ".join(found[:_NAMES_MOST]) + more] = process_bytes(pid)
    return Memory(processes, _directory_bytes(block.path.parent))


def process_bytes(pid: int) -> int:
    """Private memory of a process and its share of files that others have mapped too; -1 when it can't be seen.

    The rings are left out: they are counted once, with the run directory.
    """
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return -1
    sizes = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in text.splitlines()[1:])}
    if "Pss_Anon" in sizes:
        return 1024 * (sizes["Pss_Anon"] + sizes["Pss_File"])
    return 1024 * sizes.get("Pss", 0)  # before Linux 5.9


def _stat(block: MetricsBlock, before: Sample) -> AgentStat:
    now = block.sample()
    return AgentStat(
        agent=block.agent, file=block.file, run_dir=str(block.path.parent), pid=block.supervisor_pid,
        running=block.is_running(), beat_age_s=block.beat_age_s(), before=before, now=now,
        memory=memory(block, now), hold_ups=tuple(hold_ups(before, now)),
    )  # fmt: skip


def _source_row(worker: WorkerSample) -> list[str]:
    counters = worker.counters
    more = [f"{format_size(counters['lag_bytes'])} behind"] if counters["lag_bytes"] else []
    more += [counted(counters["open_files"], "file open", "files open")] if counters["open_files"] else []
    return [
        *_first_cells(worker), counted(counters["EventAcceptedCount"], "event", "events"),
        short(counters["body_bytes"], "B"),
        ", ".join([_state(worker), *more, *_losses(worker)]),
    ]  # fmt: skip


def _sink_row(worker: WorkerSample) -> list[str]:
    counters = worker.counters
    more = [f"{short(counters['output_bytes'], 'B')} written"] if counters["output_bytes"] else []
    more += [counted(counters["open_files"], "file open", "files open")] if counters["open_files"] else []
    more += [f"{counters[key]:,} {words}" for key, words in _WAITING_FILES.items() if counters[key]]
    return [
        *_first_cells(worker), counted(counters["EventDrainSuccessCount"], "event", "events"),
        short(counters["body_bytes"], "B"),
        ", ".join([_state(worker), *more, *_losses(worker)]),
    ]  # fmt: skip


def _channel_row(name: str, numbers: Mapping[str, int]) -> list[str]:
    bounds = [counted(numbers["capacity"], "event", "events")] if numbers["capacity"] else []
    bounds += [format_size(numbers["capacity_bytes"])] if numbers["capacity_bytes"] else []
    filled = f"{fill_share(numbers):.0%} full of {' or '.join(bounds)}" if bounds else "no bound"
    return ["channel", name, "", "", counted(numbers["size"], "event", "events"), short(numbers["bytes"], "B"), filled]


def _first_cells(worker: WorkerSample) -> list[str]:
    return [worker.kind.name.lower(), worker.name, worker.type, str(worker.pid or "-")]


def _state(worker: WorkerSample) -> str:
    text = {State.WAITING_ROOM: "waits for room", State.WAITING_TARGET: "waits for its target"}.get(
        worker.state, "running" if worker.state in (State.BUSY, State.WAITING_INPUT) else worker.state.name.lower()
    )
    return text + (f" (restarted {counted(worker.restarts, 'time', 'times')})" if worker.restarts else "")


def _losses(worker: WorkerSample) -> list[str]:
    names = {
        "rows_dropped": ("event dropped", "events dropped"),
        "rows_optional_dropped": ("event not taken by an optional channel", "events not taken by an optional channel"),
        "rows_expired": ("event too old", "events too old"),
        "rows_set_aside": ("event set aside", "events set aside"), "truncated_lines": ("line cut", "lines cut"),
        "decode_errors": ("decode error", "decode errors"), "files_lost": ("file lost", "files lost"),
        "ChannelWriteFail": ("time no room", "times no room"), "EventWriteFail": ("failed write", "failed writes"),
    }  # fmt: skip
    return [counted(worker.counters[key], *words) for key, words in names.items() if worker.counters.get(key)]


def counted(number: int, one: str, several: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {one if number == 1 else several}"


def _columns(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    right = {4, 5}
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _mebibytes(size_bytes: int) -> str:
    return "?" if size_bytes < 0 else f"{size_bytes / (1 << 20):.1f} MiB"


def _directory_bytes(directory: Path) -> int:
    """Memory that the files of a directory occupy, which on tmpfs is what was allocated for them."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue  # it went away between the two calls
    return total
