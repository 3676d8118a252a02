"""The HTTP port of an agent: `/metrics` as Flume has it, Prometheus text, health. Served by the supervisor's own loop.

All sockets are non-blocking and stand in one epoll object, whose descriptor is what the supervisor's loop watches; a
request is answered from memory within one call of `serve`. So nothing here can hold the supervisor up, and it answers
while a worker hangs, because the numbers are in shared memory.

What a stranger can do to it is bounded: 16 connections, 8 KiB of request head, 64 KiB of body (thrown away), 5 seconds
without a byte, 15 seconds in all. One request a connection: the answer says `Connection: close`.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shipper import log
from shipper.errors import ComponentFailed

PORT = 41414
HOST = "127.0.0.1"
CONNECTIONS_MAX = 16
HEAD_BYTES_MAX = 8192
BODY_BYTES_MAX = 65536
IDLE_S = 5.0
TOTAL_S = 15.0
_DEAF_S = 1.0

JSON_TYPE = "application/json;charset=utf-8"
TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HTML_TYPE = "text/html;charset=utf-8"
#: The standard library's list of them would cost the supervisor more memory than this file.
_PHRASES = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 413: "Payload Too Large",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
_PAGE = b"""<!DOCTYPE html>
<html><head><title>shipper</title></head><body>
<p><a href="metrics">/metrics</a>: Flume's numbers as JSON</p>
<p><a href="metrics/prometheus">/metrics/prometheus</a>: the same and more for Prometheus</p>
<p><a href="health">/health</a>, <a href="ready">/ready</a></p>
</body></html>
"""


@dataclass(frozen=True)
class Answers:
    """Where the server gets its answers: called while a request is served, so they must not wait for anybody.

    Attributes:
        ready: () -> (True when every component has started and runs, a sentence for each that does not).
        health: () -> (False when something hangs, so that only a new start can help; all that is wrong).
        prometheus_first: `/metrics` is Prometheus text (`flume.monitoring.type=prometheus`).
    """

    flume_json: Callable[[], bytes]
    prometheus: Callable[[], bytes]
    ready: Callable[[], tuple[bool, str]]
    prometheus_first: bool = False
    health: Callable[[], tuple[bool, str]] = lambda: (True, "")


class _Connection:
    """One client: what came from it, what is still to be sent to it."""

    def __init__(self, client: socket.socket, now_s: float) -> None:
        self.client = client
        self.since_s = self.heard_s = now_s
        self.received = b""
        self.body_left = 0
        self.pending = b""  # the answer, waiting for the rest of the request's body
        self.output = b""
        self.answered = False


class MetricsServer:
    """Listens on one port.

    Args:
        answers: what to serve.
        host, port: where; port 0 takes a free one, see `port`.

    Raises:
        ComponentFailed: the port is in use, or the host is none of this machine's.
    """

    def __init__(
        self,
        answers: Answers,
        host: str = HOST,
        port: int = PORT,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answers = answers
        self._monotonic_s = monotonic_s
        self._connections: dict[int, _Connection] = {}
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            self._listener = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, protocol)
        except UnicodeError:  # so does Python say that a name has an empty part, or one that is too long
            raise _cant_serve(host, port, OSError(errno.EINVAL, "no name of a host can be written so")) from None
        except OSError as problem:
            raise _cant_serve(host, port, problem) from problem
        try:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(address)
            self._listener.listen(CONNECTIONS_MAX)
        except OSError as problem:
            self._listener.close()
            raise _cant_serve(host, port, problem) from problem
        self.host, self.port = self._listener.getsockname()[:2]
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._deaf_until_s = 0.0

    def fileno(self) -> int:
        """Becomes readable when `serve` has something to do: one descriptor for the supervisor's loop."""
        return self._epoll.fileno()

    def serve(self) -> None:
        """Does what can be done now without waiting: accepts, reads, answers, closes what is idle.

        To be called when `fileno` is readable, and at least once a second for the time-outs. Never raises for what a
        client does.
        """
        if self._deaf_until_s and self._monotonic_s() >= self._deaf_until_s:
            self._deaf_until_s = 0.0
            self._epoll.modify(self._listener.fileno(), select.EPOLLIN)
        for fd, _ in self._epoll.poll(0):
            if fd == self._listener.fileno():
                self._accept()
            elif (connection := self._connections.get(fd)) is not None:
                self._turn(fd, connection)
        now_s = self._monotonic_s()
        for fd, connection in list(self._connections.items()):
            if now_s - connection.heard_s >= IDLE_S or now_s - connection.since_s >= TOTAL_S:
                self._drop(fd)

    def close(self) -> None:
        """Gives the port and all connections back."""
        for fd in list(self._connections):
            self._drop(fd)
        self._epoll.close()
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(CONNECTIONS_MAX):
            try:
                client, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no descriptors: whoever waits would make the listener readable again and again
                self._epoll.modify(self._listener.fileno(), 0)
                self._deaf_until_s = self._monotonic_s() + _DEAF_S
                return
            client.setblocking(False)
            if len(self._connections) >= CONNECTIONS_MAX:
                # The one that was silent longest makes room: 16 sleepers must not lock everybody out.
                self._drop(min(self._connections, key=lambda fd: self._connections[fd].heard_s))
            self._connections[client.fileno()] = _Connection(client, self._monotonic_s())
            self._epoll.register(client.fileno(), select.EPOLLIN)

    def _turn(self, fd: int, connection: _Connection) -> None:
        try:
            if not connection.output and not self._read(connection):
                self._drop(fd)
                return
            if connection.output:
                sent = connection.client.send(connection.output)
                connection.output = connection.output[sent:]
                connection.heard_s = self._monotonic_s()
                if not connection.output:
                    # Closing with unread input would reset the connection and could take the answer along.
                    connection.client.shutdown(socket.SHUT_WR)
                self._epoll.modify(fd, select.EPOLLOUT if connection.output else select.EPOLLIN)
        except BlockingIOError:
            self._epoll.modify(fd, select.EPOLLOUT if connection.output else select.EPOLLIN)
        except OSError:
            self._drop(fd)

    def _read(self, connection: _Connection) -> bool:
        """Reads what is there; False when the client is done."""
        data = connection.client.recv(16384)
        if not data:
            return False
        connection.heard_s = self._monotonic_s()
        if connection.answered:
            connection.body_left -= len(data)  # the rest of what nobody wants; only so much of it
            return connection.body_left > -BODY_BYTES_MAX
        if connection.pending:
            connection.body_left -= len(data)
        else:
            connection.received += data
            head, end, body = connection.received.partition(b"\r\n\r\n")
            if not end and len(connection.received) <= HEAD_BYTES_MAX:
                return True
            too_large = len(head) > HEAD_BYTES_MAX
            connection.pending, length = self._answer(head if not too_large else None)
            connection.received = b""
            connection.body_left = length - len(body)
        if connection.body_left <= 0:
            connection.output, connection.answered = connection.pending, True
        return True

    def _answer(self, head: bytes | None) -> tuple[bytes, int]:
        """The whole answer to a request head, and how many bytes of body come before it may be sent."""
        if head is None:
            return _response(431, b"request head too large\n"), 0
        try:
            request, *lines = head.decode("latin-1").split("\r\n")
            method, target, version = request.split(" ")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            length = int(headers.get("content-length", "0"))
        except ValueError:
            return _response(400, b"not a request\n"), 0
        if not version.startswith("HTTP/1.") or not target.startswith(("/", "http://")) or length < 0:
            return _response(400, b"not a request\n"), 0
        if length > BODY_BYTES_MAX:
            return _response(413, b"request body too large\n"), 0
        try:
            status, kind, body = self._page(method.upper(), _path(target), headers)
        except Exception as problem:  # a defect in a page must not take the agent down that it describes
            log.defect("metrics", problem)
            status, kind, body = 500, TEXT_TYPE, b"this page failed; the log has more\n"
        return _response(status, body, kind, with_body=method.upper() != "HEAD"), length

    def _page(self, method: str, path: str, headers: Mapping[str, str]) -> tuple[int, str, bytes]:
        # Flume forbids TRACE and OPTIONS, answers every other method, and tells paths by upper and lower case only
        # where it has no choice: /METRICS is /metrics, but /metrics/ is nothing.
        if method in ("TRACE", "OPTIONS"):
            return 403, TEXT_TYPE, b"forbidden\n"
        answers, wanted = self._answers, path.lower()
        if path == "/":
            return 200, HTML_TYPE, _PAGE
        if wanted == "/metrics":
            if answers.prometheus_first or _asks_for_text(headers.get("accept", "")):
                return 200, TEXT_TYPE, answers.prometheus()
            return 200, JSON_TYPE, answers.flume_json()
        if wanted == "/metrics/prometheus":
            return 200, TEXT_TYPE, answers.prometheus()
        if wanted in ("/health", "/ready"):
            good, text = answers.health() if wanted == "/health" else answers.ready()
            return 200 if good else 503, TEXT_TYPE, (text or "ok").encode() + b"\n"
        return 404, TEXT_TYPE, b"not found; there are /metrics /metrics/prometheus /health /ready\n"

    def _drop(self, fd: int) -> None:
        connection = self._connections.pop(fd)
        try:
            self._epoll.unregister(fd)
        except OSError:
            pass
        connection.client.close()


def _response(status: int, body: bytes, kind: str = TEXT_TYPE, with_body: bool = True) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_PHRASES[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (body if with_body else b"")


def _path(target: str) -> str:
    """The path of a request target, without its query; a proxy's absolute form has a host before it."""
    if target.startswith("http://"):
        target = "/" + target[7:].partition("/")[2]
    return target.partition("?")[0]


def _asks_for_text(accept: str) -> bool:
    """True when the client names Prometheus's formats and not JSON. A browser or curl names neither."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return ("text/plain" in kinds or "application/openmetrics-text" in kinds) and "application/json" not in kinds


def _cant_serve(host: str, port: int, problem: OSError) -> ComponentFailed:
    hint = {
        errno.EADDRINUSE: "another agent may serve there: give this one another -Dflume.monitoring.port",
        errno.EACCES: "give it a -Dflume.monitoring.port of 1024 or above",
    }.get(problem.errno or 0, "give -Dflume.monitoring.host an address of this machine, or 0.0.0.0 for all of them")
    return ComponentFailed(f"can't serve metrics on {host}:{port}: {problem.strerror or problem}; {hint}")
