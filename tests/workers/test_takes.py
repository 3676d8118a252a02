"""What a worker tells its sinks of its takes, where dead letters depend on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipper.ring.promise import path_of
from shipper.workers.takes import WorkerTakes


class Side:
    """A take side with a transaction under way, or without one."""

    def __init__(self) -> None:
        self.said: list[Any] | None = ["lane", "what it stores"]
        self.finished: list[tuple[list[Any], int]] = []

    def coming(self) -> list[Any] | None:
        return self.said

    def rows_coming(self) -> dict[str, int]:
        return {"lane": 9}

    def finish(self, coming: list[Any], sequence: int) -> bool:
        self.finished.append((coming, sequence))
        return True


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "k1%dead.0"


def test_a_commit_is_finished_as_it_was_announced(page: Path) -> None:
    side = Side()
    takes = WorkerTakes(side, page)  # type: ignore[arg-type]
    take = takes.coming()
    assert take is not None and takes.finish(take, 7)
    assert side.finished == [(side.said, 7)]


def test_between_two_transactions_nothing_is_announced(page: Path) -> None:
    side = Side()
    side.said = None
    assert WorkerTakes(side, page).coming() is None  # type: ignore[arg-type]


@pytest.mark.parametrize("stands", [True, False])
def test_a_commit_with_dead_letters_is_finished_only_while_their_promise_stands(page: Path, stands: bool) -> None:
    """Where it was forgotten, the rows come again, and so do the letters."""
    side = Side()
    takes = WorkerTakes(side, page)  # type: ignore[arg-type]
    path_of(page).write_bytes(b"{}")
    take = takes.coming()
    if not stands:
        path_of(page).unlink()
    assert take is not None and takes.finish(take, 7) == stands
    assert len(side.finished) == stands
