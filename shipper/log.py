"""Our own log: one fact a line, from every process of an agent, and a repeated fact only once in 30 s.

`say("WARN", "k1", "...")` is all that a process needs. In the supervisor the line goes where `shipper.cli.log` points
it; in a worker it goes through a pipe to the supervisor (`shipper.log_pipe`). The standard `logging` package is not
used: it would cost each process 1 MB for features we don't need.

A fact is (level, component, text). It is said at once; the same fact within the next 30 s is counted, and said again
when they are over, as `... (12 times in 30 s)`. When a component says at level INFO how it goes on, the counts of what
troubled it are said before that.

A mistake of a person or of the world (`ShipperError`) is one line, its message. Anything else is a defect of ours:
one ERROR line that names the error and the three innermost places, and the whole traceback at level STACK, which
reaches a log file always, and a console only at DEBUG.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

#: Levels in rising order. FATAL is what Flume's users may write; we say ERROR.
LEVELS = {"ALL": 0, "TRACE": 1, "DEBUG": 2, "STACK": 2, "INFO": 3, "WARN": 4, "ERROR": 5, "FATAL": 6, "OFF": 7}
WINDOW_S = 30.0

_FACTS_MAX = 1000

#: Takes (level, component, text): one fact, already free of line ends and control characters.
Destination = Callable[[str, str, str], None]


class Repeats:
    """Which facts were said lately, and how often they came since."""

    def __init__(self) -> None:
        # fact -> [start of its window, times in the window, times of these that were said when they came]
        self._facts: dict[tuple[str, str, str], list[float]] = {}
        self._told_early: set[tuple[str, str, str]] = set()

    def is_news(self, fact: tuple[str, str, str], now_s: float) -> bool:
        """Counts the fact; True when it has to be said now."""
        window = self._facts.get(fact)
        if window is not None:
            window[1] += 1
            return False
        self._facts[fact] = [now_s, 1, 1]
        return True

    def troubles(self, component: str, now_s: float) -> list[tuple[tuple[str, str, str], int, float]]:
        """As `due`: warnings and errors of a component that were repeated, though their windows are not over.

        A fact is told early once in 30 s, so that one that comes and goes does not fill the log.
        """
        told = []
        for fact, (since_s, times, said) in list(self._facts.items()):
            trouble = fact[1] == component and LEVELS[fact[0]] > LEVELS["INFO"]
            if trouble and times > said and fact not in self._told_early:
                told.append((fact, int(times), now_s - since_s))
                del self._facts[fact]
                self._facts[fact] = [now_s, 0, 0]
                self._told_early.add(fact)
        return told

    def due(self, now_s: float, everything: bool = False) -> list[tuple[tuple[str, str, str], int, float]]:
        """Facts whose window is over and that were repeated in it: (fact, times in the window, its seconds).

        Such a fact gets a new window, silent from its begin; one that was not repeated is forgotten.
        """
        over: list[tuple[tuple[str, str, str], int, float]] = []
        crowded = len(self._facts) > _FACTS_MAX
        for fact, (since_s, times, said) in list(self._facts.items()):
            age_s = now_s - since_s
            if age_s < WINDOW_S and not everything and not crowded:
                break  # in order of their windows: the rest is younger
            del self._facts[fact]
            self._told_early.discard(fact)
            if times > said:
                over.append((fact, int(times), age_s))
                self._facts[fact] = [now_s, 0, 0]
        return over


class Log:
    """What one process says, and where it goes.

    Args:
        destinations: each with the least level that it takes.
        monotonic_s: the clock of the 30 seconds.
    """

    def __init__(
        self, destinations: Sequence[tuple[str, Destination]], monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.destinations = list(destinations)
        self._monotonic_s = monotonic_s
        self._repeats = Repeats()

    def say(self, level: str, component: str, text: str) -> None:
        """Says a fact, unless it was said within 30 s. Each line of `text` is a fact of its own."""
        level = "WARN" if level.upper() == "WARNING" else level.upper()
        level = level if level in LEVELS else "INFO"
        now_s = self._monotonic_s()
        self.tick()
        for line in text.splitlines():
            line = printable(line.rstrip())
            if line and (level == "STACK" or self._repeats.is_news((level, component, line), now_s)):
                if level == "INFO":
                    self._count(self._repeats.troubles(component, now_s))
                self._emit(level, component, line)

    def pass_on(self, level: str, component: str, text: str, *, waits: bool = False) -> None:
        """Says each line of what somebody else composed, however often it comes.

        Args:
            waits: they are the delivery of an event: where others are dropped for want of room, they wait for it.
        """
        for line in text.splitlines():
            self._emit(level, component, printable(line))

    def tick(self, everything: bool = False) -> None:
        """Says the counts of facts whose 30 s are over. To be called about once a second."""
        self._count(self._repeats.due(self._monotonic_s(), everything))

    def _count(self, repeated: Sequence[tuple[tuple[str, str, str], int, float]]) -> None:
        for (level, component, line), times, age_s in repeated:
            self._emit(level, component, f"{line} ({_times(times)} in {max(1, round(age_s))} s)")

    @property
    def least(self) -> str:
        """The least level that any destination takes: workers need not send what lies below it."""
        return min((level for level, _ in self.destinations), key=LEVELS.__getitem__, default="OFF")

    def _emit(self, level: str, component: str, line: str) -> None:
        for least, destination in self.destinations:
            if LEVELS[level] >= LEVELS[least]:
                destination(level, component, line)


def _times(number: int) -> str:
    return f"{number} times" if number > 1 else "once more"


def printable(text: str) -> str:
    """The text with control characters spelt out, so that a log line can neither be forged nor move a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text)


