"""The left half of the walk: a polled batch goes through interceptors and selector into the channels.

::

    source.poll() -> intercept ... -> route -> begin, put ..., commit -> source.committed()

One put transaction takes the batch into all its required channels, or into none. Optional channels come afterwards,
each by itself: what they have no room for is dropped there and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shipper.batch.batch import EventBatch
from shipper.channels.channel import PutSide
from shipper.clock import Clock, SystemClock
from shipper.interceptors.interceptor import Interceptor
from shipper.metrics.counters import Counters
from shipper.pipeline.losses import Losses
from shipper.selectors.selector import Route, Selector
from shipper.shared.tally import Intake

_ROOM_SLEEP_S = 0.05
#: For so long a block that is not read yet is kept waiting for room; then it is read all the same, and can be refused.
_ROOM_WAIT_S = 0.5
#: What a source finds out about what it reads, in the order of `Intake`; what it gives up itself follows.
_FINDINGS = ("truncated_lines", "decode_errors", "files_lost")


class Ingest:
    """The way of one source worker's batches into its channels.

    Args:
        interceptors: in the order of the file.
        selector: routes what they leave.
        side: the worker's put side.
        counters: of the source.
        wait_for_room: sleeps while a channel is full; so many seconds at most.
        rows_max: rows that one put may have.
        keep_alive_s: how long a put waits for room before its source is told.
        stopping: asked while waiting; True ends the wait.
        waiting_for: told the reason while waiting, "" when it is over.
        say: one line for the person.
        clock: for keep-alive.
    """

    def __init__(
        self,
        interceptors: Sequence[Interceptor[object]],  # type: ignore[type-var]
        selector: Selector[object],  # type: ignore[type-var]
        side: PutSide,
        counters: Counters,
        wait_for_room: Callable[[float], object],
        *,
        rows_max: int,
        keep_alive_s: float,
        stopping: Callable[[], bool],
        waiting_for: Callable[[str], None],
        say: Callable[[str, str], None] = lambda level, line: None,
        clock: Clock | None = None,
    ) -> None:
        self._interceptors = tuple(interceptors)
        self._selector = selector
        self._side = side
        self._counters = counters
        self._wait_for_room = wait_for_room
        self._rows_max = rows_max
        self._keep_alive_s = keep_alive_s
        self._stopping = stopping
        self._waiting_for = waiting_for
        self._channels = selector.channels
        self._clock = clock or SystemClock()
        self._begun: EventBatch | None = None
        self._rows_in = 0
        self._routed: tuple[EventBatch, list[Route], Intake] | None = None
        self._dropped = 0  # by channels whose file says so, among the rows that the source's counter says are dropped
        self._found = self._finding = self._findings()
        self._asleep = False
        self._losses = Losses(say, self._clock)

    def put(self, batch: EventBatch) -> bool:
        """Takes a batch into the channels; waits for room, at most `keep_alive_s` for each piece.

        Returns:
            True when all required channels have it. False when one had no room within keep-alive, or when the worker
            is stopping: then no channel has any of the piece, and the source may go back if the batch was one piece.
        """
        if not (reason := self.offer(batch)):
            return True
        deadline_s, rows_in = self.deadline_s(), self._rows_in
        try:
            while not self._stopping() and self._clock.monotonic_s() < deadline_s:
                self._waiting_for(reason)
                self._wait_for_room(_ROOM_SLEEP_S)
                if not (reason := self.offer(batch)):
                    return True
                if self._rows_in != rows_in:
                    deadline_s, rows_in = self.deadline_s(), self._rows_in
        finally:
            self._waiting_for("")
        self.withdraw()
        return False

    def awaited_room(self, block_bytes: int) -> memoryview | None:
        """`PutSide.room` for who has so much to read at once: waits a moment for the sinks to make room for it.

        A block that is read while its channel is full has to wait in memory of its own, and to be copied from there.
        """
        side = self._side
        memory = side.room(block_bytes)
        if memory is not None or not (channel := side.room_comes):
            return memory
        deadline_s = self._clock.monotonic_s() + min(_ROOM_WAIT_S, self._keep_alive_s)
        self._waiting_for(f"room in {channel}: its ring is full")
        self._sleeps(True)  # from here on a sink rings, so it has to be asked for once more before sleeping
        try:
            while (memory := side.room(block_bytes)) is None and side.room_comes:
                if self._stopping() or self._clock.monotonic_s() >= deadline_s:
                    break
                self._wait_for_room(_ROOM_SLEEP_S)
        finally:
            self._sleeps(False)
            self._waiting_for("")
        return memory

    def deadline_s(self) -> float:
        """When a piece that finds no room now has waited long enough (monotonic)."""
        return self._clock.monotonic_s() + self._keep_alive_s

    def offer(self, batch: EventBatch) -> str:
        """Takes a batch into the channels if they have room; "" when all required channels have it, else why not.

        A batch with more rows than its channels hold at once goes in pieces. The same batch offered again goes on
        where it stood. After a refusal the sinks know that somebody sleeps, and will ring: until the batch is in, or
        `withdraw` is called.
        """
        counters = self._counters
        if batch is not self._begun:
            self._begun, self._rows_in, self._routed = batch, 0, None
            counters.add("EventReceivedCount", batch.rows)
            counters.add("AppendBatchReceivedCount")
        while True:
            rows = min(batch.rows - self._rows_in, self._rows_max)
            piece = batch if rows == batch.rows else batch.slice(self._rows_in, rows)
            # Only the last piece of a batch that is larger than its channel carries the origins: before it is in,
            # the source has to read all of it again. (Sources that can replay keep to rows_max, so they have one.)
            last = self._rows_in + rows == batch.rows
            if reason := self._put_piece(piece if last else piece.with_origins(())):
                if self._asleep:
                    return reason
                # Between saying that it sleeps and sleeping it must look once more, or a wake-up could be missed.
                self._sleeps(True)
                continue
            self._routed = None
            self._found = self._finding
            self._rows_in += rows
            counters.add("EventAcceptedCount", rows)
            counters.add("body_bytes", piece.body_bytes)
            if last:
                break
        counters.add("AppendBatchAcceptedCount")
        self._begun = None
        self._sleeps(False)
        return ""

    def tick(self, *, last: bool = False) -> None:
        """Says what was given up and is due to be said; all of it when nothing is put any more."""
        self._losses.tick(last=last)

    @property
    def safe(self) -> bool:
        """True when the last put is on disk in all required channels that promise that."""
        return self._side.safe

    def listen(self, listens: bool) -> None:
        """Has the worker rung when the last put may be safe. Ask once more before sleeping."""
        self._sleeps(listens)

    def withdraw(self) -> None:
        """The batch that was refused is not offered again now; counted as a put that failed."""
        self._sleeps(False)
        self._counters.add("ChannelWriteFail")

    def _sleeps(self, asleep: bool) -> None:
        if asleep != self._asleep:
            self._asleep = asleep
            self._side.sleeping(asleep)

    def _put_piece(self, piece: EventBatch) -> str:
        """Puts one piece; "" when it is in, else why it is not. Interceptors and selector see a piece once."""
        if self._routed is None:
            batch = piece
            for interceptor in self._interceptors:
                batch = interceptor.intercept(batch)
            routes = self._selector.route(batch) if batch.rows else []
            self._routed = batch, routes, self._intake(piece, batch.rows, routes)
        batch, routes, intake = self._routed
        required = [route for route in routes if route.required and route.batch.rows]
        if required:
            if reason := self._try(required, intake):
                return reason
        elif batch.origins:
            if reason := self._remember(batch.slice(0, 0), intake):
                return reason
        elif intake.rows:
            self._try((), intake)
        # Dying from here on: what was not yet offered to an optional channel never is, and is not counted as offered.
        for route in routes:
            wanted = not route.required and route.batch.rows
            if wanted and self._try([Route(route.channel, route.batch.with_origins(()))]):
                self._refuse(route.channel, route.batch.rows)
        return ""

    def _intake(self, piece: EventBatch, kept: int, routes: Sequence[Route]) -> Intake:
        """What is to be counted with the put of a piece: all that was found since the last one goes with it."""
        found, before = self._findings(), self._found
        self._finding = found
        unrouted = max(kept - sum(route.batch.rows for route in routes), 0)
        return Intake(piece.rows, piece.body_bytes, kept, unrouted, *map(int.__sub__, found, before))

    def _findings(self) -> tuple[int, ...]:
        given_up = self._counters.get("rows_dropped") - self._dropped
        return *map(self._counters.get, _FINDINGS), given_up

    def _refuse(self, channel: str, rows: int) -> None:
        transaction = self._side.transaction()
        transaction.begin()
        transaction.refuse(channel, rows)
        transaction.commit()
        transaction.close()
        self._counters.add("rows_optional_dropped", rows)
        self._losses.add(f"an optional channel, {channel}, is full, and is not waited for", rows)

    def _remember(self, nothing: EventBatch, intake: Intake) -> str:
        """Nothing is left of the rows, but that they were read must be remembered: an empty frame carries the origin.

        Any channel will do; the first may be one that is full because nobody takes from it.
        """
        reasons = []
        for channel in self._channels:
            if not (reason := self._try([Route(channel, nothing)], intake)):
                return ""
            reasons.append(reason)
        return reasons[0]

    def _try(self, routes: Sequence[Route], intake: Intake | None = None) -> str:
        """Puts the rows into all channels of `routes`; "" when they are in, else why none of them has any."""
        transaction = self._side.transaction()
        transaction.begin()
        if intake is not None:
            transaction.note(intake)
        for route in routes:
            if not transaction.put(route.channel, route.batch):
                transaction.rollback()
                transaction.close()
                return f"room in {route.channel}: {self._side.full_because(route.channel)}"
        transaction.commit()
        transaction.close()
        for channel, rows in transaction.dropped.items():
            if rows:
                self._counters.add("rows_dropped", rows)
                self._dropped += rows
                self._losses.add(f"{channel} is full and its onFull is dropNewest", rows)
        return ""
