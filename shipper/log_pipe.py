"""The log pipe: the way of what a worker says to the supervisor's log.

One pipe for all workers of an agent. A worker has its write end under stderr too, so that libraries are heard. A line
is one write, which no other process can mix with its own::

    \\x01 LEVEL \\x01 component \\x01 text \\n     a fact: the supervisor counts it when it is said again
    \\x02 LEVEL \\x01 component \\x01 text \\n     passed on: the supervisor says it however often it comes
    anything else \\n                           what a library printed: a fact of that worker

The pipe is full when workers say more than the supervisor writes down, and it stays full while the supervisor is held
up, as by a terminal that somebody holds with Ctrl-S. Data must not stop for words about them: what has found no room
for half a second is dropped, and how many lines were is said before the next one, or when the worker ends. Only a line
that is itself the delivery of an event waits for as long as it takes.
"""

from __future__ import annotations

import os
import select
import time
from typing import NamedTuple

from shipper.log import LEVELS, Log, configure, printable

#: A write of at most this many bytes into a pipe is never mixed with another process's (POSIX's PIPE_BUF on Linux).
PIPE_BUF_BYTES = 4096
PATIENCE_S = 0.5
_SEPARATOR = "\x01"
_FACT, _PASSED_ON = "\x01", "\x02"


class WorkerLog(Log):
    """The log of a worker.

    Args:
        fd: the write end of the pipe, in blocking mode.
        level: what lies below it is not sent.
        patience_s: how long a line that may be dropped waits for room.
    """

    def __init__(self, fd: int, level: str = "INFO", patience_s: float = PATIENCE_S) -> None:
        super().__init__([(level, self._say_fact)])
        self._level = level
        self._patience_s = patience_s
        self._fd = fd
        self._hasty_fd = _hasty(fd)
        self._room = select.poll()
        self._room.register(self._hasty_fd, select.POLLOUT)
        self._dropped = 0
        self._component = ""  # whose line was dropped last

    def pass_on(self, level: str, component: str, text: str, *, waits: bool = False) -> None:
        if LEVELS[level] < LEVELS[self._level]:
            return
        for line in text.splitlines():
            self._send(_PASSED_ON, level, component, printable(line), waits)

    def tick(self, everything: bool = False) -> None:
        super().tick(everything)
        self._say_dropped()

    def close(self) -> None:
        """Gives back what was opened; the descriptor that was given stays open."""
        if self._hasty_fd != self._fd:
            os.close(self._hasty_fd)

    def _say_fact(self, level: str, component: str, text: str) -> None:
        self._send(_FACT, level, component, text)

    def _send(self, mark: str, level: str, component: str, text: str, waits: bool = False) -> None:
        self._say_dropped()
        try:
            data = _line(mark, level, component, text)
            if waits:
                os.write(self._fd, data)
            # Who was not heard a moment ago does not wait again for each line.
            elif not self._fits(data, 0.0 if self._dropped else self._patience_s):
                self._dropped += 1
                self._component = component
        except OSError:
            pass  # the supervisor is dead, and soon this process is

    def _say_dropped(self) -> None:
        if not self._dropped:
            return
        lines = "1 line was" if self._dropped == 1 else f"{self._dropped} lines were"
        text = f"{lines} dropped here: the log could not be written as fast"
        try:
            if self._fits(_line(_FACT, "WARN", self._component, text), 0.0):
                self._dropped = 0
        except OSError:
            pass  # as in `_send`

    def _fits(self, data: bytes, patience_s: float) -> bool:
        until_s = time.monotonic() + patience_s
        while True:
            try:
                os.write(self._hasty_fd, data)
            except BlockingIOError:
                left_s = until_s - time.monotonic()
                if left_s <= 0 or not self._room.poll(1000 * left_s):
                    return False
            else:
                return True


class Line(NamedTuple):
    """What a worker said."""

    level: str
    component: str
    text: str
    is_fact: bool = True

    def say(self, log: Log) -> None:
        """Says it in another log as it was said in its own."""
        (log.say if self.is_fact else log.pass_on)(self.level, self.component, self.text)


class WorkerLines:
    """Reads what workers wrote into the pipe.

    Args:
        component: the name that stands before lines that no worker's log made.
    """

    def __init__(self, component: str) -> None:
        self.component = component
        self._rest = b""

    def feed(self, data: bytes) -> list[Line]:
        """The lines that are complete with these bytes; b"" ends the last one."""
        *lines, rest = (self._rest + data).split(b"\n")
        if (not data and rest) or len(rest) > 16 * PIPE_BUF_BYTES:
            lines, rest = [*lines, rest], b""
        self._rest = rest
        return [said for line in lines if (said := self._said(line.decode("utf-8", "replace"))) is not None]

    def _said(self, line: str) -> Line | None:
        if not line.strip():
            return None
        mark, parts = line[0], line[1:].split(_SEPARATOR, 2)
        if mark in (_FACT, _PASSED_ON) and len(parts) == 3 and parts[0] in LEVELS:
            level, component, text = parts
            return Line(level, component, text, is_fact=mark == _FACT)
        return Line("WARN", self.component, line.replace(_SEPARATOR, ""))


def configure_worker_log(fd: int, level: str = "INFO") -> None:
    """Sends what this process says into the supervisor's pipe.

    Args:
        fd: the write end, in blocking mode; also to be put under stderr, so that libraries are heard.
        level: `least` of the supervisor's log: what lies below it is not sent.
    """
    configure(WorkerLog(fd, level))


def _line(mark: str, level: str, component: str, text: str) -> bytes:
    data = (mark + _SEPARATOR.join((level, component, text))).encode("utf-8", "replace")
    if len(data) >= PIPE_BUF_BYTES:
        data = data[: PIPE_BUF_BYTES - 4] + b"..."
    return data + b"\n"


def _hasty(fd: int) -> int:
    """Another descriptor of the same pipe, which does not block; `fd` itself when there can be none.

    The mode of a descriptor is that of all processes that have inherited it, and libraries that print must not be
    refused. One that is opened anew has a mode of its own.
    """
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return fd
