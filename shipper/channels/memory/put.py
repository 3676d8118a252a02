"""The put side of memory channels: one source worker's transactions into all its channels at once.

A transaction stages frames through the putters (`putter.py`) of all channels that a batch goes to; its commit is one
stored word of the worker's put page, so either every channel has the rows or none has. Rows of file channels come this
way too: from their lanes they go into the logs, and a put is `safe` once it is in all that it is awaited in.

The file is long because a transaction and the side that commits it change together.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from shipper.api import Clock
from shipper.batch.batch import EventBatch, Origin
from shipper.channels.channel import PutOptions, PutTransaction
from shipper.channels.memory import last_put, overflow
from shipper.channels.memory.channel import is_second, sink_of
from shipper.channels.memory.putter import Logged, Putter
from shipper.errors import ComponentFailed, TransactionMisused
from shipper.ring import promise as promises
from shipper.ring.lane import Lane
from shipper.ring.layout import LaneState, lane_key
from shipper.ring.producer import Producer
from shipper.ring.puts import NO_LANE, PutPage, PutState
from shipper.ring.wait import Bell
from shipper.shared.segment import Segment
from shipper.shared.take_mark import TakeMark
from shipper.shared.tally import Intake, Offers, PutTally
from shipper.shared.words import full_fence

if TYPE_CHECKING:  # most agents have no channel that spills
    from shipper.channels.file.view import LogView
    from shipper.channels.memory.spilling import SpillingPutter, SpillOptions

    AnyPutter = Putter | SpillingPutter


class MemoryPut(PutTransaction):
    """Rows of one source worker into its memory channels, all or none.

    Args:
        side: whose transaction it is.
    """

    def __init__(self, side: PutSide) -> None:
        super().__init__()
        self._side = side
        self._number = side.number + 1
        self._origin = (NO_LANE, 0)
        self._used: list[AnyPutter] = []
        self._full = False
        self._intake = Intake()
        self._offers: dict[str, Offers] = {}
        self._given_up: tuple[Origin, ...] = ()
        self._promise: Path | None = None
        self.dropped: dict[str, int] = {}

    def note(self, intake: Intake) -> None:
        """Says what the source has read for this put: counted when it is committed."""
        self._intake = intake

    def refuse(self, channel: str, rows: int) -> None:
        """Says that rows for an optional channel are given up: counted when this is committed."""
        self._offers[channel] = Offers(rows, refused=rows)

    def put(self, channel: str, batch: EventBatch) -> bool:
        """Stages rows for a channel; False when it has no room now: roll back, wait, begin again."""
        self._must_be("OPEN", "put")
        putter = self._side.putters[channel]
        if putter not in self._used:
            self._used.append(putter)
        staged = putter.stage(batch, self._number)
        if staged is None:
            if putter.gives_up():
                self.dropped[channel] = batch.rows
                self._offers[channel] = Offers(batch.rows, batch.rows)
                self._given_up = self._given_up or tuple(batch.origins)
                return True
            putter.want_room(batch)
            self._full = True
            return False
        self._offers[channel] = Offers(batch.rows)
        if batch.origins and self._origin[0] == NO_LANE:
            producer, position = staged
            self._origin = (self._side.index_of(producer), position)
        return True

    def promise(self, take: TakeMark) -> None:
        self._must_be("OPEN", "promise")
        following = self._side.following(self._number, *self._origin, self._intake, self._offers)
        self._promise = promises.path_of(self._side.page.segment.path)
        promises.write(self._promise, promises.Promise(take, *following))

    def do_commit(self) -> None:
        if self._full:
            raise TransactionMisused("commit called after a put that found no room: roll back instead")
        if not self._offers and not self._intake.rows:
            return
        if self._given_up and self._origin[0] == NO_LANE:
            # Nothing of the put is in any channel. Dying behind this line: the note names a put that never was.
            self._origin = self._side.write_note(self._number, self._given_up), 0
        # Dying before the page's word is stored: no channel has the rows, the source reads them again.
        # Dying after it: every channel has them, and the frame named here tells the next worker where to go on.
        self._side.store(self._number, *self._origin, self._intake, self._offers)
        if self._promise is not None:
            # Dying before this: the page has the put, and a promise of it is over.
            self._promise.unlink(missing_ok=True)
        for putter in self._used:
            putter.committed()
        full_fence()
        for putter in self._used:
            putter.wake()

    def do_rollback(self) -> None:
        if self._promise is not None:
            # First: another put may be written where this one stands, and made to depend on another take.
            self._promise.unlink(missing_ok=True)
        for putter in self._used:
            putter.forget()


class PutSide:
    """A source worker's way into its memory channels.

    Args:
        page: its put page, taken over by this process.
        putters: by channel name.
        indices: index in the page of each producer of the putters.

    Attributes:
        number: of the last committed put.
        intake: what the source has read for all puts that are committed.
    """

    def __init__(self, page: PutPage, putters: Mapping[str, AnyPutter], indices: Mapping[int, Producer]) -> None:
        self.page = page
        self.putters = dict(putters)
        self._producers = dict(indices)
        self._indices = {id(producer): index for index, producer in indices.items()}
        state, tally = page.tallied()
        self.number = state.number
        self.intake = tally.intake
        self._awaited: list[AnyPutter] = []
        offers = list(tally.offers) + [Offers()] * (max(indices, default=-1) + 1 - len(tally.offers))
        self._offers = offers
        # A channel's offers stand beside the first of its lanes.
        self._counts_at = {name: self._indices[id(putter.producers[0])] for name, putter in putters.items()}
        # Lanes that the page knows and this configuration does not: their state is kept, nothing is put into them.
        self._states = list(state.lanes) + [LaneState()] * (max(indices, default=-1) + 1 - len(state.lanes))

    def transaction(self) -> MemoryPut:
        """A new transaction. One at a time."""
        return MemoryPut(self)

    def room(self, block_bytes: int) -> memoryview | None:
        """Memory in a channel for a block that a source is about to read; None when there is none now, or no use."""
        return next(iter(self.putters.values())).room(block_bytes)

    @property
    def room_comes(self) -> str:
        """The channel that had no `room` only because its sinks have not taken enough yet; "" = waiting is no use."""
        name, putter = next(iter(self.putters.items()))
        return name if putter.room_comes else ""

    @property
    def block_bytes_most(self) -> int:
        """How large a block of a source may be to be put at once into any of the channels, with room for more."""
        return min(putter.block_bytes_most for putter in self.putters.values())

    def full_because(self, channel: str) -> str:
        """Which bound of a channel the last put met that had no room."""
        return self.putters[channel].full_because

    def index_of(self, producer: Producer) -> int:
        """Index of a producer's lane in the page."""
        return self._indices[id(producer)]

    def store(
        self, number: int, origin_lane: int, origin_position: int, intake: Intake, offers: Mapping[str, Offers]
    ) -> None:
        """Commits put `number`, its tally with it: the one stored word. Called by the transaction."""
        state, tally = self.following(number, origin_lane, origin_position, intake, offers)
        self.intake, self._offers = tally.intake, list(tally.offers)
        self.page.commit(state, tally)
        self.number = number

    def following(
        self, number: int, origin_lane: int, origin_position: int, intake: Intake, offers: Mapping[str, Offers]
    ) -> tuple[PutState, PutTally]:
        """What the page says once put `number` is committed."""
        states, counts = self._states, list(self._offers)
        for index, producer in self._producers.items():
            states[index] = producer.state
        for channel, more in offers.items():
            index = self._counts_at[channel]
            counts[index] = Offers(*map(int.__add__, counts[index], more))
        tally = PutTally(self.intake.plus(intake), tuple(counts))
        return PutState(number, origin_lane, origin_position, tuple(states)), tally

    def write_note(self, number: int, origins: Sequence[Origin]) -> int:
        """Writes down the origins of a put that is in no channel; what the page names in place of a lane."""
        return last_put.write_note(self.page, number, origins)

    def last_origins(self) -> list[Origin]:
        """The origins that the last committed put carried."""
        lanes = {index: producer.lane for index, producer in self._producers.items()}
        # A channel's directory has its name, in which slashes may stand.
        folders = {p.producers[0].lane.segment.path.parents[name.count("/") + 1] for name, p in self.putters.items()}
        return last_put.last_origins(self.page, folders, lanes)

    def sleeping(self, asleep: bool) -> None:
        """Says on every lane whether this worker waits for room, or until its put is safe."""
        for putter in self.putters.values():
            putter.sleeping(asleep)

    def awaits(self, channels: Sequence[str]) -> None:
        """Says which channels have to have a put on disk before it is `safe`."""
        self._awaited = [self.putters[name] for name in channels]

    @property
    def safe(self) -> bool:
        """True when the last put is on disk in all channels that it is awaited in."""
        return all(putter.safe for putter in self._awaited)

    def close(self) -> None:
        """Lets go of everything; what was committed stays in the segments."""
        for putter in self.putters.values():
            putter.close()
        self.page.close()