def format_line(level: str, component: str, text: str, now_s: float | None = None) -> str:
    """`2026-11-21 10:00:00,123 INFO  k1: text`, without a line end, in local time as log4j writes it."""
    now_s = time.time() if now_s is None else now_s
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now_s))
    shown = "ERROR" if level == "STACK" else level
    return f"{stamp},{int(now_s * 1000) % 1000:03d} {shown:<5} {component}: {text}"


def to_fd(fd: int) -> Destination:
    """Writes formatted lines to a descriptor, each with one write. A descriptor that is gone is no error."""

    def write(level: str, component: str, text: str) -> None:
        try:
            os.write(fd, (format_line(level, component, text) + "\n").encode("utf-8", "replace"))
        except OSError:
            pass  # nobody reads: the agent goes on

    return write


_log = Log([("INFO", to_fd(2))])


def configure(log: Log) -> None:
    """Makes `log` the log of this process."""
    global _log
    _log = log


def current() -> Log:
    """The log of this process."""
    return _log


def say(level: str, component: str, text: str) -> None:
    """Says a fact in this process's log: `say("WARN", "k1", "...")`."""
    _log.say(level, component, text)


def pass_on(level: str, component: str, text: str, *, waits: bool = False) -> None:
    """Says each line of what somebody else composed in this process's log: of a level of `LEVELS`, however often."""
    _log.pass_on(level, component, text, waits=waits)


def tick() -> None:
    """Says the counts of facts that were repeated. To be called about once a second."""
    _log.tick()


def flush() -> None:
    """Says all counts now: the process ends."""
    _log.tick(everything=True)


def defect(component: str, problem: BaseException) -> None:
    """Logs an exception that nobody expected: one line for people, the traceback at level STACK."""
    import traceback  # nobody pays for it until something is wrong

    frames = traceback.extract_tb(problem.__traceback__)[-3:]
    places = " < ".join(f"{_short(f.filename)}:{f.lineno} {f.name}" for f in reversed(frames)) or "an unknown place"
    text = " ".join(str(problem).split())
    say("ERROR", component, f"unexpected {type(problem).__name__}: {text} (at {places}). Please report it.")
    for line in "".join(traceback.format_exception(problem)).splitlines():
        _log.say("STACK", component, line)


def _short(filename: str) -> str:
    _, found, inside = filename.rpartition("/shipper/")
    return inside if found else os.path.basename(filename)
