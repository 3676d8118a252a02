"""An agent from the command line, as a process: exit codes, the log, the background."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.cli.run import USAGE, run_agent

FILE = """
a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = TAILDIR
a1.sources.r1.filegroups = f1
a1.sources.r1.filegroups.f1 = @DIR@/in/.*log
a1.sources.r1.positionFile = @DIR@/positions.json
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.channels.c1.ring.bytes = 4 MiB
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = @DIR@/out
a1.sinks.k1.channel = c1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file to run, its logs and its output."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "x.log").write_text("one\ntwo\n")
    (tmp_path / "a1.properties").write_text(FILE.replace("@DIR@", str(tmp_path)))
    return tmp_path


def command(folder: Path, *more: str) -> list[str]:
    places = ["--run-dir", str(folder / "run"), "--state-dir", str(folder / "state")]
    program = [sys.executable, "-m", "shipper.cli.main", "agent", "-n", "a1", "-f", str(folder / "a1.properties")]
    return [*program, *places, *more]


def run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(folder, *more), capture_output=True, text=True, check=False, timeout=60)


@pytest.fixture
def started() -> Iterator[list[int]]:
    """Process ids to be ended, whatever the test does."""
    found: list[int] = []
    yield found
    for pid in found:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def ended(pid: int) -> bool:
    """Waits until a process that is not our child is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 40)[0])
    finally:
        os.close(process)


def test_a_dry_run_prints_the_plan_and_starts_nothing(folder: Path) -> None:
    done = run(folder, "--dryrun")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        0, f"agent a1 of {folder}/a1.properties would run:",
    )  # fmt: skip
    assert "  source r1 (taildir)  -> c1" in done.stdout
    assert not (folder / "run").exists()
    assert list((folder / "out").iterdir()) == []


def test_a_configuration_that_can_not_be_run_is_exit_code_1_and_no_traceback(folder: Path) -> None:
    (folder / "a1.properties").write_text(FILE.replace("TAILDIR", "TAILDRI"))
    done = run(folder)
    assert done.returncode == 1
    assert "There is no source of type TAILDRI" in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


def test_a_file_that_is_not_there_is_exit_code_1(folder: Path) -> None:
    (folder / "a1.properties").unlink()
    done = run(folder)
    assert done.returncode == 1
    assert str(folder / "a1.properties") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_that_can_not_be_opened_is_exit_code_1(folder: Path) -> None:
    done = run(folder, "-Dflume.root.logger=INFO,LOGFILE", "-Dflume.log.dir=/proc/nowhere")
    assert done.returncode == 1
    assert re.match(r"shipper: the log can't be opened: .*/proc/nowhere", done.stderr)


def test_a_file_whose_name_is_no_text_is_refused_and_a_variable_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else lies in the environment of a person's session has no effect on an agent."""
    monkeypatch.setenv("OTHERS", "\udcff")
    assert run(folder, "--dryrun").returncode == 0
    bad = folder / "a\udcff.properties"
    bad.write_bytes((folder / "a1.properties").read_bytes())
    done = run(folder, "--dryrun", "-f", str(bad))
    assert done.returncode == 1
    assert f"the path {folder}/a\ufffd.properties is no valid UTF-8" in done.stderr


def test_a_configuration_directory_that_is_not_there_is_said(folder: Path) -> None:
    done = run(folder, "--dryrun", "-c", f"{folder}/nowhere")
    assert done.returncode == 0
    assert f"WARN  agent: -c {folder}/nowhere: there is no such directory" in done.stderr


def test_what_has_no_effect_is_said_at_the_start(folder: Path) -> None:
    done = run(folder, "--dryrun", "-Xmx20m")
    assert "INFO  agent: -Xmx20m is for a Java machine and has no effect here." in done.stderr


def test_a_pipe_gets_lines_only_and_an_interrupt_ends_with_0(folder: Path) -> None:
    lines = []
    with subprocess.Popen(command(folder), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if "a1 is running" in line:
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0, lines
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]{4,5} +\w+: ", line) for line in lines), lines
    assert "\x1b" not in "".join(lines)


def test_d_runs_in_the_background_and_says_process_and_log(folder: Path, started: list[int]) -> None:
    done = run(folder, "-d", f"-Dflume.log.dir={folder}/logs")
    assert done.returncode == 0, done.stderr
    said = re.fullmatch(
        rf"agent a1 runs in the background: process (\d+), log {re.escape(str(folder))}/logs/flume\.log\n", done.stdout
    )
    assert said is not None, done.stdout
    pid = int(said[1])
    started.append(pid)
    assert "a1 is running" in (folder / "logs" / "flume.log").read_text()
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    os.kill(pid, signal.SIGTERM)
    assert ended(pid)
    assert "a1 has stopped" in (folder / "logs" / "flume.log").read_text()


def test_a_background_agent_that_fails_at_once_says_so_here(folder: Path) -> None:
    """The exit code and the lines of the log come to the terminal that started it."""
    (folder / "a1.properties").write_text("a2.sources = r1\n")
    done = run(folder, "-d", f"-Dflume.log.dir={folder}/logs")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a1" in done.stderr
    *errors, last = done.stderr.splitlines()
    assert last == f"shipper: agent a1 has ended; its log is {folder}/logs/flume.log"
    assert errors
    assert set(errors) <= set((folder / "logs" / "flume.log").read_text().splitlines())


def test_a_terminal_gets_a_live_line_that_is_gone_at_the_end(folder: Path) -> None:
    """Drawn under the log lines about once a second; Ctrl-C leaves a clean screen."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(command(folder), stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written, interrupted = b"", False
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # EIO: the last one that had the terminal is gone
                break
            if not data:
                break
            written += data
            if not interrupted and b" events/s  c1 0%" in written:
                interrupted = True
                process.send_signal(signal.SIGINT)
    os.close(ours)
    assert process.returncode == 0
    assert re.search(rb"a1 \d:\d\d:\d\d  in [\d.]+ k?M? ?events/s [\d.]+ B/s  out [\d.]+ events/s  c1 0%", written)
    after = written[written.rindex(b"\x1b[J") :]
    assert b"events/s" not in after
    assert after.endswith(b"a1 has stopped\r\n")


def test_too_few_descriptors_to_start_are_said(folder: Path) -> None:
    """As the mistake of a person that it is, not as a defect to be reported."""
    program = f"""
import errno, os, sys
from shipper.cli.main import main
from shipper.supervisor import supervisor
def run(*_):
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
supervisor.run = run
sys.exit(main({command(folder)[3:]!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 3
    assert "ERROR agent: Too many open files: raise the limit (ulimit -n, LimitNOFILE)" in done.stderr


def test_a_pipe_is_no_file_for_an_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It can be read once, by one process: the agent would wait for a writer that had ended."""
    os.mkfifo(tmp_path / "pipe")
    assert run_agent(["-n", "a1", "-f", str(tmp_path / "pipe")]) == USAGE
    assert f"{tmp_path}/pipe is a pipe: an agent reads its files more than once." in capsys.readouterr().err
