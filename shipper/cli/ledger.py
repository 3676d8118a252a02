"""`shipper ledger`: what became of every event, for a running agent and after it stopped; 0 when all are accounted for.

A table a pipeline: what the source read, what each of its channels accepted, what every sink delivered or set aside.
The last line of a channel is the difference of the two equations of `instance/ledger.py`: 0, or something is wrong.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper.cli.named_places import cant_look
from shipper.instance.instance import state_places
from shipper.instance.ledger import Ledger, Numbers, mismatch, put_difference, take_difference
from shipper.instance.ledger_book import LedgerBook
from shipper.units import format_size

_GREEN, _RED, _OFF = "\x1b[32m", "\x1b[31m", "\x1b[0m"

_SOURCE_LINES = {
    "undecodable": "places that were no valid text", "cut": "lines cut because they were too long",
    "lost_files": "files that went away or were overwritten before they were read to their end",
    "given_up": "events that the source gave up",
}  # fmt: skip
_CHANNEL_LINES = {
    "dropped_new": "dropped: the channel was full (onFull = dropNewest)",
    "refused": "dropped: the channel is optional and was full",
    "dropped_old": "dropped: the oldest, the channel was full (onFull = dropOldest)",
    "expired": "expired: longer in the channel than maxAge",
    "lost": "lost: in parts of the channel that did not pass their checks",
    "vanished": "gone with the memory of the channel (power cut); a source that can replay has read them again",
    "discarded": "thrown away by a person (shipper channel discard)",
    "before": "taken by an older build, which kept no ledger",
    "twice_at_most": "at most of those delivered came twice: after a power cut their source read them again",
}  # fmt: skip


@dataclass(frozen=True)
class AgentLedger:
    """The ledger of one agent, and where its book lies."""

    book: LedgerBook
    total: Ledger

    @property
    def agent(self) -> str:
        """Its name."""
        return str(self.book.data.get("agent", ""))

    def sink(self, key: str) -> str:
        """Name of the sink with this word."""
        names: Mapping[str, str] = self.book.data.get("names", {})
        return names.get(key, "other sinks" if not int(key, 16) else f"sink {key}")

    def quarantine(self, sink: str) -> list[Path]:
        """The files of events that a sink has set aside."""
        return sorted((self.book.path.parent / "sinks").glob(f"{sink}.*/quarantine*.jsonl"))


def ledger(
    name: str | None = None, run_dir: Path | None = None, state_dir: Path | None = None, as_json: bool = False
) -> int:
    """Prints the ledgers of the agents of that name; 0, 1 when there is none, 2 when one has a mismatch."""
    found = list(find(name, run_dir, state_dir))
    if as_json:
        print(json.dumps([as_data(one) for one in found], indent=2, ensure_ascii=False))
    elif found:
        colour = sys.stdout.isatty()
        print("\n\n".join("\n".join(as_lines(one, colour)) for one in found))
    if not found:
        wanted = f"agent {name}" if name else "an agent"
        reason = cant_look(run_dir, state_dir)
        print(f"shipper ledger: {reason or f'no book of {wanted} of this user'}.", file=sys.stderr)
        if state_dir is None and not reason:
            print("An agent with a place of its own is found by: shipper ledger --state-dir DIR", file=sys.stderr)
        return 1
    wrong = any(one.total.damaged or any(map(mismatch, one.total.channels.values())) for one in found)
    return 2 if wrong else 0


def find(name: str | None, run_dir: Path | None, state_dir: Path | None) -> Iterator[AgentLedger]:
    """The books of all agents of that name; of one place when it is given."""
    places = [state_dir] if state_dir is not None else state_places()
    for place in places:
        for path in (place / "ledger.json", *sorted(place.glob("*/ledger.json"))):
            if not path.exists():
                continue
            book = LedgerBook(path)
            lies_in = os.path.abspath(book.data.get("run_dir", ""))
            in_place = run_dir is None or Path(lies_in).is_relative_to(os.path.abspath(run_dir))
            if name in (None, book.data.get("agent")) and in_place:
                yield AgentLedger(book, book.total())


def as_data(found: AgentLedger) -> dict[str, Any]:
    """For programs."""
    total, data = found.total, found.book.data
    sinks = {
        found.sink(key): {**numbers, "quarantine": [str(path) for path in found.quarantine(found.sink(key))]}
        for key, numbers in total.sinks.items()
    }
    channels = {
        name: {**numbers, "ledger_mismatch": mismatch(numbers), "sentences": list(_sentences(name, numbers))}
        for name, numbers in total.channels.items()
    }
    return {
        "agent": found.agent, "file": data.get("file"), "running": not data.get("closed"),
        "ledger_mismatch": sum(map(mismatch, total.channels.values())), "sources": total.sources,
        "streams": total.streams, "links": total.links, "letters": total.letters, "channels": channels, "sinks": sinks,
        "unknown": data.get("unknown", []), "damaged": total.damaged,
    }  # fmt: skip


def as_lines(found: AgentLedger, colour: bool = False) -> list[str]:
    """What a person reads."""
    total, data = found.total, found.book.data
    state = "has stopped" if data.get("closed") else "running, or killed"
    lines = [f"agent {found.agent}  {state}  {data.get('file', '')}"]
    for source, intake in total.sources.items():
        lines += ["", f"source {source}", *_rows(_source(intake))]
        for channel, link in total.links.get(source, {}).items():
            lines += _rows([(link.get("accepted", 0), link.get("accepted_bytes", 0), f"accepted by channel {channel}")])
    for name, numbers in total.channels.items():
        lines += ["", f"channel {name}", *_rows(_channel(numbers))]
        difference = mismatch(numbers)
        text = f"  {difference:>16,}  {'':>10}  difference"
        lines.append(f"{_RED if difference else _GREEN}{text}{_OFF}" if colour else text)
        lines += [f"  {_RED}{line}{_OFF}" if colour else f"  {line}" for line in _sentences(name, numbers)]
        if times := numbers.get("handed_over", 0):
            lines.append(
                f"  {times} times a sink, or the writer of a log, died and could not come back: what it had written "
                f"and not committed was delivered once more by another one (at least once)"
            )
        if times := numbers.get("twice_unknown", 0):
            lines.append(f"  after {times} power cuts it is not known how many came twice (see docs/ledger.md)")
    for key, numbers in total.sinks.items():
        sink = found.sink(key)
        lines += ["", f"sink {sink}"]
        lines += _rows([(numbers.get("delivered", 0), numbers.get("delivered_bytes", 0), "delivered")])
        if aside := numbers.get("set_aside", 0):
            lines += _rows([(aside, -1, f"set aside{_in_files(found, sink)}")])
    for sink, channels in total.letters.items():
        lines += ["", f"dead letters of {sink}"]
        lines += _rows((link.get("accepted", 0), link.get("accepted_bytes", 0), f"accepted by channel {channel}")
                       for channel, link in channels.items())  # fmt: skip
    for missing in data.get("unknown", []):
        lines += [
            "",
            f"unknown: a run that began {_when(missing['began_ms'])} ended without its last numbers (a power cut, or a "
            f"run directory that was removed); it counts as it stood {_when(missing['until_ms'])}",
        ]
    return [*lines, *(f"damaged: {line}" for line in total.damaged)]


def _in_files(found: AgentLedger, sink: str) -> str:
    """Where rows of a sink are that are no dead letters."""
    if files := ", ".join(map(str, found.quarantine(sink))):
        return f" in {files}"
    return " (dead letters: see below)" if found.total.letters else " in files that somebody has moved away"


def _source(intake: Numbers) -> Iterator[tuple[int, int, str]]:
    yield intake.get("rows", 0), intake.get("size_bytes", 0), "read"
    if filtered := intake.get("rows", 0) - intake.get("kept", 0):
        yield filtered, -1, "dropped by interceptors" if filtered > 0 else "(less than 0) added by interceptors"
    if unrouted := intake.get("unrouted", 0):
        yield unrouted, -1, "for no channel, by the selector"
    for key, text in _SOURCE_LINES.items():
        if intake.get(key):
            yield intake[key], -1, text


def _channel(numbers: Numbers) -> Iterator[tuple[int, int, str]]:
    get = numbers.get
    yield get("accepted", 0), get("accepted_bytes", 0), "accepted"
    yield get("delivered", 0), get("delivered_bytes", 0), "delivered"
    waiting, size_bytes = get("in_channel", 0) + get("in_log", 0), get("in_channel_bytes", 0) + get("in_log_bytes", 0)
    yield waiting, size_bytes, "in the channel"
    yield get("set_aside", 0), -1, "set aside"
    for key, text in _CHANNEL_LINES.items():
        if get(key):
            yield get(key, 0), -1, text


def _sentences(name: str, numbers: Numbers) -> Iterator[str]:
    """What a difference can mean."""
    if rows := put_difference(numbers):
        what = "were offered to it and are neither in it nor counted as dropped" if rows > 0 else "more than offered"
        yield f"{abs(rows):,} events of {name}: {what}. A put page is damaged, or this is a defect: please report it"
    if rows := take_difference(numbers):
        if rows > 0:
            what = "left it, and no sink has delivered or set them aside"
        else:
            what = "more were delivered than it accepted: some may have been delivered twice"
        yield f"{abs(rows):,} events of {name}: {what}. A lane is damaged, or this is a defect: please report it"


def _rows(rows: Iterable[tuple[int, int, str]]) -> list[str]:
    return [f"  {count:>16,}  {'' if size < 0 else format_size(size):>10}  {text}" for count, size, text in rows]


def _when(at_ms: int) -> str:
    return time.strftime("at %Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))
