"""The grid: which worker has which lane. From a plan to the segments in the run directory and a spec a worker.

::

    run directory of an instance
      control                          the control page
      metrics                          the metrics block
      bells/r1.0                       a doorbell a worker
      puts/r1.0, puts/r1.0.positions   put page and position table of a source worker
      channels/c1/r1.0--k1.0           a lane a pair of source worker and sink worker

Segments that are there already are used as they are, with what is in them. Lanes that no source of this plan fills
any more, or whose sink is gone, are drained by the sinks that the channel has now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper import registry
from shipper.channels.channel import Channel
from shipper.channels.memory.channel import lane_name, lane_names
from shipper.config.field import read_options
from shipper.errors import ConfigurationError
from shipper.ring.lane import Lane
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from shipper.workers.instance import Instance
from shipper.workers.spec import ChannelSpec, ComponentSpec, LaneSpec, WorkerSpec

Plan = Mapping[str, Any]


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
        sources, sinks: specs; a worker a line.
        channels: the channels by name, as declared.
        lanes: every lane of every channel, leftovers included.
    """

    sources: tuple[WorkerSpec, ...]
    sinks: tuple[WorkerSpec, ...]
    channels: Mapping[str, Channel[Any]]
    lanes: tuple[LaneRecord, ...]

    @property
    def workers(self) -> tuple[WorkerSpec, ...]:
        """All workers, sinks first: what is put has somebody to take it."""
        return self.sinks + self.sources


def build(plan: Plan, instance: Instance, *, stop_deadline_s: float = 30.0, poison: bool = False) -> Grid:
    """Makes (or finds) the segments of a plan and says who uses which.

    Raises:
        ConfigurationError: a channel can't be made as the file says.
        ComponentFailed: no room for the segments.
    """
    run_dir, state_dir = instance.run_dir, instance.state_dir
    for folder in (run_dir / "bells", run_dir / "puts", run_dir / "channels"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    producers = {c["name"]: _workers_of(plan, "sources", c["name"]) for c in plan["channels"]}
    consumers = {c["name"]: _workers_of(plan, "groups", c["name"]) for c in plan["channels"]}
    channels = {c["name"]: _channel(c) for c in plan["channels"]}
    lanes: list[LaneRecord] = []
    for name, channel in channels.items():
        channel.prepare(run_dir / "channels" / name, producers[name], consumers[name])
        for file, (producer, _) in lane_names(run_dir / "channels" / name).items():
            page_path = run_dir / "puts" / producer
            page = PutPage.ensure(page_path)
            page.register(lane_key(name, file))
            page.close()
            lanes.append(LaneRecord(name, run_dir / "channels" / name / file, page_path))

    def bell(worker: str) -> str:
        return str(run_dir / "bells" / worker)

    common = {
        "run_dir": str(run_dir), "state_dir": str(state_dir), "stop_deadline_s": stop_deadline_s, "poison": poison,
    }  # fmt: skip
    specs: list[WorkerSpec] = []
    for group in plan["groups"]:
        name = group_name(group)
        for index in range(group["workers"]):
            me = f"{name}.{index}"
            takes = _takes(lanes, group["channel"], me, consumers[group["channel"]], bell)
            specs.append(
                WorkerSpec(
                    kind="sink", name=name, line=len(specs) + 1, sink_id=sink_id(me), index=index,
                    count=group["workers"], bell=bell(me), channel=group["channel"], takes=takes,
                    sinks=tuple(_component(sink) for sink in group["sinks"]),
                    processor=_component({"name": name, **group["processor"]}),
                    batch_bytes=group["batch_bytes"], linger_s=group["linger_s"], **common,
                )  # fmt: skip
            )
    sinks = len(specs)
    for source in plan["sources"]:
        for index in range(source["workers"]):
            me = f"{source['name']}.{index}"
            into = tuple(
                ChannelSpec(
                    name, c["type"], dict(c["properties"]),
                    tuple(
                        LaneSpec(str(run_dir / "channels" / name / lane_name(me, sink)), bell(sink))
                        for sink in consumers[name]
                    ),
                    tuple(
                        (str(record.path), str(record.page))
                        for record in lanes
                        if record.channel == name and not record.path.name.startswith(f"{me}--")
                    ),
                )
                for name in source["channels"]
                for c in plan["channels"]
                if c["name"] == name
            )  # fmt: skip
            specs.append(
                WorkerSpec(
                    kind="source", name=source["name"], line=len(specs) + 1, sink_id=0, index=index,
                    count=source["workers"], bell=bell(me), source=_component(source), channels=into,
                    interceptors=tuple(_component(i) for i in source["interceptors"]),
                    selector=_component({"name": "selector", **source["selector"]}),
                    page=str(run_dir / "puts" / me), batch_bytes=source["batch_bytes"], **common,
                )  # fmt: skip
            )
    return Grid(tuple(specs[sinks:]), tuple(specs[:sinks]), channels, tuple(lanes))


def group_name(group: Mapping[str, Any]) -> str:
    """How a sink group is called: by its name, or by that of its only sink."""
    return str(group["name"] or group["sinks"][0]["name"])


def sink_id(worker: str) -> int:
    """The word by which lanes know a sink worker; never 0."""
    return int.from_bytes(hashlib.blake2b(worker.encode(), digest_size=8).digest(), "little") | 1


def waiting_rows(lanes: tuple[LaneRecord, ...]) -> dict[str, int]:
    """Rows in each channel, from the cumulative counts in put pages and commit slots."""
    found: dict[str, int] = {}
    for record in lanes:
        lane, page = Lane.open(record.path), PutPage.ensure(record.page)
        put = page.lane(page.index(lane_key(record.channel, record.path.name)))
        found[record.channel] = found.get(record.channel, 0) + put.rows - lane.committed().rows
        lane.close()
        page.close()
    return found


def _workers_of(plan: Plan, what: str, channel: str) -> list[str]:
    if what == "sources":
        return [f"{s['name']}.{i}" for s in plan["sources"] if channel in s["channels"] for i in range(s["workers"])]
    return [f"{group_name(g)}.{i}" for g in plan["groups"] if g["channel"] == channel for i in range(g["workers"])]


def _channel(found: Mapping[str, Any]) -> Channel[Any]:
    kind = registry.find("channel", found["type"])
    if kind is None:
        raise ConfigurationError(f"channel {found['name']} has type {found['type']}, which this build does not have")
    options, findings = read_options(kind.Options, found["properties"])
    if options is None:
        raise ConfigurationError("; ".join(finding.message for finding in findings))
    made: Channel[Any] = kind(found["name"], options)
    return made


def _component(found: Mapping[str, Any]) -> ComponentSpec:
    return ComponentSpec(found["name"], found["type"], dict(found["properties"]))


def _takes(
    lanes: list[LaneRecord], channel: str, me: str, consumers: list[str], bell: Any
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
