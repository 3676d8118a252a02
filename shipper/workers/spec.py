"""A worker's spec: everything one worker process is told, as plain data that goes through a pipe as JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LaneSpec:
    """A lane as one end of it sees it: its file, the bell of the worker at the other end."""

    path: str
    bell: str
    page: str = ""
    home: bool = True


@dataclass(frozen=True)
class ChannelSpec:
    """A channel as a source worker sees it.

    Attributes:
        rivals: (lane, put page) of the other source workers that put into it.
        logged: a process of its own writes what is put into a log.
        seconds: of a channel that spills: the lanes to that process, one for each of `lanes`, which are in memory.
    """

    name: str
    type: str
    properties: dict[str, str]
    lanes: tuple[LaneSpec, ...]
    rivals: tuple[tuple[str, str], ...] = ()
    logged: bool = False
    seconds: tuple[LaneSpec, ...] = ()


@dataclass(frozen=True)
class LogSpec:
    """A channel that keeps its rows in a log, as its writer and its sinks see it.

    Attributes:
        name, type, properties: of the channel.
        board: path of the log's board.
        writer_bell: path of the bell of its writer.
        sinks: its sink workers: name, id, path of the bell. The log has a lane for each.
        spills: only what finds no room in memory goes there: sinks take from both.
        seconds: lanes by which it goes there (path, put page).
    """

    name: str
    type: str
    properties: dict[str, str]
    board: str
    writer_bell: str
    sinks: tuple[tuple[str, int, str], ...]
    spills: bool = False
    seconds: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ComponentSpec:
    """An interceptor, selector, processor, source or sink: registry name and raw properties."""

    name: str
    type: str
    properties: dict[str, str]
    metrics: int = -1
    quarantine_bytes: int = 0
    dead_letter: str = ""


@dataclass(frozen=True)
class Common:
    """What all workers of an agent are told.

    Attributes:
        run_dir, state_dir: of the instance.
        agent, file: its name, and the real path of its first configuration file.
        run_id: names the present contents of the run directory.
        settled_run: the last run of which everything is on disk (`settled.py`), "" when none is known.
        boot_id: names this life of the machine.
        poison: overwrite the ring behind every take commit, to find views that outlive it (tests).
    """

    run_dir: str
    state_dir: str
    run_id: str = ""
    settled_run: str = ""
    boot_id: str = ""
    poison: bool = False
    agent: str = ""
    file: str = ""


@dataclass(frozen=True)
class WorkerSpec:
    """One worker process.

    Attributes:
        kind: "source", "sink", or "channel" for the writer of a channel's log.
        name: of the source or of the sink group's worker, as in log lines (`r1`, `k1`).
        line: in the control page, from 1.
        sink_id: how lanes and commit slots name this sink worker; the same over restarts; 0 for sources.
        index, count: which of how many workers of the same component.
        bell: path of this worker's bell.
        page: path of a source's put page; of a sink's, for its dead letters.
        letters: channels of dead letters, as this sink worker puts into them.
        max_age_s, drops_oldest: of the channel that a sink takes from: what it gives up in place of delivering it.
        log: of a writer; of a sink that takes from such a channel.
        orphans: state directories of sinks that are gone, and whose files this worker settles before it begins.
        shares: the sources that take turns in this worker, each as a spec of its own; empty where it has one.
    """

    kind: str
    name: str
    line: int
    sink_id: int
    index: int
    count: int
    bell: str
    common: Common
    source: ComponentSpec | None = None
    interceptors: tuple[ComponentSpec, ...] = ()
    selector: ComponentSpec | None = None
    channels: tuple[ChannelSpec, ...] = ()
    page: str = ""
    sinks: tuple[ComponentSpec, ...] = ()
    processor: ComponentSpec | None = None
    channel: str = ""
    letters: tuple[ChannelSpec, ...] = ()
    takes: tuple[LaneSpec, ...] = ()
    batch_bytes: int = 8 << 20
    linger_s: float | None = None
    max_age_s: float = 0.0
    drops_oldest: bool = False
    log: LogSpec | None = None
    orphans: tuple[str, ...] = field(default=(), compare=False)
    shares: tuple[WorkerSpec, ...] = ()

    @property
    def members(self) -> tuple[WorkerSpec, ...]:
        """The specs of what runs in this worker: those that share it, or just this one."""
        return self.shares or (self,)

    @property
    def label(self) -> str:
        """How log lines name the worker: `r1`, or `r1.0` when there are several."""
        return self.name if self.count == 1 else f"{self.name}.{self.index}"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> WorkerSpec:
        """The spec that `to_json` described."""

        def component(found: dict[str, Any] | None) -> ComponentSpec | None:
            return ComponentSpec(**found) if found else None

        def lanes(found: list[dict[str, Any]]) -> tuple[LaneSpec, ...]:
            return tuple(LaneSpec(**lane) for lane in found)

        values = dict(data)
        values["common"] = Common(**values["common"])
        for key in ("source", "selector", "processor"):
            values[key] = component(values[key])
        for key in ("interceptors", "sinks"):
            values[key] = tuple(ComponentSpec(**found) for found in values[key])
        values["takes"] = lanes(values["takes"])
        for key in ("channels", "letters"):
            values[key] = tuple(
                ChannelSpec(
                    channel["name"], channel["type"], channel["properties"], lanes(channel["lanes"]),
                    tuple((lane, page) for lane, page in channel["rivals"]), channel["logged"],
                    lanes(channel["seconds"]),
                )
                for channel in values[key]
            )  # fmt: skip
        if (log := values["log"]) is not None:
            sinks = tuple((name, key, bell) for name, key, bell in log["sinks"])
            seconds = tuple((lane, page) for lane, page in log["seconds"])
            values["log"] = LogSpec(**{**log, "sinks": sinks, "seconds": seconds})
        values["orphans"] = tuple(values["orphans"])
        values["shares"] = tuple(cls.from_json(share) for share in values["shares"])
        return cls(**values)

    def with_metrics(self, indices: list[int]) -> WorkerSpec:
        """The spec with the index of each component's entry in the metrics block, sinks or sources in order."""
        if self.shares:
            shares = tuple(share.with_metrics([i]) for share, i in zip(self.shares, indices, strict=True))
            return dataclasses.replace(self, shares=shares)
        if self.kind == "channel":
            return self  # its numbers are read from its lanes and its board
        if self.source is not None:
            return dataclasses.replace(self, source=dataclasses.replace(self.source, metrics=indices[0]))
        sinks = tuple(dataclasses.replace(sink, metrics=i) for sink, i in zip(self.sinks, indices, strict=True))
        return dataclasses.replace(self, sinks=sinks)
