"""Signals: what a person, a terminal or a service manager tells the supervisor, as bytes in a pipe.

A terminal that was closed sends SIGHUP, and so does a person who wants the files read again: the first means stop.
Told to stop once more, the supervisor hurries; but one word may come as several signals: `timeout` sends SIGTERM to its
child and then to the group of both, a service manager SIGTERM and SIGHUP.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

#: Nobody can have read an answer to the first of two signals that come within so short a time: they are one word.
SAME_WORD_S = 0.25


class StopWords:
    """How often a person has said stop, from the signals that came."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def said(self, signals: int, now_s: float) -> int:
        """How many words so many signals are that were found now: one, or none when they belong to the last one."""
        if not signals or now_s - self._last_s < SAME_WORD_S:
            return 0
        self._last_s = now_s
        return 1


class Signals:
    """Signals as bytes in a pipe, so that one selector hears everything.

    Attributes:
        fileno: readable when there is one.
    """

    def __init__(self) -> None:
        self._had_terminal = _has_terminal()
        self._stop_words = StopWords()
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
        closed = hung_up > 0 and self._had_terminal and not _has_terminal()
        words = self._stop_words.said(stops + hung_up if closed else stops, time.monotonic())
        return words, hung_up > 0 and not closed


def _has_terminal() -> bool:
    """True when this process has a terminal. One that was closed can't be opened any more."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
