"""An agent as processes: how it starts, stops, restarts its parts, and what its deaths leave behind."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.metrics.block import MetricsBlock
from shipper.metrics.health import findings
from shipper.testing.agent import Agent
from shipper.testing.ports import free_port
from shipper.workers.sharing import ALONE_MOST
from tests.waiting import alive, until, until_dead
from tests.workers.conftest import (
    agent_of,
    descriptor_limit,
    file_roll,
    has,
    is_root,
    maps,
    seq,
    taildir,
    texts,
)  # fmt: skip

Make = Callable[..., Agent]
TOTAL = 200_000
NUMBERS = b"".join(b"%d\n" % number for number in range(TOTAL))


def in_order(out: bytes) -> list[int]:
    """The numbers of a file, sorted."""
    return sorted(map(int, out.split()))


def write_lines(path: Path, first: int, end: int) -> None:
    """Appends numbered lines."""
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(b"%d\n" % number for number in range(first, end)))


class TestStop:
    """Sources stop, sinks empty the channels, files get their names; the exit code is 0."""

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    @pytest.mark.parametrize("everybody", [False, True])
    def test_everything_is_delivered_and_named(self, agent: Make, tmp_path: Path, number: int, everybody: bool) -> None:
        """Also when the signal reaches every process at once, as Ctrl-C and service managers send it."""
        write_lines(tmp_path / "in" / "a.log", 0, TOTAL)
        (tmp_path / "out").mkdir()
        hdfs = (
            f"a1.sinks.k1.type = hdfs\na1.sinks.k1.hdfs.path = file://{tmp_path}/out\na1.sinks.k1.channel = c1\n"
            "a1.sinks.k1.hdfs.fileType = DataStream\na1.sinks.k1.hdfs.rollInterval = 0\n"
            "a1.sinks.k1.hdfs.rollSize = 300000\na1.sinks.k1.hdfs.rollCount = 0\n"
        )
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), hdfs)).start()
        one.until(lambda: any((tmp_path / "out").iterdir()), "the first file")
        pids = [*one.workers().values()]
        assert one.stop(number, everybody=everybody) == 0, one.log()
        assert not [path.name for path in (tmp_path / "out").iterdir() if path.suffix == ".tmp"]
        out = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
        assert not any(alive(pid) for pid in pids)
        assert "Traceback" not in one.log()
        # What was not read before the stop is read at the next start: nothing twice, nothing missing.
        one.start()
        one.until(lambda: sum(p.stat().st_size for p in (tmp_path / "out").iterdir()) == len(NUMBERS), "the rest")
        assert one.stop() == 0
        out = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
        assert in_order(out) == list(range(TOTAL))

    @pytest.mark.parametrize("after_s", [0.0, 0.2, 0.4, 0.5, 0.6, 0.8])
    def test_ctrl_c_before_the_workers_are_up_is_a_clean_end(self, agent: Make, tmp_path: Path, after_s: float) -> None:
        one = agent(agent_of(seq("r1", "c1", TOTAL), file_roll("k1", "c1", tmp_path / "out"))).start(wait=False)
        threading.Event().wait(after_s)
        one.send(signal.SIGINT, everybody=True)
        code = one.ended()
        if "agent: " in one.log():  # before that it is the interpreter that starts, and has its own word for it
            assert code in (0, 130), one.log()
            assert "Traceback" not in one.log(), one.log()
            assert "KeyboardInterrupt" not in one.log()

    def test_an_empty_agent_leaves_no_segments(self, agent: Make, tmp_path: Path) -> None:
        one = agent(agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out"))).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 10)
        assert one.stop() == 0
        assert list(one.run_dir.iterdir()) == []

    def test_segments_stay_for_a_worker_that_was_killed(self, agent: Make, tmp_path: Path) -> None:
        """The channel is empty, but the killed sink finds in it what it had committed, or it would cut its files."""
        write_lines(tmp_path / "in" / "a.log", 0, 1000)
        one = agent(
            agent_of(
                taildir("r1", "c1", tmp_path / "in"),
                file_roll("k1", "c1", tmp_path / "out", **{"sink.rollInterval": 0}),
            )
        ).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 1000)
        one.kill("k1")
        one.until(lambda: "killed by SIGKILL" in one.log())
        one.stop()
        write_lines(tmp_path / "in" / "a.log", 1000, 2000)
        one.start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 2000)
        assert one.stop() == 0
        assert texts(tmp_path / "out") == b"".join(b"%d\n" % n for n in range(2000))

    def test_a_channel_nobody_takes_from_is_kept_and_said(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in" / "a.log", 0, 500)
        out = tmp_path / "missing" / "out"
        sink = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {out}\na1.sinks.k1.channel = c1\n"
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink)).start(wait=False)
        one.until(lambda: "could not go on" in one.log())
        one.until(lambda: in_channel(one) == 500)
        assert one.stop() == 3
        assert "parked 500 events" in one.log()
        out.mkdir(parents=True)
        one.start()
        one.until(lambda: texts(out).count(b"\n") == 500)
        assert one.stop() == 0


def in_channel(one: Agent, channel: str = "c1") -> int:
    """Rows in a channel, as the supervisor last saw it."""
    from shipper.metrics.block import MetricsBlock

    for path in one.run_dir.glob(f"{one.name}-*/metrics"):
        return MetricsBlock.view(path).sample().channels.get(channel, {}).get("size", 0)
    return 0


class TestDeaths:
    """What dies alone comes back alone; what dies with its supervisor leaves nothing behind but the channels."""

    @pytest.mark.parametrize("victim", ["r1", "k1"])
    def test_one_component_is_started_again_while_the_other_runs(
        self, agent: Make, tmp_path: Path, victim: str
    ) -> None:
        write_lines(tmp_path / "in" / "a.log", 0, 1000)
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))).start()
        other = {"r1": "k1", "k1": "r1"}[victim]
        stays = one.worker(other)
        was = one.kill(victim)
        one.until(lambda: f"{victim}: the worker was killed by SIGKILL; it is started again in 1 s" in one.log())
        one.until(lambda: one.workers().get(victim, was) != was)
        assert one.worker(other) == stays
        write_lines(tmp_path / "in" / "a.log", 1000, 2000)
        one.until(lambda: in_order(texts(tmp_path / "out")) == list(range(2000)))
        assert one.stop() == 0

    def test_a_component_that_dies_again_and_again_is_tried_less_and_less_often(
        self, agent: Make, tmp_path: Path
    ) -> None:
        one = agent(agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out"))).start()

        def killed_and_back(pause_s: int) -> None:
            was = one.kill("k1")
            one.until(lambda: f"started again in {pause_s} s" in one.log())
            one.until(lambda: one.workers().get("k1", was) != was)

        for pause_s in (1, 2, 4):
            killed_and_back(pause_s)
        assert one.stop() == 0

    def test_the_supervisors_death_ends_its_workers_at_once(self, agent: Make, tmp_path: Path) -> None:
        null = "a1.sinks.k1.type = null\na1.sinks.k1.channel = c1\n"  # who waits for a disk dies when that has answered
        one = agent(agent_of(seq("r1", "c1", 10**12), null)).start()
        pids = [*one.workers().values()]
        assert len(pids) == 2
        one.kill()
        until_dead(pids, timeout_s=5)

    @pytest.mark.parametrize("end", ["stopped", "killed", "killed with its group", "its worker is killed"])
    def test_no_child_of_an_exec_source_outlives_the_agent(self, agent: Make, tmp_path: Path, end: str) -> None:
        """Also none that got a group or session of its own, or made itself a daemon."""
        marker = str(31_000_000 + os.getpid())
        sleep = f"sleep {marker}"
        exec_source = (
            "a1.sources.r1.type = exec\na1.sources.r1.channels = c1\na1.sources.r1.shell = /bin/sh -c\n"
            f"a1.sources.r1.command = timeout 999 {sleep} & setsid {sleep} & (nohup {sleep} &); "
            f"(setsid sh -c '{sleep} & exec setsid {sleep}' &); {sleep}\n"
        )
        one = agent(agent_of(exec_source, file_roll("k1", "c1", tmp_path / "out"))).start()

        def sleepers() -> list[int]:
            found = []
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        words = (entry / "cmdline").read_bytes().split(b"\0")
                    except OSError:
                        continue
                    if words[:2] == [b"sleep", marker.encode()] and alive(int(entry.name)):
                        found.append(int(entry.name))
            return found

        one.until(lambda: len(sleepers()) == 6, "the command runs")
        if end == "stopped":
            assert one.stop() == 0
            assert sleepers() == []
        elif end == "its worker is killed":
            those = sleepers()
            one.kill("r1")
            until_dead(those)
        else:
            one.kill() if end == "killed" else one.kill_all()
            until(lambda: not sleepers(), "the command is dead", timeout_s=5)

    def test_what_is_in_the_channel_outlives_the_supervisor(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in" / "a.log", 0, 5000)
        missing = tmp_path / "missing" / "out"
        sink = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {missing}\na1.sinks.k1.channel = c1\n"
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink)).start(wait=False)
        one.until(lambda: in_channel(one) == 5000)
        one.kill()
        (tmp_path / "in" / "a.log").unlink()  # from here on the channel alone has the lines
        missing.mkdir(parents=True)
        one.start()
        one.until(lambda: texts(missing).count(b"\n") == 5000)
        assert one.stop() == 0
        assert texts(missing) == b"".join(b"%d\n" % n for n in range(5000))

    def test_a_template_that_is_killed_costs_one_try(self, agent: Make, tmp_path: Path) -> None:
        """The workers that it was to fork come later; the others never notice."""
        one = agent(agent_of(seq("r1", "c1", 10**12), file_roll("k1", "c1", tmp_path / "out"))).start()
        stays, was = one.worker("r1"), one.kill("k1")
        killed = []

        def kill_template() -> bool:
            for pid in one.children():
                try:
                    command = Path(f"/proc/{pid}/cmdline").read_bytes()
                except OSError:
                    continue
                if b"shipper.workers.template" in command and pid not in one.workers().values() and not killed:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            return bool(killed)

        one.until(kill_template, "there is a template")
        one.until(lambda: one.workers().get("k1", was) != was, "k1 is there again")
        assert one.worker("r1") == stays
        assert one.stop() == 0, one.log()

    def test_a_template_that_is_killed_at_the_start_is_said_and_another_one_tries(
        self, agent: Make, tmp_path: Path
    ) -> None:
        one = agent(agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out"))).start(wait=False)
        one.until(lambda: len(one.children()) == 1, "there is a template")
        os.kill(one.children()[0], signal.SIGKILL)
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 10, "the agent runs")
        assert one.stop() == 0, one.log()
        assert "the template of the workers was killed by SIGKILL" in one.log()
        assert "it is tried again in 3 s" in one.log() and "Traceback" not in one.log()


class TestHealth:
    """What the workers say of themselves is seen from outside."""

    @pytest.mark.parametrize("sources", [1, ALONE_MOST + 1])
    def test_a_file_that_can_not_be_read_is_trouble_until_it_can(
        self, agent: Make, tmp_path: Path, sources: int
    ) -> None:
        """With a worker of its own, and among many that share one. A link to itself stops root as well."""
        path = tmp_path / "loop"
        path.symlink_to(path)
        names = [f"r{number}" for number in range(sources)]
        tails = [f"a1.sources.{name}.type = exec\na1.sources.{name}.command = tail -F {path}\n"
                 f"a1.sources.{name}.channels = c1\n" for name in names]  # fmt: skip
        one = agent(agent_of(*tails, file_roll("k1", "c1", tmp_path / "out"), sources=" ".join(names))).start()
        block = MetricsBlock.view(one.instance_dir() / "metrics")
        reason = f"{path} can't be read: Too many levels of symbolic links"
        one.until(lambda: [f.sentence for f in findings(block.sample())] == [f"{name}: {reason}" for name in names])
        path.unlink()
        path.write_text("x\n")
        one.until(lambda: not findings(block.sample()))
        one.stop()


class TestInstances:
    """Which agent is which."""

    def test_the_same_agent_twice_is_refused(self, agent: Make, tmp_path: Path) -> None:
        properties = agent_of(seq("r1", "c1", 10**12), file_roll("k1", "c1", tmp_path / "out"))
        one = agent(properties).start()
        two = agent(properties)
        two.file, two.run_dir, two.state_dir = one.file, one.run_dir, one.state_dir
        assert two.run() == 1
        assert "agent a1 of this file runs already" in two.log() and "Traceback" not in two.log()
        assert set(one.workers()) == {"r1", "k1"}
        assert one.stop() == 0

    def test_two_agents_of_one_name_from_two_files_do_not_touch_each_other(self, agent: Make, tmp_path: Path) -> None:
        one, two = (
            agent(
                agent_of(taildir("r1", "c1", tmp_path / f"in{n}"), file_roll("k1", "c1", tmp_path / f"out{n}")),
                tmp_path / f"own{n}",
            )
            for n in (1, 2)
        )
        two.run_dir, two.state_dir = one.run_dir, one.state_dir
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        write_lines(tmp_path / "in2" / "a.log", 5000, 7000)
        one.start(), two.start()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 1000)
        one.kill()
        two.until(lambda: texts(tmp_path / "out2").count(b"\n") == 2000)
        assert two.stop() == 0
        one.start()
        assert one.stop() == 0
        assert in_order(texts(tmp_path / "out1")) == list(range(1000))
        assert in_order(texts(tmp_path / "out2")) == list(range(5000, 7000))

    @pytest.mark.skipif(not is_root(), reason="a name space of processes needs root")
    def test_it_works_as_the_first_process_of_a_container(self, agent: Make, tmp_path: Path) -> None:
        before = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
        if subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("no name space of processes is allowed here")
        write_lines(tmp_path / "in" / "a.log", 0, 3000)
        one = agent(
            agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")), before=before
        ).start()
        supervisor = one.children()[0]
        assert Path(f"/proc/{supervisor}/status").read_text().partition("NSpid:")[2].split()[1] == "1"
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 3000)
        os.kill(supervisor, signal.SIGTERM)
        assert one.ended() == 0, one.log()
        assert "a1 has stopped" in one.log()


class TestGrid:
    """Several workers, several sinks, several channels, several sources."""

    @pytest.mark.parametrize(("sources", "sinks"), [(2, 1), (1, 2), (2, 2)])
    def test_several_workers_share_the_work(self, agent: Make, tmp_path: Path, sources: int, sinks: int) -> None:
        one = agent(
            agent_of(seq("r1", "c1", TOTAL, workers=sources), file_roll("k1", "c1", tmp_path / "out", workers=sinks))
        ).start()
        assert len(one.workers()) >= sinks
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == TOTAL)
        assert one.stop() == 0
        assert in_order(texts(tmp_path / "out")) == list(range(TOTAL))

    def test_each_event_goes_to_one_of_two_sinks(self, agent: Make, tmp_path: Path) -> None:
        one = agent(
            agent_of(
                seq("r1", "c1", TOTAL * 10), file_roll("k1", "c1", tmp_path / "one"),
                file_roll("k2", "c1", tmp_path / "two"), sinks="k1 k2",
            )
        ).start()  # fmt: skip

        def both() -> bytes:
            return texts(tmp_path / "one") + texts(tmp_path / "two")

        one.until(lambda: both().count(b"\n") == TOTAL * 10)
        assert one.stop() == 0
        assert in_order(both()) == list(range(TOTAL * 10))

    def test_each_event_goes_to_both_of_two_channels(self, agent: Make, tmp_path: Path) -> None:
        one = agent(
            agent_of(
                seq("r1", "c1 c2", TOTAL), file_roll("k1", "c1", tmp_path / "one"),
                file_roll("k2", "c2", tmp_path / "two"), sinks="k1 k2", channels="c1 c2",
            )
        ).start()  # fmt: skip
        one.until(lambda: all(texts(tmp_path / out).count(b"\n") == TOTAL for out in ("one", "two")))
        assert one.stop() == 0
        assert texts(tmp_path / "one") == texts(tmp_path / "two") == NUMBERS

    def test_several_sources_fill_one_channel(self, agent: Make, tmp_path: Path) -> None:
        one = agent(
            agent_of(
                seq("r1", "c1", 20_000), seq("r2", "c1", 30_000), seq("r3", "c1", 40_000),
                file_roll("k1", "c1", tmp_path / "out"), sources="r1 r2 r3", more="a1.channels.c1.capacity = 5000\n",
            )
        ).start(wait=False)  # fmt: skip
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 90_000)
        assert one.stop() == 0
        assert in_order(texts(tmp_path / "out")) == sorted([*range(20_000), *range(30_000), *range(40_000)])

    def test_a_sink_that_fails_is_stood_in_for_and_comes_back(self, agent: Make, tmp_path: Path) -> None:
        """k1 can't open its directory; k2 delivers all, k1 its part when the directory is there."""
        missing = tmp_path / "missing" / "out"
        k1 = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {missing}\na1.sinks.k1.channel = c1\n"
        write_lines(tmp_path / "in" / "a.log", 0, 1000)
        write_lines(tmp_path / "in" / "b.log", 1000, 2000)
        one = agent(
            agent_of(taildir("r1", "c1", tmp_path / "in"), k1, file_roll("k2", "c1", tmp_path / "two"), sinks="k1 k2")
        ).start(wait=False)
        one.until(lambda: texts(tmp_path / "two").count(b"\n") == 2000)
        missing.mkdir(parents=True)
        one.until(lambda: "a1 is running" in one.log(), timeout_s=60)
        assert one.stop() == 0
        assert in_order(texts(tmp_path / "two") + texts(missing)) == list(range(2000))

    def test_what_a_removed_source_left_is_drained(self, agent: Make, tmp_path: Path) -> None:
        missing = tmp_path / "missing" / "out"
        sink = f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {missing}\na1.sinks.k1.channel = c1\n"
        write_lines(tmp_path / "in" / "a.log", 0, 700)
        one = agent(agent_of(taildir("old", "c1", tmp_path / "in"), sink, sources="old")).start(wait=False)
        one.until(lambda: in_channel(one) == 700)
        assert one.stop() == 3
        missing.mkdir(parents=True)
        one.file.write_text(agent_of(seq("new", "c1", 5), sink, sources="new"))
        one.start(wait=False)
        one.until(lambda: texts(missing).count(b"\n") == 705)
        assert one.stop() == 0
        assert in_order(texts(missing)) == sorted([*range(700), *range(5)])

    def test_what_waits_for_a_removed_sink_is_delivered_by_another(self, agent: Make, tmp_path: Path) -> None:
        """Also when it was killed while it held its lane: nobody would ever come back to settle it."""
        write_lines(tmp_path / "in" / "a.log", 0, 300)
        old = file_roll("old", "c1", tmp_path / "old")
        one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), old, sinks="old")).start()
        one.until(has(one, 300))
        one.freeze("old")
        write_lines(tmp_path / "in" / "a.log", 300, 900)
        one.until(lambda: in_channel(one) == 600)
        one.kill()
        one.file.write_text(
            agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("new", "c1", tmp_path / "new"), sinks="new")
        )
        one.start()
        one.until(lambda: texts(tmp_path / "new").count(b"\n") >= 600)
        assert one.stop() == 0
        assert "is not in this configuration" in one.log()
        assert in_order(texts(tmp_path / "new")) == list(range(300, 900))

    def test_names_with_slashes_and_dashes_are_names(self, agent: Make, tmp_path: Path) -> None:
        one = agent(
            agent_of(seq("in--a/b", "c1", 100), file_roll("in--a/b", "c1", tmp_path / "out"),
                     sources="in--a/b", sinks="in--a/b")
        ).start(wait=False)  # fmt: skip
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 100)
        assert one.stop() == 0


