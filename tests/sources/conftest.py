"""A small world for tails: a directory with logs, a clock that stands still, and sources that can be restarted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shipper.api import Counters, EventBatch, Origin, Source
from shipper.config.field import read_options
from shipper.sources.taildir import TaildirSource
from shipper.testing.fakes import FakeWaiter, ManualClock, source_context
from tests.sources.netcat_server import Server


class TailWorld:
    """Files in `logs`, positions in `position_file` and `state`; `said` collects the lines for the person.

    `counters` are those of the source that was started last.
    """

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.state = folder / "state"
        self.position_file = folder / "positions" / "taildir_position.json"
        self.clock = ManualClock()
        self.waiter = FakeWaiter(self.clock)
        self.said: list[tuple[str, str]] = []
        self.channel: dict[str, Origin] = {}
        self.counters = Counters.private()
        self._open: list[Source[Any]] = []

    def write(self, name: str, content: bytes | str) -> Path:
        """Writes a file anew, into the same inode if it exists."""
        path = self.logs / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def append(self, name: str, content: bytes | str) -> None:
        """Adds to a file as a program does that keeps it open for a moment."""
        with open(self.logs / name, "ab") as file:
            file.write(content if isinstance(content, bytes) else content.encode())

    def copytruncate(self, name: str, copy: str, then: str = "") -> None:
        """Rotates a file as `copytruncate` of logrotate does; what its program writes next stands at its beginning."""
        shutil.copy(self.logs / name, self.logs / copy)
        os.truncate(self.logs / name, 0)
        if then:
            self.append(name, then)

    def start(
        self,
        properties: dict[str, str] | None = None,
        *,
        source: type[Source[Any]] = TaildirSource,
        from_channel: bool = False,
        tells_durable: bool = False,
        forget: Callable[[str], None] = lambda stream: None,
        **context: Any,
    ) -> Source[Any]:
        """An open source; TAILDIR reads group `g` = `app\\.log.*` unless the properties say otherwise."""
        given = properties or {}
        if source is TaildirSource:
            given = {"filegroups": "g", "positionFile": str(self.position_file)} | given
            if given["filegroups"] == "g" and "filegroups.g" not in given:
                given["filegroups.g"] = f"{self.logs}/app\\.log.*"
        options, findings = read_options(source.Options, given)
        assert options is not None, findings
        made = source(options)
        self._open.append(made)
        context.setdefault("positions", dict(self.channel) if from_channel else {})
        given_to = source_context(self.state, clock=self.clock, waiter=self.waiter, said=self.said, **context)
        self.counters = given_to.counters
        made.open(replace(given_to, tells_durable=tells_durable, forget=forget))
        return made

    def batches(self, source: Source[Any], *, wait_s: float = 0.0) -> Iterator[EventBatch]:
        """Batches until the source has none; each is committed when the next is asked for."""
        while (batch := source.poll(wait_s)) is not None:
            yield batch
            source.committed(batch)
            self.channel.update({origin.stream: origin for origin in batch.origins})

    def read(self, source: Source[Any], *, wait_s: float = 0.0) -> list[str]:
        """All bodies that can be had now."""
        return [body.decode() for batch in self.batches(source, wait_s=wait_s) for body in batch.body.to_pylist()]

    def wait_and_read(self, source: Source[Any], seconds: float) -> list[str]:
        """All bodies that come while that much time passes."""
        bodies: list[str] = []
        end_s = self.clock.monotonic_s() + seconds
        while self.clock.monotonic_s() < end_s:
            bodies += self.read(source, wait_s=0.5)
        return bodies

    def words(self) -> str:
        """Everything that was said, as one text."""
        return "\n".join(line for _, line in self.said)

    def close(self) -> None:
        """Closes what tests left open."""
        for source in self._open:
            source.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TailWorld]:
    """Logs, a clock and sources over them. Nobody waits for the disk: no test here pulls the plug."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    made = TailWorld(tmp_path)
    yield made
    made.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Makes netcat sources that listen."""
    servers: list[Server] = []

    def make(config: dict[str, str] | None = None, **context: Any) -> Server:
        servers.append(Server(tmp_path, config or {}, **context))
        return servers[-1]

    yield make
    for server in servers:
        server.close()
