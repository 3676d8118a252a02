"""Our own log: one fact a line, a repeated fact once in 30 s, from every process of an agent."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper import log
from shipper.cli.log import Console, RotatingFile, configure_supervisor_log, log_file, wanted
from shipper.log import Log, format_line, printable
from shipper.testing.fakes import ManualClock


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """Each test has the process's log for itself."""
    earlier = log.current()
    yield
    log.configure(earlier)


class Said:
    """A log whose lines are kept, with its clock."""

    def __init__(self, level: str = "INFO") -> None:
        self.clock = ManualClock()
        self.lines: list[str] = []
        self.log = Log([(level, self._take)], self.clock.monotonic_s)

    def _take(self, level: str, component: str, text: str) -> None:
        self.lines.append(f"{level} {component}: {text}")


def test_a_line_has_time_level_component_and_fact() -> None:
    """As log4j writes it, in local time, the level in five columns."""
    line = format_line("INFO", "k1", "opened /out/x", now_s=1_795_255_190.1234)
    assert re.fullmatch(r"2026-11-\d\d \d\d:\d\d:50,123 INFO  k1: opened /out/x", line)
    assert " ERROR k1: " in format_line("ERROR", "k1", "x")
    assert " ERROR k1: " in format_line("STACK", "k1", "x")


def test_a_repeated_fact_is_said_once_with_its_count_afterwards() -> None:
    said = Said()
    for _ in range(12):
        said.log.say("WARN", "k1", "no route to host")
        said.clock.advance(2)
    said.log.say("INFO", "k2", "other")
    said.clock.advance(6)
    said.log.tick()
    assert said.lines == ["WARN k1: no route to host", "INFO k2: other", "WARN k1: no route to host (12 times in 30 s)"]


def test_the_count_of_a_trouble_comes_before_the_line_that_it_is_over() -> None:
    said = Said()
    for _ in range(3):
        said.log.say("WARN", "k1", "no route")
        said.clock.advance(2)
    said.log.say("INFO", "k1", "the target takes events again")
    said.clock.advance(31)
    said.log.tick()
    assert said.lines == ["WARN k1: no route", "WARN k1: no route (3 times in 6 s)",
                          "INFO k1: the target takes events again"]  # fmt: skip


def test_a_trouble_that_comes_and_goes_does_not_fill_the_log() -> None:
    """Its count is said early once, and then every 30 s."""
    said = Said()
    for number in range(25):
        said.log.say("WARN", "k1", "no route")
        said.log.say("WARN", "k1", "no route")
        said.log.say("INFO", "k1", f"event {number} is through")
        said.clock.advance(1)
    assert [line for line in said.lines if "WARN" in line] == ["WARN k1: no route",
                                                               "WARN k1: no route (2 times in 1 s)"]  # fmt: skip


def test_a_fact_that_goes_on_is_said_every_thirty_seconds() -> None:
    """Not silent for ever, and not a line a second."""
    said = Said()
    for _ in range(95):
        said.log.say("WARN", "k1", "no route")
        said.clock.advance(1)
    assert said.lines == [
        "WARN k1: no route", "WARN k1: no route (30 times in 30 s)", "WARN k1: no route (30 times in 30 s)",
        "WARN k1: no route (30 times in 30 s)",
    ]  # fmt: skip


def test_no_repeat_goes_uncounted() -> None:
    """A single one in a later window is said too."""
    said = Said()
    for pause_s in (1, 35, 35, 35):
        said.log.say("WARN", "k1", "x")
        said.clock.advance(pause_s)
    said.log.tick()
    again = "WARN k1: x (once more in 35 s)"
    assert said.lines == ["WARN k1: x", "WARN k1: x (2 times in 36 s)", again, again]


def test_a_fact_that_comes_again_after_a_pause_is_news() -> None:
    said = Said()
    for _ in range(2):
        said.log.say("WARN", "k1", "no route")
        said.clock.advance(31)
        said.log.tick()
    assert said.lines == ["WARN k1: no route", "WARN k1: no route"]


def test_the_same_words_of_another_component_or_level_are_another_fact() -> None:
    said = Said()
    for level, component in (("WARN", "k1"), ("WARN", "k2"), ("ERROR", "k1")):
        said.log.say(level, component, "x")
    assert len(said.lines) == 3


