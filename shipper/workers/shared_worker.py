"""The loop of a worker that several light sources share: each has its turn, and none waits for another.

A source waits inside `poll`, through its waiter. Here that waiter does not sleep: it writes down for what and until
when, and answers as if the worker had been rung, so that `poll` comes back. The loop then sleeps for all of them at
once, on one bell and all their descriptors, and gives a turn to those that have something. Rules of this file:

* A turn is one poll and one offer of one batch: nobody gets two while others are ready.
* A batch that finds no room stays with its source, which is not polled before it is in; the others go on.
* A source that fails is closed and opened anew after a pause, as a worker of its own would be; the others go on. Only
  what ends the process ends all of them, and then each goes on where its own channels say.

Each source has its put page, lanes, position table and counters to itself, so which worker it runs in can change with
every start.

The file is long because a source that shares a worker can be in the middle of anything when its turn ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from shipper import log
from shipper.batch.batch import EventBatch
from shipper.errors import ShipperError
from shipper.metrics.block import Entry, State
from shipper.ring.wait import BUSY_SLEEP_S
from shipper.workers import assemble, logs
from shipper.workers.control import Phase
from shipper.workers.duty import Duty
from shipper.workers.source_worker import LAG_EVERY_S, LAST_TRIES_S, WAIT_S, tell_durable
from shipper.workers.spec import WorkerSpec

_BACKOFF_MOST_S = 30.0
_STEADY_S = 60.0

#: A look that nobody hurries comes up to so much of its pause early, when the worker is awake anyway: sixteen sources
#: that each look once a second wake it twice a second, not sixteen times.
_EARLY_SHARE = 0.5
_UNHURRIED_S = 0.2


class Turn:
    """The waiter of one of the sources: it never sleeps, it notes what its source would sleep for.

    Attributes:
        fds: what the source waits for.
        until_s: when it wants to be asked again at the latest (monotonic).
        unhurried_s: it may be asked so much earlier when that costs no wake-up.
    """

    sleeps = False

    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._ready: frozenset[int] = frozenset()
        self.fds: tuple[int, ...] = ()
        self.until_s = 0.0
        self.unhurried_s = 0.0

    @property
    def fileno(self) -> int:
        return self._duty.fileno

    def stopping(self) -> bool:
        """True when the supervisor wants anything but to run."""
        return self._duty.stopping()

    def begin(self, ready: frozenset[int]) -> None:
        """A turn begins: `ready` are the descriptors that ended the sleep."""
        self._ready = ready
        self.fds = ()
        self.until_s = self.unhurried_s = 0.0

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        """What became readable before this turn, once; else a note, and at once the answer "you were rung"."""
        readable = tuple(fd for fd in fds if fd in self._ready)
        self._ready = frozenset()
        if readable:
            return readable
        self.note(timeout_s, tuple(fds))
        return ()

    def wait_for_room(self, timeout_s: float) -> None:
        """Nobody waits for room here: a batch that finds none is offered again in a later turn."""

    def note(self, pause_s: float, fds: tuple[int, ...] = ()) -> None:
        """The source has nothing to do for so long, unless one of `fds` becomes readable."""
        self.fds = fds
        self.until_s = time.monotonic() + pause_s
        self.unhurried_s = pause_s * _EARLY_SHARE if pause_s >= _UNHURRIED_S else 0.0


class Member:
    """One of the sources, from its first start to its end, over all its failures.

    Attributes:
        batch: waits for room in a channel; None when there is none.
        untold: is in its channels, and its source is told when it is on disk there. Until then it is not polled.
        over: True when it never has a turn again.
        failed: True while it waits to be started again.
    """

    def __init__(self, spec: WorkerSpec, entry: Entry, duty: Duty) -> None:
        self._spec = spec
        self._entry = entry
        self._duty = duty
        self.turn = Turn(duty)
        self.batch: EventBatch | None = None
        self.untold: EventBatch | None = None
        self.over = self.failed = False
        self._parts: assemble.SourceParts | None = None
        self._ending = self._more = False
        self._failures = 0
        self._born_s = self._look_s = self._deadline_s = 0.0
        self._account, self._since_ns = "busy_ns", time.monotonic_ns()

    def take_turn(self, ready: frozenset[int]) -> bool:
        """Does what can be done now, and no more than one batch of it; True when a batch went into the channels."""
        counters = self._entry.counters
        began_ns = time.monotonic_ns()
        counters.add(self._account, began_ns - self._since_ns)
        self.turn.begin(ready)
        moved, problem = False, ""
        try:
            moved = self._advance()
        except ShipperError as failure:
            problem = str(failure)
            log.say("ERROR", self._spec.label, problem)
        except Exception as failure:
            problem = f"{type(failure).__name__}: {failure}"
            log.defect(self._spec.label, failure)
        if problem:  # behind the handlers: their frames may hold views of what is closed now
            self._fail(problem)
        self._since_ns = time.monotonic_ns()
        counters.add("busy_ns", self._since_ns - began_ns)
        # Whoever moved something and has no turn now is held up by the others: that is work, not waiting.
        self._account = "waiting_room_ns" if self.batch else "busy_ns" if moved else "waiting_input_ns"
        counters.set("progress_ms", self._since_ns // 1_000_000)
        return moved

    def end(self) -> None:
        """The agent stops: nothing more is read; turns hand out what was read, until `over`."""
        self._ending = True
        if self._parts is None:
            self.over = True
        else:
            self._more = self._parts.source.stop_reading()

    def close(self) -> None:
        """Gives everything back. A batch that is in no channel is the source's again."""
        parts, self._parts = self._parts, None
        if parts is not None:
            try:
                if (batch := self.batch or self.untold) is not None:
                    parts.source.position(batch.origins)
            finally:
                self.batch = self.untold = None
                parts.close()
        if not self.failed:
            self._entry.state(State.STOPPING)

    # --- inside

    def _advance(self) -> bool:
        parts = self._parts
        if parts is None:
            self._open()
            return False
        if self.untold is not None and not self._tell(parts):
            return False
        source, batch = parts.source, self.batch
        if batch is None:
            if self._ending and not self._more:
                self.over = True
                return False
            batch = source.poll(0 if self._ending else WAIT_S)
            if (now_s := time.monotonic()) >= self._look_s:
                self._look_s = now_s + LAG_EVERY_S
                self._entry.counters.set("lag_bytes", source.lag_bytes())
                self._entry.trouble(source.trouble())
                parts.ingest.tick()
                tell_durable(source, parts.positions)
            if batch is None:
                self._more = False
                if source.finished():
                    self._finish(parts)
                return False
        if reason := parts.ingest.offer(batch):
            self._wait_for_room(parts, batch, reason)
            return False
        if self.batch is not None:
            self.batch = None
            self._entry.state(State.BUSY)
        # What is true when the process dies at one of these lines is said in `source_worker.py`.
        parts.positions.store(batch.origins)
        self.untold = batch
        self._tell(parts)
        return True

    def _tell(self, parts: assemble.SourceParts) -> bool:
        """Tells the source that it is rid of a batch; False when that is not safe to say yet."""
        assert self.untold is not None
        if parts.source.awaits_durable and not parts.ingest.safe:
            parts.ingest.listen(True)
            if not parts.ingest.safe:
                self.turn.note(BUSY_SLEEP_S)
                return False
        parts.ingest.listen(False)
        batch, self.untold = self.untold, None
        parts.source.committed(batch)
        return True

    def _open(self) -> None:
        if not logs.are_open(self._spec):
            self.turn.note(BUSY_SLEEP_S)
            return
        again = self._failures > 0
        if again:
            self._entry.runs(os.getpid(), time.time_ns() // 1_000_000, again=True)
        self._born_s = time.monotonic()

        def say(level: str, line: str) -> None:
            log.say(level, self._spec.label, line)

        self._parts = parts = assemble.source_parts(self._spec, self._entry, self.turn, say)
        parts.source.open(parts.context)
        self.failed = False

    def _wait_for_room(self, parts: assemble.SourceParts, batch: EventBatch, reason: str) -> None:
        source, now_s = parts.source, time.monotonic()
        if self.batch is None:
            self.batch, self._deadline_s = batch, parts.ingest.deadline_s()
            self._entry.state(State.WAITING_ROOM, reason)
        elif self._ending:
            if source.replayable:  # it reads the rows again at the next start
                self.over = True
        elif now_s >= self._deadline_s:
            parts.ingest.withdraw()
            self._entry.counters.set("lag_bytes", source.lag_bytes())
            self._deadline_s = parts.ingest.deadline_s()
            if not source.refused(batch, "no room in a required channel within its keep-alive"):
                self.batch = None
                self._entry.state(State.BUSY)
                return
        self.turn.note(BUSY_SLEEP_S)

    def _finish(self, parts: assemble.SourceParts) -> None:
        self.over = True
        self._parts = None
        parts.close()
        log.say("INFO", self._spec.label, "the source has reached its end and stops; the agent goes on")
        self._entry.stopped(time.time_ns() // 1_000_000)

    def _fail(self, problem: str) -> None:
        """Closes the source and plans its next start. What can't be closed ends the worker."""
        parts, self._parts, self.batch, self.untold = self._parts, None, None, None
        self.failed = True
        now_s = time.monotonic()
        self._failures = 1 if now_s - self._born_s > _STEADY_S else self._failures + 1
        pause_s = min(2.0 ** (self._failures - 1), _BACKOFF_MOST_S)
        self._entry.state(State.FAILED, problem)
        if self._ending:
            self.over = True
        else:
            log.say("WARN", self._spec.label, f"the source could not go on; it is started again in {pause_s:.0f} s")
        self.turn.note(pause_s)
        self.turn.unhurried_s = 0.0
        if parts is not None:
            parts.close()


def run(members: Sequence[Member], duty: Duty) -> bool:
    """Gives turns until the supervisor says stop, or no source has anything to come.

    Returns:
        True when all sources are finished: nothing will ever come again.
    """
    phase = Phase.STARTING
    while not duty.stopping():
        living = [member for member in members if not member.over]
        if not living:
            return True
        pause_s = max(min(member.turn.until_s for member in living) - time.monotonic(), 0.0)
        ready = frozenset(duty.wait(pause_s, tuple(fd for member in living for fd in member.turn.fds)))
        now_s = time.monotonic()
        rung = pause_s > 0 and not ready
        for member in living:
            turn = member.turn
            if (
                now_s >= turn.until_s - turn.unhurried_s
                or not ready.isdisjoint(turn.fds)
                or (rung and (member.batch or member.untold) is not None)
            ):
                member.take_turn(ready)
        phase = _say_phase(duty, phase, Phase.FAILED if any(member.failed for member in members) else Phase.READY)
    _say_phase(duty, phase, Phase.ENDING)
    _end(members, duty)
    return False


def _end(members: Sequence[Member], duty: Duty) -> None:
    for member in members:
        if not member.over:
            member.end()
    while not duty.at_once() and (living := [member for member in members if not member.over]):
        moved = sum(member.take_turn(frozenset()) for member in living)
        if not moved and any((member.batch or member.untold) is not None for member in living):
            duty.wait_for_room(LAST_TRIES_S)


def _say_phase(duty: Duty, before: Phase, phase: Phase) -> Phase:
    if phase != before:
        duty.phase(phase)
    return phase
