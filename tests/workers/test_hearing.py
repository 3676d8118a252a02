"""What workers say reaches the supervisor's log, and the supervisor hears others meanwhile."""

from __future__ import annotations

import os
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper import log
from shipper.supervisor.hearing import Hearing
from shipper.testing.agent import Agent
from shipper.testing.ports import free_ports
from tests.workers.conftest import agent_of, seq, taildir


class Pipe:
    """A log pipe, and what the supervisor has said of it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, str]] = []
        self.read_fd, self.write_fd = os.pipe()
        self.hearing = Hearing(self.read_fd)

    def fill(self) -> int:
        """Writes numbered lines until nothing more goes in; how many."""
        os.set_blocking(self.write_fd, False)
        count = 0
        while True:
            try:
                os.write(self.write_fd, b"\x01INFO\x01k1\x01%0100d\n" % count)
            except BlockingIOError:
                return count
            count += 1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """The log of this process is that of a supervisor, until the test ends."""
    made, before = Pipe(), log.current()
    log.configure(log.Log([("INFO", lambda *fact: made.said.append(fact))]))
    yield made
    log.configure(before)
    os.close(made.read_fd)
    os.close(made.write_fd)


def test_a_flood_is_heard_a_piece_at_a_time(pipe: Pipe) -> None:
    """Between two pieces the supervisor looks at everything else."""
    count = pipe.fill()
    pipe.hearing.hear()
    assert 0 < len(pipe.said) < count
    pipe.fill()
    before = len(pipe.said)
    pipe.hearing.hear()
    assert before < len(pipe.said) < count


def test_the_last_words_are_heard_whole(pipe: Pipe) -> None:
    count = pipe.fill()
    pipe.hearing.hear_out()
    assert len(pipe.said) == count
    os.write(pipe.write_fd, b"thread panicked")
    pipe.hearing.hear_out()
    assert pipe.said[count:] == [("WARN", "worker", "thread panicked")]


def test_a_silent_pipe_is_no_trouble(pipe: Pipe) -> None:
    pipe.hearing.hear()
    pipe.hearing.hear_out()
    assert pipe.said == []


def test_an_agent_that_logs_all_that_it_has_answers_and_stops(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Its sink says an event as fast as anybody writes it down."""
    (port,) = free_ports(1)
    sink = "a1.sinks.k1.type = logger\na1.sinks.k1.channel = c1\n"
    flood = agent_of(seq("r1", "c1", 1 << 40), sink, more="a1.channels.c1.capacity = 1000\n")
    one = agent(flood, arguments=["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"]).start()
    one.until(lambda: one.log_file.stat().st_size > 1 << 20, "the flood is on")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
        assert answer.status == 200
    assert one.stop() == 0, one.log()[-5000:]


def test_equal_events_are_lines_of_their_own(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """All the way from the sink to the file that the log is written to."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_text("same\nsame\nother\nsame\n")
    sink = "a1.sinks.k1.type = logger\na1.sinks.k1.channel = c1\n"
    one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink)).start()
    one.until(lambda: one.log().count("Event: {") >= 4)
    assert one.stop() == 0, one.log()
    assert re.findall(r" INFO  k1: Event: \{ .* (\w+) \}\n", one.log()) == ["same", "same", "other", "same"]
