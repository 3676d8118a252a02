"""Many small transactions on a disk: 64 clients that send one line each and wait for its OK, and one that does.

::

    64 clients --> [netcat r1] --> (file c1: synced before each OK) --> [file_roll k1] --> one file

Goal: with 64 clients, whose lines share their syncs, at least 20 times the lines per second of one client, who pays for
a sync each; or 100,000 a second, if that is less. The ratio is of the two.
"""

from __future__ import annotations

import multiprocessing
import select
import shutil
import socket
import time
from multiprocessing.connection import Connection

from perf.harness.agent import Agent
from perf.harness.command import Settings, run
from perf.harness.results import Goal, Result
from perf.harness.senders import connect
from perf.harness.transfer import Places
from perf.topology._files import durable, file_roll, listening
from shipper.testing.ports import free_port

_CLIENTS = 64
_GOAL_TIMES = 20
_GOAL_LINES_S = 100_000
_LINE = b"x" * 199 + b"\n"
_OK = len(b"OK\n")


def benchmark(settings: Settings) -> None:
    """Lets one client send for some seconds, then 64."""
    span_s = 0.5 if settings.short else 8.0
    places = Places(settings.fast / "in", settings.fast / "out", settings.disk / "state")
    for place in (places.incoming, places.outgoing, places.state, rings := settings.fast / "agent"):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
    port = free_port()
    with Agent({**listening(port), **file_roll(places), **durable(places)}, rings, places.state / "agent") as agent:
        alone, _ = _lines_per_s(agent, port, 1, span_s)
        many, cpu_s = _lines_per_s(agent, port, _CLIENTS, span_s)
    figures = {
        "lines_s_of_1": alone,
        f"lines_s_of_{_CLIENTS}": many,
        "times": many / alone,
        "agent_us_of_cpu_a_line": cpu_s / (many * span_s) * 1e6,
    }
    wanted = min(_GOAL_TIMES * alone, _GOAL_LINES_S)
    result = Result("small_transactions", f"{_CLIENTS} clients, {span_s:g} s", figures)
    result.ratio = (many / alone, "x the lines per second of one client")
    result.goals = (Goal(f"lines_s_of_{_CLIENTS}", wanted, "lines/s"),)
    settings.report(result)


def _lines_per_s(agent: Agent, port: int, clients: int, span_s: float) -> tuple[float, float]:
    """Lines that were answered in a second; CPU seconds of the agent for all of them."""
    fork = multiprocessing.get_context("fork")
    told, tell = fork.Pipe(duplex=False)
    sender = fork.Process(target=_send, args=(port, clients, span_s, tell))
    before_s = agent.cpu_s()
    sender.start()
    if not told.poll(span_s + 30):
        raise agent.failed("the clients got no answers")
    lines, took_s = told.recv()
    sender.join()
    return lines / took_s, agent.cpu_s() - before_s


def _send(port: int, clients: int, span_s: float, tell: Connection) -> None:
    """All clients in one process: whoever has its OK sends its next line."""
    connections = [connect(port) for _ in range(clients)]
    ready = select.epoll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number, connection in by_number.items():
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ready.register(number, select.EPOLLIN)
    began_s, lines = time.perf_counter(), 0
    for connection in connections:
        connection.sendall(_LINE)
    while time.perf_counter() - began_s < span_s:
        for number, _ in ready.poll(1):
            connection = by_number[number]
            answer = connection.recv(_OK)
            assert answer == b"OK\n", f"the agent said {answer!r}"
            lines += 1
            connection.sendall(_LINE)
    tell.send((lines, time.perf_counter() - began_s))


if __name__ == "__main__":
    run(benchmark)
