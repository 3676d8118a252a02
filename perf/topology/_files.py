"""Pieces of configuration that several topologies share."""

from __future__ import annotations

from collections.abc import Mapping

from perf.harness.transfer import Places, files_below


def tail(places: Places, **more: object) -> dict[str, object]:
    """A TAILDIR source `r1` on the incoming directory, and a memory channel `c1`."""
    keys = {
        "filegroups": "g",
        "filegroups.g": f"{places.incoming}/.*\\\\.log",
        "positionFile": f"{places.state}/positions.json",
    }
    return _wired("TAILDIR", {**keys, **more})


def spool(places: Places, **more: object) -> dict[str, object]:
    """A spooldir source `r1` on the incoming directory, and a memory channel `c1`."""
    keys = {"spoolDir": places.incoming, "includePattern": "^.*\\\\.log$"}
    return _wired("spooldir", {**keys, **more})


def listening(port: int, **more: object) -> dict[str, object]:
    """A netcat source `r1` on a port of this machine, and a memory channel `c1`."""
    return _wired("netcat", {"bind": "127.0.0.1", "port": port, **more})


def command(text: str, **more: object) -> dict[str, object]:
    """An exec source `r1` that runs a command in a shell, and a memory channel `c1`."""
    return _wired("exec", {"shell": "/bin/sh -c", "command": text, "exec.native": "false", **more})


def file_roll(places: Places) -> dict[str, object]:
    """A file_roll sink `k1` that writes one file."""
    return {
        "sinks.k1.type": "file_roll",
        "sinks.k1.sink.directory": places.outgoing,
        "sinks.k1.sink.rollInterval": 0,
    }


def durable(places: Places) -> dict[str, object]:
    """Makes `c1` a file channel whose log and checkpoints lie with the state, on a disk."""
    return {
        "channels.c1.type": "file",
        "channels.c1.checkpointDir": places.state / "checkpoint",
        "channels.c1.dataDirs": places.state / "data",
    }


def hdfs(places: Places, **more: object) -> dict[str, object]:
    """An hdfs sink `k1` on a local directory whose files roll at 128 MiB."""
    return {
        "sinks.k1.type": "hdfs",
        "sinks.k1.hdfs.path": f"file://{places.outgoing}",
        "sinks.k1.hdfs.rollInterval": 0,
        "sinks.k1.hdfs.rollCount": 0,
        "sinks.k1.hdfs.rollSize": 128 << 20,
        **under("sinks.k1.hdfs.", more),
    }


def staged(places: Places) -> bool:
    """True while rows are staged that are not in files that have their names."""
    return any(path.suffix in (".open", ".whole") for path in files_below(places.state))


def time_and_host() -> dict[str, object]:
    """Interceptors that most files have."""
    return {
        "sources.r1.interceptors": "i1 i2",
        "sources.r1.interceptors.i1.type": "timestamp",
        "sources.r1.interceptors.i2.type": "host",
    }


def under(prefix: str, keys: Mapping[str, object]) -> dict[str, object]:
    """The keys with a prefix before each."""
    return {f"{prefix}{key}": value for key, value in keys.items()}


def _wired(source_type: str, keys: Mapping[str, object]) -> dict[str, object]:
    """A source `r1` of some type and the lines that every file has."""
    return {
        "sources": "r1",
        "channels": "c1",
        "sinks": "k1",
        "sources.r1.type": source_type,
        "sources.r1.channels": "c1",
        "channels.c1.type": "memory",
        "sinks.k1.channel": "c1",
        **under("sources.r1.", keys),
    }
