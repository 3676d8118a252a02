"""The contract of a source: six verbs. It reads; it never sees a process, a ring, a transaction or a retry.

::

    open(context)                 acquire files, sockets; refuse with ComponentFailed what can't work
    position(origins)             go back: what lies behind these ends was not committed; read it again
    poll(wait_s) -> batch | None  the next rows; waits at most `wait_s` for them through `context.wait`
    committed(batch)              every required channel has the rows of the last polled batch
    durable(origins)              their rows survive the death of the machine: write down that they were read
    close()                       give everything back; called once, also after an error

`poll` is not called again before the batch of the last call was committed, or `position` / `refused` was called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Generic, Protocol, TypeVar

from shipper.batch.batch import EventBatch, Origin
from shipper.clock import Clock
from shipper.config.field import Options
from shipper.metrics.counters import Counters

O = TypeVar("O", bound=Options)


class Waiter(Protocol):
    """How a source sleeps without missing the word to stop."""

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        """Sleeps until one of `fds` can be read, the worker is rung, or the time is over; the readable ones."""

    @property
    def fileno(self) -> int:
        """Becomes readable when the worker is rung: for sources that run an event loop of their own."""


@dataclass(frozen=True)
class SourceContext:
    """What a source may use of its worker.

    Attributes:
        name: the component's name in the file (`r1`).
        agent, file: whose component it is: the agent's name, and the real path of its first configuration file.
        worker, workers: which of how many workers of this source this is; a tail reads the files whose hash says so.
        rows_max: no batch may have more rows (the smallest explicit capacity of the source's channels).
        batch_bytes: aim for batches of this many bytes of body (8 MiB).
        positions: the last committed origin of each stream, as the channels have it.
        tells_durable: `durable` is called for every origin, after `committed`. False: what is committed is as safe as
            it will ever be.
        forget: `forget(stream)`: that stream will never come again, its position need not be kept.
        state_dir: where this source may keep files of its own.
        strict: True when `strictBatch` makes Flume's batchSize literal.
        room: memory for a block of at most so many bytes, where it costs the channel no copy; None when there is none
            now. It is the source's until it asks for the next, or a batch of its was committed; only a batch of the
            whole block, from its first byte on, stays where it is.
        awaited_room: the same for who has a whole block to read now: where the channel is full, it waits a moment.
        say: one line for the person, the same text at most once in 30 s: `say("warning", "...")`.
    """

    name: str
    clock: Clock
    waiter: Waiter
    counters: Counters
    state_dir: Path
    worker: int = 0
    workers: int = 1
    rows_max: int = 1 << 20
    batch_bytes: int = 8 << 20
    strict: bool = False
    positions: Mapping[str, Origin] = field(default_factory=dict)
    tells_durable: bool = False
    forget: Callable[[str], None] = lambda stream: None
    room: Callable[[int], memoryview | None] = lambda block_bytes: None
    awaited_room: Callable[[int], memoryview | None] = lambda block_bytes: None
    say: Callable[[str, str], None] = lambda level, line: None
    agent: str = ""
    file: str = ""


class Source(ABC, Generic[O]):
    """Base of all sources.

    Class attributes:
        Options: the dataclass of its options.
        aliases: every name that `type` may have, in lower case; Flume's class name among them.
        replayable: True when `position` can go back, so that a restart neither loses nor repeats.
        awaits_durable: True when `committed` is to be called only once the rows are on disk in every channel that keeps
            them there, because it tells a peer so, or throws something away. False when it does nothing of the kind.
        light: True when several of its kind may share one worker.
        counted: the Flume counters that this source fills (`flume.md` 8.1); empty = Flume shows no entry.
    """

    Options: ClassVar[type[Options]]
    aliases: ClassVar[tuple[str, ...]]
    replayable: ClassVar[bool] = False
    awaits_durable: bool = True
    light: ClassVar[bool] = False
    listens: ClassVar[bool] = False
    counted: ClassVar[tuple[str, ...]] = ()

    def __init__(self, options: O) -> None:
        self.options = options

    @abstractmethod
    def open(self, context: SourceContext) -> None:
        """Acquires what the source reads from.

        Raises:
            ComponentFailed: it can't work now; the message says what, where and what to do. The supervisor retries.
        """

    @abstractmethod
    def poll(self, wait_s: float) -> EventBatch | None:
        """The next batch, or None when nothing came within `wait_s` seconds or the worker was rung."""

    def position(self, origins: Sequence[Origin]) -> None:
        """Goes back to the starts of `origins`: their rows did not reach the channels."""

    def committed(self, batch: EventBatch) -> None:
        """The rows of the last polled batch are in all required channels; acknowledge them, move the side files."""

    def durable(self, origins: Sequence[Origin]) -> bool:
        """All rows up to the ends of `origins` survive the death of the machine, behind every required channel.

        A source that can replay writes down, and syncs, that they need not be read again: the next start is told the
        channels' positions only while the channels are there. Nothing else that it keeps on disk may be ahead of this.

        Returns:
            True when all that it was ever told is written down and synced. Until then, the next start without the
            channels is said to repeat these rows.
        """
        return False

    def refused(self, batch: EventBatch, reason: str) -> bool:
        """The channels had no room within `keep-alive`.

        Returns:
            True to have the same batch tried again; False when the source has told its peer and gave the rows up.
        """
        return True

    def lag_bytes(self) -> int:
        """Bytes that are known to wait behind the position; 0 when the source can't know."""
        return 0

    def trouble(self) -> str:
        """What it would read and can't now, a sentence for the person; "" when there is nothing of the kind.

        It goes on with all the rest: what stops it is a ComponentFailed.
        """
        return ""

    def stop_reading(self) -> bool:
        """The agent stops: from here on nothing more is taken in.

        Returns:
            True when `poll` is to be called until it returns None, because what was taken in can't be read again and
            is still to be handed out. False when there is nothing, or the next start reads it again.
        """
        return False

    def finished(self) -> bool:
        """True when nothing will ever come again (a sequence that reached its end)."""
        return False

    @abstractmethod
    def close(self) -> None:
        """Gives back what `open` acquired. Safe after a failed `open`, and twice."""
