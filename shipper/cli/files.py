"""`shipper files`: what the rolling sinks of a running agent have open, and what waits, per sink and per path.

It reads the pages that the workers keep in the run directory (`files/progress.py`) and asks nobody: it works while a
worker hangs, and says since when it has.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.cli.named_places import no_sign
from shipper.cli.stat import counted, ended, find_blocks, places, running_names
from shipper.files.progress import read_page
from shipper.metrics.block import Kind, MetricsBlock
from shipper.units import format_seconds, format_size

#: A worker shows its files once a second, and later when there are many: so late, something hangs.
_STUCK_S = 10.0

_WAITING = {
    "ending": "to be ended", "closing": "being closed", "renaming": "for the final name",
    "leased": "for a lease to end", "cutting back": "to be cut back", "waiting for target": "for the target",
}  # fmt: skip


@dataclass(frozen=True)
class AgentFiles:
    """The files of one agent.

    Attributes:
        pages: of its sink workers, in the order of the configuration; None where nothing is shown yet.
        workers: of each sink.
    """

    agent: str
    file: str
    running: bool
    pages: list[tuple[str, int, Mapping[str, Any]]]
    workers: Mapping[str, int]


def files(name: str | None = None, run_dir: Path | None = None, as_json: bool = False) -> int:
    """Prints the files of the agents of that name (all running agents without a name); 0, or 1 when there is none."""
    found = list(find(name, run_dir))
    if as_json:
        print(json.dumps([as_data(agent) for agent in found], indent=2, ensure_ascii=False))
    elif found:
        print("\n\n".join("\n".join(as_lines(agent)) for agent in found))
    if not found:
        if stopped := ended(name, run_dir):
            print("\n".join(stopped), file=sys.stderr)
            return 1
        print(no_sign("files", name, running_names(run_dir), places(run_dir), run_dir), file=sys.stderr)
        return 1
    return 0


def find(name: str | None, run_dir: Path | None) -> Iterator[AgentFiles]:
    """The agents of that name that run; those that were killed only when they are asked for and none runs."""
    blocks = [block for block in find_blocks(run_dir) if name in (None, block.agent)]
    running = [block for block in blocks if block.is_running()]
    for block in running or (blocks if name is not None else []):
        yield _of(block)


def as_data(found: AgentFiles) -> dict[str, Any]:
    """For programs. Times in `_s` are of the machine's monotonic clock, as is `now_s`; `_ms` are wall clock."""
    return {
        "agent": found.agent, "file": found.file, "running": found.running, "now_s": time.monotonic(),
        "sinks": [{**page, "sink": sink, "worker": worker} for sink, worker, page in found.pages],
    }  # fmt: skip


def as_lines(found: AgentFiles) -> list[str]:
    """What a person reads."""
    state = "" if found.running else "  not running; this is how it was"
    lines = [f"agent {found.agent}{state}  {found.file}"]
    for sink, worker, page in found.pages:
        several = found.workers.get(sink, 1)
        title = f"sink {sink} (worker {worker + 1} of {several})" if several > 1 else f"sink {sink}"
        lines += ["", f"{title}  {page.get('where', '')}".rstrip()]
        lines += [f"  {line}" for line in (_page(page, found.running) if page else ["nothing to show yet"])]
    if not found.pages:
        lines += ["", "no sink of it writes rolling files"]
    return lines


def _of(block: MetricsBlock) -> AgentFiles:
    sample = block.sample()
    pages: list[tuple[str, int, Mapping[str, Any]]] = []
    workers: dict[str, int] = {}
    for one in sample.workers:
        if one.kind != Kind.SINK:
            continue
        workers[one.name] = workers.get(one.name, 0) + 1
        try:
            page = read_page(block.path.parent / "files" / f"{one.name}.{one.worker}")
        except OSError:
            continue  # a sink without rolling files, or one that has not opened yet
        pages.append((one.name, one.worker, page or {}))
    return AgentFiles(block.agent, block.file, block.is_running(), pages, workers)


def _page(page: Mapping[str, Any], running: bool) -> list[str]:
    now_s, now_ms = time.monotonic(), time.time_ns() // 1_000_000
    lines = []
    if running and now_s - page["at_s"] > _STUCK_S:
        lines.append(f"process {page['pid']} has shown nothing for {format_seconds(now_s - page['at_s'])}: it hangs, "
                     "is starting again, or is gone; this is how it was then")  # fmt: skip
    counts: Mapping[str, int] = page["counts"]
    total = sum(counts.values())
    sums = [
        counted(counts["open"], "file open", "files open"),
        counted(page["rows"], "event", "events"),
        format_size(page["size_bytes"]),
    ]
    if page["oldest_ms"]:
        sums.append(f"the oldest begun {_ago((now_ms - page['oldest_ms']) / 1000)}")
    for key, what in (("committed_s", "last commit"), ("synced_s", "last sync")):
        if page[key]:
            sums.append(f"{what} {_ago(now_s - page[key])}")
    lines.append(", ".join(sums))
    waiting = [f"{counted(counts[key], 'waits', 'wait')} {words}" for key, words in _WAITING.items() if counts.get(key)]
    waiting += [counted(page["retries"], "try has failed", "tries have failed")] if page["retries"] else []
    lines += [", ".join(waiting)] if waiting else []
    more = [
        counted(page[key], *words) for key, words in (
            ("reports_waiting", ("closed file is still to be told", "closed files are still to be told")),
            ("buckets_waiting", ("folder has no marker yet", "folders have no marker yet")),
            ("buckets_done", ("marker made", "markers made")),
            ("rows_late", ("event came late", "events came late")),
        ) if page[key]
    ]  # fmt: skip
    lines += [", ".join(more)] if more else []
    lines += _table(page["files"], now_s, now_ms)
    if total > len(page["files"]):
        lines.append(f"and {total - len(page['files']):,} more")
    return lines


def _table(shown: list[dict[str, Any]], now_s: float, now_ms: int) -> list[str]:
    rows = [["state", "begun", "last event", "events", "bytes", "path"]] if shown else []
    for one in shown:
        state = one["state"]
        if one["tries"]:
            then = f", again in {format_seconds(max(0.0, one['retry_s'] - now_s))}" if one["retry_s"] else ""
            state += f" ({counted(one['tries'], 'try', 'tries')} failed{then})"
        quiet = _ago(now_s - one["written_s"]) if one["written_s"] else ""
        begun = _ago((now_ms - one["begun_ms"]) / 1000)
        rows.append([state, begun, quiet, f"{one['rows']:,}", format_size(one["size_bytes"]), one["path"]])
    widths = [max(len(row[column]) for row in rows) for column in range(5)] if rows else []
    return [
        "  ".join([
            *(cell.rjust(width) if column in (3, 4) else cell.ljust(width)
              for column, (cell, width) in enumerate(zip(row[:5], widths, strict=True))),
            row[5],
        ])
        for row in rows
    ]  # fmt: skip


def _ago(seconds: float) -> str:
    return f"{format_seconds(max(0.0, seconds))} ago"
