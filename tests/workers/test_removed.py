"""Directories that are removed under a running agent: a person is told, and no count is forgotten in silence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.cli import ledger
from shipper.instance.ledger_book import LedgerBook
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
