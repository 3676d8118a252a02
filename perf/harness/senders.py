"""Senders: processes that push a file of lines through TCP connections as fast as the other end takes them.

Each sender owns one connection and a run of whole lines of the file, and lets the kernel copy it (`sendfile`), so that
it costs less than any receiver. Answers are thrown away inside the kernel, too. All senders connect before the clock
runs and start at one word; what they cost is counted apart.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import time
from pathlib import Path

from perf.harness.lines import Input

_STEP_BYTES = 1 << 20
_CONNECT_S = 20.0
_NOWHERE = bytearray(1 << 20)


class TcpFeed:
    """Four connections, or as many as said, to a port of this machine.

    Args:
        answered: True when the other end answers each line; the senders then read what it says.
    """

    def __init__(self, source: Input, port: int, connections: int = 4, *, answered: bool = False) -> None:
        self._go_read, self._go_write = os.pipe()
        self._children = []
        for start, end in _runs(source.path, source.size_bytes, connections):
            connection = connect(port)
            pid = os.fork()
            if pid == 0:
                _send(connection, source.path, start, end, self._go_read, self._go_write, answered)
            connection.close()
            self._children.append(pid)
        os.close(self._go_read)

    def go(self) -> None:
        os.close(self._go_write)

    def end(self) -> float:
        cpu_s = 0.0
        for pid in self._children:
            _, status, spent = os.wait4(pid, 0)
            assert status == 0, f"a sender ended with {os.waitstatus_to_exitcode(status)}"
            cpu_s += spent.ru_utime + spent.ru_stime
        return cpu_s


def _runs(path: Path, size_bytes: int, count: int) -> list[tuple[int, int]]:
    """`count` runs of whole lines, about as long."""
    edges = [0]
    with path.open("rb") as file:
        for number in range(1, count):
            file.seek(size_bytes * number // count)
            file.readline()
            edges.append(file.tell())
    edges.append(size_bytes)
    return list(itertools.pairwise(edges))


def connect(port: int) -> socket.socket:
    """A connection to a port of this machine, as soon as somebody listens there."""
    deadline_s = time.monotonic() + _CONNECT_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.05)


def _send(
    connection: socket.socket, path: Path, start: int, end: int, go_read: int, go_write: int, answered: bool
) -> None:
    """The child's whole life."""
    code = 1
    try:
        os.close(go_write)
        connection.setblocking(False)
        file = os.open(path, os.O_RDONLY)
        select.select([go_read], [], [])
        while start < end:
            readable, _, _ = select.select([connection] if answered else [], [connection], [])
            if readable:
                _throw_away(connection)
            try:
                start += os.sendfile(connection.fileno(), file, start, min(end - start, _STEP_BYTES))
            except BlockingIOError:
                continue
        connection.shutdown(socket.SHUT_WR)
        connection.setblocking(True)
        connection.settimeout(60)
        while _throw_away(connection):
            pass
        code = 0
    finally:
        os._exit(code)


def _throw_away(connection: socket.socket) -> int:
    """Takes what was answered; 0 at its end. With MSG_TRUNC, TCP does not even copy it."""
    try:
        return connection.recv_into(_NOWHERE, flags=socket.MSG_TRUNC)
    except BlockingIOError:
        return 1
