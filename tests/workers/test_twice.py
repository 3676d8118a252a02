"""How many rows come twice when the memory of a run is gone: what the ledger says, and who says it."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import pytest

from shipper.cli.ledger import ledger
from shipper.durable.board import lane_id, log_key
from shipper.durable.log import Entry, Log, LogSettings
from shipper.files.journal import Journal
from shipper.files.journal_record import MAGIC, framed, records_in
from shipper.instance import known_logs, twice
from shipper.instance.instance import remove_empty
from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.instance.settled import note_settled
from shipper.instance.told_rows import ToldRows, told
from shipper.instance.twice import Twice
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, has, taildir, texts, total
from tests.workers.test_file_channel import logged
from tests.workers.test_kills import Writer, line
from tests.workers.test_power import numbers, told_twice
from tests.workers.test_spilling import kinds, spilling

LINES = 20_000


def more(path: Path, start: int) -> None:
    """Lines are written to a log."""
    with path.open("ab") as file:
        file.write(b"".join(map(line, range(start, start + LINES))))


def ends(one: Agent) -> None:
    """All processes are killed, and the run directory is gone: the end of a container, or a reboot."""
    one.kill_all()
    remove_empty(one.instance_dir())


def repeated(out: Path) -> int:
    """How many lines are there twice."""
    return sum(times - 1 for times in numbers(texts(out)).values())


def test_what_came_twice_is_in_the_ledger_once(
    agent: Callable[..., Agent], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing after mere kills, all that was not synced after the loss of the memory, nothing after an ordered stop."""
    (tmp_path / "in").mkdir()
    sink = file_roll("k1", "c1", tmp_path / "out", **{"sync.interval": 60, "sink.rollInterval": 0})
    one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink)).start()
    more(tmp_path / "in" / "app.log", 0)
    one.until(has(one, LINES), "the first lines are delivered")
    for victim in ("k1", "r1", None):
        one.kill(victim)
    one.start()
    more(tmp_path / "in" / "app.log", LINES)
    one.until(has(one, 2 * LINES), "all lines are delivered")
    assert told_twice(one) == {"twice_at_most": 0, "twice_unknown": 0}
    LedgerBook(next(one.state_dir.glob("*/ledger.json"))).save()  # the look that an agent takes every 30 seconds
    ends(one)
    one.start()
    said = total(one).channels["c1"]["twice_at_most"]
    assert said >= LINES, "the sink has synced nothing of the last ones"
    one.until(has(one, 2 * LINES + said), "they come again")
    assert one.stop() == 0, one.log()
    assert (repeated(tmp_path / "out"), told_twice(one)) == (said, {"twice_at_most": said, "twice_unknown": 0})
    assert one.start().stop() == 0, one.log()
    assert told_twice(one) == {"twice_at_most": said, "twice_unknown": 0}, "a stop in order repeats nothing"
    assert ledger(state_dir=one.state_dir) == 0
    assert f"{said:,}              at most of those delivered came twice" in capsys.readouterr().out
    assert ledger(state_dir=one.state_dir, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)[0]["channels"]["c1"]["twice_at_most"] == said


@pytest.mark.nightly
def test_what_a_log_gives_again_after_a_power_cut_is_in_the_ledger(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """The sink's files have more than the checkpoint of the log says; where its source goes on is in the log itself."""
    (tmp_path / "in").mkdir()
    text = agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(logged(text, tmp_path / "log"))
    writer = Writer(tmp_path / "in", int(os.environ.get("SHIPPER_SEED", "36")))
    writer.start()
    one.start()
    one.until(has(one, LINES), "lines are delivered")
    threading.Event().wait(1.0)
    before = writer.lines
    writer.ending.wait(1.0)
    a_second = writer.lines - before
    ends(one)
    (tmp_path / "log" / "c1" / "checkpoint" / "shipper.board").unlink()
    for journal in one.state_dir.glob("*/sinks/*/files.journal"):
        journal.write_bytes(_of_another_boot(journal.read_bytes()))
    writer.ending.set()
    writer.join()
    one.start()
    one.until(lambda: len(numbers(texts(tmp_path / "out"))) == writer.lines, "everything is delivered", 90)
    assert one.stop() == 0, one.log()
    there, said = repeated(tmp_path / "out"), told_twice(one)
    assert there <= said.pop("twice_at_most") <= there + 3 * a_second, "a checkpoint is a second behind a mark, or two"
    assert said == {"twice_unknown": 0}


def _of_another_boot(data: bytes) -> bytes:
    """A journal beside a log, as an earlier life of the machine would have written it."""
    out = MAGIC
    for sequence, base, payload, _ in records_in(data)[0]:
        if payload.get("boot"):
            log_id, _, boot = payload["run"].partition(".")
            payload.update(boot="f" * len(payload["boot"]), run=f"{log_id}.{'f' * len(boot)}")
        out += framed(sequence, base, payload)
    return out


def test_what_was_spilled_may_come_twice_and_nobody_knows_how_much(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """As long as nothing was, it is known."""
    (tmp_path / "in").mkdir()
    text = agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))
    one = agent(spilling(text, **kinds(tmp_path / "log")["memory"])).start()
    (tmp_path / "in" / "a.log").write_bytes(b"".join(map(line, range(500))))
    one.until(has(one, 500), "they are delivered by way of memory")
    ends(one)
    one.start()
    assert told_twice(one)["twice_unknown"] == 0
    one.freeze("k1")
    more(tmp_path / "in" / "a.log", 500)
    one.until(lambda: total(one).channels["c1"].get("in_log", 0) > 1000, "most of them are on disk")
    ends(one)
    one.start()
    assert told_twice(one)["twice_unknown"] == 1
    one.until(lambda: not total(one).channels["c1"]["in_log"], "what was spilled is delivered")
    assert one.stop() == 0, one.log()
    counted = total(one).channels["c1"]
    assert (counted["in_log"], counted["in_log_bytes"]) == (0, 0), "less than nothing was in the log"
    assert mismatch(counted) == 0
    assert counted["accepted"] > 500 + LINES, "what the run that is gone had put into the log was accepted"


