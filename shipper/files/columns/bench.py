"""The bench: works for which something can be done, and a thread that does it while there are any."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from shipper.files.columns.makers import Makers
from shipper.files.columns.work import Work

#: Files of a round at most: a sync of many costs little more than a sync of one.
_ROUND_FILES = 64
_AGAIN_S = 5.0
#: A round takes a fraction of a second, unless the place where the files go makes it wait.
_STILL_S = 1.0


class Job(Protocol):
    """Work that was begun beside the loop."""

    @property
    def done(self) -> bool:
        """True when it has ended."""


class Bench:
    """The bench of one sink worker.

    Args:
        makers: do it.
        round_bytes: that are worked on before anybody hears how it went, about.
        start: begins a job.
        now_s: monotonic clock.
        say: one line for a person; called in the thread.
    """

    def __init__(
        self,
        makers: Makers,
        round_bytes: int,
        start: Callable[[Callable[[], None]], Job],
        now_s: Callable[[], float],
        say: Callable[[str, str], None],
    ) -> None:
        self._makers = makers
        self._round_bytes = round_bytes
        self._start = start
        self._now_s = now_s
        self._say = say
        self._lock = threading.Lock()  # around the next three
        self._ready: dict[Work, None] = {}
        self._parked: set[Work] = set()  # those that failed
        self._ended: list[Work] = []
        self._job: Job | None = None
        self._moved = threading.Event()
        self._moved_s = 0.0

    def put(self, work: Work) -> None:
        """Something can be done for it, unless it failed: then it has its time."""
        with self._lock:
            if work not in self._parked:
                self._ready[work] = None

    def advance(self) -> list[Work]:
        """Sees that the thread runs if it has something to do. Never waits.

        Returns:
            Works that are done with since the last call.
        """
        if self._job is not None and self._job.done:
            self._job = None
        now_s = self._now_s()
        with self._lock:
            for work in [work for work in self._parked if work.retry_s <= now_s]:
                self._parked.discard(work)
                self._ready[work] = None
            begins = self._job is None and bool(self._ready)
        if begins:
            self._moved_s = self._now_s()
            self._job = self._start(self._run)
        with self._lock:
            ended, self._ended = self._ended, []
        return ended

    def pace(self, most_s: float) -> bool:
        """Waits until something was done, at most so long. False when nothing is being done, or for a second now."""
        if self._job is None or self._job.done:
            return False
        self._moved.clear()
        self._moved.wait(most_s)
        return self._now_s() - self._moved_s < _STILL_S

    def try_again(self) -> None:
        """What failed is due now."""
        with self._lock:
            for work in self._parked:
                work.retry_s = 0.0

    @property
    def idle(self) -> bool:
        """True when the thread does not run."""
        return self._job is None or self._job.done

    def _run(self) -> None:
        """In the thread: rounds, until nothing is ready."""
        while works := self._take():
            try:
                self._makers.round(works)
            except Exception as error:  # the journal itself, then
                self._say("error", f"could not make {works[0].record.path}: {error}")
                for work in works:
                    work.why = str(error)
                    work.tries += 1
                    work.retry_s = self._now_s() + _AGAIN_S
            with self._lock:
                for work in works:
                    if work.gone:
                        self._ended.append(work)
                    elif work.tries:
                        self._parked.add(work)
                    elif not work.whole and work.has_grown:
                        self._ready[work] = None
            self._moved_s = self._now_s()
            self._moved.set()

    def _take(self) -> list[Work]:
        works: list[Work] = []
        size = 0
        with self._lock:
            while self._ready and len(works) < _ROUND_FILES and size < self._round_bytes:
                work = next(iter(self._ready))
                del self._ready[work]
                if not work.gone:
                    works.append(work)
                    size += work.length - work.read_bytes
        return works
