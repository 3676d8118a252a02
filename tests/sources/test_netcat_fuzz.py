"""The netcat source under bytes that nobody should send: it goes on, and loses nothing that is right."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable

import pytest

from tests.sources.netcat_server import PATIENCE_S, Server

_INPUTS = 10_000
_AT_ONCE = 100
_ROUNDS = _INPUTS // _AT_ONCE // 2  # for each of the two encodings
_PIECES = (
    b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xc0\x80",
    "ä€😀".encode(), b"x" * 511, b"x" * 512 + b"\n", b"OK\n", b"\x80" * 2000, b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00", b"\xf5", b"A" * 100_000, b"\n" * 5000, b"\x1b[2J", "\u2028\u0085".encode(),
)  # fmt: skip


def malformed(shuffle: random.Random) -> bytes:
    """A few pieces, cut and mixed with noise."""
    made = b"".join(shuffle.choice(_PIECES) for _ in range(shuffle.randrange(1, 6)))
    noise = shuffle.randbytes(shuffle.randrange(0, 64))
    at = shuffle.randrange(0, len(made) + 1)
    return made[:at] + noise + made[shuffle.randrange(at, len(made) + 1) :]


@pytest.mark.parametrize("encoding", ["utf-8", "GBK"])
def test_ten_thousand_malformed_inputs(tmp_path: object, encoding: str) -> None:
    """A good client beside them gets all of its answers, and no poll takes longer than a second."""
    server = Server(tmp_path, {"encoding": encoding})  # type: ignore[arg-type]
    shuffle = random.Random(encoding)
    good = server.client()
    slowest_s = 0.0

    def poll() -> None:
        nonlocal slowest_s
        began = time.monotonic()
        batch = server.source.poll(0)
        slowest_s = max(slowest_s, time.monotonic() - began)
        if batch is not None:
            for body in batch.body.to_pylist():
                body.decode()
                if body.startswith(b"good "):
                    server.bodies.append(body)
            server.source.committed(batch)

    try:
        for round_ in range(_ROUNDS):
            clients = [server.client() for _ in range(_AT_ONCE)]
            wait_until(lambda: server.context.counters.get("OpenConnectionCount") > _AT_ONCE // 2, poll)
            for client in clients:
                send_what_goes(client, malformed(shuffle))
            good.sendall(b"good %d\n" % round_)
            poll()
            for client in clients:
                if shuffle.random() < 0.3:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
            server.clients.clear()
            poll()
        wait_until(lambda: len(server.bodies) == _ROUNDS, poll)
        wait_until(lambda: len(server.source.connections) == 1, poll)
        assert server.bodies == [b"good %d" % n for n in range(_ROUNDS)]
        assert slowest_s < 5.0  # no input holds the listener up; the machine may be busy
        assert {level for level, _ in server.said} <= {"warning"}
        assert not any("Error" in line for _, line in server.said)
    finally:
        server.close()
        good.close()


def send_what_goes(client: socket.socket, data: bytes) -> None:
    """Sends as much as is taken at once."""
    client.setblocking(False)
    try:
        client.send(data)
    except (BlockingIOError, ConnectionError):
        pass


def wait_until(done: Callable[[], bool], poll: Callable[[], None]) -> None:
    """Polls until something is true."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end
        poll()
