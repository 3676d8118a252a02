"""Watched files: the configuration files of a running agent, and when they are to be read again.

Flume looks at the time of the last change every 30 seconds. A file that somebody is still writing would be read half
that way, and half a file can be a good one that lacks its last sinks; so a change counts only when a second has gone by
without another one. A person who sends SIGHUP has finished writing: then they are read at once, changed or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from shipper import log

#: For so long nothing may have changed before a change counts.
SETTLE_S = 1.0

#: (time of the last change, bytes, inode) of each file; None for one that is not there.
Stamp = tuple[tuple[int, int, int] | None, ...]


class WatchedFiles:
    """The files of one agent.

    Args:
        files: as on the command line.
        interval_s: how often they are looked at.
        polls: False when only SIGHUP has them read again.
    """

    def __init__(
        self,
        files: Sequence[Path],
        interval_s: float,
        polls: bool = True,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = tuple(files)
        self._interval_s = interval_s
        self._polls = polls
        self._monotonic_s = monotonic_s
        self._asked = self._bad = False
        self._known = self._last = self._stamp()
        self._look_s = monotonic_s() + interval_s

    def ask(self) -> None:
        """A person wants them read, whether they changed or not."""
        self._asked = True

    def wanted(self) -> bool:
        """True when they are to be read now. Asks the file system only when a look is due."""
        now_s = self._monotonic_s()
        looks = self._polls or self._known == ()
        if not self._asked and not (looks and now_s >= self._look_s):
            return False
        stamp = self._stamp()
        settled, self._last = stamp == self._last, stamp
        if self._asked or (stamp != self._known and settled and None not in stamp):
            self._asked = self._bad = False
            self._known = stamp
            self._look_s = now_s + self._interval_s
            return True
        for file, one in zip(self._files, stamp, strict=True):
            if one is None and not settled:
                log.say("WARN", "agent", f"{file} is not there any more; the agent goes on as it is, and looks again")
        soon = self._bad or stamp != self._known  # changed a moment ago, or gone for a moment
        self._look_s = now_s + (min(SETTLE_S, self._interval_s) if soon else self._interval_s)
        return False

    def changed_meanwhile(self) -> bool:
        """True when they changed while they were being read: what was read may be half of it. Looked at again soon."""
        if self._stamp() == self._known:
            return False
        self.again()
        return True

    def again(self) -> None:
        """They could not be read: another try soon, changed or not."""
        self._known = ()
        self._look_again_soon()

    def refused(self) -> None:
        """What was read can't be run: somebody is likely to mend it at once, so until then they are looked at often."""
        self._bad = True
        self._look_again_soon()

    def _look_again_soon(self) -> None:
        self._look_s = self._monotonic_s() + min(SETTLE_S, self._interval_s)

    def _stamp(self) -> Stamp:
        found: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                stat = file.stat()
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        return tuple(found)
