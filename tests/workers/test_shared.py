"""Sources that share a worker: many `exec` sources in few processes, and what their failures and deaths cost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shipper.cli.stat import process_bytes
from shipper.config.plan import ComponentPlan, SourcePlan
from shipper.testing.agent import Agent
from shipper.testing.ports import free_port
from shipper.workers.shared_worker import Turn
from shipper.workers.sharing import ALONE_MOST, SHARE_MOST, sharing
from tests.workers.conftest import agent_of, file_roll, texts

Make = Callable[..., Agent]
SOURCES = 40
LINES = 200


def source(name: str, *, light: bool = True, workers: int = 1) -> SourcePlan:
    """A source of a plan."""
    selector = ComponentPlan(type="replicating")
    return SourcePlan(name=name, type="exec", channels=("c1",), selector=selector, light=light, workers=workers)


class TestWhoShares:
    """Many light sources do, few do not, and a person's `workers = N` stands."""

    def test_a_few_light_sources_have_workers_of_their_own(self) -> None:
        assert sharing([source(f"r{n}") for n in range(ALONE_MOST)]) == []

    def test_more_share_as_few_workers_as_may_be(self) -> None:
        found = sharing([source(f"r{n}") for n in range(40)])
        assert sorted(len(sources) for sources in found) == [13, 13, 14]
        assert sorted(s.name for sources in found for s in sources) == sorted(f"r{n}" for n in range(40))
        assert max(map(len, sharing([source(f"r{n}") for n in range(1000)]))) == SHARE_MOST

    def test_neighbours_in_the_file_are_dealt_to_different_workers(self) -> None:
        first = sharing([source(f"r{n:02}") for n in range(40)])[0]
        assert [s.name for s in first[:3]] == ["r00", "r03", "r06"]

    def test_heavy_sources_and_those_with_several_workers_keep_theirs(self) -> None:
        light = [source(f"r{n}") for n in range(20)]
        found = sharing([source("tail", light=False), source("listener", workers=2), *light])
        assert [s for sources in found for s in sources if s.name in ("tail", "listener")] == []
        assert sharing([*light[:ALONE_MOST], source("tail", light=False)]) == []


def command(name: str, out: str) -> str:
    """An exec source with a shell."""
    return (
        f"a1.sources.{name}.type = exec\na1.sources.{name}.shell = /bin/sh -c\n"
        f"a1.sources.{name}.command = {out}\na1.sources.{name}.channels = c1\n"
    )


def printing(name: str, first: int = 0, lines: int = LINES) -> str:
    """Prints its name and numbers, then stays."""
    return command(
        name, f"i={first}; while [ $i -lt {first + lines} ]; do echo {name} $i; i=$((i+1)); done; exec sleep 999"
    )


def properties(tmp_path: Path, *sources: str, names: str) -> str:
    """An agent with these sources and a small ring a lane."""
    return agent_of(
        *sources, file_roll("k1", "c1", tmp_path / "out"), sources=names, more="a1.channels.c1.ring.bytes = 8m\n"
    )


def names_of(count: int) -> list[str]:
    """Names of sources."""
    return [f"r{number}" for number in range(count)]


def lines_of(tmp_path: Path) -> Counter[bytes]:
    """How often each line is in the output."""
    return Counter(texts(tmp_path / "out").splitlines())


def shared(one: Agent) -> dict[str, int]:
    """Process ids of the workers that sources share."""
    return {label: pid for label, pid in one.workers().items() if label.startswith("shared")}


def stat(one: Agent) -> dict[str, dict[str, Any]]:
    """What `shipper stat --json` says of each source."""
    return {worker["name"]: worker for worker in stat_of_all(one)["workers"] if worker["kind"] == "source"}


