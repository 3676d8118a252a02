"""Assembling: from a worker's spec to live objects, in the worker's own process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from shipper.channels.channel import Channel, TakeSide
from shipper.channels.memory.put import LaneRoute, PutSide, open_put_side
from shipper.channels.memory.salvage import Salvage
from shipper.channels.memory.take import TakeRoute
from shipper.channels.memory.take import TakeSide as MemoryTakeSide
from shipper.clock import Clock, SystemClock
from shipper.config.bind import component
from shipper.instance.handover import committed_before
from shipper.instance.letters import settle_letters
from shipper.metrics.block import Entry, State
from shipper.metrics.tied import TiedToTakes, tie_to_puts
from shipper.pipeline.aside import Aside, Mark
from shipper.pipeline.dead_letters import DeadLetters
from shipper.pipeline.deliver import Delivery
from shipper.pipeline.group_sink import GroupSink
from shipper.pipeline.ingest import Ingest
from shipper.pipeline.quarantine import Quarantine
from shipper.shared.take_mark import TakeMark
from shipper.sinks.sink import Sink, SinkContext
from shipper.sources.source import Source, SourceContext, Waiter
from shipper.workers import logs, telling
from shipper.workers.durable_head import DurableHead
from shipper.workers.duty import Duty
from shipper.workers.heads import LeftHead, lane_heads
from shipper.workers.orphans import state_of
from shipper.workers.positions import Positions
from shipper.workers.spec import ChannelSpec, WorkerSpec
from shipper.workers.takes import WorkerTakes

Say = Callable[[str, str], None]

#: Rows that a batch may have when no channel bounds them.
ROWS_MAX = 1 << 20


class SourceDuty(Waiter, Protocol):
    """What a source needs of the worker that it runs in: the whole `Duty`, or a turn in a shared one.

    Attributes:
        sleeps: False where others would have to wait while this source does.
    """

    sleeps: bool

    def wait_for_room(self, timeout_s: float) -> None:
        """Sleeps because a channel is full."""

    def stopping(self) -> bool:
        """True when the supervisor wants anything but to run."""


@dataclass
class SourceParts:
    """What a source worker runs."""

    source: Source[Any]
    side: PutSide
    ingest: Ingest
    positions: Positions
    context: SourceContext

    def close(self) -> None:
        """Closes everything, in order, each even when the one before failed; the last error is raised."""
        self.ingest.tick(last=True)
        with contextlib.ExitStack() as stack:
            for part in (self.side, self.positions, self.source):
                stack.callback(part.close)


@dataclass
class SinkParts:
    """What a sink worker runs, before its sinks are open."""

    sinks: dict[str, Sink[Any]]
    contexts: dict[str, SinkContext]
    side: TakeSide
    run_id: str
    letters: PutSide | None = None

    def close(self) -> None:
        """Lets go of the channels; of the sinks nothing."""
        self.side.close()
        if self.letters is not None:
            self.letters.close()


def source_parts(spec: WorkerSpec, entry: Entry, duty: SourceDuty, say: Say) -> SourceParts:
    """Builds a source worker. Nothing is open yet but the segments; nothing at all when it raises."""
    with contextlib.ExitStack() as undo:
        parts = _source_parts(spec, entry, duty, say, undo)
        undo.pop_all()
        return parts


def _source_parts(
    spec: WorkerSpec, entry: Entry, duty: SourceDuty, say: Say, undo: contextlib.ExitStack
) -> SourceParts:
    assert spec.source is not None and spec.selector is not None
    clock = SystemClock()
    keep_alives, strict, sync_each = [], False, set()
    side, channels = _put_side(spec.page, spec.channels)
    undo.callback(side.close)
    for channel in spec.channels:
        options = channels[channel.name][1]
        keep_alives.append(options.keep_alive_s)
        strict = strict or options.strict_batch
        if channel.logged and not channel.seconds and options.sync_each:
            sync_each.add(channel.name)
    state_dir = Path(spec.common.state_dir) / "sources" / spec.name
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    kind, options = component("source", spec.source.type, spec.source.properties)
    interceptors = []
    for found in spec.interceptors:
        interceptor, interceptor_options = component("interceptor", found.type, found.properties)
        interceptors.append(interceptor(interceptor_options, clock))
    selector_kind, selector_options = component("selector", spec.selector.type, spec.selector.properties)
    selector = selector_kind(selector_options, [c.name for c in spec.channels])
    rows_max = min(rows_max_of(c, *channels[c.name], selector.required_channels) for c in spec.channels)
    side.awaits([name for name in selector.required_channels if name in sync_each])
    logged = {channel.name: channel.logged and not channel.seconds for channel in spec.channels}
    places = [Path(spec.common.run_dir) / "channels" / name for name in selector.required_channels]
    source = kind(options)
    counted, told = telling.counted(side, spec.channels), None
    if source.replayable:
        told = telling.of_source(state_dir, spec, side, counted, selector.required_channels)
        undo.callback(told.close)
    positions = Positions(
        Path(f"{spec.page}.positions"), lane_heads(side, selector.required_channels),
        left=lambda name: LeftHead(name, Path(spec.common.run_dir) / "channels" / name),
        copy=state_dir / f"channel-{spec.index}.kept", run_id=spec.common.run_id, settled_run=spec.common.settled_run,
        # Without a table the logs know; a channel in memory that has lost what it had makes the source read that again.
        logs=(lambda: logs.read_positions(places)) if all(map(logged.get, selector.required_channels)) else None,
        counted=counted, told=told, workers=spec.count,
    )  # fmt: skip
    if side.number > positions.number:
        positions.store(side.last_origins())

    def waiting_for(reason: str) -> None:
        entry.state(State.WAITING_ROOM if reason else State.BUSY, reason)

    tie_to_puts(entry.counters, entry.tied_words, side.intake.rows, side.intake.size_bytes)
    ingest = Ingest(
        interceptors, selector, side, entry.counters,
        duty.wait_for_room, rows_max=rows_max, keep_alive_s=min(keep_alives), stopping=duty.stopping,
        waiting_for=waiting_for, say=say,
    )  # fmt: skip
    context = SourceContext(
        name=spec.name, clock=clock, waiter=duty, counters=entry.counters, state_dir=state_dir, worker=spec.index,
        workers=spec.count, rows_max=rows_max, batch_bytes=min(spec.batch_bytes, side.block_bytes_most),
        strict=strict, positions=positions.streams, tells_durable=True, forget=positions.forget, say=say,
        room=side.room, awaited_room=ingest.awaited_room if duty.sleeps else side.room,
        agent=spec.common.agent, file=spec.common.file,
    )  # fmt: skip
    return SourceParts(source, side, ingest, positions, context)


def sink_parts(spec: WorkerSpec, entries: dict[str, Entry], say: Say) -> SinkParts:
    """Builds the sinks of a worker. Nothing is open yet but the segments that it takes from."""
    clock = SystemClock()
    side = _take_side(spec, clock, say)
    run_id = logs.run_id(spec)
    committed = max(side.sequence(), committed_before(logs.note(spec, spec.sink_id)))
    takes = WorkerTakes(side, Path(spec.page) if spec.letters else None)
    parts = SinkParts({}, {}, side, run_id)
    for found in spec.sinks:
        kind, options = component("sink", found.type, found.properties)
        state_dir = state_of(spec, found)
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        parts.sinks[found.name] = kind(options)
        parts.contexts[found.name] = SinkContext(
            name=found.name, clock=clock, counters=entries[found.name].counters, state_dir=state_dir, say=say,
            worker=spec.index, workers=spec.count, committed_sequence=committed, run_id=run_id,
            boot_id=spec.common.boot_id, board=Path(spec.common.run_dir) / "files" / f"{found.name}.{spec.index}",
            takes=takes,
        )  # fmt: skip
    return parts


def delivery(
    parts: SinkParts, spec: WorkerSpec, entries: dict[str, Entry], duty: Duty, say: Say
) -> tuple[Delivery, DurableHead]:
    """What brings rows to sinks, once these are open.

    A sink may have finished a commit as it was opened. What was set aside in that transaction is kept with it, and its
    counters have it: so only now these are settled, before anything is taken or put.
    """
    assert spec.processor is not None
    clock, side = SystemClock(), parts.side
    settle_letters(Path(spec.common.run_dir), spec.sink_id)
    letters, letter_channels = _put_side(spec.page, spec.letters) if spec.letters else (None, {})
    parts.letters = letters
    if letters is not None:
        telling.of_letters(state_of(spec, spec.sinks[0]), spec, letters)
    members: dict[str, GroupSink] = {}
    generations = side.generations()
    for found in spec.sinks:
        quarantine = Quarantine(
            state_of(spec, found) / "quarantine.jsonl", clock, sink=found.name, channel=spec.channel,
            run_id=parts.run_id, limit_bytes=found.quarantine_bytes,
        )  # fmt: skip
        quarantine.settle(generations.get)
        aside: Aside = quarantine
        if letters is not None and found.dead_letter:
            aside = DeadLetters(
                found.dead_letter, letters, clock, taken=_taken(spec, parts.run_id), sink=found.name,
                source=spec.channel, capacity=letter_channels[found.dead_letter][1].capacity,
            )  # fmt: skip
        counters = entries[found.name].counters
        tied = TiedToTakes(counters, entries[found.name].tied_words)
        tied.settle(generations)
        members[found.name] = GroupSink(found.name, parts.sinks[found.name], counters, aside, tied)
    processor, processor_options = component("processor", spec.processor.type, spec.processor.properties)
    first = next(iter(parts.sinks.values()))

    def waiting_for(reason: str) -> None:
        for entry in entries.values():
            entry.state(State.WAITING_TARGET if reason else State.BUSY, reason)

    made = Delivery(
        members, processor(processor_options, list(members), clock), side, duty,
        batch_bytes=first.batch_bytes or spec.batch_bytes,
        linger_s=first.linger_s if spec.linger_s is None else spec.linger_s, stopping=duty.stopping,
        waiting_for=waiting_for, say=say, troubled=lambda name, trouble: entries[name].trouble(trouble),
    )  # fmt: skip
    heads = lane_heads(letters, [channel.name for channel in spec.letters]) if letters is not None else ()
    head = DurableHead(list(parts.sinks.values()), side, heads)
    side.vouches = head.letters_are_durable
    return made, head


def _put_side(page: str, channels: Sequence[ChannelSpec]) -> tuple[PutSide, dict[str, tuple[Any, Any]]]:
    """A worker's way into channels; the class and the options of each."""
    found = {channel.name: component("channel", channel.type, channel.properties) for channel in channels}
    routes = {
        channel.name: (found[channel.name][1], [LaneRoute(Path(lane.path), Path(lane.bell)) for lane in channel.lanes])
        for channel in channels
    }
    rivals = {c.name: [(Path(lane), Path(page)) for lane, page in c.rivals] for c in channels}
    counted = [c for c in channels if c.seconds or (c.logged and found[c.name][1].capacity is not None)]
    views = {channel.name: logs.view(channel) for channel in counted}
    seconds = {
        c.name: [LaneRoute(Path(lane.path), Path(lane.bell)) for lane in c.seconds] for c in channels if c.seconds
    }
    return open_put_side(Path(page), routes, rivals, logs=views, seconds=seconds), found


