"""Agents whose channels spill: what found no room in memory is on disk, over stops and reboots, and leaves in order."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from shipper.cli.channel import app
from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, seq, texts
from tests.workers.test_kills import channel

EVENTS = 60_000
WANTED = "".join(f"{number}\n" for number in range(EVENTS)).encode()


def spilling(properties: str, **options: object) -> str:
    """The same agent with a channel c1 of this kind."""
    text = "".join(f"a1.channels.c1.{key} = {value}\n" for key, value in options.items())
    return properties.replace("a1.channels.c1.type = memory\n", text)


def kinds(directory: Path) -> dict[str, dict[str, object]]:
    """The two ways in which a file asks for it."""
    return {
        "spillablememory": {
            "type": "spillablememory", "checkpointDir": directory / "checkpoint", "dataDirs": directory / "data",
            "memoryCapacity": 1000, "overflowTimeout": 0, "minimumRequiredSpace": "1m", "maxFileSize": "8m",
        },
        "memory": {
            "type": "memory", "capacity": 1000, "onFull": "spill", "spill.directory": directory,
            "spill.minimumRequiredSpace": "1m",
        },
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["spillablememory", "memory"])
def test_a_backlog_outlives_a_stop_and_a_reboot_in_order(
    kind: str, agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """The sink can't write; most rows are on disk then, the oldest in memory; both are there at the next start."""
    out, place = tmp_path / "out", tmp_path / "log"
    text = agent_of(seq("r1", "c1", EVENTS), file_roll("k1", "c1", out))
    one = agent(spilling(text, **kinds(place)[kind]))
    out.rmdir()
    one.start(wait=False)
    one.until(lambda: "r1: the source has reached its end" in one.log())
    one.until(lambda: channel(one)["size"] == EVENTS)
    one.stop(signal.SIGTERM)
    shutil.rmtree(one.run_dir)
    one.run_dir.mkdir()
    looked = CliRunner().invoke(app, ["inspect", str(place)])
    assert looked.exit_code == 0 and "59,000 events wait" in looked.output, looked.output
    assert CliRunner().invoke(app, ["verify", str(place)]).exit_code == 0
    assert CliRunner().invoke(app, ["export", str(place), "--to", str(tmp_path / "exported")]).exit_code == 0
    assert sum(len(path.read_bytes().splitlines()) for path in (tmp_path / "exported").iterdir()) == EVENTS - 1000
    out.mkdir()
    one.start()
    one.until(lambda: len(texts(out).splitlines()) >= EVENTS)
    assert one.stop() == 0, one.log()
    assert texts(out) == WANTED
    numbers = LedgerBook(next(one.state_dir.glob("*/ledger.json"))).total().channels["c1"]
    assert (numbers["accepted"], numbers["delivered"], mismatch(numbers)) == (EVENTS, EVENTS, 0)


def test_a_log_lies_in_the_state_directory_unless_the_file_says_where(
    agent: Callable[..., Agent], tmp_path: Path
) -> None:
    """At a start, and for a second channel that a reload brings."""
    out = tmp_path / "out"
    options = {"type": "memory", "capacity": 1000, "onFull": "spill", "spill.minimumRequiredSpace": "1m"}
    pipe = (seq("r1", "c1", EVENTS), file_roll("k1", "c1", out))
    one = agent(spilling(agent_of(*pipe), **options))
    out.rmdir()
    one.start(wait=False)
    one.until(lambda: "r1: the source has reached its end" in one.log())
    one.until(lambda: channel(one)["size"] == EVENTS)
    second = (seq("r2", "c2", 10), file_roll("k2", "c2", tmp_path / "out2"))
    more = "".join(f"a1.channels.c2.{key} = {value}\n" for key, value in options.items())
    text = agent_of(*pipe, *second, sources="r1 r2", channels="c1 c2", sinks="k1 k2")
    one.file.write_text(spilling(text.replace("a1.channels.c2.type = memory\n", more), **options))
    one.send(signal.SIGHUP)
    one.until(lambda: "runs the new configuration" in one.log())
    out.mkdir()
    one.until(lambda: len(texts(out).splitlines()) >= EVENTS and len(texts(tmp_path / "out2").splitlines()) == 10)
    assert one.stop() == 0, one.log()
    assert texts(out) == WANTED
    assert {path.name for path in one.state_dir.glob("*/spilled/*")} == {"c1", "c2"}
    assert "Traceback" not in one.log(), one.log()


def test_a_sink_that_stands_still_fills_the_disk(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """It hangs with rows in its hands; the source goes on; then everybody is killed."""
    out, place = tmp_path / "out", tmp_path / "log"
    text = agent_of(seq("r1", "c1", EVENTS, batchSize=100), file_roll("k1", "c1", out))
    one = agent(spilling(text, **kinds(place)["spillablememory"]))
    one.start(wait=False)
    one.freeze("k1")
    one.until(lambda: "r1: the source has reached its end" in one.log())
    one.kill_all()
    one.start()
    one.until(lambda: len(texts(out).splitlines()) >= EVENTS)
    assert one.stop() == 0, one.log()
    assert texts(out) == WANTED
    assert "Traceback" not in one.log(), one.log()