def stat_of_all(one: Agent) -> dict[str, Any]:
    """What `shipper stat --json` says."""
    found = subprocess.run(
        [sys.executable, "-m", "shipper.cli.main", "stat", "--json", "--run-dir", str(one.run_dir), one.name],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    data: dict[str, Any] = json.loads(found.stdout)[0]
    return data


class TestForty:
    """Forty commands in three workers."""

    def test_each_line_comes_once_out_of_few_small_processes(self, agent: Make, tmp_path: Path) -> None:
        names = names_of(SOURCES)
        one = agent(properties(tmp_path, *map(printing, names), names=" ".join(names))).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= SOURCES * LINES, "all lines")
        assert set(one.workers()) == {"k1", "shared0", "shared1", "shared2"}
        assert sum(map(process_bytes, shared(one).values())) < SOURCES * (4 << 20), "a worker of its own takes 10 MiB"
        found = stat(one)
        assert list(found) == names, "as the file names them"
        processes = stat_of_all(one)["memory"]["processes"]
        assert set(processes) == {"supervisor", "k1", "r0 r3 r6 and 11 more", "r1 r4 r7 and 10 more",
                                  "r2 r5 r8 and 10 more"}, "a process counts once"  # fmt: skip
        for name in names:
            assert found[name]["counters"]["EventAcceptedCount"] == LINES
            assert found[name]["pid"] in shared(one).values()
        assert one.stop() == 0, one.log()
        assert lines_of(tmp_path) == Counter(b"%s %d" % (n.encode(), i) for n in names for i in range(LINES))

    def test_a_killed_worker_comes_back_with_all_its_sources_while_the_others_run(
        self, agent: Make, tmp_path: Path
    ) -> None:
        """Commands begin anew with it, as they would in workers of their own: what they print then is new."""
        names = names_of(SOURCES)
        one = agent(properties(tmp_path, *map(printing, names), names=" ".join(names))).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= SOURCES * LINES, "all lines")
        stay = {label: pid for label, pid in one.workers().items() if label != "shared1"}
        was = one.kill("shared1")
        theirs = {name for name in names if int(name[1:]) % 3 == 1}
        one.until(lambda: one.workers().get("shared1", was) != was, "the worker is there again")
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= (SOURCES + len(theirs)) * LINES, "their lines again")
        assert {label: pid for label, pid in one.workers().items() if label != "shared1"} == stay
        found = stat(one)
        assert {name for name in names if found[name]["restarts"]} == theirs
        assert one.stop() == 0, one.log()
        assert lines_of(tmp_path) == Counter(
            b"%s %d" % (n.encode(), i) for n in names for i in range(LINES) for _ in range(1 + (n in theirs))
        )

    def test_a_tailed_file_in_a_shared_worker_is_read_once_whatever_is_killed(
        self, agent: Make, tmp_path: Path
    ) -> None:
        names = names_of(18)
        for name in names:
            (tmp_path / name).write_text("".join(f"{name} {i}\n" for i in range(1000)))
        sources = [
            f"a1.sources.{name}.type = exec\na1.sources.{name}.command = tail -n +1 -F {tmp_path / name}\n"
            f"a1.sources.{name}.channels = c1\n"
            for name in names
        ]
        one = agent(properties(tmp_path, *sources, names=" ".join(names))).start()
        for victim in ("shared0", "shared1"):
            one.kill(victim)
        for name in names:
            with (tmp_path / name).open("a") as file:
                file.write("".join(f"{name} {i}\n" for i in range(1000, 2000)))
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= len(names) * 2000, "all lines")
        assert one.stop() == 0, one.log()
        assert lines_of(tmp_path) == Counter(b"%s %d" % (n.encode(), i) for n in names for i in range(2000))

    def test_a_source_that_fails_for_ever_is_tried_alone(self, agent: Make, tmp_path: Path) -> None:
        names = names_of(20)
        bad = "a1.sources.r7.type = exec\na1.sources.r7.command = no-such-program\na1.sources.r7.channels = c1\n"
        sources = [bad if name == "r7" else printing(name) for name in names]
        port = free_port()
        one = agent(
            properties(tmp_path, *sources, names=" ".join(names)),
            arguments=["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"],
        ).start(wait=False)
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 19 * LINES, "the others' lines")
        workers = shared(one)
        again = "r7: the source could not go on; it is started again in"
        one.until(lambda: f"{again} 2 s" in one.log())
        assert shared(one) == workers, "nobody else was restarted"
        assert "there is no program no-such-program" in one.log()
        found = {}

        def failed() -> bool:
            found.update(stat(one))
            return found["r7"]["state"] == "failed" and "no-such-program" in str(found["r7"]["waits_for"])

        one.until(failed)
        assert not any(found[name]["restarts"] for name in names if name != "r7")
        numbers = metrics(port)
        assert all(numbers[f"SOURCE.{name}"]["EventAcceptedCount"] == str(LINES) for name in names if name != "r7")
        assert numbers["SOURCE.r7"]["EventAcceptedCount"] == "0"
        assert "a1 is running" not in one.log()
        tries = one.log().count(again)
        one.until(lambda: one.log().count(again) > tries, "it has failed just now, and waits")
        assert one.stop() == 3
        assert "r7: was not running when the agent stopped" in one.log()
        assert lines_of(tmp_path) == Counter(
            b"%s %d" % (n.encode(), i) for n in names for i in range(LINES) if n != "r7"
        )

    def test_a_source_that_has_no_room_holds_up_nobody(self, agent: Make, tmp_path: Path) -> None:
        """r0 puts into a channel from which nobody takes; when that is full, the others go on."""
        names = names_of(18)
        sources = [*map(printing, names[1:]), printing("r0", lines=50_000).replace("channels = c1", "channels = full")]
        one = agent(
            agent_of(*sources, file_roll("k1", "c1", tmp_path / "out"), sources=" ".join(names), channels="c1 full",
                     more="a1.channels.full.capacity = 100\na1.channels.c1.ring.bytes = 8m\n")
        ).start()  # fmt: skip
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 17 * LINES, "the others' lines")
        one.until(lambda: stat(one)["r0"]["state"] == "waiting_room", "r0 waits for room")
        before = cpu_ticks(one.worker("shared0"))
        one.until(lambda: int(stat(one)["r0"]["counters"]["ChannelWriteFail"]) > 0, "its keep-alive is over")
        assert cpu_ticks(one.worker("shared0")) - before < 50, "waiting costs next to nothing"
        os_signal(one)

    def test_finished_sources_leave_and_the_others_stay(self, agent: Make, tmp_path: Path) -> None:
        names = names_of(18)
        numbers = "".join(f"a1.sources.{n}.type = seq\na1.sources.{n}.totalEvents = 500\na1.sources.{n}.channels = c1\n"
                          for n in names[:9])  # fmt: skip
        one = agent(properties(tmp_path, numbers, *map(printing, names[9:]), names=" ".join(names))).start()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 9 * 500 + 9 * LINES, "all lines")
        one.until(lambda: one.log().count("the source has reached its end") == 9)
        assert len(shared(one)) == 2
        found = stat(one)
        assert {name for name in names if found[name]["state"] == "stopped"} == set(names[:9])
        assert one.stop() == 0