def test_at_the_end_all_counts_are_said() -> None:
    said = Said()
    for _ in range(3):
        said.log.say("WARN", "k1", "x")
    said.clock.advance(4)
    said.log.tick(everything=True)
    assert said.lines == ["WARN k1: x", "WARN k1: x (3 times in 4 s)"]


def test_memory_for_repeated_facts_is_bounded() -> None:
    """Facts that never repeat, in any number, do not stay."""
    said = Said()
    for number in range(5000):
        said.log.say("WARN", "k1", f"fact {number}")
    assert len(said.lines) == 5000
    assert len(said.log._repeats._facts) <= 1001


def test_each_line_of_a_text_is_a_fact_and_none_can_be_forged() -> None:
    """What comes from the outside can't start a line of its own, nor move the terminal."""
    said = Said()
    said.log.say("warning", "k1", "one\n\ntwo\x1b[2J \x00 \u2028\tthree")
    assert said.lines == ["WARN k1: one", "WARN k1: two\\x1b[2J \\x00", "WARN k1: \tthree"]
    assert printable("a\tb é 日") == "a\tb é 日"


def test_lines_below_the_level_are_not_written() -> None:
    said = Said("WARN")
    for level in ("DEBUG", "INFO", "WARN", "ERROR"):
        said.log.say(level, "k1", level)
    assert said.lines == ["WARN k1: WARN", "ERROR k1: ERROR"]


def test_a_defect_is_one_line_for_people_and_a_traceback_for_the_file() -> None:
    """The line names the error and where it happened; the traceback goes where level STACK is taken."""
    people, file = Said("INFO"), Said("STACK")
    log.configure(Log([*people.log.destinations, *file.log.destinations]))
    try:
        raise KeyError("offset")
    except KeyError as problem:
        log.defect("k1", problem)
    (line,) = people.lines
    assert re.fullmatch(
        r"ERROR k1: unexpected KeyError: 'offset' \(at test_log\.py:\d+ test_a_defect\w+\)\. Please report it\.", line
    )
    assert "STACK k1: Traceback (most recent call last):" in file.lines
    assert file.lines[-1] == "STACK k1: KeyError: 'offset'"


# --- where it goes


@pytest.mark.parametrize(("text", "level", "places"), [
    ("", "INFO", ["console"]),
    ("INFO,console", "INFO", ["console"]),
    ("DEBUG, LOGFILE", "DEBUG", ["LOGFILE"]),
    ("warn,LOGFILE,console", "WARN", ["LOGFILE", "console"]),
    ("WARNING,DAILY", "WARN", ["LOGFILE"]),
    ("ERROR", "ERROR", ["console"]),
    ("OFF,console", "OFF", ["console"]),
])  # fmt: skip
def test_flumes_root_logger(text: str, level: str, places: list[str]) -> None:
    assert wanted({"flume.root.logger": text}) == (level, places, [])


@pytest.mark.parametrize(("text", "doubt"), [
    ("INOF,console", "flume.root.logger = INOF,console: INOF is no level; INFO is used."),
    ("INFO,syslog", "flume.root.logger = INFO,syslog: syslog is not known; write console or LOGFILE."),
])  # fmt: skip
def test_a_root_logger_that_can_not_be_honoured_is_said(text: str, doubt: str) -> None:
    level, places, doubts = wanted({"flume.root.logger": text})
    assert (level, places) == ("INFO", ["console"])
    assert doubts[0].startswith(doubt)


def test_the_background_has_no_console() -> None:
    assert wanted({"flume.root.logger": "INFO,console"}, background=True)[1] == ["LOGFILE"]


@pytest.mark.parametrize(("system", "path"), [
    ({}, "logs/flume.log"),
    ({"flume.log.dir": "/var/log/flume"}, "/var/log/flume/flume.log"),
    ({"flume.log.dir": "/x", "flume.log.file": "a1.log"}, "/x/a1.log"),
])  # fmt: skip
def test_the_log_file_lies_where_flumes_would(system: dict[str, str], path: str) -> None:
    assert log_file(system) == Path(path)


