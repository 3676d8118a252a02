"""The HTTP port: Flume's answers, and what bad clients get. Driven by hand, as the supervisor's loop drives it."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest

from shipper import log
from shipper.errors import ComponentFailed
from shipper.metrics import server as module
from shipper.metrics.server import Answers, MetricsServer
from shipper.testing.fakes import ManualClock

JSON, TEXT = b'{"SOURCE.r1":{}}', b"# HELP x\n"


class Served:
    """A server with its clock and what its health depends on."""

    def __init__(self, prometheus_first: bool = False) -> None:
        self.clock = ManualClock()
        self.ready = (True, "")
        self.health = (True, "")
        answers = Answers(lambda: JSON, lambda: TEXT, lambda: self.ready, prometheus_first, lambda: self.health)
        self.server = MetricsServer(answers, port=0, monotonic_s=self.clock.monotonic_s)

    def connect(self) -> socket.socket:
        client = socket.create_connection((self.server.host, self.server.port), timeout=5)
        self.turn()
        return client

    def turn(self) -> None:
        """One round of the supervisor's loop: waits until the server has something to do."""
        select.select([self.server], [], [], 5)
        self.server.serve()

    def ask(self, request: bytes) -> bytes:
        """The whole answer to a request that is sent at once."""
        with self.connect() as client:
            client.sendall(request)
            return self.answer(client)

    def answer(self, client: socket.socket) -> bytes:
        client.setblocking(False)
        found = b""
        while True:
            try:
                data = client.recv(65536)
            except BlockingIOError:
                self.turn()
                continue
            if not data:
                return found
            found += data


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.server.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(("method", "path", "code", "content", "kind"), [
    ("GET", "/metrics", 200, JSON, "application/json;charset=utf-8"),
    ("POST", "/metrics", 200, JSON, "application/json;charset=utf-8"),
    ("GET", "/METRICS", 200, JSON, "application/json;charset=utf-8"),
    ("GET", "/metrics?x=1", 200, JSON, "application/json;charset=utf-8"),
    ("GET", "http://h:1/metrics", 200, JSON, "application/json;charset=utf-8"),
    ("GET", "/metrics/", 404, None, None),
    ("GET", "/metric", 404, None, None),
    ("GET", "/favicon.ico", 404, None, None),
    ("TRACE", "/metrics", 403, None, None),
    ("OPTIONS", "/metrics", 403, None, None),
    ("TRACE", "/nothing", 403, None, None),
    ("GET", "/metrics/prometheus", 200, TEXT, "text/plain; version=0.0.4; charset=utf-8"),
    ("GET", "/health", 200, b"ok\n", None),
    ("GET", "/ready", 200, b"ok\n", None),
])  # fmt: skip
def test_paths_and_methods(
    served: Served, method: str, path: str, code: int, content: bytes | None, kind: str | None
) -> None:
    """Flume's answers to Flume's paths; ours beside them."""
    answer = served.ask(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status(answer) == code
    assert content is None or body(answer) == content
    assert kind is None or f"\r\nContent-Type: {kind}\r\n".encode() in answer
    assert f"Content-Length: {len(body(answer))}\r\n".encode() in answer


def test_the_first_page_links_to_the_numbers(served: Served) -> None:
    answer = served.ask(b"GET / HTTP/1.1\r\n\r\n")
    assert (status(answer), b'href="metrics"' in answer, b"text/html" in answer) == (200, True, True)


def test_head_gets_the_head_only(served: Served) -> None:
    answer = served.ask(b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert (status(answer), body(answer)) == (200, b"")
    assert f"Content-Length: {len(JSON)}".encode() in answer


@pytest.mark.parametrize(("accept", "content"), [
    ("*/*", JSON),
    ("text/html,application/xhtml+xml,*/*;q=0.8", JSON),
    ("application/json, text/plain", JSON),
    ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1", TEXT),
    ("text/plain", TEXT),
])  # fmt: skip
def test_prometheus_is_known_by_what_it_accepts(served: Served, accept: str, content: bytes) -> None:
    assert body(served.ask(f"GET /metrics HTTP/1.1\r\nAccept: {accept}\r\n\r\n".encode())) == content


def test_the_type_prometheus_serves_its_text_at_metrics() -> None:
    served = Served(prometheus_first=True)
    assert body(served.ask(b"GET /metrics HTTP/1.1\r\n\r\n")) == TEXT
    served.server.close()


def test_health_is_503_only_when_something_hangs(served: Served) -> None:
    served.health = (True, "degraded: k1 can't deliver")
    answer = served.ask(b"GET /health HTTP/1.1\r\n\r\n")
    assert (status(answer), body(answer)) == (200, b"degraded: k1 can't deliver\n")
    served.health = (False, "not alive: k1 has made no step for 40 s")
    answer = served.ask(b"GET /health HTTP/1.1\r\n\r\n")
    assert (status(answer), body(answer)) == (503, b"not alive: k1 has made no step for 40 s\n")


def test_not_ready_is_503_with_the_reason(served: Served) -> None:
    served.ready = (False, "r1 has made no step for 40 s")
    answer = served.ask(b"GET /ready HTTP/1.1\r\n\r\n")
    assert (status(answer), body(answer)) == (503, b"r1 has made no step for 40 s\n")
    assert status(served.ask(b"GET /health HTTP/1.1\r\n\r\n")) == 200


@pytest.mark.parametrize("request_bytes", [
    b"\r\n\r\n", b"GET\r\n\r\n",
    b"GET /metrics\r\n\r\n", b"GET /metrics SPDY/3\r\n\r\n", b"\x16\x03\x01\x00\xff\r\n\r\n",
    b"GET metrics HTTP/1.1\r\n\r\n", b"GET /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"\0" * 100 + b"\r\n\r\n",
])  # fmt: skip
def test_junk_is_a_bad_request(served: Served, request_bytes: bytes) -> None:
    assert status(served.ask(request_bytes)) == 400
    assert status(served.ask(b"GET /health HTTP/1.1\r\n\r\n")) == 200


def test_a_huge_head_is_refused_and_not_kept(served: Served) -> None:
    """Whether it ends some time or never."""
    assert status(served.ask(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n")) == 431
    assert status(served.ask(b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 9000)) == 431


def test_a_body_is_read_and_thrown_away(served: Served) -> None:
    assert body(served.ask(b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello")) == JSON


def test_a_body_that_comes_later_is_waited_for(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello")
        served.turn()
        client.sendall(b"world")
        assert body(served.answer(client)) == JSON


def test_a_huge_body_is_refused_before_it_is_read(served: Served) -> None:
    assert status(served.ask(b"POST /metrics HTTP/1.1\r\nContent-Length: 9999999999\r\n\r\n")) == 413


def test_a_request_in_single_bytes_is_understood(served: Served) -> None:
    """A slow client is as good as another while it does something."""
    with served.connect() as client:
        for byte in b"GET /metrics HTTP/1.1\r\n\r\n":
            served.clock.advance(0.1)
            client.sendall(bytes([byte]))
            served.turn()
        assert body(served.answer(client)) == JSON


def test_a_silent_client_is_closed_after_five_seconds(served: Served) -> None:
    with served.connect() as client:
        served.clock.advance(4.9)
        served.server.serve()
        assert len(served.server._connections) == 1
        served.clock.advance(0.2)
        served.server.serve()
        assert client.recv(1) == b""


def test_a_client_that_dribbles_is_closed_after_fifteen_seconds(served: Served) -> None:
    with served.connect() as client:
        for _ in range(4):
            client.sendall(b"x")
            served.turn()
            served.clock.advance(4)
        served.server.serve()
        assert not served.server._connections
        assert client.recv(1) == b""


def test_sleepers_do_not_lock_others_out(served: Served) -> None:
    """Of more connections than there may be, the one that was silent longest makes room."""
    sleepers = []
    for _ in range(module.CONNECTIONS_MAX + 3):
        sleepers.append(served.connect())
        served.clock.advance(0.01)
    assert len(served.server._connections) <= module.CONNECTIONS_MAX
    assert body(served.ask(b"GET /metrics HTTP/1.1\r\n\r\n")) == JSON
    for client in sleepers:
        client.close()


def test_a_page_that_fails_is_500_and_the_others_go_on(served: Served) -> None:
    """A defect of ours in one page is logged, and does not end the agent."""
    said: list[str] = []
    earlier = log.current()
    log.configure(log.Log([("ERROR", lambda level, component, text: said.append(text))]))
    served.server._answers = Answers(lambda: [][0], lambda: TEXT, lambda: (True, ""))
    try:
        assert status(served.ask(b"GET /metrics HTTP/1.1\r\n\r\n")) == 500
    finally:
        log.configure(earlier)
    assert body(served.ask(b"GET /metrics/prometheus HTTP/1.1\r\n\r\n")) == TEXT
    assert len(said) == 1
    assert said[0].startswith("unexpected IndexError: list index out of range (at ")


def test_a_large_answer_reaches_a_client_that_reads_slowly() -> None:
    """What the socket does not take at once is sent later, by the loop, without holding it up."""
    served = Served()
    large = b"x" * 20_000_000
    served.server._answers = Answers(lambda: large, lambda: TEXT, lambda: (True, ""))
    with served.connect() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        served.turn()
        assert len(body(served.answer(client))) == len(large)
    served.server.close()


def test_a_client_that_goes_away_is_forgotten(served: Served) -> None:
    client = served.connect()
    client.sendall(b"GET /metrics HTT")
    served.turn()
    client.close()
    served.turn()
    assert not served.server._connections


def test_a_port_in_use_is_said_with_what_to_do(served: Served) -> None:
    with pytest.raises(ComponentFailed, match=r"127\.0\.0\.1:\d+: Address already in use.*flume\.monitoring\.port"):
        MetricsServer(served.server._answers, port=served.server.port)


def test_a_host_of_another_machine_is_said() -> None:
    answers = Answers(lambda: JSON, lambda: TEXT, lambda: (True, ""))
    for host in ("192.0.2.1", "127..0.1"):
        with pytest.raises(
            ComponentFailed, match=rf"can't serve metrics on {host}:41414: .*flume\.monitoring\.host an"
        ):
            MetricsServer(answers, host=host)


def test_it_listens_on_loopback_unless_told_otherwise(served: Served) -> None:
    assert (served.server.host, module.PORT) == ("127.0.0.1", 41414)
