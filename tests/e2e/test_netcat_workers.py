"""`workers = 2` on a listener: two processes share its port, and the death of one is the death of its clients only."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections import Counter
from pathlib import Path

from shipper.metrics.block import MetricsBlock
from shipper.testing.agent import Agent
from shipper.testing.ports import free_port

CLIENTS = 16
PAUSE_S = 0.002


class Client(threading.Thread):
    """Sends numbered lines and waits for the answer to each, until it is ended or its connection is.

    Attributes:
        acknowledged: lines that it heard OK for.
        sent: lines that it sent.
        cut_off: True when the other side ended the connection.
    """

    def __init__(self, number: int, port: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.acknowledged = self.sent = 0
        self.cut_off = False
        self.ending = threading.Event()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.port = self.socket.getsockname()[1]

    def line(self, number: int) -> bytes:
        return b"client %d line %d" % (self.number, number)

    def run(self) -> None:
        with self.socket, contextlib.suppress(OSError):
            answers = self.socket.makefile("rb")
            while not self.ending.wait(PAUSE_S):
                self.socket.sendall(self.line(self.sent) + b"\n")
                self.sent += 1
                if answers.readline() != b"OK\n":
                    break
                self.acknowledged += 1
            else:
                return
        self.cut_off = True


def connections(pid: int) -> int:
    """Sockets that a process has."""
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(os.readlink(entry))
    return sum(link.startswith("socket:") for link in links)


def numbers(one: Agent) -> tuple[int, int, int, int]:
    """Rows accepted by the source's workers, put, taken, and delivered by the sink."""
    sample = MetricsBlock.view(one.instance_dir() / "metrics").sample()
    accepted = sum(w.counters["EventAcceptedCount"] for w in sample.workers if w.name == "r1")
    delivered = sum(w.counters["EventDrainSuccessCount"] for w in sample.workers if w.name == "k1")
    channel = sample.channels["c1"]
    return accepted, channel["puts"], channel["takes"], delivered


def test_both_get_connections_and_one_dies_alone(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "out").mkdir()
    properties = (
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n"
        f"a1.sources.r1.type = netcat\na1.sources.r1.bind = 127.0.0.1\na1.sources.r1.port = {port}\n"
        "a1.sources.r1.workers = 2\na1.sources.r1.channels = c1\n"
        f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {tmp_path}/out\na1.sinks.k1.channel = c1\n"
    )

    def lines() -> Counter[bytes]:
        return Counter(b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir()).splitlines())

    with Agent(tmp_path / "agent", properties) as one:
        one.start()
        clients = [Client(number, port) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        one.until(lambda: all(client.acknowledged > 50 for client in clients), "all clients are served")
        workers = {label: pid for label, pid in one.workers().items() if label != "k1"}
        assert set(workers) == {"r1.0", "r1.1"}
        assert all(connections(pid) > 1 for pid in workers.values()), "both serve somebody"
        os.kill(workers["r1.0"], signal.SIGKILL)
        before = [client.acknowledged for client in clients]
        one.until(
            lambda: all(c.cut_off or c.acknowledged > were + 100 for c, were in zip(clients, before, strict=True)),
            "its clients are cut off, and the others go on",
        )
        survivors = [client for client in clients if not client.cut_off]
        assert 0 < len(survivors) < CLIENTS
        one.until(lambda: one.workers().get("r1.0", workers["r1.0"]) != workers["r1.0"], "it is there again")
        late = [Client(100 + number, port) for number in range(CLIENTS)]
        for client in late:
            client.start()
        one.until(lambda: all(client.acknowledged > 20 for client in late), "new clients are served")
        for client in (*survivors, *late):
            client.ending.set()
            client.join()
        assert not any(client.cut_off for client in (*survivors, *late))
        one.until(lambda: sum(lines().values()) == numbers(one)[1] == numbers(one)[3], "all is delivered")
        accepted, puts, takes, delivered = numbers(one)
        found = lines()
        assert one.stop() == 0, one.log()
    assert puts == takes == delivered == sum(found.values())
    # A worker that is killed between its put and its count has put a batch that it did not count.
    assert puts - CLIENTS <= accepted <= puts
    assert set(found.values()) == {1}, "nothing twice"
    for client in (*survivors, *late):
        assert client.acknowledged == client.sent
        assert all(client.line(number) in found for number in range(client.sent)), "every line of a survivor"
    for client in clients:
        assert all(client.line(number) in found for number in range(client.acknowledged)), "OK was a promise"
    expected = {client.line(number) for client in (*clients, *late) for number in range(client.sent)}
    assert set(found) <= expected, "nothing that nobody sent"
