"""Where the log of an agent goes: what `-Dflume.root.logger`, `flume.log.dir` and `flume.log.file` mean here.

As in Flume's own log4j file: `LEVEL,console`, `LEVEL,LOGFILE` (or DAILY) or both; LOGFILE is
`flume.log.dir/flume.log.file`, `./logs/flume.log` when nothing is said, cut at 100 MB and ten old files kept. Unlike
Flume, the default without `flume.root.logger` is the console, and in the background it is LOGFILE.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from shipper.cli.own_log import own_log_is_tailed
from shipper.log import (
    LEVELS,
    Destination,
    Log,
    configure,
    current,
    defect,
    flush,
    format_line,
    say,
    tick,
)

__all__ = [
    "Console", "RotatingFile", "configure_supervisor_log", "current", "defect", "flush", "log_file",
    "own_log_is_tailed", "say", "tick",
]  # fmt: skip

ROTATE_BYTES = 100 * 1024 * 1024
ROTATE_FILES = 10
_COLOURS = {"WARN": "\x1b[33m", "ERROR": "\x1b[31m", "FATAL": "\x1b[31m"}


class Console:
    """A terminal or a pipe that gets log lines, and on a terminal a status below them that is drawn over and over.

    Args:
        fd: usually 2, as Flume's console appender.
        terminal: True when escapes are understood; False on a pipe, which then never sees a status.
    """

    def __init__(self, fd: int = 2, terminal: bool | None = None, colour: bool | None = None) -> None:
        self.fd = fd
        self.terminal = os.isatty(fd) and os.environ.get("TERM") != "dumb" if terminal is None else terminal
        self.colour = self.terminal and "NO_COLOR" not in os.environ if colour is None else colour
        self._status: list[str] = []

    def line(self, level: str, component: str, text: str) -> None:
        """A log destination: the line, with the status under it again."""
        line = format_line(level, component, text)
        if self.colour and level in _COLOURS:
            line = f"{_COLOURS[level]}{line}\x1b[0m"
        self._write(f"{self._erase()}{line}\n{self._drawn()}")

    def status(self, lines: list[str]) -> None:
        """Draws the status lines in place of the last ones; an empty list takes them away. No-op on a pipe."""
        if not self.terminal or lines == self._status:
            return
        erase = self._erase()
        self._status = list(lines)
        self._write(erase + self._drawn())

    def width(self) -> int:
        """Columns of the terminal; a status line must be shorter, or it could not be erased."""
        try:
            return os.get_terminal_size(self.fd).columns or 80
        except OSError:
            return 80

    def _erase(self) -> str:
        if not self._status:
            return ""
        up = len(self._status) - 1
        return "\r" + (f"\x1b[{up}A" if up else "") + "\x1b[J"

    def _drawn(self) -> str:
        return "\n".join(self._status)

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError:
            pass  # a terminal that was closed, a pipe without a reader: the agent goes on


class RotatingFile:
    """A log file that is renamed to `.1`, `.2`, ... when it is full. One process writes it.

    Args:
        owns_stdio: descriptors 1 and 2 point at the file too (background), also after it was rotated.
    """

    def __init__(
        self, path: Path, rotate_bytes: int = ROTATE_BYTES, files: int = ROTATE_FILES, owns_stdio: bool = False
    ) -> None:
        self.path = path.absolute()
        self.rotate_bytes = rotate_bytes
        self.files = files
        self._owns_stdio = owns_stdio
        self._fd = -1
        self._size_bytes = 0
        self._troubled = False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._open()

    def line(self, level: str, component: str, text: str) -> None:
        """A log destination. A full disk is said once on stderr; the agent goes on without these lines."""
        data = (format_line(level, component, text) + "\n").encode("utf-8", "replace")
        try:
            if self._size_bytes and self._size_bytes + len(data) > self.rotate_bytes:
                self._rotate()
            os.write(self._fd, data)
            self._size_bytes += len(data)
            self._troubled = False
        except OSError as problem:
            if not self._troubled and not self._owns_stdio:
                print(f"shipper: the log {self.path} can't be written ({problem}); lines are lost.", file=sys.stderr)
            self._troubled = True

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._size_bytes = os.fstat(self._fd).st_size
        if self._owns_stdio:
            os.dup2(self._fd, 1)
            os.dup2(self._fd, 2)

    def _rotate(self) -> None:
        for number in range(self.files - 1, 0, -1):
            older = Path(f"{self.path}.{number}")
            if older.exists():
                older.rename(f"{self.path}.{number + 1}")
        self.path.rename(f"{self.path}.1")
        self.close()
        self._open()


def log_file(system: Mapping[str, str]) -> Path:
    """The file that LOGFILE means."""
    return Path(system.get("flume.log.dir") or "logs") / (system.get("flume.log.file") or "flume.log")


def wanted(system: Mapping[str, str], background: bool = False) -> tuple[str, list[str], list[str]]:
    """What `flume.root.logger` asks for: (level, destinations out of console and LOGFILE, doubts to be said)."""
    text = system.get("flume.root.logger", "")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    doubts: list[str] = []
    level = "INFO"
    if parts:
        spelled = {"WARNING": "WARN"}.get(parts[0].upper(), parts[0].upper())
        if spelled in LEVELS and spelled != "STACK":
            level = spelled
        else:
            choice = "TRACE, DEBUG, INFO, WARN, ERROR or OFF"
            doubts.append(f"flume.root.logger = {text}: {parts[0]} is no level; INFO is used. Write {choice}.")
    names = {"console": "console", "stdout": "console", "logfile": "LOGFILE", "daily": "LOGFILE"}
    places: list[str] = []
    for part in parts[1:]:
        place = names.get(part.lower())
        if place is None:
            doubts.append(f"flume.root.logger = {text}: {part} is not known; write console or LOGFILE.")
        elif place not in places:
            places.append(place)
    if background:
        places = ["LOGFILE"]
    return level, places or ["console"], doubts


_console: Console | None = None


def console() -> Console | None:
    """The console that log lines go to, for the status under them; None when they go to a file only."""
    return _console


def configure_supervisor_log(system: Mapping[str, str], background: bool = False) -> Log:
    """Points this process's log at what the system properties ask for.

    Args:
        background: there is no terminal: LOGFILE, and stdin from nowhere, stdout and stderr into the log file.

    Raises:
        OSError: the log file can't be opened.
    """
    global _console
    level, places, doubts = wanted(system, background)
    destinations: list[tuple[str, Destination]] = []
    _console = None
    if "LOGFILE" in places:
        if background:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        file = RotatingFile(log_file(system), owns_stdio=background)
        destinations.append(_with_tracebacks(level, file.line))
        if not background and "console" not in places:
            print(f"shipper: the log is {file.path}", file=sys.stderr)
    if "console" in places:
        _console = Console()
        destinations.append((level, _console.line))
    log = Log(destinations)
    configure(log)
    for doubt in doubts:
        log.say("WARN", "agent", doubt)
    return log


def _with_tracebacks(level: str, destination: Destination) -> tuple[str, Destination]:
    """A destination that also takes level STACK: a traceback has to be somewhere."""
    if LEVELS[level] <= LEVELS["STACK"] or level == "OFF":
        return level, destination

    def write(said: str, component: str, text: str) -> None:
        if said == "STACK" or LEVELS[said] >= LEVELS[level]:
            destination(said, component, text)

    return "STACK", write