def rows_max_of(channel: ChannelSpec, kind: type[Channel[Any]], options: Any, required: Collection[str]) -> int:
    """Rows of one put into that channel, at most."""
    made = kind(channel.name, options)
    alone = len(channel.lanes) == 1 and not channel.rivals and channel.name in required
    bound = made.rows_max_alone if alone else made.rows_max
    return ROWS_MAX if bound is None else min(bound, ROWS_MAX)


def _taken(spec: WorkerSpec, run_id: str) -> Callable[[Mark], TakeMark]:
    """How a promise names the take commit of a transaction of this worker."""

    def taken(mark: Mark) -> TakeMark:
        # Of a channel that spills, a transaction took from a lane in memory, named by its two ends, or from the log.
        board = spec.log.board if spec.log is not None and "--" not in mark[0] else ""
        return TakeMark(spec.channel, mark[0], board, mark[1], spec.sink_id, run_id)

    return taken


def _take_side(spec: WorkerSpec, clock: Clock, say: Say) -> TakeSide:
    log = None if spec.log is None else logs.take_side(spec, say)
    if log is not None and spec.log is not None and not spec.log.spills:
        return log
    routes = [TakeRoute(spec.channel, Path(t.path), Path(t.page), Path(t.bell), t.home) for t in spec.takes]
    side = MemoryTakeSide(
        routes, spec.sink_id, spec.common.poison, run_id=spec.common.run_id, drops_oldest=spec.drops_oldest,
        max_age_s=spec.max_age_s, clock=clock,
    )  # fmt: skip
    side.keep_damaged(Salvage(Path(spec.common.state_dir) / "damaged", say))
    if log is None:
        return side
    from shipper.channels.spillablememory.take import SpillTakeSide

    return SpillTakeSide(spec.channel, side, log, logs.second_lanes(spec))
