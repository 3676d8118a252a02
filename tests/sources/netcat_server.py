"""A netcat source that listens on a free port, with clients."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import termios
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.sources.netcat import NetcatOptions, NetcatSource
from shipper.testing.fakes import ManualClock, source_context
from tests.waiting import until

PATIENCE_S = 30.0


def until_taken(clients: Iterable[socket.socket]) -> None:
    """Waits until the kernel has given to the other side all that these clients have sent."""
    left = list(clients)
    until(lambda: not any(any(fcntl.ioctl(client, termios.TIOCOUTQ, bytes(4))) for client in left), "it is there")


class SelectWaiter:
    """Sleeps on real descriptors, as a worker does; never longer than a moment."""

    def __init__(self) -> None:
        self.rung, self.bell = os.pipe()
        self.on_rest: Callable[[], None] = lambda: None

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        if not fds:
            self.on_rest()
        return [fd for fd in select.select([*fds, self.rung], [], [], min(timeout_s, 0.05))[0] if fd != self.rung]

    @property
    def fileno(self) -> int:
        return self.rung


class Server:
    """A source that listens on a free port, and what came out of it."""

    def __init__(self, tmp_path: Path, config: dict[str, str], **context: Any) -> None:
        options, findings = read_options(NetcatOptions, {"bind": "127.0.0.1", "port": "0"} | config)
        assert options is not None, findings
        self.said: list[tuple[str, str]] = []
        self.clock = ManualClock()
        self.waiter = SelectWaiter()
        self.context = source_context(
            tmp_path, clock=self.clock, waiter=self.waiter, said=self.said, **context  # type: ignore[arg-type]
        )  # fmt: skip
        self.source = NetcatSource(options)
        self.source.open(self.context)
        self.bodies: list[bytes] = []
        self.batches: list[int] = []
        self.clients: list[socket.socket] = []

    def client(self) -> socket.socket:
        made = socket.create_connection(self.source.address, timeout=PATIENCE_S)
        self.clients.append(made)
        return made

    def poll(self) -> EventBatch | None:
        return self.source.poll(0.01)

    def batch(self) -> EventBatch:
        """The next batch."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if (batch := self.poll()) is not None:
                return batch
        raise AssertionError("no batch came")

    def until(self, done: Callable[[], bool]) -> None:
        """Polls and commits until something is true."""
        end = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < end, f"it never came; {len(self.bodies)} bodies so far"
            if (batch := self.poll()) is not None:
                self.bodies += batch.body.to_pylist()
                self.batches.append(batch.rows)
                self.source.committed(batch)

    def rows(self, count: int) -> list[bytes]:
        """Commits until `count` rows have come."""
        self.until(lambda: len(self.bodies) >= count)
        return self.bodies

    def replies(self, client: socket.socket, count: int) -> bytes:
        """The first `count` bytes that a client hears, or all until it is left."""
        heard = bytearray()
        client.setblocking(False)

        def done() -> bool:
            try:
                piece = client.recv(1 << 16)
            except BlockingIOError:
                return len(heard) >= count
            except ConnectionResetError:
                return True
            heard.extend(piece)
            return not piece or len(heard) >= count

        self.until(done)
        client.setblocking(True)
        client.settimeout(PATIENCE_S)
        return bytes(heard)

    def is_left(self, client: socket.socket) -> bool:
        """True when the client's connection was closed from here."""
        client.setblocking(False)
        try:
            return client.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.source.close()
        for client in self.clients:
            client.close()


Serve = Callable[..., Server]
