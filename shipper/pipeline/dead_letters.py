"""Dead letters: rows that a sink refuses for good, put into another channel, with headers that say why.

Each row is in that channel exactly once, whoever dies when: the put is promised before the take commit and kept behind
it (`docs/decisions/0028-dead-letters.md`, `ring/promise.py`). Nobody sees it before the take is stored.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from shipper.batch.batch import EventBatch
from shipper.channels.channel import PutSide, PutTransaction
from shipper.clock import Clock
from shipper.errors import RetryLater
from shipper.pipeline.aside import Mark
from shipper.pipeline.wording import events_are
from shipper.shared.take_mark import TakeMark

#: Headers of a dead letter: why it was refused, by which sink, from which channel it came, and when (ms, as text).
REASON, SINK, CHANNEL, TIMESTAMP = (f"deadLetter.{name}" for name in ("reason", "sink", "channel", "timestamp"))


class DeadLetters:
    """The dead letters of one sink.

    Args:
        channel: name of the channel that they go into.
        side: this worker's put side of it.
        clock: for the time of each.
        taken: what a take commit is called that the transaction with this mark will make.
        sink, source: names of the sink, and of the channel that it takes from.
        capacity: rows that the channel can hold at all; None when only its bytes bound it.
    """

    def __init__(
        self,
        channel: str,
        side: PutSide,
        clock: Clock,
        *,
        taken: Callable[[Mark], TakeMark],
        sink: str,
        source: str,
        capacity: int | None = None,
    ) -> None:
        self._channel = channel
        self._side = side
        self._clock = clock
        self._taken = taken
        self._sink = sink
        self._source = source
        self._capacity = capacity
        self._added: list[tuple[EventBatch, str]] = []
        self._put: PutTransaction | None = None

    @property
    def place(self) -> str:
        """Where a person finds them."""
        return f"channel {self._channel}"

    @property
    def ends_transaction(self) -> bool:
        """All letters of a transaction are of one frame, so they make one frame again."""
        return bool(self._added)

    def add(self, batch: EventBatch, reason: str, mark: Mark) -> None:
        """Takes refused rows of the frame under way."""
        self._added.append((batch, reason))

    def prepare(self, mark: Mark) -> None:
        """Writes them behind the tail, where nobody looks, and down what the put page will say of them.

        Dying in here: the take never was, so what is there is forgotten, and the rows come again.

        Raises:
            RetryLater: the channel has no room, or the run directory has none; nothing counts then.
        """
        if not self._added:
            return
        letters = self._letters()
        self._put = self._side.transaction()
        self._put.begin()
        if not self._put.put(self._channel, letters):
            raise RetryLater(self._no_room(letters))
        try:
            self._put.promise(self._taken(mark))
        except OSError as problem:
            raise RetryLater(
                f"{events_are(letters.rows)} refused, and what is to become of that can't be written down in the run "
                f"directory: {problem.strerror}"
            ) from problem
        # Dying before the take is stored: forgotten. After it: kept, by the next start.

    def committed(self) -> None:
        """The take is stored: makes the letters visible. Dying before this: the next start does it."""
        if self._put is not None:
            self._put.commit()
            self._put.close()
        self._put = None
        self._added.clear()

    def rolled_back(self) -> None:
        """The rows come again; what was written for them is above the tail."""
        if self._put is not None:
            self._put.rollback()
            self._put.close()
        self._put = None
        self._added.clear()

    def _letters(self) -> EventBatch:
        """One batch of all that was added: parts of one frame, so they have the same columns and constants."""
        first = self._added[0][0]
        records = pa.concat_batches([batch.records for batch, _ in self._added])
        letters = EventBatch(records, trim=first.trim, constants=first.constants)
        reasons: str | pa.StringArray = self._added[0][1]
        if len(self._added) > 1:
            said = np.array([reason for _, reason in self._added], object)
            reasons = pa.array(np.repeat(said, [batch.rows for batch, _ in self._added]), pa.string())
        about = {SINK: self._sink, CHANNEL: self._source, TIMESTAMP: str(self._clock.now_ms())}
        for name, value in about.items():
            letters = letters.with_header(name, value)
        return letters.with_header(REASON, reasons)

    def _no_room(self, letters: EventBatch) -> str:
        why = self._side.full_because(self._channel)
        said = f"{events_are(letters.rows)} refused, and the dead-letter channel {self._channel} takes none: {why}"
        if self._capacity is not None and letters.rows > self._capacity:
            said += f". So many at once will never fit: give it a capacity of {letters.rows} or more"
        return said
