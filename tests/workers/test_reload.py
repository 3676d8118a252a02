"""A running agent whose files change: what changed starts again, the rest goes on; no line is lost or comes twice."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli.health import health
from shipper.config.plan import ChannelPlan, Plan
from shipper.instance.holdings import holdings
from shipper.metrics.block import Kind, MetricsBlock
from shipper.metrics.health import read_notices
from shipper.supervisor.reload import restart_needed
from shipper.supervisor.watched import WatchedFiles
from shipper.testing.agent import Agent
from shipper.testing.fakes import ManualClock
from tests.workers.conftest import agent_of, file_roll, has, seq, taildir, texts

Make = Callable[..., Agent]


@pytest.fixture(autouse=True)
def inputs(tmp_path: Path) -> None:
    """The directories that are read."""
    for name in ("in1", "in2", "in3"):
        (tmp_path / name).mkdir()


def write_lines(path: Path, first: int, end: int) -> None:
    """Appends numbered lines."""
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(lines(first, end))


def lines(first: int, end: int) -> bytes:
    """Numbered lines."""
    return b"".join(b"%d\n" % number for number in range(first, end))


def two_pipelines(tmp_path: Path, **options_of_k1: object) -> str:
    """r1 -> c1 -> k1 and r2 -> c2 -> k2."""
    return agent_of(
        taildir("r1", "c1", tmp_path / "in1"), file_roll("k1", "c1", tmp_path / "out1", **options_of_k1),
        taildir("r2", "c2", tmp_path / "in2"), file_roll("k2", "c2", tmp_path / "out2"),
        sources="r1 r2", channels="c1 c2", sinks="k1 k2",
    )  # fmt: skip


def change(one: Agent, properties: str, said: str = "runs the new configuration") -> None:
    """Writes another configuration and asks for it."""
    before = one.log().count(said)
    one.file.write_text(properties)
    one.send(signal.SIGHUP)
    one.until(lambda: one.log().count(said) > before, said)


class TestWhatChanged:
    """Only what changed starts again."""

    def test_another_option_of_a_sink_leaves_all_others_alone(self, agent: Make, tmp_path: Path) -> None:
        for pipe in ("in1", "in2"):
            write_lines(tmp_path / pipe / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 1000)
        before = one.workers()
        change(one, two_pipelines(tmp_path, **{"sink.pathManager.prefix": "new-"}))
        for pipe in ("in1", "in2"):
            write_lines(tmp_path / pipe / "a.log", 1000, 3000)
        one.until(lambda: all(texts(tmp_path / out).count(b"\n") == 3000 for out in ("out1", "out2")))
        after = one.workers()
        assert {label for label in before if before[label] != after[label]} == {"k1"}
        assert "k1 starts again; k2, r1, r2 go on" in one.log()
        assert one.stop() == 0, one.log()
        assert any(path.name.startswith("new-") for path in (tmp_path / "out1").iterdir())
        for out in ("out1", "out2"):
            assert sorted(texts(tmp_path / out).split(), key=int) == lines(0, 3000).split()

    def test_a_source_that_is_added_and_removed_leaves_the_other_pipeline_alone(
        self, agent: Make, tmp_path: Path
    ) -> None:
        for pipe in ("in1", "in2", "in3"):
            write_lines(tmp_path / pipe / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        before = one.workers()
        third = two_pipelines(tmp_path).replace("sources = r1 r2", "sources = r3 r1 r2")
        change(one, third + taildir("r3", "c1", tmp_path / "in3"))
        assert "k1 starts again; r3 is started; k2, r1, r2 go on" in one.log()
        listed = MetricsBlock.view(one.instance_dir() / "metrics").sample().workers
        assert [w.name for w in listed if w.kind == Kind.SOURCE] == ["r3", "r1", "r2"], "as the file names them"
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 2000)
        change(one, two_pipelines(tmp_path))
        assert "r3 is stopped; " in one.log()
        write_lines(tmp_path / "in1" / "a.log", 1000, 2000)
        write_lines(tmp_path / "in3" / "a.log", 1000, 2000)  # nobody reads it any more
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") >= 3000)
        after = one.workers()
        assert all(before[label] == after[label] for label in ("r1", "r2", "k2"))
        assert one.stop() == 0, one.log()
        assert sorted(texts(tmp_path / "out1").split()) == sorted([*lines(0, 2000).split(), *lines(0, 1000).split()])
        assert texts(tmp_path / "out2") == lines(0, 1000)

    def test_a_source_is_added_to_a_channel_with_a_log(self, agent: Make, tmp_path: Path) -> None:
        """Its writer has one lane more; sink and source of the channel go on."""
        for pipe in ("in1", "in2"):
            write_lines(tmp_path / pipe / "a.log", 0, 1000)
        log = (
            f"a1.channels.c1.type = file\na1.channels.c1.checkpointDir = {tmp_path}/checkpoint\n"
            f"a1.channels.c1.dataDirs = {tmp_path}/data\n"
        )
        rest = log + file_roll("k1", "c1", tmp_path / "out1") + taildir("r1", "c1", tmp_path / "in1")
        head = "a1.channels = c1\na1.sinks = k1\na1.sources = r1"
        one = agent(f"{head}\n{rest}").start()
        before = one.workers()
        change(one, f"{head} r2\n{rest}" + taildir("r2", "c1", tmp_path / "in2"))
        assert "c1 starts again; r2 is started; k1, r1 go on" in one.log()
        write_lines(tmp_path / "in1" / "a.log", 1000, 2000)
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 3000)
        assert all(before[label] == one.workers()[label] for label in ("r1", "k1"))
        assert one.stop() == 0, one.log()
        assert sorted(texts(tmp_path / "out1").split()) == sorted([*lines(0, 2000).split(), *lines(0, 1000).split()])

    def test_what_waits_for_a_removed_sink_is_taken_by_the_one_that_is_left(self, agent: Make, tmp_path: Path) -> None:
        """k1 holds its lane and can't go on; the lines that wait there are k2's when it is gone."""
        write_lines(tmp_path / "in" / "a.log", 0, 500)
        both = agent_of(
            taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "one"),
            file_roll("k2", "c1", tmp_path / "two"), sinks="k1 k2",
        )  # fmt: skip
        one = agent(both).start()

        def delivered() -> list[bytes]:
            return sorted((texts(tmp_path / "one") + texts(tmp_path / "two")).split(), key=int)

        one.until(lambda: len(delivered()) == 500)
        change(one, agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k2", "c1", tmp_path / "two"), sinks="k2"))
        write_lines(tmp_path / "in" / "a.log", 500, 1500)
        one.until(lambda: len(delivered()) >= 1500)
        assert one.stop() == 0, one.log()
        assert delivered() == lines(0, 1500).split()
        assert texts(tmp_path / "two").endswith(b"1499\n")

    def test_what_a_removed_sink_held_when_it_had_to_be_killed_is_taken_by_another(
        self, agent: Make, tmp_path: Path
    ) -> None:
        """Nobody will ever come back to settle it; its lane is opened to the sink that is new."""
        source = taildir("r1", "c1", tmp_path / "in1")
        write_lines(tmp_path / "in1" / "a.log", 0, 500)
        one = agent(agent_of(source, file_roll("k1", "c1", tmp_path / "one"))).start()
        one.until(has(one, 500))
        one.freeze("k1")
        write_lines(tmp_path / "in1" / "a.log", 500, 1500)
        one.until(lambda: counter(one, "r1", "EventAcceptedCount") == 1500)
        change(one, agent_of(source, file_roll("k2", "c1", tmp_path / "two"), sinks="k2"))
        assert "k1 did not end in time and is killed" in one.log()
        one.until(lambda: texts(tmp_path / "two").count(b"\n") >= 1000)
        assert one.stop() == 0, one.log()
        assert texts(tmp_path / "one") == lines(0, 500)
        assert texts(tmp_path / "two") == lines(500, 1500)

    def test_a_removed_pipeline_is_stopped_in_order_and_emptied(self, agent: Make, tmp_path: Path) -> None:
        """What its source had read is delivered before its sink ends; and nobody else waits for that."""
        write_lines(tmp_path / "in1" / "a.log", 0, 200_000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") > 0)
        stays = {label: one.worker(label) for label in ("r2", "k2")}
        only_two = agent_of(
            taildir("r2", "c2", tmp_path / "in2"), file_roll("k2", "c2", tmp_path / "out2"),
            sources="r2", channels="c2", sinks="k2",
        )  # fmt: skip
        change(one, only_two)
        one.until(lambda: set(one.workers()) == {"r2", "k2"}, "r1 and k1 have ended")
        assert one.workers() == stays
        write_lines(tmp_path / "in2" / "a.log", 0, 10)
        one.until(lambda: texts(tmp_path / "out2").count(b"\n") == 10)
        change(one, two_pipelines(tmp_path))  # and back again: it goes on where it was
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") >= 200_000)
        assert one.stop() == 0, one.log()
        assert texts(tmp_path / "out1") == lines(0, 200_000)

    def test_health_says_what_a_removed_channel_holds_and_no_more_once_it_is_back(
        self, agent: Make, tmp_path: Path
    ) -> None:
        """Also when the looks in the middle of the reload were at the configuration before."""
        renamed = agent_of(
            taildir("r1", "c3", tmp_path / "in3"), file_roll("k1", "c3", tmp_path / "out1"), channels="c3"
        )
        before = agent_of(taildir("r1", "c1", tmp_path / "in1"), file_roll("k1", "c1", tmp_path / "out1"))
        (tmp_path / "out1").rmdir()
        write_lines(tmp_path / "in1" / "a.log", 0, 100)
        one = agent(before).start(wait=False)
        one.until(lambda: any(sum(h.events for h in holdings(place)) == 100 for place in one.run_dir.glob("a1-*")))
        change(one, renamed)
        said = "events wait in channel c1, which the configuration does not have any more"
        one.until(lambda: any(said in line for line in read_notices(one.instance_dir())), timeout_s=10)
        change(one, before)
        one.until(lambda: not any(said in line for line in read_notices(one.instance_dir())), timeout_s=10)

    def test_a_channel_with_another_capacity_restarts_those_around_it(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        change(one, two_pipelines(tmp_path) + "a1.channels.c1.capacity = 100\n")
        assert "k1, r1 start again; k2, r2 go on" in one.log()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 1000)
        assert one.stop() == 0, one.log()

    def test_a_component_that_could_not_start_is_mended_by_a_reload(self, agent: Make, tmp_path: Path) -> None:
        sink = "a1.sinks.k1.type = file_roll\na1.sinks.k1.channel = c1\na1.sinks.k1.sink.directory = "
        one = agent(agent_of(seq("r1", "c1", 50), f"{sink}{tmp_path}/missing\n")).start(wait=False)
        one.until(lambda: "k1: the worker could not go on" in one.log())

        def waits_for() -> str:
            workers = MetricsBlock.view(one.instance_dir() / "metrics").sample().workers
            return next(worker.waits_for for worker in workers if worker.name == "k1")

        one.until(lambda: f"{tmp_path}/missing" in waits_for(), "the worker's own sentence stays")
        (tmp_path / "out").mkdir()
        change(one, agent_of(seq("r1", "c1", 50), f"{sink}{tmp_path}/out\n"))
        one.until(lambda: texts(tmp_path / "out").count(b"\n") == 50)
        assert one.stop() == 0, one.log()

    def test_counters_of_what_goes_on_and_of_what_starts_again_go_on(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(lambda: counter(one, "k1", "EventDrainSuccessCount") == 1000)
        change(one, two_pipelines(tmp_path, **{"sink.rollInterval": 2}))
        write_lines(tmp_path / "in1" / "a.log", 1000, 1500)
        one.until(lambda: counter(one, "k1", "EventDrainSuccessCount") == 1500)
        one.until(lambda: counter(one, "r1", "EventAcceptedCount") == 1500)
        assert one.stop() == 0, one.log()

    def test_counters_go_on_when_the_supervisor_looks_round_in_the_middle_of_a_reload(
        self, agent: Make, tmp_path: Path
    ) -> None:
        """r1 has ended and k1 has not: r1 is one who starts again, not one who has gone for good."""
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(lambda: counter(one, "r1", "EventAcceptedCount") == 1000)
        r1, k1 = one.worker("r1"), one.freeze("k1")
        block = MetricsBlock.view(one.instance_dir() / "metrics")
        one.file.write_text(two_pipelines(tmp_path) + "a1.channels.c1.capacity = 5000\n")
        one.send(signal.SIGHUP)
        Agent.until_gone([r1])
        one.until(lambda: any(w.name == "r1" and w.stop_ms for w in block.sample().workers), "its end is booked")
        booked_s = time.monotonic()
        one.until(lambda: block.beat_age_s() < time.monotonic() - booked_s, "the supervisor has looked round")
        os.kill(k1, signal.SIGCONT)
        one.until(lambda: "runs the new configuration" in one.log())
        write_lines(tmp_path / "in1" / "a.log", 1000, 1500)
        one.until(lambda: counter(one, "k1", "EventDrainSuccessCount") == 1500)
        one.until(lambda: counter(one, "r1", "EventAcceptedCount") == 1500)
        assert one.stop() == 0, one.log()

    def test_a_channel_of_another_type_restarts_the_whole_agent(self) -> None:
        """It is another thing altogether: its events would have to be moved."""
        before = plan_of({"c1": "memory", "c2": "memory"})
        assert restart_needed(before, plan_of({"c1": "memory", "c3": "file"})) == ""
        assert "channel c2 was of type memory" in restart_needed(before, plan_of({"c1": "memory", "c2": "file"}))


def counter(one: Agent, name: str, key: str) -> int:
    """A counter of a component."""
    workers = MetricsBlock.view(one.instance_dir() / "metrics").sample().workers
    return sum(worker.counters[key] for worker in workers if worker.name == name)


def plan_of(channels: dict[str, str]) -> Plan:
    """A plan of nothing but channels."""
    made = tuple(ChannelPlan(name=name, type=kind) for name, kind in channels.items())
    return Plan(agent="a1", files=("a1.properties",), sources=(), channels=made, groups=())


class TestFiles:
    """Which files are taken, and when."""

    def test_nothing_happens_when_nothing_changed(self, agent: Make, tmp_path: Path) -> None:
        one = agent(two_pipelines(tmp_path)).start()
        before = one.workers()
        change(one, "# the same\n" + two_pipelines(tmp_path), "nothing changes, all workers go on")
        assert one.workers() == before
        assert one.stop() == 0, one.log()

    def test_a_bad_file_is_refused_once_shown_and_forgotten_when_a_good_one_comes(
        self, agent: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Found by the look at the files that Flume has every 30 s, here every 0.1 s."""
        one = agent(two_pipelines(tmp_path), arguments=["-i", "0.1"]).start()
        before = one.workers()
        one.file.write_text(two_pipelines(tmp_path) + "a1.sinks.k1.type = filerol\n")
        one.until(lambda: "the agent goes on with the one before" in one.log())
        one.until(lambda: health("a1", one.run_dir, look_s=0.0) == 1)
        assert "was refused, the one before still runs: " in capsys.readouterr().out
        assert one.workers() == before
        one.file.write_text(two_pipelines(tmp_path))
        one.until(lambda: "nothing changes" in one.log())
        assert one.log().count("the agent goes on with the one before") == 1
        assert health("a1", one.run_dir, look_s=0.0) == 0, capsys.readouterr().out
        assert one.stop() == 0, one.log()

    def test_what_the_system_refuses_leaves_the_configuration_before_running(
        self, agent: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A file lies where a channel's directory is to be made."""
        one = agent(two_pipelines(tmp_path)).start()
        before = one.workers()
        (one.instance_dir() / "channels" / "c3").write_text("in the way")
        more = (taildir("r3", "c3", tmp_path / "in3"), file_roll("k3", "c3", tmp_path / "out3"))
        text = two_pipelines(tmp_path).replace("r1 r2", "r1 r2 r3").replace("c1 c2", "c1 c2 c3")
        text = text.replace("k1 k2", "k1 k2 k3") + "a1.channels.c3.type = memory\n" + "".join(more)
        change(one, text, "the agent goes on with the one before")
        assert one.workers() == before and "Traceback" not in one.log()
        one.until(lambda: health("a1", one.run_dir, look_s=0.0) == 1)
        assert "was refused, the one before still runs: " in capsys.readouterr().out
        assert one.stop() == 0, one.log()

    def test_half_a_file_is_not_taken(self, tmp_path: Path) -> None:
        """A change counts when a second went by without another one; and not while a file is away."""
        file, clock = tmp_path / "a1.properties", ManualClock()
        file.write_text("one")
        watched = WatchedFiles([file], 30.0, monotonic_s=clock.monotonic_s)
        clock.advance(30)
        assert not watched.wanted()
        for text in ("tw", "two", "two, and"):
            file.write_text(text)
            clock.advance(31 if text == "tw" else 1)
            assert not watched.wanted(), text
        file.unlink()
        clock.advance(1)
        assert not watched.wanted()
        clock.advance(1)
        assert not watched.wanted()
        file.write_text("two, and all")
        clock.advance(1)
        assert not watched.wanted()
        clock.advance(1)
        assert watched.wanted()
        clock.advance(60)
        assert not watched.wanted(), "it has been read"

    def test_a_file_that_changes_while_it_is_read_is_read_again(self, tmp_path: Path) -> None:
        file, clock = tmp_path / "a1.properties", ManualClock()
        file.write_text("one")
        watched = WatchedFiles([file], 30.0, polls=False, monotonic_s=clock.monotonic_s)
        file.write_text("two")
        clock.advance(60)
        assert not watched.wanted(), "--no-reload-conf"
        watched.ask()
        assert watched.wanted()
        assert not watched.changed_meanwhile()
        watched.ask()
        assert watched.wanted()
        file.write_text("three")
        assert watched.changed_meanwhile()
        clock.advance(1)
        assert not watched.wanted(), "it has just changed"
        clock.advance(1)
        assert watched.wanted()

    def test_a_file_that_was_refused_is_looked_at_often(self, tmp_path: Path) -> None:
        file, clock = tmp_path / "a1.properties", ManualClock()
        file.write_text("bad")
        watched = WatchedFiles([file], 30.0, monotonic_s=clock.monotonic_s)
        watched.ask()
        assert watched.wanted()
        watched.refused()
        clock.advance(5)
        assert not watched.wanted()
        file.write_text("good")
        clock.advance(1)
        assert not watched.wanted()
        clock.advance(1)
        assert watched.wanted()


class TestDeaths:
    """A reload among other misfortunes."""

    def test_a_reload_when_no_process_can_be_started_is_tried_again(
        self, agent: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An upgrade takes the interpreter away for a moment: the workers go on, and the files are read later."""
        python, away = tmp_path / "python", tmp_path / "away"
        python.symlink_to(sys.executable)
        monkeypatch.setattr(sys, "executable", str(python))
        path = os.pathsep.join(filter(None, sys.path))
        one = agent(two_pipelines(tmp_path), environment={"PYTHONPATH": path}).start()
        before = one.workers()
        python.rename(away)
        change(one, two_pipelines(tmp_path, **{"sink.rollInterval": 5}), "the changed configuration can't be read now")
        assert "the template of the workers can't be started: No such file or directory" in one.log()
        assert one.workers() == before
        away.rename(python)
        one.until(lambda: "runs the new configuration" in one.log())
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 1000)
        assert one.stop() == 0, one.log()

    def test_a_stop_in_the_middle_of_a_reload_stops_everything_in_order(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") == 1000)
        held = one.freeze("k1")
        change(one, two_pipelines(tmp_path, **{"sink.rollInterval": 5}), "k1 starts again")
        one.send(signal.SIGTERM)
        one.until(lambda: "stopping: sources read no more" in one.log())
        os.kill(held, signal.SIGCONT)
        assert one.ended() == 0, one.log()
        assert texts(tmp_path / "out1") == lines(0, 1000)

    def test_a_sink_that_hangs_is_killed_and_its_successor_goes_on(self, agent: Make, tmp_path: Path) -> None:
        write_lines(tmp_path / "in1" / "a.log", 0, 1000)
        one = agent(two_pipelines(tmp_path)).start()
        one.until(has(one, 1000))
        one.freeze("k1")
        write_lines(tmp_path / "in1" / "a.log", 1000, 2000)
        change(one, two_pipelines(tmp_path, **{"sink.rollInterval": 5}))
        assert "k1 did not end in time and is killed" in one.log()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") >= 2000)
        assert one.stop() == 0, one.log()
        assert texts(tmp_path / "out1") == lines(0, 2000)

    @pytest.mark.parametrize("seed", range(4))
    def test_a_kill_at_any_moment_of_a_reload_loses_and_repeats_nothing(
        self, agent: Make, tmp_path: Path, seed: int
    ) -> None:
        """The supervisor dies somewhere between the signal and the new workers; the next start reads the new file."""
        dice = random.Random(seed)
        write_lines(tmp_path / "in1" / "a.log", 0, 100_000)
        one = agent(two_pipelines(tmp_path)).start()
        one.file.write_text(two_pipelines(tmp_path, **{"sink.rollInterval": 5}) + "a1.channels.c1.capacity = 5000\n")
        one.send(signal.SIGHUP)
        time.sleep(dice.uniform(0, 1.5))
        one.kill()
        write_lines(tmp_path / "in1" / "a.log", 100_000, 120_000)
        one.start()
        one.until(lambda: texts(tmp_path / "out1").count(b"\n") >= 120_000)
        assert one.stop() == 0, one.log()
        assert texts(tmp_path / "out1") == lines(0, 120_000)


def test_who_asks_for_the_files_while_they_are_read_first_does_not_end_the_agent(agent: Make, tmp_path: Path) -> None:
    one = agent(two_pipelines(tmp_path)).start(wait=False)
    one.until(lambda: "No configuration directory" in one.log())
    one.send(signal.SIGHUP)
    one.until(lambda: "the files were read again: nothing changes" in one.log())
    assert one.stop() == 0, one.log()


@pytest.mark.parametrize("killed", [False, True], ids=["reload", "killed"])
def test_files_that_change_hands_while_their_rows_wait_are_read_on_where_they_were(
    agent: Make, tmp_path: Path, killed: bool
) -> None:
    def text(workers: int, sink: str) -> str:
        roll = (
            f"a1.sinks.k1.type = file_roll\na1.sinks.k1.channel = c1\na1.sinks.k1.sink.directory = {tmp_path}/{sink}\n"
        )
        return agent_of(taildir("r1", "c1", tmp_path / "in1", workers=workers), roll)

    def waiting() -> int:
        return sum(held.events for place in one.run_dir.glob("a1-*") for held in holdings(place))

    for name in range(8):
        write_lines(tmp_path / "in1" / f"{name}.log", 500 * name, 500 * (name + 1))
    one = agent(text(2, "missing")).start(wait=False)
    one.until(lambda: waiting() == 4000, "all lines wait")
    (tmp_path / "out").mkdir()
    for workers, sink in ((3, "missing"), (1, "missing"), (3, "out")):
        if killed:
            one.kill_all()
            one.file.write_text(text(workers, sink))
            one.start(wait=False)
        else:
            change(one, text(workers, sink))
        one.until(lambda n=workers: sum(label.startswith("r1") for label in one.workers()) == n, "its workers run")  # type: ignore[misc]
    one.until(has(one, 4000), "everything is delivered")
    assert one.stop() == 0, one.log()
    assert sorted(map(int, texts(tmp_path / "out").split())) == list(range(4000))


def test_without_room_for_the_positions_of_more_workers_they_are_started_when_there_is(
    agent: Make, tmp_path: Path
) -> None:
    def text(workers: int) -> str:
        return agent_of(taildir("r1", "c1", tmp_path / "in1", workers=workers), file_roll("k1", "c1", tmp_path / "out"))

    write_lines(tmp_path / "in1" / "a.log", 0, 100)
    one = agent(text(1)).start()
    one.until(has(one, 100))
    barred = one.instance_dir() / "puts" / "r1.1.positions.new"
    barred.mkdir()  # as a full disk: nothing can be written there
    change(one, text(2))
    one.until(lambda: "r1.1.positions: Is a directory; make room there; it is tried again" in one.log())
    barred.rmdir()
    write_lines(tmp_path / "in1" / "a.log", 100, 200)
    one.until(has(one, 200))
    assert one.stop() == 0, one.log()
    assert texts(tmp_path / "out") == lines(0, 200)
