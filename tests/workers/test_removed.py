"""Directories that are removed under a running agent: a person is told, and no count is forgotten in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli import ledger
from shipper.cli.health import CRITICAL, WARNING, judged
from shipper.cli.stat import look
from shipper.instance.ledger_book import LedgerBook
from shipper.instance.notices import Notices
from shipper.metrics.block import MetricsBlock
from shipper.metrics.health import findings, read_notices
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, file_roll, has, taildir, total
from tests.workers.test_file_channel import logged

Make = Callable[..., Agent]
LINES = 6_000


@pytest.fixture
def one(tmp_path: Path, agent: Make) -> Agent:
    """An agent with a file channel that has delivered all its lines, and waits for more."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.log").write_bytes(b"".join(b"%d\n" % number for number in range(LINES)))
    made = agent(logged(agent_of(taildir("r1", "c1", logs), file_roll("k1", "c1", tmp_path / "out")), tmp_path))
    made.start()
    made.until(has(made, LINES))
    return made


def healthy(one: Agent) -> tuple[int, str]:
    """What `shipper health` answers."""
    return judged(look("a1", one.run_dir, 0.1)[0])


def test_a_run_whose_directory_was_removed_is_unknown_after_a_stop(
    one: Agent, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it counted is gone with it. That is said; and what was counted until the last look stays."""
    assert one.stop() == 0
    one.start()
    shutil.rmtree(one.run_dir)
    one.until(lambda: "was removed while the agent runs" in one.log())
    one.stop()
    capsys.readouterr()
    ledger.ledger("a1", None, one.state_dir)
    assert capsys.readouterr().out.count("unknown: a run that began") == 1
    assert total(one).channels["c1"]["delivered"] == LINES, "of the run before"
    one.run_dir.mkdir()
    one.start()
    assert one.stop() == 0
    ledger.ledger("a1", None, one.state_dir)
    assert capsys.readouterr().out.count("unknown: a run that began") == 1, "once for one run"


def test_a_run_that_was_damaged_at_its_end_and_goes_on_is_known_again(tmp_path: Path) -> None:
    """Its memory is parked, and read again."""
    book = LedgerBook(tmp_path / "ledger.json")
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "id").write_text("one")
    book.open_run("one", run_dir, "a1", tmp_path / "f", {})
    (run_dir / "id").unlink()
    book.save(closed=True)
    assert [missing["run"] for missing in book.data["unknown"]] == ["one"]
    book.save(closed=True)
    assert len(book.data["unknown"]) == 1
    (run_dir / "id").write_text("one")
    book.open_run("one", run_dir, "a1", tmp_path / "f", {})
    book.save(closed=True)
    assert book.data["unknown"] == []


def test_a_channel_whose_directory_was_removed_stands_still_and_says_so(
    one: Agent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What goes into files without names is gone: its writer takes nothing more, and health is critical."""
    shutil.rmtree(tmp_path / "c1")
    one.until(lambda: f"{tmp_path}/c1/checkpoint/shipper.board was removed, or its disk was unmounted" in one.log())
    one.until(lambda: healthy(one)[0] == CRITICAL, "health says it")
    one.until(has(one, LINES), "the writer has noted the books")
    assert ledger.ledger("a1", None, one.state_dir) == 0
    one.until(lambda: "their disk may not be mounted" in one.log(), "and what can be done")
    one.stop()
    assert "Please report it" not in one.log()
    assert total(one).channels["c1"]["delivered"] == LINES


def test_a_channel_whose_directory_was_moved_away_goes_on_when_it_is_back(one: Agent, tmp_path: Path) -> None:
    (tmp_path / "c1").rename(tmp_path / "moved")
    one.until(lambda: "was removed, or its disk was unmounted" in one.log())
    with (tmp_path / "logs" / "a.log").open("ab") as file:
        file.write(b"one more\n")
    (tmp_path / "moved").rename(tmp_path / "c1")
    one.until(has(one, LINES + 1))
    assert one.stop() == 0
    assert ledger.ledger("a1", None, one.state_dir) == 0


def test_a_removed_state_directory_is_said_at_once(one: Agent) -> None:
    """In the log, with what it means; and in health."""
    shutil.rmtree(one.state_dir)
    one.until(lambda: "state/a1-" in one.log() and "was removed while the agent runs: positions" in one.log())
    one.until(lambda: healthy(one)[0] == WARNING and "positions, journals" in healthy(one)[1], "health says it")


def test_a_ledger_that_can_not_be_read_stands_in_health(one: Agent) -> None:
    """Numbers are missing, so its difference of 0 says nothing."""
    one.kill_all()
    page = one.instance_dir() / "puts" / "r1.0"
    page.write_bytes(bytes(page.stat().st_size))
    book = LedgerBook(next(one.state_dir.glob("*/ledger.json")))
    book.save()
    assert str(page) in " ".join(book.damaged)
    notices = Notices(one.instance_dir(), one.state_dir)
    notices.state(book.damaged)
    found = findings(MetricsBlock.view(one.instance_dir() / "metrics").sample(), read_notices(one.instance_dir()))
    assert any(str(page) in finding.sentence for finding in found)
    notices.state([])
    assert not read_notices(one.instance_dir())
