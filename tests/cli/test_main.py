"""The commands of `shipper` and `flume-ng`, through their entry points."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shipper.cli.main import COMMANDS, flume_ng, main


def test_version_has_five_lines_as_flumes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("Shipper ")
    assert re.fullmatch(r"From source with checksum [0-9a-f]{32}", lines[4])


@pytest.mark.parametrize("spelling", ["help", "--help", "-h"])
def test_help_names_every_command(spelling: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flume_ng([spelling]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Usage: flume-ng COMMAND")
    assert all(f"\n  {name} " in out for name in COMMANDS)


def test_no_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "a command is missing" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "said"), [
    ("avro-client", "flume-ng avro-client: the avro client is not in this build."),
    ("tool", "flume-ng tool: FCINTEGRITYTOOL repairs"),
    ("password", "flume-ng password: no Flume since 1.9"),
    ("monitor", "flume-ng monitor: Flume has no such command. A running agent is shown by: shipper stat NAME"),
    ("sources", "flume-ng sources: Flume has no such command."),
    ("sinks", "flume-ng sinks: Flume has no such command."),
    ("agnet", "flume-ng: there is no command 'agnet'; did you mean 'agent'?"),
    ("x", "flume-ng: there is no command 'x'."),
])  # fmt: skip
def test_other_commands_are_refused_by_name(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flume_ng([command, "-n", "a1"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert captured.out == ""


def test_node_is_the_old_name_of_agent(capsys: pytest.CaptureFixture[str]) -> None:
    assert flume_ng(["node", "-h"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "flume-ng: 'node' is the old name of 'agent'.\n"
    assert captured.out.startswith("Usage: flume-ng agent -n NAME")


def test_a_usage_error_of_agent_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agent", "-n", "a1", "-f", "x", "--no-relaod"]) == 2
    assert capsys.readouterr().err == (
        "shipper: There is no option --no-relaod; did you mean --no-reload-conf? "
        "'shipper agent --help' lists them all.\n"
    )


def test_a_usage_error_of_another_command_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stat", "--quux"]) == 2
    assert "--quux" in capsys.readouterr().err


GOOD = """a1.sources = r1
a1.channels = c1
a1.sinks = k1
a1.sources.r1.type = seq
a1.sources.r1.totalEvents = ${sys:events}
a1.sources.r1.channels = c1
a1.channels.c1.type = memory
a1.sinks.k1.type = file_roll
a1.sinks.k1.sink.directory = /tmp
a1.sinks.k1.channel = c1
"""


def test_check_takes_the_options_of_agent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same -n, -f, -c and -D, so that a command line needs one word changed; 0 runs, 1 does not."""
    file = tmp_path / "a1.properties"
    file.write_text(GOOD)
    (tmp_path / "flume-env.sh").write_text('JAVA_OPTS="-Devents=7"\n')
    assert main(["check", "-n", "a1", "-f", str(file), "-c", str(tmp_path)]) == 0
    assert "Agent a1 runs 1 source, 1 channel and 1 sink" in capsys.readouterr().out
    assert main(["check", str(file), "-Devents=5"]) == 0
    file.write_text(GOOD.replace("= seq", "= sqe"))
    assert main(["check", str(file)]) == 1
    assert "seq" in capsys.readouterr().out


def test_check_wants_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 2
    assert "which file? shipper check FILE.properties" in capsys.readouterr().err


def test_describe_shows_a_component_or_says_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "sink", "file_roll"]) == 0
    assert "sink.directory" in capsys.readouterr().out
    assert main(["describe", "--template", "-n", "a7"]) == 0
    assert "a7.sources" in capsys.readouterr().out
    assert main(["describe", "file_rol"]) == 2


@pytest.mark.parametrize("command", ["agent", "check", "describe", "stat", "health", "channel", "channel list"])
@pytest.mark.parametrize("spelling", ["-h", "--help"])
def test_every_command_has_a_page_of_help(command: str, spelling: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), spelling]) == 0
    assert f"shipper {command} " in capsys.readouterr().out


@pytest.mark.parametrize("command", ["stat", "files", "ledger", "health"])
def test_who_asks_about_an_agent_may_name_it_either_way(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`shipper stat a9`, and `-n a9` as `agent` has it."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    said = []
    for words in (["a9"], ["-n", "a9"]):
        code = main([command, *words, "--run-dir", str(tmp_path)])
        said.append((code, capsys.readouterr()))
    assert said[0] == said[1]
    assert "agent a9 of this user" in "".join(said[0][1])


def test_help_of_what_is_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "stats"]) == 2
    assert capsys.readouterr().err.startswith("shipper: there is no command 'stats'; did you mean 'stat'?")
    assert main(["help", "avro-client"]) == 2
    assert "is sent by an agent with a spooldir source" in capsys.readouterr().err
    assert main(["help", "help"]) == 0


def test_help_of_a_command_is_its_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "stat"]) == 0
    assert "shipper stat " in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["version", "describe hdfs"])
@pytest.mark.parametrize(("output", "code", "said"), [
    (">/dev/full", 3, "shipper: what there is to say can't be written: No space left on device\n"),
    (">&-", 0, ""),
])  # fmt: skip
def test_output_that_can_not_be_written_is_one_line(arguments: str, output: str, code: int, said: str) -> None:
    shell = f'exec "{sys.executable}" -m shipper.cli.main {arguments} {output}'
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (code, said)


def test_a_file_may_be_a_pipe_that_is_read_once() -> None:
    """As `<(...)` of a shell makes one: without the agent's name it would be read once more."""
    lines = "a1.sources=r\\na1.channels=c\\na1.sinks=k\\na1.sources.r.type=seq\\na1.sources.r.channels=c\\n"
    lines += "a1.channels.c.type=memory\\na1.sinks.k.type=null\\na1.sinks.k.channel=c\\n"
    for name, code, said in (("-n a1", 0, "nothing to complain about"), ("", 1, "pipe with nothing left in it")):
        shell = f"printf '{lines}' | '{sys.executable}' -m shipper.cli.main check {name} /dev/stdin"
        done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (code, "")
        assert said in done.stdout


def test_a_name_that_the_terminal_has_no_letters_for_is_shown_without_them(tmp_path: Path) -> None:
    """As in a session without UTF-8."""
    book = {"version": 1, "agent": "a1", "file": "/a\u4e16.properties", "run": "x", "closed": True, "before": {}}
    (tmp_path / "ledger.json").write_text(json.dumps({**book, "last": {"channels": {}}}))
    done = subprocess.run(
        [sys.executable, "-m", "shipper.cli.main", "ledger", "--state-dir", str(tmp_path)], capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "agent a1  has stopped  /a?.properties" in done.stdout


@pytest.mark.parametrize("arguments", [["version"], ["agent", "--help"], ["describe", "hdfs"]])
def test_who_closes_the_pipe_early_hears_nothing_more(arguments: list[str]) -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    try:
        command = [sys.executable, "-m", "shipper.cli.main", *arguments]
        done = subprocess.run(command, stdout=write_fd, stderr=subprocess.PIPE, check=False, timeout=60)
    finally:
        os.close(write_fd)
    assert done.stderr == b"" and done.returncode != 0
