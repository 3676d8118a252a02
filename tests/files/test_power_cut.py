"""A power cut, as the journal, the settling of files and the syncing see it."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.files.half_done import settle_half_done
from shipper.files.journal import Journal
from shipper.files.journal_past import OTHER_RUN, POWER_CUT
from shipper.files.journal_record import Progress
from shipper.files.journal_rows import rows_vouched_for
from shipper.files.local import LocalStore
from shipper.files.settling import settle
from shipper.files.syncing import Syncing
from shipper.sinks.file_roll import FileRollOptions, FileRollSink
from shipper.testing.fakes import sink_context
from tests.files.outlets import local_outlet


def begun(journal: Journal, store: LocalStore, path: Path, data: bytes) -> int:
    """A file with some bytes in it, known to the journal; nothing of it counts yet."""
    number = journal.begin("key", f"{path}.tmp", str(path), 1000, "text")
    handle = store.create(f"{path}.tmp")
    journal.identified(number, handle.identity)
    handle.write(data)
    handle.close()
    return number


def commit(journal: Journal, number: int, length: int, *, finished: bool = False) -> None:
    """An entry that says so, and its commit."""
    journal.append([Progress(number, length, length, length, None, finished)])
    journal.confirm()


def mark(journal: Journal) -> None:
    """All that is committed is synced."""
    if journal.sync_begins() and journal.synced():
        journal.sync()


def fresh(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "j", 0, "run 1", boot_id="boot 1", syncs=True)
    journal.recovered()
    return journal


def settled(tmp_path: Path, journal: Journal) -> tuple[dict[str, bytes], list[str]]:
    """What is in the directory when the journal's files are settled, and which of them go on."""
    resumed: list[str] = []
    settle(
        local_outlet(tmp_path), journal, goes_on=lambda record: True,
        resume=lambda record, handle: resumed.append(record.path), rename=lambda record: None,
    )  # fmt: skip
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name.startswith("f")}
    return files, [os.path.basename(path) for path in resumed]


def after_the_cut(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "j", 0, "run 2", boot_id="boot 2", syncs=True)


def test_after_a_power_cut_only_what_was_marked_counts(tmp_path: Path) -> None:
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    commit(journal, number, 4)
    mark(journal)
    commit(journal, number, 9)
    after = after_the_cut(tmp_path)
    assert after.found == POWER_CUT
    assert settled(tmp_path, after) == ({"f.tmp": b"0123"}, ["f.tmp"])


def test_a_start_in_the_same_life_of_the_machine_believes_all_of_it(tmp_path: Path) -> None:
    """The page cache is still there: what was committed and not synced counts."""
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    commit(journal, number, 4)
    mark(journal)
    commit(journal, number, 9)
    after = Journal(tmp_path / "j", 0, "run 2", boot_id="boot 1", syncs=True)
    assert after.found == OTHER_RUN
    assert settle_half_done(local_outlet(tmp_path), after, None)
    assert settled(tmp_path, after) == ({"f.tmp": b"012345678"}, ["f.tmp"])


def test_a_file_that_was_renamed_behind_the_mark_gets_its_name_back(tmp_path: Path) -> None:
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    commit(journal, number, 4)
    mark(journal)
    commit(journal, number, 9, finished=True)
    LocalStore().rename(str(tmp_path / "f.tmp"), str(tmp_path / "f"))
    journal.gone([number])
    assert settled(tmp_path, after_the_cut(tmp_path)) == ({"f.tmp": b"0123"}, ["f.tmp"])


def test_a_file_that_was_begun_and_finished_behind_the_mark_is_removed(tmp_path: Path) -> None:
    """Nobody can say what of it is on disk, and its rows come again."""
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    commit(journal, number, 10, finished=True)
    LocalStore().rename(str(tmp_path / "f.tmp"), str(tmp_path / "f"))
    journal.gone([number])
    assert settled(tmp_path, after_the_cut(tmp_path)) == ({}, [])


def test_what_happens_while_a_sync_is_under_way_is_not_marked(tmp_path: Path) -> None:
    """Facts too: the mark speaks of what was there when the sync began."""
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    commit(journal, number, 4)
    assert journal.sync_begins()
    commit(journal, number, 9, finished=True)
    LocalStore().rename(str(tmp_path / "f.tmp"), str(tmp_path / "f"))
    journal.gone([number])
    assert journal.synced()
    assert settled(tmp_path, after_the_cut(tmp_path)) == ({"f.tmp": b"0123"}, ["f.tmp"])


def test_a_journal_that_is_written_anew_keeps_its_mark_and_what_came_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipper.files.journal._GROWN_BYTES", 0)
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    for _ in range(20):
        commit(journal, number, 4)
    assert journal.sync_begins()
    commit(journal, number, 9)
    before = (tmp_path / "j").stat().st_size
    assert not journal.synced(), "a new journal is synced as it is made"
    assert (tmp_path / "j").stat().st_size < before
    shutil.copy(tmp_path / "j", tmp_path / "copy")
    same_boot = Journal(tmp_path / "copy", 0, "run 2", boot_id="boot 1", syncs=True)
    same_boot.goes_forward()
    assert [record.progress and record.progress.length for record in same_boot.records.values()] == [9]
    assert settled(tmp_path, after_the_cut(tmp_path)) == ({"f.tmp": b"0123"}, ["f.tmp"])


