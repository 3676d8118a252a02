"""A scenario: a topology, a way to rotate, and what must become of the lines; all of it from one seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

#: sink kinds -> how the bytes of their files are read
KINDS = {"file_roll": "text", "hdfs text": "text", "hdfs gzip": "gzip", "hdfs lz4": "lz4"}
TOPOLOGIES = ("plain", "two channels", "competing", "multiplexing", "grid")
SOURCES = ("TAILDIR", "TAILDIR beside", "exec", "spooldir")


@dataclass(frozen=True)
class SinkPlan:
    """A sink: of which channel, of what kind, with how many workers."""

    name: str
    channel: str
    kind: str
    workers: int = 1


@dataclass
class Scenario:
    """What a seed says.

    Attributes:
        source: `TAILDIR` reads all names of a log, `TAILDIR beside` only its first one, so that rotated files leave
            the group; `exec` is `tail -F` of the first name.
        rotations: how the writers rotate.
        streams: names of the writers.
        routes: channel -> the streams that it gets.
    """

    seed: int
    topology: str
    source: str
    channel: str
    source_workers: int
    thinned: bool
    rotations: tuple[str, ...]
    streams: tuple[str, ...]
    sinks: tuple[SinkPlan, ...]
    routes: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, seed: int, *, topology: str | None = None, source: str | None = None, channel: str = "memory"
    ) -> Scenario:
        """The scenario of a seed; what is given is not drawn."""
        chance = random.Random(seed)
        drawn = chance.choice(TOPOLOGIES), chance.choice(SOURCES)
        topology, source = topology or drawn[0], source or drawn[1]
        if topology == "multiplexing":
            source = "TAILDIR" if source == "spooldir" else source.replace("exec", "TAILDIR beside")
        streams = tuple(f"w{number}" for number in range(1, 1 + chance.randint(1 + (topology == "multiplexing"), 3)))
        kinds = [chance.choice(list(KINDS)) for _ in range(3)]
        everything = {"c1": streams}
        if topology == "plain":
            sinks: tuple[SinkPlan, ...] = (SinkPlan("k1", "c1", kinds[0]),)
        elif topology == "two channels":
            sinks = (SinkPlan("k1", "c1", kinds[0]), SinkPlan("k2", "c2", kinds[1]))
            everything["c2"] = streams
        elif topology == "competing":
            sinks = (SinkPlan("k1", "c1", kinds[0]), SinkPlan("k2", "c1", "file_roll"))
        elif topology == "multiplexing":
            sinks = (SinkPlan("k1", "c1", kinds[0]), SinkPlan("k2", "c2", kinds[1]))
            everything = {"c1": streams[::2], "c2": streams[1:]}
        else:
            sinks = (SinkPlan("k1", "c1", kinds[0], 2), SinkPlan("k2", "c2", kinds[1]), SinkPlan("k3", "c2", kinds[2]))
            everything["c2"] = streams
        ways = {"TAILDIR": ("rename", "copy"), "spooldir": ("spool",)}.get(source, ("rename", "copy"))
        many = topology == "grid" and source != "exec"
        if many:
            ways = ways[:1]  # of a file that another worker reads, nobody knows that it is a copy
        rotations = tuple(way for way in ways if chance.random() < 0.7) or ways[:1]
        thinned = chance.random() < 0.3
        return cls(
            seed, topology, source, channel, 2 if many else 1, thinned, rotations, streams, sinks, everything
        )  # fmt: skip

    def __str__(self) -> str:
        sinks = ", ".join(f"{s.channel} -> {s.name} {s.kind}{' x2' if s.workers > 1 else ''}" for s in self.sinks)
        more = " x2" * (self.source_workers > 1) + ", thinned" * self.thinned
        return (
            f"seed {self.seed}: {self.topology}, {self.source}{more} ({', '.join(self.streams)}; "
            f"{', '.join(self.rotations)}) -> {self.channel}: {sinks}"
        )

    def labels(self, role: str) -> list[str]:
        """Labels of the workers of a role: `source`, `sink`, or `writer` of a file channel."""
        if role == "writer":
            return list(self.routes)
        if role == "source":
            return ["r1"] if self.source_workers == 1 else ["r1.0", "r1.1"]
        return [s.name if s.workers == 1 else f"{s.name}.{w}" for s in self.sinks for w in range(s.workers)]

    def properties(self, home: Path) -> str:
        """The agent's file: it reads below `home/in` and writes into `home/out/SINK`."""
        channels = list(dict.fromkeys(sink.channel for sink in self.sinks))
        lines = {
            "sources": "r1", "channels": " ".join(channels), "sinks": " ".join(sink.name for sink in self.sinks),
            **{f"sources.r1.{key}": value for key, value in self._source(home).items()},
            "sources.r1.channels": " ".join(channels),
        }  # fmt: skip
        if self.source_workers > 1:
            lines["sources.r1.workers"] = str(self.source_workers)
        if self.thinned:
            lines |= {"sources.r1.interceptors": "i1", "sources.r1.interceptors.i1.type": "thinning"}
        if self.topology == "multiplexing":
            lines |= {"sources.r1.selector.type": "multiplexing", "sources.r1.selector.header": "who"}
            for stream in self.streams:
                to = " ".join(channel for channel in channels if stream in self.routes[channel])
                lines[f"sources.r1.selector.mapping.{stream}"] = to
        for channel in channels:
            lines[f"channels.{channel}.type"] = self.channel
            if self.channel == "spillablememory":
                # So little that rows go to disk and come back all the time.
                lines[f"channels.{channel}.memoryCapacity"] = str(random.Random(self.seed + 3).choice((500, 5_000)))
                lines[f"channels.{channel}.overflowTimeout"] = "0"
            if self.channel != "memory":
                lines[f"channels.{channel}.checkpointDir"] = str(home / channel / "checkpoint")
                lines[f"channels.{channel}.dataDirs"] = str(home / channel / "data")
        for sink in self.sinks:
            (home / "out" / sink.name).mkdir(parents=True, exist_ok=True)
            lines |= {f"sinks.{sink.name}.{key}": value for key, value in _sink(sink, home).items()}
        return "".join(f"a1.{key} = {value}\n" for key, value in lines.items())

    def _source(self, home: Path) -> dict[str, str]:
        logs = home / "in"
        logs.mkdir(parents=True, exist_ok=True)
        if self.source == "exec":
            return {
                "type": "exec",
                "command": "tail -n +1 -F " + " ".join(f"{logs}/{name}.log" for name in self.streams),
            }
        if self.source == "spooldir":
            return {"type": "spooldir", "spoolDir": str(logs), "pollDelay": "20", "ignorePattern": r"^\\..*$"}
        end = r"\\.log" if self.source == "TAILDIR beside" else r"\\.log.*"
        lines = {
            "type": "TAILDIR", "filegroups": " ".join(self.streams), "positionFile": str(home / "positions.json"),
            "rotateWait": "1",
        }  # fmt: skip
        for name in self.streams:
            lines[f"filegroups.{name}"] = f"{logs}/{name}{end}"
            lines[f"headers.{name}.who"] = name
        return lines


def _sink(sink: SinkPlan, home: Path) -> dict[str, str]:
    out = home / "out" / sink.name
    if sink.kind == "file_roll":
        lines = {"type": "file_roll", "sink.directory": str(out), "sink.rollInterval": "1"}
    else:
        codec = sink.kind.removeprefix("hdfs ")
        lines = {"type": "hdfs", "hdfs.path": f"file://{out}", "hdfs.rollInterval": "2", "hdfs.rollCount": "0",
                 "hdfs.rollSize": str(1 << 20)}  # fmt: skip
        if codec == "text":
            lines["hdfs.fileType"] = "DataStream"
        else:
            lines |= {"hdfs.fileType": "CompressedStream", "hdfs.codeC": codec}
        if codec == "gzip":  # each transaction goes into one file: nothing that was seen may ever be taken back
            lines["hdfs.rollSize"] = "0"
    if sink.workers > 1:
        lines["workers"] = str(sink.workers)
    return {**lines, "channel": sink.channel}