class TestSmallThings:
    """What a worker and a supervisor owe the machine."""

    def test_the_supervisor_imports_no_arrow_and_its_workers_are_named(self, agent: Make, tmp_path: Path) -> None:
        one = agent(agent_of(seq("r1", "c1", 10**12), file_roll("k1", "c1", tmp_path / "out"))).start()
        assert "libarrow" not in maps(one.pid) and "numpy" not in maps(one.pid)
        assert set(one.workers()) == {"r1", "k1"}
        assert all("libarrow" in maps(pid) for pid in one.workers().values())
        one.until(lambda: len(one.children()) == 2, "the template has gone")
        assert one.stop() == 0

    def test_the_limit_on_open_files_is_lifted(self, agent: Make, tmp_path: Path) -> None:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        one = agent(
            agent_of(seq("r1", "c1", 10**12), file_roll("k1", "c1", tmp_path / "out")),
            before=("sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh"),
        ).start()
        for pid in (one.pid, *one.workers().values()):
            assert descriptor_limit(pid) == (str(hard), str(hard))
        assert one.stop() == 0

    def test_a_port_in_use_for_the_numbers_is_said(self, agent: Make, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            one = agent(
                agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out")),
                arguments=["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"],
            )
            assert one.run() == 3
        assert str(port) in one.log() and "Traceback" not in one.log()

    def test_the_numbers_are_those_of_flume_and_no_event_counts_twice(self, agent: Make, tmp_path: Path) -> None:
        port = free_port()
        write_lines(tmp_path / "in" / "a.log", 0, 12_345)
        one = agent(
            agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")),
            arguments=["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"],
        ).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 12_345)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def numbers() -> dict[str, dict[str, str]]:
            with opener.open(f"http://127.0.0.1:{port}/metrics") as answer:
                return json.load(answer)

        def counted() -> bool:
            found = numbers()
            counts = found["SOURCE.r1"]["EventAcceptedCount"], found["SINK.k1"]["EventDrainSuccessCount"]
            return counts == ("12345", "12345")

        one.until(counted)
        found = numbers()
        source, channel = found["SOURCE.r1"], found["CHANNEL.c1"]
        assert source["EventReceivedCount"] == "12345"
        assert source["AppendBatchReceivedCount"] == source["AppendBatchAcceptedCount"]
        assert (channel["EventPutSuccessCount"], channel["EventTakeSuccessCount"]) == ("12345", "12345")
        assert channel["ChannelSize"] == "0"
        assert one.stop() == 0

    def test_a_run_directory_without_room_is_said(self, agent: Make, tmp_path: Path) -> None:
        one = agent(
            agent_of(
                seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out"), more="a1.channels.c1.ring.bytes = 64m\n"
            ),
            before=("sh", "-c", 'ulimit -f 20000; exec "$@"', "sh"),
        )
        assert one.run() == 3
        assert "no room for" in one.log() and "ring.bytes" in one.log() and "Traceback" not in one.log()

    def test_a_hang_up_reloads_an_agent_that_never_had_a_terminal(self, agent: Make, tmp_path: Path) -> None:
        one = agent(
            agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out")), before=("setsid", "--wait")
        ).start()
        supervisor = one.children()[0]
        one.file.write_text(agent_of(seq("r2", "c1", 20), file_roll("k1", "c1", tmp_path / "two"), sources="r2"))
        os.kill(supervisor, signal.SIGHUP)
        one.until(lambda: "the configuration has changed: k1 starts again; r2 is started; r1 is stopped" in one.log())
        one.until(lambda: texts(tmp_path / "two").count(b"\n") == 20)
        os.kill(supervisor, signal.SIGTERM)
        assert one.ended() == 0

    def test_a_hang_up_stops_an_agent_whose_terminal_was_closed(self, agent: Make, tmp_path: Path) -> None:
        import pty

        one = agent(agent_of(seq("r1", "c1", 10), file_roll("k1", "c1", tmp_path / "out")))
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(sys.executable, one.command(), one._environment)
        said = b""
        deadline_s = time.monotonic() + 30
        while b"is running" not in said and time.monotonic() < deadline_s:
            said += os.read(terminal, 4096)
        assert b"is running" in said
        until(lambda: texts(tmp_path / "out").count(b"\n") == 10)
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == 0
        assert texts(tmp_path / "out") == b"".join(b"%d\n" % n for n in range(10))

    def test_poison_finds_no_view_that_outlives_its_transaction(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in" / "a.log", 0, TOTAL)
        one = agent(
            agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out")),
            environment={"SHIPPER_POISON": "1"},
        ).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= TOTAL)
        assert one.stop() == 0
        assert texts(tmp_path / "out") == NUMBERS
