"""The grid: which worker has which lane. From a plan to the segments in the run directory and a spec a worker.

::

    run directory of an instance
      control                          the control page
      metrics                          the metrics block
      bells/sources/r1.0, .../shared0  a doorbell a worker, also under bells/sinks and bells/channels
      puts/r1.0, puts/r1.0.positions   put page and position table of a source worker
      channels/c1/r1.0--k1.0           a lane a pair of source worker and sink worker; of a channel that keeps its
                                       rows in a log, r1.0--c1.0: a lane a pair of source worker and log writer
      puts/k1%dead.0, channels/c2/k1%dead.0--k2.0
                                       the same of a sink worker that puts its dead letters into a channel

Segments that are there already are used as they are, with what is in them. Lanes that no source of this plan fills
any more, or whose sink is gone, are drained by the sinks that the channel has now.

The file is long because a plan becomes the specs of all kinds of workers in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shipper.channels.channel import Channel
from shipper.channels.memory.channel import is_second, lane_name, lane_names, second_lane_name
from shipper.config.plan import ChannelPlan, ComponentPlan, Plan
from shipper.digest_word import odd_word_of
from shipper.errors import ConfigurationError
from shipper.instance import known_logs
from shipper.instance.handover import free
from shipper.instance.holdings import LETTERS, worker_name
from shipper.instance.instance import Instance
from shipper.instance.letters import settle_letters
from shipper.instance.mending import mend, say_unclaimed
from shipper.instance.settled import boot_id, settled_run
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from shipper.workers.control import WORKERS_MAX
from shipper.workers.orphans import share_out
from shipper.workers.plan_channels import channels_of, properties_of, ring_bytes, with_places
from shipper.workers.sharing import sharing
from shipper.workers.spec import ChannelSpec, Common, ComponentSpec, LaneSpec, LogSpec, WorkerSpec

_NOBODY = "nobody.0"

#: Workers that several sources share are called so, and numbered; no worker of one source has such a bell: those end
#: in a dot and a number.
_SHARED = "shared"

#: Worker -> path of its bell.
Bells = Callable[[str], str]


@dataclass(frozen=True)
class LaneRecord:
    """A lane of the grid, for those who count: its channel, its file, its put page."""

    channel: str
    path: Path
    page: Path


@dataclass(frozen=True)
class Grid:
    """The workers of a plan and the lanes between them.

    Attributes:
        sources, sinks, writers: specs; a worker a line.
        channels: the channels by name, as declared.
        lanes: every lane of every channel, leftovers included.
    """

    sources: tuple[WorkerSpec, ...]
    sinks: tuple[WorkerSpec, ...]
    channels: Mapping[str, Channel[Any]]
    lanes: tuple[LaneRecord, ...]
    writers: tuple[WorkerSpec, ...] = ()

    @property
    def workers(self) -> tuple[WorkerSpec, ...]:
        """All workers, sources last: what is put has somebody to take it."""
        return self.writers + self.sinks + self.sources

    def checkpoints(self) -> list[Path]:
        """Of the logs of its channels: where their checkpoints lie."""
        return [found.options.log_settings().checkpoint_dir for found in self.channels.values() if found.logged]

    def free(self, run_dir: Path) -> None:
        """Opens the lanes of sinks that are dead and not in this grid to those that are. No worker may hold them."""
        settle_letters(run_dir)
        for channel in self.channels:
            lanes = [record.path for record in self.lanes if record.channel == channel]
            takers = (*(self.writers if self.channels[channel].logged else ()), *self._ring_sinks(channel))
            free(
                run_dir, channel, lanes, {spec.sink_id for spec in takers if spec.channel == channel},
                writer=sink_id(worker_name(channel, 0)),
            )  # fmt: skip

    def _ring_sinks(self, channel: str) -> tuple[WorkerSpec, ...]:
        """The sinks that take from lanes in memory."""
        found = self.channels[channel]
        return self.sinks if found.spills or not found.logged else ()


def build(plan: Plan, instance: Instance, *, poison: bool = False, live: bool = False) -> Grid:
    """Makes (or finds) the segments of a plan and says who uses which.

    Args:
        live: workers of another plan run: nothing that they use is touched, and `Grid.free` is left to the caller.

    Raises:
        ConfigurationError: a channel can't be made as the file says.
        ComponentFailed: no room for the segments.
    """
    run_dir, state_dir = instance.run_dir, instance.state_dir
    shared = sharing(plan.sources)
    workers = sum(source.workers for source in plan.sources) + sum(group.workers for group in plan.groups)
    workers -= sum(len(sources) - 1 for sources in shared)
    plan = with_places(plan, state_dir)
    channels = channels_of(plan)
    logged = [name for name, channel in channels.items() if channel.logged]
    workers += len(logged)
    if workers > WORKERS_MAX:
        raise ConfigurationError(
            f"agent {plan.agent} would have {workers} workers; an agent has {WORKERS_MAX} at most: share its sources "
            f"and sinks out over several agents, or set smaller workers = N"
        )
    settings = {name: channels[name].options.log_settings() for name in logged}
    known_logs.follow(
        state_dir, {name: (found.checkpoint_dir, found.data_dirs) for name, found in settings.items()}, live=live
    )
    for folder in ("bells/sources", "bells/sinks", "bells/channels", "puts", "channels"):
        (run_dir / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    if not live:
        settle_letters(run_dir)
        mend(run_dir)
        say_unclaimed(run_dir, [channel.name for channel in plan.channels])
    producers = {
        c.name: [worker_name(s.name, i) for s in plan.sources if c.name in s.channels for i in range(s.workers)]
        + [_letters(g.title, i) for g in plan.groups if c.name in g.dead_letters for i in range(g.workers)]
        for c in plan.channels
    }
    consumers = {
        # A channel from which nobody takes is filled all the same, as in Flume: its lane is made for nobody.
        c.name: [worker_name(g.title, i) for g in plan.groups if g.channel == c.name for i in range(g.workers)]
        or [_NOBODY]
        for c in plan.channels
    }
    spills = {name for name, channel in channels.items() if channel.spills}
    takers = {
        name: [worker_name(name, 0)] if channel.logged and name not in spills else consumers[name]
        for name, channel in channels.items()
    }
    lanes: list[LaneRecord] = []
    rings = ring_bytes(run_dir, sum(not (run_dir / "channels" / name).exists() for name in channels))
    for name, channel in channels.items():
        channel.prepare(run_dir / "channels" / name, producers[name], takers[name], rings)
        for file, (producer, _) in lane_names(run_dir / "channels" / name).items():
            page_path = run_dir / "puts" / producer
            page = PutPage.ensure(page_path)
            page.register(lane_key(name, file))
            page.close()
            lanes.append(LaneRecord(name, run_dir / "channels" / name / file, page_path))

    # A worker that several sources share has one bell: whoever is rung, all of them look.
    shared_bells = {worker_name(s.name, 0): f"{_SHARED}{n}" for n, sources in enumerate(shared) for s in sources}

    def source_bell(worker: str) -> str:
        if (sink := worker.replace(LETTERS, "")) != worker:
            return sink_bell(sink)
        return str(run_dir / "bells" / "sources" / shared_bells.get(worker, worker))

    def sink_bell(worker: str) -> str:
        return str(run_dir / "bells" / "sinks" / worker)

    def writer_bell(worker: str) -> str:
        return str(run_dir / "bells" / "channels" / worker)

    def into(name: str, me: str) -> ChannelSpec:
        bell, directory = (
            writer_bell if name in logged and name not in spills else sink_bell,
            run_dir / "channels" / name,
        )
        made = _into(plan.channel(name), me, lanes, takers[name], directory, bell)
        seconds = _seconds(me, takers[name], directory, writer_bell(worker_name(name, 0))) if name in spills else ()
        return replace(made, logged=name in logged, seconds=seconds)

    common = Common(
        str(run_dir), str(state_dir), instance.run_id(), settled_run(state_dir), boot_id(), poison,
        agent=plan.agent, file=plan.files[0] if plan.files else "",
    )  # fmt: skip
    specs: list[WorkerSpec] = []
    logs: dict[str, LogSpec] = {}
    for name in logged:
        me, line = worker_name(name, 0), len(specs) + 1
        seconds = [record for record in lanes if record.channel == name and is_second(record.path) and name in spills]
        found = _log(plan.channel(name), channels[name], writer_bell(me), consumers[name], sink_bell)
        logs[name] = replace(
            found, spills=name in spills, seconds=tuple((str(record.path), str(record.page)) for record in seconds)
        )
        taken = seconds if name in spills else lanes
        specs.append(
            WorkerSpec(
                kind="channel", name=name, line=line, sink_id=sink_id(me), index=0, count=1, bell=writer_bell(me),
                channel=name, takes=_takes(taken, name, me, takers[name], source_bell), log=logs[name], common=common,
            )
        )  # fmt: skip
    for group in plan.groups:
        for index in range(group.workers):
            me = worker_name(group.title, index)
            log_spec = logs.get(group.channel)
            direct = [record for record in lanes if group.channel not in spills or not is_second(record.path)]
            takes = _takes(direct, group.channel, me, consumers[group.channel], source_bell)
            if log_spec and not log_spec.spills:
                takes = ()
            specs.append(
                WorkerSpec(
                    kind="sink",
                    name=group.title,
                    line=len(specs) + 1,
                    sink_id=sink_id(me),
                    index=index,
                    count=group.workers,
                    bell=sink_bell(me),
                    channel=group.channel,
                    takes=takes,
                    log=log_spec,
                    sinks=tuple(
                        replace(_component(sink), quarantine_bytes=sink.quarantine_bytes, dead_letter=sink.dead_letter)
                        for sink in group.sinks
                    ),
                    letters=tuple(into(name, _letters(group.title, index)) for name in group.dead_letters),
                    page=str(run_dir / "puts" / _letters(group.title, index)) if group.dead_letters else "",
                    processor=_component(group.processor),
                    batch_bytes=group.sinks[0].batch_bytes,
                    linger_s=group.sinks[0].linger_s,
                    max_age_s=getattr(channels[group.channel].options, "max_age_s", 0.0),
                    drops_oldest=getattr(channels[group.channel].options, "on_full", "") == "dropOldest",
                    common=common,
                )  # fmt: skip
            )
    others = len(specs)
    sources: list[WorkerSpec] = []
    for source in plan.sources:
        for index in range(source.workers):
            me = worker_name(source.name, index)
            sources.append(
                WorkerSpec(
                    kind="source",
                    name=source.name,
                    line=0,
                    sink_id=0,
                    index=index,
                    count=source.workers,
                    bell=source_bell(me),
                    source=_component(source),
                    channels=tuple(into(name, me) for name in source.channels),
                    interceptors=tuple(_component(found) for found in source.interceptors),
                    selector=_component(source.selector),
                    page=str(run_dir / "puts" / me),
                    batch_bytes=source.batch_bytes,
                    common=common,
                )  # fmt: skip
            )
    for spec in _together(sources, [[source.name for source in group] for group in shared]):
        line = len(specs) + 1
        shares = tuple(replace(share, line=line) for share in spec.shares)
        specs.append(replace(spec, line=line, shares=shares))
    if not live:
        specs = share_out(specs, state_dir)
    sinks = tuple(specs[len(logs) : others])
    grid = Grid(tuple(specs[others:]), sinks, channels, tuple(lanes), tuple(specs[: len(logs)]))
    if not live:
        grid.free(run_dir)
    return grid


def _together(specs: Sequence[WorkerSpec], shared: Sequence[Sequence[str]]) -> list[WorkerSpec]:
    """The workers of sources when those of each list in `shared` have one worker together."""
    by_name = {spec.name: spec for spec in specs if spec.count == 1}
    sharing_names = {name for names in shared for name in names}
    workers = [spec for spec in specs if spec.name not in sharing_names]
    for number, names in enumerate(shared):
        shares = tuple(by_name[name] for name in names)
        first = shares[0]
        workers.append(
            WorkerSpec(
                kind="source", name=f"{_SHARED}{number}", line=0, sink_id=0, index=0, count=1, bell=first.bell,
                common=first.common, shares=shares,
            )
        )  # fmt: skip
    return workers


def _log(found: ChannelPlan, channel: Channel[Any], bell: str, sinks: Sequence[str], bell_of: Bells) -> LogSpec:
    """A channel with a log, for its writer and its sinks."""
    takers = tuple((sink, sink_id(sink), bell_of(sink)) for sink in sinks)
    board = str(channel.options.log_settings().board)
    return LogSpec(found.name, found.type, properties_of(found), board, bell, takers)


def _letters(title: str, index: int) -> str:
    """Name of a sink worker as one that puts."""
    name, _, number = worker_name(title, index).rpartition(".")
    return f"{name}{LETTERS}.{number}"


def sink_id(worker: str) -> int:
    """The word by which lanes know a sink worker; never 0."""
    return odd_word_of(worker)


def sink_worker_id(title: str, index: int) -> int:
    """As `sink_id`, of a worker of a sink group."""
    return sink_id(worker_name(title, index))


def _into(
    channel: ChannelPlan, me: str, lanes: Sequence[LaneRecord], sinks: Sequence[str], directory: Path, bell: Bells
) -> ChannelSpec:
    """A channel as the source worker `me` sees it: a lane for each sink worker, and the lanes of other sources."""
    mine = tuple(LaneSpec(str(directory / lane_name(me, sink)), bell(sink)) for sink in sinks)
    rivals = tuple(
        (str(record.path), str(record.page))
        for record in lanes
        if record.channel == channel.name and not record.path.name.startswith(f"{me}--")
    )
    return ChannelSpec(channel.name, channel.type, properties_of(channel), mine, rivals)


def _seconds(me: str, sinks: Sequence[str], directory: Path, bell: str) -> tuple[LaneSpec, ...]:
    """The lanes of the source worker `me` to the writer of a channel that spills, in the order of its sink workers."""
    return tuple(LaneSpec(str(directory / second_lane_name(me, sink)), bell) for sink in sinks)


def _component(found: ComponentPlan) -> ComponentSpec:
    return ComponentSpec(found.name, found.type, dict(found.properties))


def _takes(
    lanes: Sequence[LaneRecord], channel: str, me: str, consumers: Sequence[str], bell: Bells
) -> tuple[LaneSpec, ...]:
    """The lanes that a sink worker may take from. A lane whose own sink is gone is at home with the first one."""
    takes = []
    for record in lanes:
        if record.channel != channel:
            continue
        producer, home = record.path.name.split("--")
        if home not in consumers:
            home = consumers[0]
        takes.append(LaneSpec(str(record.path), bell(producer), str(record.page), home == me))
    return tuple(takes)