@dataclass(frozen=True)
class LaneRoute:
    """Where a lane lies and who is at its ends: what a source worker needs to know of it."""

    path: Path
    bell: Path


def open_put_side(
    page_path: Path,
    channels: Mapping[str, tuple[PutOptions, Sequence[LaneRoute]]],
    rivals: Mapping[str, Sequence[tuple[Path, Path]]],
    clock: Clock | None = None,
    logs: Mapping[str, LogView] = MappingProxyType({}),
    seconds: Mapping[str, Sequence[LaneRoute]] = MappingProxyType({}),
) -> PutSide:
    """Opens a source worker's side of its channels, as the worker before it left them.

    Args:
        page_path: of the worker's put page, in which the supervisor registered all lanes.
        channels: by name, the options and this worker's lanes.
        rivals: by channel name, (lane, put page) of the other source workers that put into it.
        clock: for the time that frames carry where a channel has a `maxAge`.
        logs: by channel name, its log; of those whose events in it count for a bound.
        seconds: by name of a channel that spills, this worker's lanes to its writer.

    Raises:
        ComponentFailed: another process still has the role.
    """
    page = PutPage.ensure(page_path)
    if not page.take_over():
        raise ComponentFailed(f"{page_path} is in use: another worker of the same source is still alive")
    indices: dict[int, Producer] = {}

    def putter(name: str, options: PutOptions, lanes: Sequence[LaneRoute], second: bool, log: Logged | None) -> Putter:
        producers = []
        for route in lanes:
            index = page.index(lane_key(name, route.path.name))
            producer = Producer(Lane.open(route.path), page.lane(index))
            if not producer.take_over():
                raise ComponentFailed(f"{route.path} is in use: its producer is still alive")
            if producer.drained:
                overflow.sweep(producer.lane)
            indices[index] = producer
            producers.append(producer)
        beside = [rival for rival in rivals.get(name, ()) if name not in seconds or is_second(rival[0]) == second]
        others = [_rival(name, *rival) for rival in beside]
        bounded = options.capacity is not None or options.slots is not None
        gate = _gate(lanes[0].path.parent, "gate2" if second else "gate") if others and bounded else None
        return Putter(name, options, producers, [Bell(route.bell) for route in lanes], others, gate, clock, log)

    putters: dict[str, AnyPutter] = {}
    for name, (options, lanes) in channels.items():
        if name not in seconds:
            putters[name] = putter(name, options, lanes, False, logs.get(name))
            continue
        from shipper.channels.memory.spilling import DiskOptions, SpillingPutter

        spilling, log = cast("SpillOptions", options), logs[name]
        memory = putter(name, spilling, lanes, False, None)
        disk = putter(name, DiskOptions.of(spilling), seconds[name], True, log)
        sinks = [sink_of(route.path) for route in seconds[name]]
        putters[name] = SpillingPutter(spilling, memory, disk, sinks, log, clock)
    return PutSide(page, putters, indices)


def _rival(channel: str, lane_path: Path, page_path: Path) -> tuple[Lane, PutPage, int]:
    page = PutPage.ensure(page_path)
    return Lane.open(lane_path), page, page.index(lane_key(channel, lane_path.name))


def _gate(directory: Path, name: str) -> Segment:
    path = directory / name
    try:
        return Segment.open(path)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            return Segment.create(path, 4096, lambda _: None)
        return Segment.open(path)
