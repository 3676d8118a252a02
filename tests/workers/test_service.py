"""What a service manager hears: over a real datagram socket, from the object alone and from a whole agent."""

from __future__ import annotations

import os
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.supervisor.service import Service
from shipper.testing.agent import Agent
from shipper.testing.fakes import ManualClock
from shipper.testing.ports import free_port
from tests.workers.conftest import agent_of, file_roll, seq

Make = Callable[..., Agent]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    """All lines that have come."""
    found: list[str] = []
    while True:
        try:
            found += manager.recv(4096).decode().split("\n")
        except BlockingIOError:
            return found


def test_each_word_is_what_systemd_expects(manager: socket.socket, tmp_path: Path) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    service.ready(), service.reloading(), service.status("running"), service.status("running"), service.stopping()
    words = heard(manager)
    assert [word for word in words if not word.startswith("MONOTONIC_USEC=")] == [
        "READY=1", "RELOADING=1", "STATUS=running", "STOPPING=1", "STATUS=stopping: sinks empty the channels",
    ]  # fmt: skip
    assert any(word.startswith("MONOTONIC_USEC=") and word[15:].isdigit() for word in words)
    service.close()


def test_an_address_that_is_no_file_is_understood(tmp_path: Path) -> None:
    name = f"shipper-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.setblocking(False)
        service = Service({"NOTIFY_SOCKET": f"@{name}"})
        service.ready()
        assert heard(listening) == ["READY=1"]
        service.close()


def test_a_sign_of_life_is_due_three_times_in_what_the_manager_allows(manager: socket.socket, tmp_path: Path) -> None:
    clock = ManualClock()
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "30000000"}
    service = Service(environment, clock.monotonic_s)
    assert service.sign_is_due
    service.alive()
    clock.advance(9.9)
    assert not service.sign_is_due
    clock.advance(0.2)
    assert service.sign_is_due
    assert heard(manager) == ["WATCHDOG=1"]
    service.close()


@pytest.mark.parametrize("environment", [
    {}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": ""},
])  # fmt: skip
def test_who_is_not_watched_gives_no_sign(environment: dict[str, str]) -> None:
    assert not Service(environment).sign_is_due


def test_a_manager_that_is_gone_stops_nobody(tmp_path: Path) -> None:
    service = Service({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    service.ready(), service.alive(), service.stopping(), service.close(), service.ready()


def test_an_agent_says_when_it_is_ready_that_it_lives_when_it_reloads_and_stops(
    agent: Make, manager: socket.socket, tmp_path: Path
) -> None:
    words: list[str] = []

    def says(word: str) -> bool:
        words.extend(heard(manager))
        return word in words

    properties = agent_of(seq("r1", "c1", 10**12), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(properties, environment={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"})
    one.start()
    one.until(lambda: says("READY=1"))
    one.until(lambda: says("WATCHDOG=1"))
    for pid in one.workers().values():
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
    words.clear()
    one.file.write_text(properties + "a1.sinks.k1.sink.rollInterval = 3\n")
    one.send(signal.SIGHUP)
    one.until(lambda: says("READY=1"))
    assert words.index("RELOADING=1") < words.index("READY=1")
    one.send(signal.SIGTERM)
    assert one.ended() == 0
    assert says("STOPPING=1")


def test_a_target_that_is_down_at_the_start_does_not_keep_the_service_from_being_ready(
    agent: Make, manager: socket.socket, tmp_path: Path
) -> None:
    sink = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {tmp_path}/missing\na1.sinks.k1.channel = c1\n"
    one = agent(agent_of(seq("r1", "c1", 10), sink), environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
    one.start(wait=False)
    words: list[str] = []
    one.until(lambda: words.extend(heard(manager)) or "READY=1" in words)
    one.until(lambda: words.extend(heard(manager)) or any("k1 failed" in word for word in words))
    assert one.stop() == 3


@pytest.mark.nightly
def test_the_watchdog_hears_nothing_while_a_worker_hangs(agent: Make, manager: socket.socket, tmp_path: Path) -> None:
    """It takes half a minute until a worker counts as hanging."""
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
    one = agent(agent_of(seq("r1", "c1", 10**12), file_roll("k1", "c1", tmp_path / "out")), environment=environment)
    one.start()
    hanging = one.freeze("k1")
    one.until(lambda: "k1 has made no step for" in one.log())
    words = heard(manager)
    assert "WATCHDOG=1" in words
    words.clear()
    one.until(
        lambda: words.extend(heard(manager)) or any("k1 has made no step" in word for word in words), "its status"
    )
    one.until(lambda: words.extend(heard(manager)) or sum("STATUS=" in word for word in words) > 1, "ten seconds later")
    assert "WATCHDOG=1" not in words
    assert one.log().count("the service manager gets no sign of life") == 1
    os.kill(hanging, signal.SIGCONT)
    one.until(lambda: "WATCHDOG=1" in heard(manager))
    assert one.stop() == 0


def test_the_pages_of_a_running_agent(agent: Make, tmp_path: Path) -> None:
    """`/health` and `/ready`, of an agent that is well, and of one whose new configuration was refused."""
    port = free_port()
    arguments = ["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"]
    properties = agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(properties, arguments=arguments).start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def page(name: str) -> str:
        try:
            with opener.open(f"http://127.0.0.1:{port}/{name}") as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return str(refusal.read().decode())

    one.until(lambda: (page("health"), page("ready")) == ("ok\n", "ok\n"))
    one.file.write_text(properties + "a1.sinks.k1.sink.rollInterval = soon\n")
    one.send(signal.SIGHUP)
    one.until(lambda: page("health").startswith("degraded: the configuration of "))
    assert page("ready") == "ok\n"
    one.file.write_text(properties + "a1.sinks.k1.sink.rollInterval = 7\n")
    one.send(signal.SIGHUP)
    one.until(lambda: page("health") == "ok\n")
    one.until(lambda: "runs the new configuration" in one.log())
    assert '"SINK.k1"' in page("metrics")
    assert one.stop() == 0