# --- who says what


class State:
    """A state directory, as the workers of a run leave it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = "run 1"

    def sink(self, name: str, index: int = 0, **lanes: int) -> Path:
        """A sink worker that took so many rows from these lanes of channel c1, and said so in its journal."""
        place = self.path / "sinks" / f"{name}.{index}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "sink.json").write_bytes(orjson.dumps({"title": name}))
        taken = {f"{self.run}/c1/{lane.replace('_', '.').replace('..', '--')}": rows for lane, rows in lanes.items()}
        if lanes:
            Journal(place / "files.journal", 0, self.run, boot_id="boot 1", syncs=True, rows=lambda: taken).recovered()
        return place

    def source(self, name: str, rows: Mapping[str, int], *logs: str) -> None:
        """A source worker that has told so many rows."""
        place = self.path / "sources" / name
        place.mkdir(parents=True, exist_ok=True)
        told_rows = ToldRows(place, 0, self.run, rows, logs)
        told_rows.tell(rows)
        told_rows.close()

    def twice(self) -> dict[str, Twice]:
        return twice.count(self.path, self.run)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


def test_what_lies_between_the_sink_and_its_source_comes_twice(state: State) -> None:
    """Lane by lane: what one source is ahead is of no use to another."""
    state.sink("k1", r1_0__k1_0=100, r2_0__k1_0=50, r3_0__k1_0=7)
    state.source("r1", {"c1/r1.0--k1.0": 90})
    state.source("r2", {"c1/r2.0--k1.0": 60})
    assert state.twice() == {"c1": Twice(10)}, "r3 can't read again"


def test_the_sink_that_got_furthest_counts(state: State) -> None:
    """A lane may have had several takers; each says how far it was, by whomever."""
    state.sink("k1", r1_0__k1_0=100, r1_0__k2_0=10)
    state.sink("k2", r1_0__k1_0=130, r1_0__k2_0=20)
    state.source("r1", {"c1/r1.0--k1.0": 90, "c1/r1.0--k2.0": 20})
    assert state.twice() == {"c1": Twice(40)}


def test_of_a_sink_without_a_journal_nobody_knows(state: State) -> None:
    state.sink("k1", r1_0__k1_0=100, r1_0__k2_0=100)
    state.sink("k2")
    state.source("r1", {"c1/r1.0--k1.0": 90, "c1/r1.0--k2.0": 100})
    assert state.twice() == {"c1": Twice(10, known=False)}


def test_of_a_log_that_does_not_say_where_its_source_goes_on_nobody_knows(state: State) -> None:
    state.sink("k1", r1_0__k1_0=100)
    state.source("r1", {"c1/r1.0--k1.0": 100}, "c2")
    assert state.twice() == {"c1": Twice(0), "c2": Twice(0, known=False)}


def test_what_a_sink_had_of_a_log_behind_its_checkpoint_comes_twice(state: State) -> None:
    """In another life of the machine: in this one the board knows what it has."""
    settings = LogSettings(checkpoint_dir=state.path / "c", data_dirs=(state.path / "d",), minimum_free_bytes=0)
    known_logs.follow(state.path, {"c1": (settings.checkpoint_dir, settings.data_dirs)})
    assert state.twice() == {"c1": Twice()}, "there is no log yet"
    log = Log.open(settings, ["k1.0"], lambda body: [])
    log.append(1, 1, [Entry(lane_id("k1.0"), (b"rows",), 7, 4)])
    log.sync()
    taken = {log_key(log.board.log_id, lane_id("k1.0")): 5}
    log.close()
    place = state.sink("k1")
    Journal(place / "files.journal", 0, "log.boot 1", boot_id="boot 1", syncs=True, rows=lambda: taken).recovered()
    assert state.twice() == {"c1": Twice()}
    settings.board.unlink()
    assert state.twice() == {"c1": Twice(5)}
    (place / "files.journal").unlink()
    assert state.twice() == {"c1": Twice(0, known=False)}, "it takes from the log, and keeps no journal"


def test_all_dead_letters_that_were_delivered_may_come_again(state: State) -> None:
    """With the rows that they were: of those nothing is told there. Their worker has a file all the same."""
    k1, k2 = state.sink("k1", r1_0__k1_0=100), state.sink("k2")
    taken = {"run 1/letters/k1%dead.0--k2.0": 12}
    Journal(k2 / "files.journal", 0, "run 1", boot_id="boot 1", syncs=True, rows=lambda: taken).recovered()
    state.source("r1", {"c1/r1.0--k1.0": 100})
    ToldRows(k1, 0, "run 1", ["letters/k1%dead.0--k2.0"]).close()
    assert state.twice() == {"c1": Twice(), "letters": Twice(12)}


def test_what_can_not_be_read_makes_all_of_it_unknown(state: State) -> None:
    state.source("r1", {"c1/r1.0--k1.0": 100})
    (state.path / "sources" / "r2" / "rows-0").mkdir(parents=True)
    assert twice.count(state.path, "run 1", ["c1", "c2"]) == dict.fromkeys(("c1", "c2"), Twice(known=False))


def test_what_other_runs_have_said_does_not_count(state: State) -> None:
    state.sink("k1", r1_0__k1_0=100)
    state.source("r1", {"c1/r1.0--k1.0": 10})
    state.run = "run 2"
    assert state.twice() == {}
    state.source("r1", {"c1/r1.0--k1.0": 0})
    assert state.twice() == {"c1": Twice(0, known=False)}, "the sink has not begun in this run, or keeps no journal"


def test_it_is_counted_until_the_book_has_it_and_then_no_more(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that dies before its book is there has started nobody: the next one finds the same."""
    state.sink("k1", r1_0__k1_0=100)
    state.source("r1", {"c1/r1.0--k1.0": 90})

    def opened(run_id: str) -> dict[str, int]:
        book = LedgerBook(state.path / "ledger.json")
        book.open_run(run_id, state.path / "run", "a1", state.path / "a1.properties", {})
        return book.total().channels.get("c1", {})

    assert opened("run 1") == {}
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", _dies)
        with pytest.raises(OSError):
            opened("run 2")
    assert opened("run 2")["twice_at_most"] == 10
    assert opened("run 2")["twice_at_most"] == 10
    assert opened("run 3")["twice_at_most"] == 10, "run 2 has left nothing"


