"""The stop of an agent when something is in its way: what hangs, what is down, what is full, who is in a hurry."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli.ledger import ledger
from shipper.supervisor.signals import StopWords
from shipper.testing.agent import Agent
from tests.waiting import until_there
from tests.workers.conftest import agent_of, file_roll, has, is_root, seq, taildir, texts

Make = Callable[..., Agent]
TOTAL = 3000
LINES = b"".join(b"%d\n" % number for number in range(TOTAL))


def hdfs(directory: Path) -> str:
    """A sink that tries again and again when its target is down."""
    return (
        f"a1.sinks.k1.type = hdfs\na1.sinks.k1.hdfs.path = file://{directory}\na1.sinks.k1.channel = c1\n"
        "a1.sinks.k1.hdfs.fileType = DataStream\na1.sinks.k1.hdfs.rollInterval = 0\n"
        "a1.sinks.k1.hdfs.rollSize = 0\na1.sinks.k1.hdfs.rollCount = 0\n"
    )


def fed(tmp_path: Path, first: int, end: int) -> Path:
    """A directory with these lines."""
    (tmp_path / "in").mkdir(exist_ok=True)
    with (tmp_path / "in" / "a.log").open("ab") as file:
        file.writelines(b"%d\n" % number for number in range(first, end))
    return tmp_path / "in"


def accepted(one: Agent) -> int:
    """Events that the source has put."""
    from shipper.metrics.block import MetricsBlock

    workers = MetricsBlock.view(one.instance_dir() / "metrics").sample().workers
    return sum(worker.counters["EventAcceptedCount"] for worker in workers)


class TestHangs:
    """A sink that never comes back from a call: killed after the deadline, and what it left is parked."""

    def waits_for_a_hanging_sink(self, agent: Make, tmp_path: Path, *arguments: str) -> Agent:
        """An agent whose sink was stopped after a third of the lines."""
        sink = file_roll("k1", "c1", tmp_path / "out", **{"sink.rollInterval": 0})
        source = taildir("r1", "c1", fed(tmp_path, 0, 1000))
        one = agent(agent_of(source, sink), arguments=arguments).start()
        one.until(has(one, 1000))
        one.freeze("k1")
        fed(tmp_path, 1000, TOTAL)
        one.until(lambda: accepted(one) == TOTAL)
        return one

    def goes_on(self, one: Agent, tmp_path: Path) -> None:
        """The next start delivers the rest."""
        assert f"parked {TOTAL - 1000} events" in one.log()
        assert not list(one.run_dir.glob("a1-*"))
        one.start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= TOTAL)
        assert one.stop() == 0, one.log()
        assert texts(tmp_path / "out") == LINES

    def test_the_deadline_ends_the_waiting(self, agent: Make, tmp_path: Path) -> None:
        one = self.waits_for_a_hanging_sink(agent, tmp_path, "--stop-deadline", "1s")
        assert one.stop() == 3
        assert "k1 did not end in time and is killed" in one.log()
        self.goes_on(one, tmp_path)

    def test_a_person_who_presses_again_and_again_ends_the_waiting(self, agent: Make, tmp_path: Path) -> None:
        """The second Ctrl-C ends the wait for the channels, the third the wait for files to be closed."""
        one = self.waits_for_a_hanging_sink(agent, tmp_path)
        began_s = time.monotonic()
        one.send(signal.SIGINT, everybody=True)
        one.until(lambda: "stopping: " in one.log())
        for said in ("ending all the same", "is killed"):
            one.hurry(signal.SIGINT, everybody=True)
            one.until(lambda said=said: said in one.log())
        assert one.ended() == 3
        assert time.monotonic() - began_s < 8
        self.goes_on(one, tmp_path)


def test_signals_of_one_moment_are_one_word() -> None:
    """`timeout` sends two, with the scheduler between them; a person who wants it to hurry has read an answer first."""
    words = StopWords()
    found = [(0.0, 0), (10.0, 1), (10.0, 1), (10.01, 2), (10.24, 1), (10.25, 1), (10.3, 0), (20.0, 2), (20.1, 1)]
    assert [words.said(signals, now_s) for now_s, signals in found] == [0, 1, 0, 0, 0, 1, 0, 1, 0]


class TestTargets:
    """A target that takes nothing at the stop: the sink ends when it is told, and nothing is lost."""

    def test_what_can_not_be_delivered_before_the_deadline_is_parked(self, agent: Make, tmp_path: Path) -> None:
        """Nothing failed and everything ended as it was told to: the exit code is 0."""
        (tmp_path / "out").write_text("this is no directory")
        source = taildir("r1", "c1", fed(tmp_path, 0, TOTAL))
        one = agent(agent_of(source, hdfs(tmp_path / "out")), arguments=["--stop-deadline", "0.5s"]).start()
        one.until(lambda: accepted(one) == TOTAL)
        assert one.stop() == 0, one.log()
        assert "the channels are not empty yet" in one.log()
        assert f"parked {TOTAL} events" in one.log()
        (tmp_path / "out").unlink()
        one.start()
        one.until(lambda: (tmp_path / "out").is_dir() and texts(tmp_path / "out") == LINES)
        assert one.stop() == 0, one.log()

    @pytest.mark.skipif(not is_root(), reason="a full file system of one's own needs root")
    def test_a_disk_that_is_full_at_the_stop_loses_nothing(self, agent: Make, tmp_path: Path) -> None:
        """What the disk had no room for is parked, on another disk; the ledger adds up."""
        (tmp_path / "out").mkdir()
        mount = f'mount -t tmpfs -o size=64k none "{tmp_path}/out" && exec "$@"'
        before = ("unshare", "--mount", "sh", "-c", mount, "sh")
        if subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("no name space of mounts is allowed here")
        source = taildir("r1", "c1", fed(tmp_path, 0, 200_000))
        arguments = ["--stop-deadline", "0.5s"]
        one = agent(agent_of(source, hdfs(tmp_path / "out")), arguments=arguments, before=before).start()
        one.until(lambda: "No space left on device" in one.log())
        one.until(lambda: accepted(one) == 200_000)
        assert one.stop() == 0, one.log()
        found = re.search(r"parked (\d+) events", one.log())
        assert found is not None, one.log()
        assert int(found[1]) > 0 and "Traceback" not in one.log()
        assert ledger("a1", one.run_dir, one.state_dir) == 0, "delivered and parked are all that was read"


class TestStarts:
    """A stop while somebody is about to start."""

    @pytest.mark.parametrize("label", ["r1", "c1", "k1"])
    def test_one_that_was_killed_is_started_at_once_and_ends_with_the_rest(
        self, agent: Make, tmp_path: Path, label: str
    ) -> None:
        channel = f"a1.channels.c1.checkpointDir = {tmp_path}/checkpoint\na1.channels.c1.dataDirs = {tmp_path}/data\n"
        properties = agent_of(
            taildir("r1", "c1", fed(tmp_path, 0, 1000)), file_roll("k1", "c1", tmp_path / "out"), more=channel
        ).replace("c1.type = memory", "c1.type = file")
        one = agent(properties).start()
        one.until(has(one, 1000))
        for seconds in (1, 2, 4):
            one.kill(label)
            said = f"{label}: the worker was killed by SIGKILL; it is started again in {seconds} s"
            one.until(lambda said=said: said in one.log())  # type: ignore[misc]
        if label != "r1":
            fed(tmp_path, 1000, TOTAL)
            one.until(lambda: accepted(one) == TOTAL)
        began_s = time.monotonic()
        assert one.stop() == 0, one.log()
        assert time.monotonic() - began_s < 4
        assert texts(tmp_path / "out") == (LINES if label != "r1" else b"".join(b"%d\n" % n for n in range(1000)))

    def test_a_worker_in_its_back_off_that_could_not_go_on_is_not_started_again(
        self, agent: Make, tmp_path: Path
    ) -> None:
        sink = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {tmp_path}/no\na1.sinks.k1.channel = c1\n"
        one = agent(agent_of(seq("r1", "c1", 10), sink)).start(wait=False)
        one.until(lambda: "it is started again in 4 s" in one.log())
        began_s = time.monotonic()
        assert one.stop() == 3
        assert time.monotonic() - began_s < 4
        assert "k1: was not running when the agent stopped" in one.log()

    def test_a_worker_that_is_just_being_started_again_and_fails_is_said(self, agent: Make, tmp_path: Path) -> None:
        sink = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {tmp_path}/no\na1.sinks.k1.channel = c1\n"
        one = agent(agent_of(seq("r1", "c1", 10), sink)).start(wait=False)
        one.until(lambda: "k1: " in one.log() and "it is started again in 1 s" in one.log())
        one.until(lambda: "k1" not in one.workers())
        one.until(lambda: "k1" in one.workers(), "it is started again")
        assert one.stop() == 3, one.log()
        assert "k1: was not running when the agent stopped" in one.log()

    @pytest.mark.skipif(not is_root(), reason="a name space of processes needs root")
    def test_the_first_process_of_a_container_buries_everybodys_dead(self, agent: Make, tmp_path: Path) -> None:
        """Somebody kills the keeper of a command, whose children become the agent's: none of them stays as a zombie."""
        before = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
        if subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("no name space of processes is allowed here")
        source = (
            "a1.sources.r1.type = exec\na1.sources.r1.shell = /bin/sh -c\na1.sources.r1.channels = c1\n"
            f"a1.sources.r1.command = for i in 1 2 3; do ({until_there(tmp_path / 'told')} & ); done; "
            "echo left; kill -9 $PPID; exec sleep 99\n"
        )
        one = agent(agent_of(source, file_roll("k1", "c1", tmp_path / "out")), before=before).start()
        supervisor = one.children()[0]

        def children() -> list[int]:
            text = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
            return [int(pid) for pid in text.split()]

        one.until(lambda: texts(tmp_path / "out") == b"left\n")
        one.until(lambda: len(children()) == 7, "two workers, the command, its watcher, and what it left behind")
        (tmp_path / "told").touch()
        one.until(lambda: len(children()) == 4, "those that the command left are dead and buried")
        os.kill(supervisor, signal.SIGTERM)
        assert one.ended() == 0, one.log()
