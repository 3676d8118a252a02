"""The live view: one or two lines at the foot of a terminal that say what the agent does now.

::

    a1 0:02:13  in 1.25 M events/s 181 MB/s  out 1.24 M events/s  c1 34%  r1 1.2 GiB behind
    c1 full for 4 min: k1 waits for the close of hdfs://nn/logs/x.lz4.tmp, 12 s

Plain ANSI, because a table library would cost the supervisor more memory than its own code. On a pipe nothing of this
is written: log lines only.
"""

from __future__ import annotations

from shipper.cli.log import Console
from shipper.metrics.block import Kind, Sample
from shipper.metrics.holdup import HoldUp, fill_share
from shipper.units import format_size

_WAITING = ("files_closing", "files_renaming", "files_leased", "files_unmade")


class Live:
    """Draws the live lines under the log lines of a console."""

    def __init__(self, console: Console | None) -> None:
        self._console = console if console is not None and console.terminal else None

    def draw(self, before: Sample, now: Sample, held_up: list[HoldUp]) -> None:
        """To be called about once a second with the observer's last two samples. No-op on a pipe."""
        if self._console is not None:
            self._console.status(live_lines(before, now, held_up, self._console.width() - 1))

    def close(self) -> None:
        """Takes the lines away, so that the prompt comes back to a clean line."""
        if self._console is not None:
            self._console.status([])


def live_lines(before: Sample, now: Sample, held_up: list[HoldUp], width: int) -> list[str]:
    """The lines to be drawn, each at most `width` columns."""
    taken, taken_bytes = rates(before, now, Kind.SOURCE)
    given, _ = rates(before, now, Kind.SINK)
    uptime_s = max(0, now.wall_ms - now.start_ms) // 1000
    parts = [
        f"{now.agent} {_clock(uptime_s)}",
        f"in {short(taken)} events/s {short(taken_bytes, 'B/s')}",
        f"out {short(given)} events/s",
    ]
    parts += [f"{name} {fill_share(numbers):.0%}" for name, numbers in now.channels.items()]
    behind = lag_bytes(now)
    parts += [f"{name} {format_size(size_bytes)} behind" for name, size_bytes in behind.items() if size_bytes]
    parts += [f"{name} {count:,} files wait to be whole" for name, count in waiting_files(now).items() if count]
    lines = ["  ".join(parts)]
    waits = [hold_up.sentence for hold_up in held_up if hold_up.held_up]
    waits += [f"{worker.name}: {worker.trouble}" for worker in now.workers if worker.trouble]
    lines += waits[:2]
    return [fitted(line, width) for line in lines]


def rates(before: Sample, now: Sample, kind: Kind) -> tuple[float, float]:
    """Events and bytes of bodies a second that all sources took in, or all sinks delivered."""
    counter = "EventAcceptedCount" if kind == Kind.SOURCE else "EventDrainSuccessCount"
    elapsed_s = max(1, now.at_ms - before.at_ms) / 1000
    rows, size_bytes = (_grown(before, now, kind, name) / elapsed_s for name in (counter, "body_bytes"))
    return rows, size_bytes


def lag_bytes(sample: Sample) -> dict[str, int]:
    """What is known to wait in front of each source."""
    found: dict[str, int] = {}
    for worker in sample.workers:
        if worker.kind == Kind.SOURCE:
            found[worker.name] = found.get(worker.name, 0) + worker.counters["lag_bytes"]
    return found


def waiting_files(sample: Sample) -> dict[str, int]:
    """Files of each sink that have ended and are not closed, or have not got their final names."""
    found: dict[str, int] = {}
    for worker in sample.workers:
        if worker.kind == Kind.SINK:
            waiting = sum(worker.counters[key] for key in _WAITING)
            found[worker.name] = found.get(worker.name, 0) + waiting
    return found


def short(number: float, unit: str = "") -> str:
    """Three digits and a letter: `950`, `12.5 k`, `1.25 M`, `181 MB/s`."""
    for letter, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= scale * 0.9995:
            scaled = number / scale
            digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
            return f"{scaled:.{digits}f} {letter}{unit}"
    return f"{number:.0f} {unit}".rstrip()


def fitted(text: str, width: int) -> str:
    """The text cut to so many columns of a terminal; characters of double width count twice."""
    if text.isascii():
        return text if len(text) <= width else (text[: width - 1] + "…")[:width]
    import unicodedata  # a table of 1 MB, for those whose names need it

    columns = kept = 0
    for index, character in enumerate(text):
        columns += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns < width:
            kept = index + 1  # so much of it leaves a column for the dots
    return text if columns <= width else (text[:kept] + "…")[:width]


def _grown(before: Sample, now: Sample, kind: Kind, counter: str) -> int:
    earlier = {(w.name, w.worker): w.counters[counter] for w in before.workers if w.kind == kind}
    return sum(max(0, w.counters[counter] - earlier.get((w.name, w.worker), 0)) for w in now.workers if w.kind == kind)


def _clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