def test_logfile_writes_into_the_file_and_says_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    system = {"flume.root.logger": "INFO,LOGFILE", "flume.log.dir": str(tmp_path / "new")}
    made = configure_supervisor_log(system)
    made.say("INFO", "agent", "hello")
    made.say("DEBUG", "agent", "not wanted")
    made.say("STACK", "agent", "a traceback")
    text = (tmp_path / "new" / "flume.log").read_text()
    assert [line.partition(" ")[2][13:] for line in text.splitlines()] == [
        "INFO  agent: hello",
        "ERROR agent: a traceback",
    ]
    assert capsys.readouterr().err == f"shipper: the log is {tmp_path}/new/flume.log\n"


@pytest.mark.parametrize(
    ("logger", "least"), [("INFO,console", "INFO"), ("INFO,LOGFILE", "STACK"), ("OFF,LOGFILE", "OFF")]
)
def test_workers_are_told_the_least_level_that_anybody_takes(tmp_path: Path, logger: str, least: str) -> None:
    """A log file takes tracebacks whatever its level, so workers send them."""
    assert configure_supervisor_log({"flume.root.logger": logger, "flume.log.dir": str(tmp_path)}).least == least


def test_a_log_file_is_cut_at_its_size_and_old_ones_are_kept(tmp_path: Path) -> None:
    """No line is lost or split between two files; the oldest file goes."""
    file = RotatingFile(tmp_path / "flume.log", rotate_bytes=200, files=3)
    for number in range(40):
        file.line("INFO", "k1", f"line {number:02d}")
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["flume.log", "flume.log.1", "flume.log.2", "flume.log.3"]
    kept = [line[-2:] for name in reversed(names) for line in (tmp_path / name).read_text().splitlines()]
    assert kept == [f"{number:02d}" for number in range(40 - len(kept), 40)]
    assert all((tmp_path / name).stat().st_size <= 200 for name in names)


def test_a_log_goes_on_where_the_last_run_ended(tmp_path: Path) -> None:
    for number in range(2):
        file = RotatingFile(tmp_path / "flume.log")
        file.line("INFO", "k1", f"run {number}")
        file.close()
    assert len((tmp_path / "flume.log").read_text().splitlines()) == 2


def test_a_full_disk_is_said_once_and_the_agent_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    file = RotatingFile(Path("/dev/full"))
    for _ in range(3):
        file.line("INFO", "k1", "x")
    file.close()
    assert capsys.readouterr().err.count("can't be written") == 1


def terminal() -> tuple[Console, int]:
    """A console that believes it is a terminal, and what reads it."""
    read_fd, write_fd = os.pipe()
    return Console(write_fd, terminal=True, colour=False), read_fd


def test_a_log_line_stands_above_the_live_lines() -> None:
    """They are erased, the line is written, and they are drawn again: one write, so nothing flickers."""
    console, read_fd = terminal()
    console.status(["one", "two"])
    assert os.read(read_fd, 1000) == b"one\ntwo"
    console.line("INFO", "k1", "hello")
    written = os.read(read_fd, 1000)
    assert re.fullmatch(rb"\r\x1b\[1A\x1b\[J\d{4}-.* INFO  k1: hello\none\ntwo", written)
    console.status([])
    assert os.read(read_fd, 1000) == b"\r\x1b[1A\x1b[J"
    os.close(read_fd)
    os.close(console.fd)


def test_the_same_live_lines_are_not_drawn_twice() -> None:
    console, read_fd = terminal()
    console.status(["one"])
    console.status(["one"])
    console.status(["two"])
    assert os.read(read_fd, 1000) == b"one\r\x1b[Jtwo"
    os.close(read_fd)
    os.close(console.fd)


def test_a_pipe_gets_log_lines_only() -> None:
    read_fd, write_fd = os.pipe()
    console = Console(write_fd)
    console.status(["one"])
    console.line("WARN", "k1", "hello")
    written = os.read(read_fd, 1000)
    assert b"\x1b" not in written
    assert written.endswith(b" WARN  k1: hello\n")
    os.close(read_fd)
    os.close(write_fd)


def test_a_terminal_gets_colour_unless_it_does_not_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Console(2, terminal=True).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Console(2, terminal=True).colour
