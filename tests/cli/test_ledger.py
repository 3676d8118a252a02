"""Which books `shipper ledger` finds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipper.cli.ledger import find


@pytest.mark.parametrize("run_dir", ["run", "./run", "state/../run", "."])
def test_a_relative_run_directory_is_the_one_that_is_meant(
    run_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    book = {"version": 1, "agent": "a1", "file": "f", "run_dir": str(tmp_path / "run"), "names": {}, "closed": True}
    (tmp_path / "state" / "ledger.json").write_text(json.dumps(book))
    monkeypatch.chdir(tmp_path)
    assert [one.agent for one in find(None, Path(run_dir), tmp_path / "state")] == ["a1"]
    assert not list(find(None, Path("elsewhere"), tmp_path / "state"))
