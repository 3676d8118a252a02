"""Signals: what a person, a terminal or a service manager tells the supervisor, as bytes in a pipe.

A terminal that was closed sends SIGHUP, and so does a person who wants the files read again: the first means stop.
"""

from __future__ import annotations

import contextlib
import os
import signal


class Signals:
    """Signals as bytes in a pipe, so that one selector hears everything.

    Attributes:
        fileno: readable when there is one.
    """

    def __init__(self) -> None:
        self._had_terminal = _has_terminal()
        self.fileno, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # ignored: nohup said so
                signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # held back since the program began

    def read(self) -> tuple[int, bool]:
        """Since the last call: how often it was told to stop, and whether to read its files again."""
        found = b""
        with contextlib.suppress(BlockingIOError):
            found = os.read(self.fileno, 4096)
        stops = sum(number in (signal.SIGINT, signal.SIGTERM) for number in found)
        hung_up = found.count(signal.SIGHUP)
        if hung_up and self._had_terminal and not _has_terminal():
            return stops + hung_up, False
        return stops, hung_up > 0


def _has_terminal() -> bool:
    """True when this process has a terminal. One that was closed can't be opened any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