def test_a_mark_says_how_many_rows_had_been_taken_when_its_sync_began(tmp_path: Path) -> None:
    """With the lanes gone, and the machine: of what came later no file has anything. In the same life entries count."""
    taken = {"lane": 0}
    journal = Journal(tmp_path / "j", 0, "run 1", boot_id="boot 1", syncs=True, rows=lambda: taken)
    journal.recovered()
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")

    def said() -> tuple[int, int]:
        data = (tmp_path / "j").read_bytes()
        return rows_vouched_for(data, "boot 2")["lane"], rows_vouched_for(data, "boot 1")["lane"]

    for rows in (4, 9):
        taken["lane"] = rows
        journal.append([Progress(number, rows, rows, rows)], ["what a commit says", {"lane": rows}])
        journal.confirm()
        assert said() == ((0, 4) if rows == 4 else (0, 9))
        if rows == 4:
            assert journal.sync_begins()
    assert journal.synced()
    assert said() == (4, 9)
    mark(journal)
    assert said() == (9, 9)
    journal.close()
    assert said() == (9, 9)


def test_a_journal_without_marks_vouches_for_all_that_it_says(tmp_path: Path) -> None:
    """Nothing is synced there: after a power cut what is left of the journal counts, and what its entries took."""
    journal = Journal(tmp_path / "j", 0, "run 1", boot_id="boot 1", rows=lambda: {"lane": 3})
    journal.recovered()
    journal.append([], ["what a commit says", {"lane": 7}])
    assert rows_vouched_for((tmp_path / "j").read_bytes(), "boot 2") == {"lane": 7}


def test_who_settles_the_files_of_another_keeps_what_it_said_of_lanes(tmp_path: Path) -> None:
    """It takes from none of them itself."""
    journal = Journal(tmp_path / "j", 0, "run 1", boot_id="boot 1", syncs=True, rows=lambda: {"lane": 3})
    journal.recovered()
    journal.append([], ["what a commit says", {"lane": 7}])
    settler = Journal(tmp_path / "j", 0, "run 1", boot_id="boot 1", syncs=True)
    settler.forget()
    settler.recovered()
    settler.close()
    assert rows_vouched_for((tmp_path / "j").read_bytes(), "boot 2") == {"lane": 7}


def test_a_disk_that_has_another_number_after_the_reboot_is_the_same_disk(tmp_path: Path) -> None:
    journal = fresh(tmp_path)
    number = begun(journal, LocalStore(), tmp_path / "f", b"0123456789")
    identity = journal.records[number].identity
    assert identity is not None
    journal.identified(number, f"dead{identity[identity.index('.') :]}")
    commit(journal, number, 4)
    mark(journal)
    after = after_the_cut(tmp_path)
    assert settled(tmp_path, after) == ({"f.tmp": b"0123"}, ["f.tmp"])
    assert after.records[number].identity == identity, "the key is rewritten"


class SlowStore(LocalStore):
    """A store whose syncs end when they are told to, and remember what was synced."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = threading.Event()
        self.synced: list[tuple[str, str]] = []
        self.error: OSError | None = None

    def sync(self, files: object, folders: object) -> None:
        self.may_end.wait(10)
        if self.error is not None:
            raise self.error
        self.synced.extend(files)  # type: ignore[arg-type]


def test_nothing_is_durable_before_its_sync_has_ended(tmp_path: Path) -> None:
    journal, store = fresh(tmp_path), SlowStore()
    syncing = Syncing(store, journal, lambda level, line: None)
    number = begun(journal, store, tmp_path / "f", b"0123456789")
    commit(journal, number, 4)
    syncing.touched(journal.records[number])
    syncing.begin()
    assert not syncing.done()
    commit(journal, number, 9)  # the loop goes on meanwhile
    store.may_end.set()
    syncing.now()
    assert syncing.done()
    assert store.synced == [(str(tmp_path / "f.tmp"), str(tmp_path / "f"))]


def test_a_sync_that_failed_is_never_tried_again(tmp_path: Path) -> None:
    """The kernel may have dropped what it could not write: a second sync would say that all is well."""
    journal, store, said = fresh(tmp_path), SlowStore(), []
    store.may_end.set()
    store.error = OSError(5, "Input/output error")
    syncing = Syncing(store, journal, lambda level, line: said.append(line))
    number = begun(journal, store, tmp_path / "f", b"0123456789")
    commit(journal, number, 4)
    syncing.touched(journal.records[number])
    syncing.begin()
    syncing.now()
    store.error = None
    syncing.begin()
    syncing.now()
    assert not syncing.done()
    assert store.synced == []
    assert len(said) == 1 and "Input/output error" in said[0]


@pytest.mark.parametrize(("interval", "marks"), [("1", True), ("0", False)])
def test_sync_interval_says_whether_anything_is_synced(tmp_path: Path, interval: str, marks: bool) -> None:
    """With 0 what is committed is called durable as it is, and no mark is made."""
    options, _ = read_options(FileRollOptions, {"sink.directory": str(tmp_path), "sync.interval": interval})
    assert options is not None
    sink = FileRollSink(options)
    sink.open(sink_context(tmp_path / "state"))
    sink.deliver(EventBatch.of([b"a"]))
    sink.flush()
    sink.committed()
    assert sink.sync_interval_s == float(interval)
    sink.sync()
    while not sink.synced():
        os.sched_yield()
    assert (b'"synced":[1,' in (tmp_path / "state" / "files.journal").read_bytes()) == marks
    sink.close()