def cpu_ticks(pid: int) -> int:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def os_signal(one: Agent) -> None:
    """Stops an agent that holds rows nobody takes: a second word shortens the drain."""
    one.send(signal.SIGTERM)
    one.until(lambda: "stopping" in one.log())
    one.hurry()
    one.ended()


def metrics(port: int) -> dict[str, dict[str, str]]:
    """Flume's JSON."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/metrics") as answer:
        found: dict[str, dict[str, str]] = json.load(answer)
        return found


def test_busy_sources_get_equal_turns_and_a_quiet_one_is_heard(agent: Make, tmp_path: Path) -> None:
    """Seventeen sources that could each keep a core busy, and a command whose lines come now and then."""
    names = names_of(17)
    busy = "".join(f"a1.sources.{n}.type = seq\na1.sources.{n}.channels = c2\n" for n in names)
    ticks = command("ticks", "while :; do date +%s%N; sleep 0.05; done")
    null = "a1.sinks.k2.type = null\na1.sinks.k2.channel = c2\n"
    one = agent(
        agent_of(busy, ticks, null, file_roll("k1", "c1", tmp_path / "out"), sources=" ".join([*names, "ticks"]),
                 channels="c1 c2", sinks="k1 k2", more="a1.channels.c1.ring.bytes = 4m\n")
    ).start()  # fmt: skip
    one.until(lambda: texts(tmp_path / "out").count(b"\n") >= 60, "60 lines of the quiet one")
    found = stat(one)
    for pid in shared(one).values():
        events = [w["counters"]["EventAcceptedCount"] for w in found.values() if w["pid"] == pid and w["type"] == "seq"]
        assert min(events) > 0.5 * max(events), events
    assert one.stop() == 0, one.log()


class TestTurn:
    """What a source of a shared worker sleeps on: it never sleeps."""

    def test_a_wait_is_a_note_and_at_once_the_answer_that_the_worker_was_rung(self) -> None:
        turn = Turn(NoDuty())  # type: ignore[arg-type]
        turn.begin(frozenset())
        began_s = time.monotonic()
        assert turn.wait(1000, (7, 8)) == ()
        assert turn.fds == (7, 8)
        assert 999 < turn.until_s - began_s < 1001
        assert time.monotonic() - began_s < 1

    def test_what_ended_the_sleep_is_said_once(self) -> None:
        turn = Turn(NoDuty())  # type: ignore[arg-type]
        turn.begin(frozenset({7, 99}))
        assert turn.wait(1, (7, 8)) == (7,)
        assert turn.wait(1, (7, 8)) == ()
        assert turn.fds == (7, 8)

    def test_a_turn_without_a_wait_is_followed_by_another(self) -> None:
        turn = Turn(NoDuty())  # type: ignore[arg-type]
        turn.begin(frozenset())
        turn.wait(5, (7,))
        turn.begin(frozenset())
        assert (turn.fds, turn.until_s) == ((), 0.0)

    def test_long_pauses_may_be_cut_short_and_short_ones_not(self) -> None:
        turn = Turn(NoDuty())  # type: ignore[arg-type]
        turn.note(1.0)
        assert turn.unhurried_s == 0.5
        turn.note(0.002)
        assert turn.unhurried_s == 0.0


class NoDuty:
    """A worker that is never told to stop."""

    fileno = -1

    def stopping(self) -> bool:
        return False
