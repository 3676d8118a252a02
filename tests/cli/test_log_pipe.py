"""The log pipe: what a worker says, whole, in order, and never at the price of its data."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from shipper import log
from shipper.log import Log
from shipper.log_pipe import PIPE_BUF_BYTES, Line, WorkerLines, WorkerLog
from tests.waiting import until


class Pipe:
    """A pipe, the log of a worker that writes into it, and what is read of it."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        os.set_blocking(self.read_fd, False)
        self.log = WorkerLog(self.write_fd, patience_s=0.0)
        self._lines = WorkerLines("w")

    def read(self, bytes_max: int = 1 << 20) -> list[Line]:
        """The lines that are complete."""
        return self._lines.feed(os.read(self.read_fd, bytes_max))

    def fill(self) -> int:
        """Says facts until one is dropped; how many there are in the pipe."""
        count = 0
        while not self.log._dropped:
            self.log.say("INFO", "k1", f"{count:0100}")
            count += 1
        return count - 1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed at the end."""
    made = Pipe()
    yield made
    made.log.close()
    os.close(made.read_fd)
    os.close(made.write_fd)


def test_what_a_worker_says_arrives_whole(pipe: Pipe) -> None:
    """Whatever the pieces in which it is read; what nobody wants is not sent."""
    pipe.log.say("WARN", "k1", "first \x01 with a separator")
    pipe.log.say("debug", "k1", "not wanted")
    pipe.log.pass_on("DEBUG", "k1", "not wanted")
    pipe.log.say("INFO", "r1", "second")
    data = os.read(pipe.read_fd, 1 << 20)
    lines = WorkerLines("worker")
    found = [fact for start in range(0, len(data), 7) for fact in lines.feed(data[start : start + 7])]
    assert found == [Line("WARN", "k1", "first \\x01 with a separator"), Line("INFO", "r1", "second")]


def test_facts_are_counted_and_what_is_passed_on_is_said_as_often_as_it_comes(pipe: Pipe) -> None:
    """Through the pipe into the supervisor's log, in the order in which they were said."""
    said: list[str] = []
    supervisors = Log([("INFO", lambda level, component, text: said.append(f"{level} {component}: {text}"))])
    for _ in range(2):
        pipe.log.pass_on("INFO", "k1", "same\nsame\tand \x02 odd é\u2028")
        WorkerLog(pipe.write_fd).say("WARN", "k1", "no route")  # as of a worker that was started again
        pipe.log.pass_on("INFO", "k1", "no route")
    for line in pipe.read():
        line.say(supervisors)
    supervisors.tick(everything=True)
    passed_on = ["INFO k1: same", "INFO k1: same\tand \\x02 odd é"]
    assert said == [
        *passed_on, "WARN k1: no route", "INFO k1: no route", *passed_on, "INFO k1: no route",
        "WARN k1: no route (2 times in 1 s)",
    ]  # fmt: skip


def test_what_a_library_prints_becomes_a_fact_of_that_worker() -> None:
    lines = WorkerLines("k1")
    assert lines.feed(b"hdfs-native: can't resolve nn\nno line end") == [
        Line("WARN", "k1", "hdfs-native: can't resolve nn")
    ]
    assert lines.feed(b"") == [Line("WARN", "k1", "no line end")]
    assert lines.feed(b"\n\n  \n\xff\n") == [Line("WARN", "k1", "\ufffd")]
    assert lines.feed(b"\x02\n\x01INFO\n\x02NONE\x01k\x01x\n") == [
        Line("WARN", "k1", "\x02"), Line("WARN", "k1", "INFO"), Line("WARN", "k1", "\x02NONEkx"),
    ]  # fmt: skip


@pytest.mark.parametrize("passed_on", [False, True])
def test_a_line_of_a_worker_is_one_write_that_no_other_can_mix_with(pipe: Pipe, passed_on: bool) -> None:
    """At most PIPE_BUF bytes; that it was cut is seen."""
    (pipe.log.pass_on if passed_on else pipe.log.say)("ERROR", "k1", "日" * 5000)
    data = os.read(pipe.read_fd, 1 << 20)
    assert len(data) <= PIPE_BUF_BYTES
    (line,) = WorkerLines("w").feed(data)
    assert (line.level, line.component, line.is_fact) == ("ERROR", "k1", not passed_on)
    assert line.text.endswith("...")


def test_an_endless_line_of_a_worker_does_not_fill_the_supervisor() -> None:
    lines = WorkerLines("w")
    found = [fact for _ in range(100) for fact in lines.feed(b"x" * 4096)]
    assert found
    assert len(lines._rest) <= 20 * 4096


def test_a_worker_whose_supervisor_is_gone_goes_on() -> None:
    read_fd, write_fd = os.pipe()
    made = WorkerLog(write_fd)
    os.close(read_fd)
    made.say("ERROR", "k1", "nobody hears this")
    made.pass_on("INFO", "k1", "nor this", waits=True)
    made.close()
    os.close(write_fd)


def test_facts_that_nobody_reads_are_dropped_and_counted(pipe: Pipe) -> None:
    """The data go on; the next line that finds room says how many were not heard."""
    count = pipe.fill()
    pipe.log.pass_on("INFO", "k1", "what a library says: " + 100 * "x")
    pipe.log.say("WARN", "k1", "no route to " + 100 * "x")
    assert len(pipe.read()) == count
    pipe.log.say("WARN", "k1", "it goes on")
    pipe.log.say("WARN", "k1", "and on")
    assert [line.text for line in pipe.read()] == [
        "3 lines were dropped here: the log could not be written as fast", "it goes on", "and on",
    ]  # fmt: skip


def test_a_worker_that_ends_says_what_was_dropped(pipe: Pipe) -> None:
    count = pipe.fill()
    assert len(pipe.read()) == count
    pipe.log.tick(everything=True)
    assert [line.text for line in pipe.read()] == ["1 line was dropped here: the log could not be written as fast"]


def test_a_delivery_waits_until_somebody_reads(pipe: Pipe) -> None:
    count = pipe.fill()
    lines = [f"event {number}" for number in range(100)]
    writer = threading.Thread(target=lambda: [pipe.log.pass_on("INFO", "k1", line, waits=True) for line in lines])
    writer.start()
    found: list[Line] = []

    def all_read() -> bool:
        try:
            found.extend(pipe.read(1000))
        except BlockingIOError:
            pass
        return len([line for line in found if line.text.startswith("event")]) == len(lines)

    until(all_read)
    writer.join()
    assert len([line for line in found if line.is_fact and line.text.isdigit()]) == count
    assert [line.text for line in found if not line.is_fact] == lines


def test_what_libraries_print_is_never_refused(pipe: Pipe) -> None:
    """Some of them end the process when they can't print: the descriptor that they have stays in blocking mode."""
    pipe.fill()
    assert os.get_blocking(pipe.write_fd)
    assert log.current() is not pipe.log
