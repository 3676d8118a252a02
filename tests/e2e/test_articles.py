"""The configuration files of published articles, with nothing changed but paths and hosts, under Flume's command."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from flume_ng import FLUME_NG, FlumeNg, block


@pytest.fixture(scope="session")
def articles(reference: Path) -> Path:
    """The folder of the articles, beside the recorded answers."""
    return reference.parent / "articles"


def text_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.txt"))


def rows(directory: Path) -> list[bytes]:
    return [line for path in text_files(directory) for line in path.read_bytes().splitlines()]


def tail_to_hdfs(articles: Path, directory: Path) -> str:
    """The file of article 000 with its log folder and its HDFS folder below `directory`."""
    (directory / "logs").mkdir()
    properties = block(articles, "000", "a1.sinks.k1.hdfs.path")
    properties = properties.replace("/path/to/logs", str(directory / "logs"))
    return properties.replace("hdfs://namenode:9000/user/flume/data/", f"file://{directory}/data/")


def test_tail_to_hdfs_delivers_each_line_once(articles: Path, tmp_path: Path) -> None:
    """What two logs get while the agent runs, and the ten lines that `tail` begins with, arrive once."""
    properties = tail_to_hdfs(articles, tmp_path)
    assert "r1.channels" not in properties and "k1.channel" not in properties
    first, second = tmp_path / "logs" / "first.log", tmp_path / "logs" / "second.log"
    first.write_bytes(b"".join(b"old %d\n" % n for n in range(50)))
    second.write_bytes(b"")
    wanted = Counter(b"old %d" % n for n in range(40, 50))
    (tmp_path / "etc").mkdir()
    with FlumeNg(tmp_path, properties, arguments=("-c", f"{tmp_path}/etc/")).start() as agent:
        for part in range(20):
            for log in (first, second):
                lines = [f"{log.name} {part} {n}".encode() for n in range(17)]
                wanted.update(lines)
                with log.open("ab") as opened:
                    opened.write(b"\n".join(lines) + b"\n")
        agent.until(lambda: len(rows(tmp_path / "data")) >= wanted.total() // 10 * 10)
        assert agent.stop(signal.SIGINT, everybody=True) == 0
        said = agent.log()
    assert Counter(rows(tmp_path / "data")) == wanted
    assert [path.name for path in (tmp_path / "data").iterdir() if path.suffix != ".txt"] == []
    assert max(len(path.read_bytes().splitlines()) for path in text_files(tmp_path / "data")) == 10
    assert "hdfs.rollCount = 0 stops that" in said
    assert "Write: a1.sources.r1.channels = c1" in said
    assert "Write: a1.sinks.k1.channel = c1" in said


def test_tail_to_hdfs_goes_on_where_it_stopped(articles: Path, tmp_path: Path) -> None:
    """Lines of the time between a Ctrl-C and the next start arrive too, and none of those before comes again."""
    properties = tail_to_hdfs(articles, tmp_path)
    log = tmp_path / "logs" / "a.log"
    log.write_bytes(b"before\n")
    with FlumeNg(tmp_path, properties) as agent:
        agent.start().until(lambda: (tmp_path / "data").is_dir() and list((tmp_path / "data").iterdir()))
        assert agent.stop(signal.SIGINT, everybody=True) == 0
        with log.open("ab") as opened:
            opened.write(b"".join(b"between %d\n" % n for n in range(25)))
        agent.start().until(lambda: len(list((tmp_path / "data").iterdir())) == 4)
        assert agent.stop(signal.SIGINT, everybody=True) == 0
    assert Counter(rows(tmp_path / "data")) == Counter([b"before", *(b"between %d" % n for n in range(25))])


def test_tail_to_hdfs_without_a_cluster_says_so_and_keeps_the_events(articles: Path, tmp_path: Path) -> None:
    """Unchanged but for its logs, the file names a name node that is not there: what wants to reach it is said."""
    (tmp_path / "logs").mkdir()
    properties = block(articles, "000", "a1.sinks.k1.hdfs.path").replace("/path/to/logs", str(tmp_path / "logs"))
    (tmp_path / "logs" / "a.log").write_bytes(b"line\n" * 3)
    with FlumeNg(tmp_path, f"{properties}\na1.sinks.k1.hdfs.callTimeout = 2000\n") as agent:
        agent.start()
        agent.until(lambda: "k1: could not write to /user/flume/data/" in agent.log(), "it is said")
        agent.send(signal.SIGINT)
        agent.until(lambda: "stopping: " in agent.log())
        agent.hurry(signal.SIGINT)
        agent.ended()
        said = agent.log()
    assert "writes to hdfs://namenode:9000" in said
    assert "parked 3 events" in said
    assert "Traceback" not in said


def test_parts_of_a_file_say_what_is_missing(articles: Path, tmp_path: Path) -> None:
    """The answers of article 000 show a source alone; that is no agent, and the lines to add are shown."""
    with FlumeNg(tmp_path, block(articles, "000", "a1.sources.r1.type").split("\n\n")[1]) as agent:
        assert agent.run() == 1
        said = agent.log()
    assert "a1.channels = c1" in said
    assert "Traceback" not in said


def test_a_log4j_source_is_told_what_follows_a_file(articles: Path, tmp_path: Path) -> None:
    """Article 001 uses a type that Flume never had: all problems are shown at once, each with the line to write."""
    with FlumeNg(tmp_path, block(articles, "001", "agent.sources.log4j.type"), name="agent") as agent:
        assert agent.run() == 1
        said = agent.log()
    assert "There is no source of type log4j" in said
    assert "agent.sources.log4j.type = TAILDIR" in said
    assert "agent.sources.log4j.filegroups.f1 = /path/to/logfile" in said
    assert "Did you mean agent.sinks.hdfs.hdfs.rollSize = 1024?" in said
    assert "Write: agent.sinks.hdfs.channel = memoryChannel" in said
    assert "Traceback" not in said


def test_keys_without_an_agent_are_named_one_by_one(articles: Path, tmp_path: Path) -> None:
    """Article 003 leaves the agent's name out of every key: each line is named, and how an agent begins."""
    arguments = ("--config", "conf", "-Dflume.root.logger=INFO,console")
    properties = block(articles, "003", "quickstart-agent")
    with FlumeNg(tmp_path, properties, name="quickstart-agent", arguments=arguments) as agent:
        assert agent.run() == 1
        said = agent.log()
    for line in (5, 6, 7, 8, 9, 12, 13, 16, 17, 18):
        assert f"quickstart-agent.properties:{line}: " in said
    assert "Did you mean AGENT.sources.exec.type?" in said
    assert "quickstart-agent.sources = r1" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("monitor", "-D", "-n", "a1"), "shipper stat NAME"),
        (("sources", "-c", "a.properties", "-n", "a1"), "agent -f FILE"),
        (("sinks", "-c", "a.properties", "-n", "a1"), "agent -f FILE"),
    ],
)
def test_a_command_that_never_was_is_answered(arguments: tuple[str, ...], answer: str) -> None:
    """Article 000 invents commands of flume-ng; the answer names what does that."""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", FLUME_NG, *arguments], capture_output=True, text=True, cwd=root)
    assert done.returncode == 2
    assert f"flume-ng {arguments[0]}: " in done.stderr
    assert answer in done.stderr
    assert "Traceback" not in done.stderr
