"""The journal: which entries count after a death, whatever was torn, lost or rolled back."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from shipper import whole_file
from shipper.files.journal import Journal
from shipper.files.journal_past import AGREES, CHANNEL_LOST, JOURNAL_LOST, OTHER_RUN
from shipper.files.journal_record import Progress


def begun(journal: Journal, name: str = "f") -> int:
    number = journal.begin("/d/p", f"/d/{name}.tmp", f"/d/{name}", 1000, "text")
    journal.identified(number, f"1.{number}")
    return number


def lengths(journal: Journal) -> dict[str, int | None]:
    return {r.final: r.progress.length if r.progress else None for r in journal.records.values()}


def test_an_entry_counts_when_the_commit_names_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    sequence = journal.append([Progress(number, 10, 1, 9, "state")])
    after = Journal(tmp_path / "j", sequence)
    assert lengths(after) == {"/d/f": 10}
    assert after.found == AGREES
    assert after.records[number].progress == Progress(number, 10, 1, 9, "state")
    assert after.records[number].identity == "1.1"


def test_an_entry_that_no_commit_names_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    first = journal.append([Progress(number, 10, 1, 9)])
    journal.confirm()
    journal.append([Progress(number, 20, 2, 18)])
    assert lengths(Journal(tmp_path / "j", first)) == {"/d/f": 10}


def test_a_file_of_an_entry_that_does_not_count_is_known_without_progress(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    journal.append([Progress(begun(journal), 10, 1, 9)])
    assert lengths(Journal(tmp_path / "j", 0)) == {"/d/f": None}


def test_the_next_entry_is_proof_of_the_commit_before(tmp_path: Path) -> None:
    """The commit slot may name another sink by then: `base` is the witness."""
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    journal.confirm()
    journal.release()
    assert lengths(Journal(tmp_path / "j", 0)) == {"/d/f": 10}


def test_an_entry_that_was_rolled_back_never_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    journal.forget()
    other = begun(journal, "g")
    sequence = journal.append([Progress(other, 5, 1, 4)])
    assert lengths(Journal(tmp_path / "j", sequence)) == {"/d/f": None, "/d/g": 5}


def test_a_commit_without_an_entry_after_a_rollback_confirms_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    journal.forget()
    journal.confirm()
    assert lengths(journal) == {"/d/f": None}
    assert journal.committed == 0


def test_sequences_go_on_after_the_largest_ever_seen(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    assert [journal.append([Progress(number, n, n, n)]) for n in (1, 2, 3)] == [1, 2, 3]
    after = Journal(tmp_path / "j", 0)
    after.recovered()
    assert after.append([]) == 4
    assert Journal(tmp_path / "j", 9).append([]) == 10
    assert Journal(tmp_path / "new", 7).append([]) == 8


def test_a_torn_record_was_never_written(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    first = journal.append([Progress(number, 10, 1, 9)])
    whole = (tmp_path / "j").read_bytes()
    journal.append([Progress(number, 20, 2, 18)])
    longer = (tmp_path / "j").read_bytes()
    for end in range(len(whole), len(longer)):
        (tmp_path / "torn").write_bytes(longer[:end])
        after = Journal(tmp_path / "torn", first)
        assert lengths(after) == {"/d/f": 10}
        assert (tmp_path / "torn").read_bytes() == whole


def test_a_journal_that_lacks_the_committed_entry_says_so(tmp_path: Path) -> None:
    """Then nothing may be cut: what is behind the known lengths may count."""
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    after = Journal(tmp_path / "j", 5)
    assert after.found == JOURNAL_LOST
    after.goes_forward()
    assert lengths(after) == {"/d/f": 10}
    assert Journal(tmp_path / "j", 5).found == JOURNAL_LOST  # until it is settled
    after.recovered()
    assert Journal(tmp_path / "j", 5).found == AGREES


def test_a_damaged_beginning_is_kept_aside(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"something else")
    assert Journal(tmp_path / "j", 3).found == JOURNAL_LOST
    assert (tmp_path / "j.damaged").read_bytes() == b"something else"


def test_commit_slots_older_than_the_journal_knows_lose_nothing(tmp_path: Path) -> None:
    """The newest entry may have been committed to slots that are gone: its rows are not delivered again by us."""
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    journal.confirm()
    journal.append([Progress(number, 20, 2, 18)])
    after = Journal(tmp_path / "j", 0)
    assert after.found == CHANNEL_LOST
    after.goes_forward()
    assert lengths(after) == {"/d/f": 20}


def test_under_another_run_all_of_the_journal_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0, "run 1")
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    assert lengths(Journal(tmp_path / "j", 0, "run 1")) == {"/d/f": None}
    after = Journal(tmp_path / "j", 0, "run 2")
    assert after.found == OTHER_RUN
    after.goes_forward()
    assert lengths(after) == {"/d/f": 10}
    after.recovered()
    assert Journal(tmp_path / "j", 0, "run 2").found == AGREES


def test_under_another_run_a_rolled_back_entry_still_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0, "run 1")
    number = begun(journal)
    journal.append([Progress(number, 10, 1, 9)])
    journal.forget()
    assert lengths(Journal(tmp_path / "j", 0, "run 2")) == {"/d/f": None}


def test_after_a_clean_stop_the_channel_may_forget(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    journal.append([Progress(begun(journal), 10, 1, 9)])
    journal.confirm()
    journal.close()
    assert Journal(tmp_path / "j", 0).found == AGREES


def test_facts_hold_whether_or_not_anything_commits(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    one, two = begun(journal, "one"), begun(journal, "two")
    sequence = journal.append([Progress(one, 10, 1, 9), Progress(two, 20, 1, 19)])
    journal.confirm()
    journal.renamed_to(one, "/d/other")
    journal.settled([Progress(one, 12, 1, 9, None, True)])
    journal.gone([two])
    after = Journal(tmp_path / "j", sequence)
    assert lengths(after) == {"/d/other": 12}
    assert after.records[one].progress == Progress(one, 12, 1, 9, None, True)


def test_the_journal_stays_small(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", 0)
    number = begun(journal)
    sequence = 0
    for turn in range(20_000):
        sequence = journal.append([Progress(number, turn, turn, turn)])
        journal.confirm()
    assert (tmp_path / "j").stat().st_size < 1.1 * (1 << 20)
    assert lengths(Journal(tmp_path / "j", sequence)) == {"/d/f": 19_999}


def test_a_journal_of_many_open_files_is_not_rewritten_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j", 0)
    numbers = [begun(journal, "n" * 100 + str(n)) for n in range(5000)]
    journal.append([Progress(number, 1, 1, 1) for number in numbers])
    rewritten = []
    rewrite = journal._rewrite
    monkeypatch.setattr(journal, "_rewrite", lambda: (rewritten.append(1), rewrite()))
    for turn in range(40):
        journal.confirm()
        journal.append([Progress(number, turn, turn, turn) for number in numbers[:1000]])
    assert len(rewritten) <= 2


@pytest.mark.parametrize("when", ["at its start", "later"])
def test_a_full_disk_under_the_journal_is_named(tmp_path: Path, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state directory may lie on another disk than the files: a person must not make room on the wrong one."""

    def full(descriptor: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = None if when == "at its start" else Journal(tmp_path / "j", 0)
    monkeypatch.setattr(whole_file, "write_all", full)
    with pytest.raises(OSError, match="No space left on device") as raised:
        begun(journal or Journal(tmp_path / "j", 0))
    assert raised.value.filename == str(tmp_path / "j")
