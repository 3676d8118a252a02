"""The right half of the walk: rows are taken from a lane, delivered, flushed, and then the position is stored.

::

    take ... -> sink.deliver() ... -> sink.flush() -> commit (names the sink's journal entry) -> sink.committed()
                      refused: aside.add() -> prepare()                             -> aside.committed()

A sink that can't deliver rolls back and lets its lanes go at once, so that another sink of the channel can take what
waits there. Rows that a sink refuses for good are set aside, and the rest goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from shipper.batch.batch import EventBatch
from shipper.channels.channel import TakeSide, TakeTransaction
from shipper.clock import Clock, SystemClock
from shipper.errors import Refused, RetryLater
from shipper.pipeline.group_sink import GroupSink
from shipper.pipeline.losses import Losses
from shipper.pipeline.wording import events_are
from shipper.processors.processor import Processor
from shipper.sources.source import Waiter

#: Flume's runner: after n failures in a row a sink waits n seconds, 5 at most.
_BACKOFF_STEP_S = 1.0
_BACKOFF_MOST_S = 5.0

#: Many rows that linger for more company are not kept once nothing has come for this time: the burst is over. A
#: trickle lingers to the end: what is compressed in pieces of one line grows.
_QUIET_S = 0.03
_MANY_BYTES = 64 << 10

#: A transaction of at least this part of `batch.bytes` is called large.
_FLOW_SHARE = 4


class Delivery:
    """The way of rows from one sink worker's lanes to its target.

    Args:
        sinks: of the group, by name.
        processor: says which one is next.
        side: the worker's take side.
        waiter: to sleep on.
        batch_bytes: rows are gathered up to so many bytes before they are flushed and committed.
        linger_s: how long fewer bytes may wait for more.
        stopping: True when no time may be spent waiting.
        waiting_for: told the reason while the target can't take anything, "" when it can again.
        say: one line for the person.
        troubled: told about four times a second what a sink has taken and can't bring on, by its name; "" = nothing.
        clock: for back-off and linger.
    """

    def __init__(
        self,
        sinks: Mapping[str, GroupSink],
        processor: Processor[object],  # type: ignore[type-var]
        side: TakeSide,
        waiter: Waiter,
        *,
        batch_bytes: int,
        linger_s: float,
        stopping: Callable[[], bool],
        waiting_for: Callable[[str], None],
        say: Callable[[str, str], None],
        troubled: Callable[[str, str], None] = lambda _name, _trouble: None,
        clock: Clock | None = None,
    ) -> None:
        self._sinks = dict(sinks)
        self._processor = processor
        self._side = side
        self._waiter = waiter
        self._batch_bytes = batch_bytes
        self._linger_s = linger_s
        self._stopping = stopping
        self._waiting_for = waiting_for
        self._say = say
        self._troubled = troubled
        self._clock = clock or SystemClock()
        self._failures = 0
        self._rows = 0
        self._body_bytes = 0
        self._aside: list[tuple[int, str]] = []
        self._mark = ("", 0)
        self._losses = Losses(say, self._clock)
        self._lost = (0, 0)
        self._size_bytes = 0
        self._refusals = side.refusals()
        self.retry_at_s = 0.0

    @property
    def in_flow(self) -> bool:
        """True when the last transaction was large: more is likely to be on its way."""
        return self._size_bytes * _FLOW_SHARE >= self._batch_bytes

    def step(self) -> bool:
        """Delivers what waits, up to one transaction. True when something was delivered.

        Afterwards `retry_at_s` is when a failed target is to be tried again (monotonic), 0 when it did not fail.
        """
        self._make_way()
        if self.retry_at_s:
            if self._clock.monotonic_s() < self.retry_at_s:
                return False
            self.retry_at_s = 0.0
            self._side.come_back()
        transaction = self._side.transaction()
        transaction.begin()
        try:
            delivered = self._carry_out(transaction)
        except BaseException:
            if transaction.state == "OPEN":
                transaction.rollback()
            transaction.close()
            raise
        transaction.close()
        if delivered:
            self._size_bytes = transaction.size_bytes
        self._say_lost()
        return delivered

    def end(self) -> None:
        """Nothing is delivered any more: says what was given up and is not said yet."""
        self._losses.tick(last=True)

    def tick(self) -> None:
        """Lets sinks roll by time, and commits what that changed in their journals."""
        self._losses.tick()
        before_ms = self._side.delivered_before_ms()
        for member in self._sinks.values():
            try:
                if before_ms:
                    member.sink.caught_up(before_ms)
                if member.sink.tick():
                    self._side.store_sequence(member.sink.flush())
                    member.sink.committed()
            except RetryLater as failure:
                member.sink.rolled_back()
                self._fail(member, failure)
            self._troubled(member.name, member.sink.trouble())

    def _carry_out(self, transaction: TakeTransaction) -> bool:
        failure: RetryLater | None = None
        self._mark = transaction.mark
        order = self._processor.order()
        for name in order:
            member = self._sinks[name]
            try:
                if not self._fill(transaction, member):
                    transaction.commit()  # frames without rows only, or nothing at all
                    return False
                member.aside.prepare(self._mark)
                if member.sink.wants_ahead and (batch := transaction.ahead()) is not None:
                    member.sink.ahead(batch)
                # Before the flush, in which a sink's journal says all that the commit will say.
                booked = (self._rows, self._body_bytes, sum(rows for rows, _ in self._aside))
                transaction.book(name, *booked)
                member.tied.announce(self._mark, transaction.rows, *booked[1:])
                transaction.sequence = member.sink.flush()
            except RetryLater as problem:
                failure = problem
                transaction.put_back()
                member.sink.rolled_back()
                member.aside.rolled_back()
                member.tied.withdraw()
                member.counters.add("EventWriteFail")
                self._processor.failed(name)
                continue
            # A put that is refused from here on may not have seen what this commit makes room for.
            self._refusals = self._side.refusals()
            transaction.commit()
            # Dying here: what was set aside is where it belongs by the take commit, or is brought there. So are counts.
            member.tied.count()
            member.aside.committed()
            member.sink.committed()
            self._say_aside(member)
            self._processor.delivered(name)
            self._recovered()
            return True
        transaction.rollback()
        if failure is not None:
            self._fail(self._sinks[order[-1]], failure)
        return False

    def _fill(self, transaction: TakeTransaction, member: GroupSink) -> int:
        """Takes and delivers until the transaction is large enough or nothing more comes; rows delivered."""
        deadline_s = came_s = 0.0
        self._rows = self._body_bytes = 0
        self._aside.clear()
        counters = member.counters
        while transaction.size_bytes < self._batch_bytes and not member.aside.ends_transaction:
            batch = transaction.take()
            if batch is not None:
                self._deliver(member, batch)
                came_s = 0.0
                continue
            if not transaction.rows or not self._linger_s or self._stopping() or transaction.crowded:
                break
            if self._side.refusals() != self._refusals:
                break  # a put waits for the room that this commit makes
            now_s = self._clock.monotonic_s()
            deadline_s = deadline_s or now_s + self._linger_s
            came_s = came_s or now_s
            many = transaction.size_bytes >= _MANY_BYTES
            if now_s >= deadline_s or (many and now_s - came_s >= _QUIET_S):
                break
            self._side.sleeping(True)
            if not transaction.more and self._side.refusals() == self._refusals:
                self._waiter.wait(min(deadline_s - now_s, _QUIET_S))
            self._side.sleeping(False)
        if not transaction.rows:
            counters.add("BatchEmptyCount")
        else:
            counters.add("EventDrainAttemptCount", transaction.rows)
            counters.add("BatchCompleteCount" if transaction.size_bytes >= self._batch_bytes else "BatchUnderflowCount")
        return transaction.rows

    def _deliver(self, member: GroupSink, batch: EventBatch) -> None:
        try:
            member.sink.deliver(batch)
        except Refused as refusal:
            self._set_aside(member, batch, refusal)
        else:
            self._rows += batch.rows
            self._body_bytes += batch.body_bytes

    def _set_aside(self, member: GroupSink, batch: EventBatch, refusal: Refused) -> None:
        """The rows that are refused for good go to a file; the others are delivered."""
        if not refusal.rows and batch.rows > 1:
            half = batch.rows // 2
            self._deliver(member, batch.slice(0, half))
            self._deliver(member, batch.slice(half))
            return
        wanted = np.ones(batch.rows, np.bool_)
        wanted[list(refusal.rows or (0,))] = False
        bad = batch.filter(pa.array(~wanted))
        try:
            member.aside.add(bad, str(refusal), self._mark)
        except OSError as problem:
            raise RetryLater(
                f"{events_are(bad.rows)} refused ({refusal}) and can't be set aside in {member.aside.place}: "
                f"{problem.strerror}"
            ) from problem
        self._aside.append((bad.rows, str(refusal)))
        rest = batch.filter(pa.array(wanted))
        if rest.rows:
            self._deliver(member, rest)

    def _say_aside(self, member: GroupSink) -> None:
        for rows, reason in self._aside:
            self._say("error", f"{events_are(rows)} set aside in {member.aside.place}: {reason}")

    def _make_way(self) -> None:
        expired, dropped = self._side.make_way()
        if not (expired or dropped):
            return
        counters = next(iter(self._sinks.values())).counters
        counters.add("rows_expired", expired)
        counters.add("rows_dropped", dropped)
        if expired:
            self._losses.add("they were in the channel for longer than its maxAge", expired)
        if dropped:
            self._losses.add("the channel was full and its onFull is dropOldest", dropped)

    def _say_lost(self) -> None:
        lost = (self._side.lost_bytes, self._side.lost_rows)
        if lost != self._lost:
            self._lost = lost
            self._say(
                "error",
                f"the channel was damaged: {lost[0]} bytes that are gone or fail their checks and {lost[1]} events "
                f"whose file is gone or damaged were skipped since this worker started",
            )

    def _fail(self, member: GroupSink, failure: RetryLater) -> None:
        self._failures += 1
        wait_s = failure.after_s or min(self._failures * _BACKOFF_STEP_S, _BACKOFF_MOST_S)
        self.retry_at_s = self._clock.monotonic_s() + wait_s
        self._waiting_for(str(failure))
        self._say("warning", f"{failure}; trying again")
        if not self._side.alone:
            self._side.let_go(self._releasing)

    def _recovered(self) -> None:
        if self._failures:
            self._failures = 0
            self._waiting_for("")
            self._say("info", "the target takes events again")
        if not self._side.alone:
            self._side.give_back(self._releasing)

    def _releasing(self) -> None:
        for member in self._sinks.values():
            member.sink.releasing()
