"""docs/operations.md: its commands do what it says, and so do the files of examples/service."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.testing.agent import Agent

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
UNIT = ROOT / "examples" / "service" / "shipper@.service"
CONTAINERFILE = ROOT / "examples" / "service" / "Containerfile"
PATIENCE_S = 100.0
_END = "-- the end of what it printed --"


def commands() -> list[tuple[str, list[str]]]:
    """(command, the lines that it is said to print), in the order of the page."""
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> str:
    """A pattern of what is printed."""
    parts = [".*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") for line in lines]
    return "\n".join(parts)


class Shell:
    """A shell that stays, as a person has one."""

    def __init__(self, directory: Path) -> None:
        program = directory / "bin" / "shipper"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m shipper.cli.main "$@"\n')
        program.chmod(0o755)
        for name in ("run", "state"):
            (directory / name).mkdir()
        environment = {
            **os.environ, "HOME": str(directory), "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RUNTIME_DIRECTORY": str(directory / "run"), "STATE_DIRECTORY": str(directory / "state"),
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            cwd=directory, env=environment, process_group=0,
        )  # fmt: skip

    def run(self, command: str) -> str:
        """What the command prints."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho '{_END}'\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline()) and line.rstrip("\n") != _END:
            lines.append(line)
        return "".join(lines)

    def close(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell in a directory with the page's configuration."""
    found = re.search(r"^```properties\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    for name in ("app", "out"):
        (tmp_path / name).mkdir()
    (tmp_path / "app" / "a.log").write_text("a line\n")
    properties = found[1].replace("/var/log/app", f"{tmp_path}/app").replace("/data/logs", f"{tmp_path}/out")
    (tmp_path / "a1.properties").write_text(properties)
    opened = Shell(tmp_path)
    yield opened
    opened.close()


def test_every_command_prints_what_the_page_says(shell: Shell) -> None:
    """A command that only looks is asked again until what it looks at has happened."""
    assert len(commands()) > 15
    for command, said in commands():
        looks = command.startswith(("grep", "shipper"))
        deadline_s = time.monotonic() + PATIENCE_S
        while not re.fullmatch(pattern(said), printed := shell.run(command).rstrip("\n"), re.DOTALL):
            assert looks and time.monotonic() < deadline_s, f"$ {command}\n{printed}\n--- is not\n" + "\n".join(said)
            time.sleep(0.2)


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    unit = tmp_path / "shipper@.service"
    unit.write_text(UNIT.read_text().replace("/opt/shipper/bin/shipper", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (found.returncode, found.stderr, found.stdout) == (0, "", "")


def settings() -> dict[str, str]:
    """The settings of the unit."""
    lines = UNIT.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith(("#", "[")))


def test_the_unit_says_what_the_agent_needs() -> None:
    """Each of these was forgotten once in some unit for some shipper."""
    found = settings()
    assert found["Type"] == "notify" and found["NotifyAccess"] == "main"
    assert found["KillMode"] == "mixed"
    assert found["RuntimeDirectoryPreserve"] == "yes"
    assert found["OOMPolicy"] == "continue"
    assert int(found["LimitNOFILE"]) >= 65536
    # The stop deadline, ten seconds to close files, ten for the killed; and time to park.
    assert int(found["TimeoutStopSec"]) > 30 + 10 + 10
    assert {"1", "2"} == set(found["RestartPreventExitStatus"].split())


def test_the_lines_of_the_unit_run_as_systemd_runs_them(tmp_path: Path) -> None:
    """Its command, its environment, its reload, its stop; what waits outlives a restart of the service."""
    (tmp_path / "out").mkdir()
    words = settings()["ExecStart"].replace("%i", "a1").replace("/etc/shipper", str(tmp_path)).split()
    assert words[:2] == ["/opt/shipper/bin/shipper", "agent"]
    environment = {"RUNTIME_DIRECTORY": str(tmp_path / "run"), "STATE_DIRECTORY": str(tmp_path / "state")}
    one = AsService(tmp_path, simple(tmp_path), environment=environment)
    one.words = words[1:]
    with one:
        one.start()
        assert list((tmp_path / "run").glob("a1-*/metrics")) and list((tmp_path / "state").glob("a1-*/lock"))
        assert settings()["ExecReload"] == "/bin/kill -HUP $MAINPID"
        subprocess.run(["/bin/kill", "-HUP", str(one.pid)], check=True)
        one.until(lambda: "all workers go on" in one.log())
        assert one.stop() == 0


def simple(directory: Path) -> str:
    """Counts into files."""
    return (
        "a1.sources = r1\na1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n"
        "a1.sources.r1.type = seq\na1.sources.r1.totalEvents = 100\na1.sources.r1.channels = c1\n"
        f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {directory}/out\na1.sinks.k1.channel = c1\n"
    )


class AsService(Agent):
    """An agent whose command line is somebody else's."""

    words: list[str]

    def command(self) -> list[str]:
        return [*self._before, sys.executable, "-m", "shipper.cli.main", *self.words]


def instructions() -> list[tuple[str, str]]:
    """(instruction, what it says) of the Containerfile."""
    text = re.sub(r"\\\n", " ", CONTAINERFILE.read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_is_not_root_keeps_its_state_and_copies_what_is_there() -> None:
    found = dict(instructions())
    assert found["USER"].isdigit() and found["USER"] != "0"
    assert found["VOLUME"] == '["/var/lib/shipper"]'
    assert found["STOPSIGNAL"] == "SIGTERM"
    order = [word for word, _ in instructions()]
    assert order[0] == "FROM" and order.index("USER") > max(i for i, word in enumerate(order) if word == "RUN")
    for word, rest in instructions():
        if word == "COPY":
            assert all((ROOT / name).exists() for name in rest.split()[:-1]), rest


def test_the_command_of_the_image_is_a_good_first_process(tmp_path: Path) -> None:
    """Its command, as process 1 of a name space; its health check beside it; its stop signal."""
    before = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if os.getuid() or subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("no name space of processes is allowed here")
    (tmp_path / "out").mkdir()
    found = dict(instructions())
    words = [*json_words(found["ENTRYPOINT"]), *json_words(found["CMD"])]
    environment = {"STATE_DIRECTORY": str(tmp_path / "state"), "RUNTIME_DIRECTORY": str(tmp_path / "run")}
    one = AsService(tmp_path, simple(tmp_path), environment=environment, before=before)
    one.words = [word.replace("/etc/shipper", str(tmp_path)) for word in words[1:]]
    check = found["HEALTHCHECK"].partition("CMD ")[2]
    check = check.replace("shipper health", f"{sys.executable} -m shipper.cli.main health")
    with one:
        one.start()
        first = one.children()[0]

        def healthy() -> bool:
            inside = ["nsenter", "--target", str(first), "--pid", "--mount", "--root", "sh", "-c"]
            command = [*inside, f"cd {ROOT} && {check}"]
            return subprocess.run(command, env={**os.environ, **environment}, capture_output=True).returncode == 0

        one.until(healthy, "the health check is content")
        os.kill(first, signal.SIGTERM)
        assert one.ended() == 0, one.log()


def json_words(text: str) -> list[str]:
    """The words of an instruction in its exec form."""
    import json

    found: list[str] = json.loads(text)
    return found


def test_the_page_speaks_of_the_codes_that_there_are() -> None:
    from shipper.cli import run

    codes = re.findall(r"^\| (\d) \| ", PAGE, re.MULTILINE)
    assert [int(code) for code in codes] == [run.CLEAN, run.CONFIGURATION, run.USAGE, run.GAVE_UP]
