"""Pieces of configuration that several topologies share."""

from __future__ import annotations

from collections.abc import Mapping

from perf.harness.transfer import Places


def tail(places: Places, **more: object) -> dict[str, object]:
    """A TAILDIR source `r1` on the incoming directory, and a memory channel `c1`."""
    return {
        "sources": "r1",
        "channels": "c1",
        "sinks": "k1",
        "sources.r1.type": "TAILDIR",
        "sources.r1.filegroups": "g",
        "sources.r1.filegroups.g": f"{places.incoming}/.*\\\\.log",
        "sources.r1.positionFile": f"{places.state}/positions.json",
        "sources.r1.channels": "c1",
        "channels.c1.type": "memory",
        "sinks.k1.channel": "c1",
        **_under("sources.r1.", more),
    }


def file_roll(places: Places) -> dict[str, object]:
    """A file_roll sink `k1` that writes one file."""
    return {
        "sinks.k1.type": "file_roll",
        "sinks.k1.sink.directory": places.outgoing,
        "sinks.k1.sink.rollInterval": 0,
    }


def hdfs(places: Places, **more: object) -> dict[str, object]:
    """An hdfs sink `k1` on a local directory whose files roll at 128 MiB."""
    return {
        "sinks.k1.type": "hdfs",
        "sinks.k1.hdfs.path": f"file://{places.outgoing}",
        "sinks.k1.hdfs.rollInterval": 0,
        "sinks.k1.hdfs.rollCount": 0,
        "sinks.k1.hdfs.rollSize": 128 << 20,
        **_under("sinks.k1.hdfs.", more),
    }


def time_and_host() -> dict[str, object]:
    """Interceptors that most files have."""
    return {
        "sources.r1.interceptors": "i1 i2",
        "sources.r1.interceptors.i1.type": "timestamp",
        "sources.r1.interceptors.i2.type": "host",
    }


def _under(prefix: str, keys: Mapping[str, object]) -> dict[str, object]:
    return {f"{prefix}{key}": value for key, value in keys.items()}
