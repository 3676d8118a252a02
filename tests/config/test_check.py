"""What a person sees of `check`."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli.check import check

ARTICLE_EXEC = """\
   # Agent ID for this configuration
   a1.sources = r1
   a1.sinks = k1
   a1.channels = c1

   # Define the source
   a1.sources.r1.type = exec
   a1.sources.r1.command = tail -F /path/to/logs/*.log

   # Define the channel
   a1.channels.c1.type = memory
   a1.channels.c1.capacity = 10000
   a1.channels.c1.transactionCapacity = 1000

   # Define the sink
   a1.sinks.k1.type = hdfs
   a1.sinks.k1.hdfs.path = file:///user/flume/data/
   a1.sinks.k1.hdfs.fileType = DataStream
   a1.sinks.k1.hdfs.writeFormat = Text
   a1.sinks.k1.hdfs.rollInterval = 10
   a1.sinks.k1.hdfs.fileSuffix = .txt
"""

ARTICLE_LOG4J = """\
agent.sources = log4j
agent.sinks = hdfs
agent.channels = memoryChannel

agent.sources.log4j.type = log4j
agent.sources.log4j.info = log4j.logger.name
agent.sources.log4j.position.file = /path/to/logfile
agent.sources.log4j.position.type = File

agent.sinks.hdfs.type = hdfs
agent.sinks.hdfs.hdfs.path = file:///user/flume
agent.sinks.hdfs.rollSize = 1024
agent.sinks.hdfs.rollInterval = 0

agent.channels.memoryChannel.type = memory
agent.channels.memoryChannel.capacity = 1000
agent.channels.memoryChannel.transaction.timeout = 10000

agent.sources.log4j.channels = memoryChannel
agent.sinks.hdfs.channels = memoryChannel
"""

ARTICLE_NO_AGENT = """\
#agent name
agent.name=quickstart-agent

#sources
source.exec = exec
 .command = tail -F /var/logs/*.log

#channels
channel.memory.type = memory

#sinks
sink.console.type = logger
"""


@pytest.fixture
def checked(write: Callable[..., Path]) -> Callable[..., tuple[int, list[str]]]:
    """The exit code and the lines of `check` for a text."""

    def run(text: str | bytes, agent: str | None = None, **options: bool) -> tuple[int, list[str]]:
        out = io.StringIO()
        path = write(text)
        code = check([path], agent, system_properties={}, environment={}, out=out, **options)
        return code, out.getvalue().replace(f"{path.parent}/", "").splitlines()

    return run


Checked = Callable[..., tuple[int, list[str]]]


def test_a_file_without_problems_is_one_line_and_exit_0(complete: str, checked: Checked) -> None:
    assert checked(complete) == (0, ["Agent a runs 1 source, 1 channel and 1 sink: nothing to complain about."])


def test_a_warning_leaves_exit_0_and_is_exit_1_under_strict(complete: str, checked: Checked) -> None:
    text = complete + "a.sinks.k.rollInterval = 5"
    code, lines = checked(text)
    assert code == 0
    assert lines == [
        "WARNING (it runs, but probably not as meant)",
        "  a.properties:10: a.sinks.k.rollInterval has no effect: sink k (file_roll) has no such key.",
        "      found   a.sinks.k.rollInterval = 5",
        "      meant?  a.sinks.k.sink.rollInterval = 5",
        "",
        "Agent a runs 1 source, 1 channel and 1 sink: 1 warning.",
    ]
    code, lines = checked(text, strict=True)
    assert code == 1
    assert lines[0] == "ERROR (nothing starts)"
    assert lines[-1] == "Agent a does not start: 1 error."


def test_a_component_that_is_left_out_is_exit_1(complete: str, checked: Checked) -> None:
    code, lines = checked(complete.replace("a.sources=r", "a.sources=r r2"))
    assert code == 1
    assert lines[0].startswith("LEFT OUT")
    assert "Source r2 is left out." in lines[1]
    assert lines[-1] == "Agent a runs 1 source, 1 channel and 1 sink: 1 left out."


def test_every_agent_of_a_file_is_checked_when_none_is_named(complete: str, checked: Checked) -> None:
    text = complete + complete.replace("a.", "b.") + "b.sinks.k.colour = z"
    code, lines = checked(text)
    assert code == 0
    assert lines[-2:] == [
        "Agent a runs 1 source, 1 channel and 1 sink: nothing to complain about.",
        "Agent b runs 1 source, 1 channel and 1 sink: 1 warning.",
    ]
    assert checked(text + "\nb.nope = 1", "a")[1][0].startswith("NOTE")


def test_colour_is_for_terminals_only(complete: str, checked: Checked) -> None:
    text = complete + "x = 1"
    assert "\x1b" not in "".join(checked(text)[1])
    assert "\x1b[33mWARNING\x1b[0m" in "".join(checked(text, colour=True)[1])


def test_odd_values_are_shown_on_one_short_line(complete: str, checked: Checked) -> None:
    _, lines = checked(complete + f"a.sinks.k.x = a\\nb\\\\d\\u001b[31m{'y' * 300}\n")
    found = "a.sinks.k.x = a\\nb\\\\d\\u001b[31m"
    assert f"      found   {found}{'y' * (160 - len(found))}..." in lines


def test_no_value_reaches_the_terminal_raw(complete: str, checked: Checked) -> None:
    _, lines = checked(
        complete.replace("type=seq", "type=s\\u001b[31m\\n\\u0000q") + "a.sinks.k.sink.rollInterval=\\u0007x"
    )
    assert "".join(lines).isprintable()


def test_a_missing_file_and_an_empty_one_say_so(complete: str, checked: Checked, tmp_path: Path) -> None:
    out = io.StringIO()
    assert check([tmp_path / "none"], "a", out=out) == 1
    assert "There is no such file" in out.getvalue()
    code, lines = checked("")
    assert (code, lines[-1]) == (1, "Nothing can be started: 1 error.")


def test_a_missing_file_is_said_once(tmp_path: Path) -> None:
    out = io.StringIO()
    assert check([tmp_path / "none"], out=out) == 1
    assert out.getvalue().splitlines()[-1] == "Nothing can be started: 1 error."


def test_a_file_without_an_agent_shows_lines_that_can_be_copied(checked: Checked) -> None:
    """Nobody said which agent, and the file has none: the lines to write begin with a name, not with a dot."""
    code, lines = checked("colour = blue\n", "")
    assert code == 1
    assert any("There is no agent in the file: keys begin with the agent's name." in line for line in lines)
    assert "      write   a1.sources = r1" in lines


def test_the_exec_file_of_an_article_gets_its_two_missing_lines(checked: Checked) -> None:
    _, lines = checked(ARTICLE_EXEC, "a1")
    assert "      write   a1.sources.r1.channels = c1" in lines
    assert "      write   a1.sinks.k1.channel = c1" in lines


def test_the_log4j_file_of_an_article_gets_a_tail_in_its_place(checked: Checked) -> None:
    code, lines = checked(ARTICLE_LOG4J, "agent")
    assert code == 1
    at = lines.index("      write   agent.sources.log4j.type = TAILDIR")
    assert lines[at + 1 : at + 3] == [
        "              agent.sources.log4j.filegroups = f1",
        "              agent.sources.log4j.filegroups.f1 = /path/to/logfile",
    ]
    assert "      meant?  agent.sinks.hdfs.hdfs.rollSize = 1024" in lines
    assert "      write   agent.sinks.hdfs.channel = memoryChannel" in lines


def test_that_file_runs_once_its_lines_are_followed(checked: Checked, tmp_path: Path) -> None:
    text = ARTICLE_LOG4J.replace("log4j.type = log4j", "log4j.type = TAILDIR").replace("hdfs.channels", "hdfs.channel")
    (tmp_path / "logs").mkdir()
    text += f"agent.sources.log4j.filegroups = f1\nagent.sources.log4j.filegroups.f1 = {tmp_path}/logs/logfile\n"
    code, lines = checked(text, "agent")
    assert code == 0
    assert lines[-1].startswith("Agent agent runs 1 source, 1 channel and 1 sink")


def test_a_file_that_names_no_agent_is_explained_line_by_line(checked: Checked) -> None:
    code, lines = checked(ARTICLE_NO_AGENT, "quickstart-agent")
    assert code == 1
    assert "no agent quickstart-agent" in lines[1]
    assert "      write   quickstart-agent.sources = r1" in lines
    assert "      meant?  AGENT.sources.exec.type" in lines
    assert "      meant?  AGENT.channels.memory.type" in lines


LETTERS = """
a.sources = r
a.channels = c d e
a.sinks = k l
a.sources.r.type = seq
a.sources.r.channels = c
a.channels.c.type = memory
a.channels.d.type = memory
a.channels.e.type = memory
a.sinks.k.type = null
a.sinks.k.channel = c
a.sinks.k.deadLetter = %s
a.sinks.l.type = null
a.sinks.l.channel = d
"""


@pytest.mark.parametrize(
    ("into", "more", "code", "said"),
    [
        ("d", "", 0, ""),
        ("x", "", 1, "a.sinks.k.deadLetter = x is no channel that runs. Others that do: d, e."),
        ("c", "", 1, "is the channel that sink k takes from: what it refuses would come to it for ever"),
        ("d", "a.sinks.l.deadLetter = c\n", 1, "makes a circle of dead letters (c -> d -> c)"),
        ("e", "", 0, "a.sinks.k.deadLetter = e: no sink takes from that channel. When it is full, sink k waits"),
    ],
    ids=["a channel with a sink", "no such channel", "its own channel", "a circle", "a channel without a sink"],
)
def test_a_dead_letter_channel_must_be_another_one_that_runs(
    into: str, more: str, code: int, said: str, checked: Checked
) -> None:
    found, lines = checked(LETTERS % into + more)
    assert found == code
    text = " ".join(line.strip() for line in lines)
    assert said in text, text
    assert f"Channel {into} has neither a source nor a sink" not in text, text


TIMED = """
a.sources = r
a.channels = c
a.sinks = k
a.sources.r.type = TAILDIR
a.sources.r.filegroups = g
a.sources.r.filegroups.g = /logs/.*
a.sources.r.channels = c
a.channels.c.type = memory
a.sinks.k.type = hdfs
a.sinks.k.channel = c
a.sinks.k.hdfs.path = file:///data/%Y
"""


@pytest.mark.parametrize(("more", "warned"), [
    ("", True),
    ("a.sources.r.interceptors = i\na.sources.r.interceptors.i.type = host\n", True),
    ("a.sources.r.interceptors = i\na.sources.r.interceptors.i.type = timestamp\n", False),
    ("a.sources.r.headers.g.timestamp = 1700000000000\n", False),
    ("a.sinks.k.hdfs.useLocalTimeStamp = true\n", False),
    ("a.sinks.k.hdfs.path = file:///data/%{host}\n", False),
    ("a.sinks.k.hdfs.path = file:///data\na.sinks.k.hdfs.filePrefix = %H\n", True),
])  # fmt: skip
def test_a_path_by_time_whose_events_have_none_is_warned_of(more: str, warned: bool, checked: Checked) -> None:
    """All of them would be set aside, one by one."""
    found, lines = checked(TIMED + more)
    assert found == 0
    text = " ".join(line.strip() for line in lines)
    assert ("those of source r have no header timestamp, so all of them would be set aside: add a" in text) is warned


def test_channels_that_spill_need_no_directory(complete: str, checked: Checked) -> None:
    """Each has one of its own in the agent's state directory; where that is, only a start knows."""
    text = complete.replace("a.channels.c.type=memory\n", "a.channels.c.type=memory\na.channels.c.onFull=spill\n")
    assert checked(text) == (0, ["Agent a runs 1 source, 1 channel and 1 sink: nothing to complain about."])


@pytest.mark.parametrize("name", ["r", "c", "k"])
def test_a_name_that_is_too_long_for_a_file_is_an_error(name: str, complete: str, checked: Checked) -> None:
    """It says which, how long it is and how long it may be; at the limit there is nothing to complain about."""
    for length, code in ((100, 0), (101, 1), (261, 1)):
        long = name * length
        text = "\n".join(
            re.sub(rf"(=|s\.){name}(?=\.|$)", rf"\g<1>{long}", line) for line in complete.splitlines()
        )  # fmt: skip
        found = checked(text)
        assert found[0] == code, found
        assert any(f"{long} has {length} bytes: a name has 100 at most" in line for line in found[1]) == bool(code)
