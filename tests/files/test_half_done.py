"""What becomes of a commit that is half done, by what its files hold."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.files.half_done import settle_half_done
from shipper.files.journal import Journal
from shipper.files.journal_record import Progress
from shipper.files.local import LocalStore
from tests.files.deaths import SINKS, Channel, check, dying, live
from tests.files.outlets import local_outlet


class Asked:
    """A worker whose commits can always be finished, or never."""

    def __init__(self, answer: bool = True) -> None:
        self.answer = answer
        self.asked: list[tuple[list[object], int]] = []

    def coming(self) -> list[object]:
        return ["what the commit says"]

    def rows_taken(self) -> dict[str, int]:
        return {}

    def finish(self, take: list[object], sequence: int) -> bool:
        self.asked.append((take, sequence))
        return self.answer


def half_done(tmp_path: Path, data: bytes, *, take: list[object] | None = None) -> tuple[Journal, str]:
    """A journal whose last entry says that a file will be `0123456789`; what is in it is `data`."""
    store, journal = LocalStore(), Journal(tmp_path / "j", 0)
    path = str(tmp_path / "f.tmp")
    number = journal.begin("key", path, str(tmp_path / "f"), 1000, "text")
    handle = store.create(path)
    journal.identified(number, handle.identity)
    handle.write(data)
    handle.close()
    journal.append([Progress(number, 10, 1, 9, None, False, "10:a684c7c6")], ["said"] if take is None else take)
    return Journal(tmp_path / "j", 0), path


def test_a_commit_whose_bytes_are_there_is_finished(tmp_path: Path) -> None:
    journal, _ = half_done(tmp_path, b"0123456789")
    worker = Asked()
    assert settle_half_done(local_outlet(tmp_path), journal, worker)
    assert worker.asked == [(["said"], 1)]
    (record,) = journal.records.values()
    assert record.progress is not None and record.progress.length == 10
    again = Journal(tmp_path / "j", 1)
    assert again.half_done is None, "the commit names it now"
    assert [found.progress for found in again.records.values()] == [record.progress]


@pytest.mark.parametrize("data", [b"", b"012345678", b"012345678X"], ids=["none", "not all", "others"])
def test_a_commit_whose_bytes_are_not_all_there_is_void(data: bytes, tmp_path: Path) -> None:
    journal, _ = half_done(tmp_path, data)
    worker = Asked()
    assert not settle_half_done(local_outlet(tmp_path), journal, worker)
    assert not worker.asked
    assert Journal(tmp_path / "j", 0).half_done is None
    assert [record.progress for record in journal.records.values()] == [None]


@pytest.mark.parametrize("name", ["another file", "no file"])
def test_a_commit_whose_file_is_not_there_is_void(name: str, tmp_path: Path) -> None:
    journal, path = half_done(tmp_path, b"0123456789")
    os.rename(path, f"{path}.moved")
    if name == "another file":
        Path(path).write_bytes(b"0123456789")
    assert not settle_half_done(local_outlet(tmp_path), journal, Asked())


def test_a_commit_that_can_not_be_stored_any_more_is_void(tmp_path: Path) -> None:
    """Somebody else was given the rows."""
    journal, _ = half_done(tmp_path, b"0123456789")
    assert not settle_half_done(local_outlet(tmp_path), journal, Asked(answer=False))
    assert Journal(tmp_path / "j", 0).half_done is None


def test_a_commit_of_which_the_worker_said_nothing_is_void(tmp_path: Path) -> None:
    journal, _ = half_done(tmp_path, b"0123456789", take=[])
    journal.half_done = journal.half_done._replace(take=None)  # type: ignore[union-attr]
    assert not settle_half_done(local_outlet(tmp_path), journal, Asked())


def test_an_entry_that_was_rolled_back_is_not_half_done(tmp_path: Path) -> None:
    journal, _ = half_done(tmp_path, b"0123456789")
    journal.forget()
    assert Journal(tmp_path / "j", 0).half_done is None


def test_only_the_newest_entry_is_half_done(tmp_path: Path) -> None:
    journal, _ = half_done(tmp_path, b"0123456789")
    (number,) = journal.records
    journal.forget()
    journal.append([Progress(number, 5, 1, 4)], ["said"])
    found = Journal(tmp_path / "j", 0).half_done
    assert found is not None and found.sequence == 2


def test_a_store_that_did_not_look_for_the_bytes_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalStore, "holds", lambda self, files: True)
    with pytest.raises(AssertionError, match="set-aside"):
        die_everywhere("file_roll", tmp_path, monkeypatch)


def die_everywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `test_deaths.py`."""
    for calls in range(3, 60):
        folder = tmp_path / str(calls)
        folder.mkdir()
        channel = Channel()
        for left in (calls, 1 << 30):
            with dying(monkeypatch, left, "renameat2") as system:
                if live(SINKS[name], folder, channel, system):
                    break
        check(folder, f"death at call {calls}")