def test_a_run_that_ended_in_order_repeats_nothing(state: State) -> None:
    """Its sources go on where its channels were, whatever they had written down themselves."""
    state.sink("k1", r1_0__k1_0=100)
    state.source("r1", {"c1/r1.0--k1.0": 90})
    for run_id in ("run 1", "run 2"):
        book = LedgerBook(state.path / "ledger.json")
        book.open_run(run_id, state.path / "run", "a1", state.path / "a1.properties", {})
        note_settled(state.path, run_id)
    assert book.total().channels == {}


def _dies(*arguments: object) -> None:
    raise OSError("it died")


# --- what was told


def test_a_write_that_is_torn_leaves_what_was_told_before(tmp_path: Path) -> None:
    """At any byte of it, with the rest as it was or zeros."""
    path = tmp_path / "sources" / "r1"
    path.mkdir(parents=True)
    one = ToldRows(path, 0, "run", ["c1/l"])
    one.tell({"c1/l": 10})
    before = (path / "rows-0").read_bytes()
    one.tell({"c1/l": 20})
    one.close()
    after = (path / "rows-0").read_bytes()
    half = len(after) // 2
    slot = half if before[:half] == after[:half] else 0
    length = len(after[slot : slot + half].rstrip())
    for at in range(length):
        for rest in (before[slot + at : slot + half], bytes(half - at)):
            (path / "rows-0").write_bytes(after[: slot + at] + rest + after[slot + half :])
            assert [found.rows for found in told(tmp_path, "run")] == [{"c1/l": 10}], f"torn at byte {at}"


def test_what_was_told_is_known_to_the_next_worker_of_the_run_and_to_no_other_run(tmp_path: Path) -> None:
    path = tmp_path / "sources" / "r1"
    path.mkdir(parents=True)
    one = ToldRows(path, 0, "run 1", ["c1/l"], ["c2"])
    one.tell({"c1/l": 10})
    one.spills("c3")
    one.close()
    ToldRows(path, 0, "run 1", ["c1/l", "c1/m"]).close()
    assert list(told(tmp_path, "run 1")) == [({"c1/l": 10, "c1/m": 0}, {"c2", "c3"})]
    ToldRows(path, 0, "run 2", ["c1/l"]).close()
    assert list(told(tmp_path, "run 1")) == []
    assert list(told(tmp_path, "run 2")) == [({"c1/l": 0}, frozenset())]
    shutil.rmtree(path)
    assert list(told(tmp_path, "run 2")) == []
