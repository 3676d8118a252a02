"""At an ordered stop, lines that were taken in and can't be read again are put before the agent ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shipper.testing.agent import Agent
from shipper.testing.ports import free_port
from tests.waiting import until_there

LINES = 5000
LINE = b"line number %06d\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[str], Agent]]:
    """Makes agents whose channel holds a hundred events, and whose sink stands still until `let_go`."""
    with ExitStack() as stack:
        yield lambda sources: stack.enter_context(Agent(tmp_path / "agent", sources + sink(tmp_path)))


def sink(tmp_path: Path) -> str:
    """A small channel and a file."""
    (tmp_path / "out").mkdir()
    return (
        "a1.channels = c1\na1.channels.c1.type = memory\na1.channels.c1.capacity = 100\na1.sinks = k1\n"
        f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {tmp_path}/out\na1.sinks.k1.channel = c1\n"
    )


def stop_with_a_full_channel(one: Agent, full: Callable[[], object], sink_pid: int) -> None:
    """Stops the agent while its channel is full, and lets the sink go on only then."""
    one.until(full, "the channel is full")
    one.send(signal.SIGTERM)
    one.until(lambda: "stopping: sources read no more" in one.log())
    os.kill(sink_pid, signal.SIGCONT)
    assert one.ended() == 0, one.log()


def out(tmp_path: Path) -> bytes:
    """What was delivered."""
    return b"".join(path.read_bytes() for path in sorted((tmp_path / "out").iterdir()))


def in_channel(one: Agent) -> int:
    """Rows in the channel."""
    from shipper.metrics.block import MetricsBlock

    return MetricsBlock.view(one.instance_dir() / "metrics").sample().channels["c1"]["size"]


def unread_bytes(server: int, client: int) -> int:
    """Bytes that the kernel has received for the server's side of a connection and nobody has read."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ends = [int(fields[end].rpartition(":")[2], 16) for end in (1, 2)]
        if ends == [server, client]:
            return int(fields[4].partition(":")[2], 16)
    raise AssertionError("there is no such connection")


@pytest.mark.parametrize("sources", [1, 18], ids=["a worker of its own", "a shared worker"])
def test_lines_of_a_client_that_were_received_are_delivered(
    agent: Callable[[str], Agent], tmp_path: Path, sources: int
) -> None:
    port = free_port()
    names = [f"r{number}" for number in range(sources)]
    text = f"a1.sources = {' '.join(names)}\n"
    for number, name in enumerate(names):
        text += (
            f"a1.sources.{name}.type = netcat\na1.sources.{name}.bind = 127.0.0.1\na1.sources.{name}.channels = c1\n"
            f"a1.sources.{name}.port = {0 if number else port}\na1.sources.{name}.ack-every-event = false\n"
        )
    one = agent(text).start()
    sink_pid = one.freeze("k1")
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"".join(LINE % number for number in range(LINES)))
        one.until(lambda: in_channel(one) >= 50, "some are put")
        one.until(lambda: in_channel(one) == 100, "the channel is full")
        one.until(lambda: state_of(one) == "WAITING_ROOM", "and nothing more is read")
        unread = unread_bytes(port, client.getsockname()[1])
        stop_with_a_full_channel(one, lambda: True, sink_pid)
    received = (LINES * len(LINE % 0) - unread) // len(LINE % 0)
    assert received > 200, "more than the channel holds"
    assert out(tmp_path) == b"".join(LINE % number for number in range(received))


@pytest.mark.parametrize("sources", [1, 18], ids=["a worker of its own", "a shared worker"])
def test_lines_that_a_command_has_printed_are_delivered(
    agent: Callable[[str], Agent], tmp_path: Path, sources: int
) -> None:
    """Also those that lie in the pipe, and a last one without an end."""
    names = [f"r{number}" for number in range(sources)]
    text = f"a1.sources = {' '.join(names)}\n"
    for name in names:
        quiet = name != "r0"
        script = "true" if quiet else f"seq 0 {LINES - 1}; printf end; touch {tmp_path}/printed"
        text += (
            f"a1.sources.{name}.type = exec\na1.sources.{name}.shell = /bin/sh -c\na1.sources.{name}.channels = c1\n"
            f"a1.sources.{name}.command = {until_there(tmp_path / 'go')}; {script}; exec sleep 999\n"
        )
    one = agent(text).start()
    sink_pid = one.freeze("k1")
    (tmp_path / "go").touch()
    one.until(lambda: in_channel(one) == 100, "the channel is full")
    stop_with_a_full_channel(one, (tmp_path / "printed").exists, sink_pid)
    assert out(tmp_path) == b"".join(b"%d\n" % number for number in range(LINES)) + b"end\n"


def test_the_deadline_bounds_it_and_what_is_lost_is_said(agent: Callable[[str], Agent], tmp_path: Path) -> None:
    """A sink that never takes anything again: a second signal ends the waiting, and the log says how much."""
    text = (
        "a1.sources = r0\na1.sources.r0.type = exec\na1.sources.r0.shell = /bin/sh -c\na1.sources.r0.channels = c1\n"
        f"a1.sources.r0.command = {until_there(tmp_path / 'go')}; seq 0 {LINES - 1}; "
        f"touch {tmp_path}/printed; exec sleep 999\n"
    )
    one = agent(text).start(wait=False)
    sink_pid = one.freeze("k1")
    (tmp_path / "go").touch()
    one.until(lambda: (tmp_path / "printed").exists())
    one.until(lambda: "WAITING_ROOM" in state_of(one), "the channel is full")
    one.send(signal.SIGTERM)
    one.until(lambda: "stopping: sources read no more" in one.log())
    one.hurry()
    one.until(lambda: "bytes that it printed are lost" in one.log())
    os.kill(sink_pid, signal.SIGCONT)
    one.ended()


def state_of(one: Agent) -> str:
    """State of the source."""
    from shipper.metrics.block import Kind, MetricsBlock

    sample = MetricsBlock.view(one.instance_dir() / "metrics").sample()
    return next(worker.state.name for worker in sample.workers if worker.kind == Kind.SOURCE)
