"""Disks and files that are away for a start: what was not delivered is delivered when they are back, or kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shipper.durable import offline
from shipper.durable.absent import Noted, give_up
from shipper.durable.board import lane_id
from shipper.durable.disk import Disk
from shipper.durable.log import Log
from shipper.durable.reader import Reader
from shipper.durable.settings import Entry, LogSettings
from shipper.errors import ComponentFailed, ConfigurationError
from tests.durable.reading import bodies

LANE = lane_id("k1.0")
BODIES = [bytes([number]) * 17_000 for number in range(12)]  # three in a segment


class RoomIn(Disk):
    """Most space is free in this directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def free_bytes(self, path: Path) -> int:
        return 1 << (40 if path == self._directory else 39)


class Life:
    """A log in two directories, on as many disks, with twelve events that wait; and its one reader."""

    def __init__(self, tmp_path: Path) -> None:
        self.away = tmp_path / "away"
        self.settings = LogSettings(
            checkpoint_dir=tmp_path / "checkpoint", data_dirs=(tmp_path / "a", tmp_path / "b"),
            segment_bytes=64 << 10, minimum_free_bytes=0,
        )  # fmt: skip
        self.a, self.b = self.settings.data_dirs
        self.opened: list[Log] = []
        log = self.open(self.a)
        self.fill(log, BODIES[:6])
        log.close()
        log = self.open(self.b, self.a)
        self.fill(log, BODIES[6:])
        log.close()

    def open(self, *data_dirs: Path) -> Log:
        """The log, with these directories; the first one has the new segments."""
        settings = replace(self.settings, data_dirs=data_dirs or (self.a, self.b))
        log = Log.open(settings, ["k1.0"], lambda body: [], disk=RoomIn(settings.data_dirs[0]))
        self.opened.append(log)
        return log

    @staticmethod
    def fill(log: Log, contents: list[bytes]) -> None:
        """One durable put each."""
        for body in contents:
            assert log.append(1, 0, [Entry(LANE, (body,), 1, len(body))]) is not None
            log.sync()

    def drained(self, log: Log) -> tuple[list[bytes], int]:
        """Everything that waits, delivered; and how much of it was lost."""
        reader = Reader(log.board, log.settings.data_dirs, LANE, 5)
        assert reader.try_hold()
        found = bodies(reader)
        reader.release(1)
        lost = reader.lost_rows
        reader.close()
        return found, lost

    def unmount(self, directory: Path) -> None:
        """The disk is not there; an empty mount point is."""
        directory.rename(self.away)
        directory.mkdir()

    def mount(self, directory: Path) -> None:
        """It is back, over what lies at its mount point now."""
        shutil.rmtree(directory, ignore_errors=True)
        self.away.rename(directory)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Closed behind the test."""
    made = Life(tmp_path)
    yield made
    for log in made.opened:
        if log.board.segment._descriptor >= 0:
            log.close()


def segments(directory: Path) -> list[Path]:
    """Its segments."""
    return sorted(directory.glob("*.segment"))


@pytest.mark.parametrize("mount_point", [True, False], ids=["empty", "missing"])
def test_a_directory_that_is_away_is_no_loss(life: Life, mount_point: bool) -> None:
    """Nothing is made or changed; when it is back, everything is delivered."""
    life.unmount(life.b)
    if not mount_point:
        life.b.rmdir()
    names = ", ".join(path.name for path in segments(life.away)[:2])
    before = (life.settings.checkpoint_dir / "shipper.checkpoint").read_bytes()
    for _ in range(2):
        with pytest.raises(ConfigurationError) as refused:
            life.open()
        said = str(refused.value)
        assert f"{life.b} is not there, or empty" in said and names in said
        assert "6 events that wait are missing" in said and "6 others are safe" in said
        assert f"`shipper channel give-up {life.settings.checkpoint_dir} {life.b}`" in said
    assert life.b.exists() == mount_point and not list(life.b.glob("*"))
    assert (life.settings.checkpoint_dir / "shipper.checkpoint").read_bytes() == before
    life.mount(life.b)
    assert life.drained(life.open()) == (BODIES, 0)


def test_all_directories_away_are_no_loss(tmp_path: Path, life: Life) -> None:
    for directory in (life.a, life.b):
        directory.rename(tmp_path / f"{directory.name}-away")
    with pytest.raises(ConfigurationError, match=r"12 events that wait are missing with it .*; 0 others are safe"):
        life.open()
    for directory in (life.a, life.b):
        (tmp_path / f"{directory.name}-away").rename(directory)
    assert life.drained(life.open()) == (BODIES, 0)


def test_a_directory_that_data_dirs_name_no_more_is_no_loss(life: Life) -> None:
    with pytest.raises(ConfigurationError, match=f"dataDirs do not name {life.a} any more.*6 events .* are missing"):
        life.open(life.b)
    assert life.drained(life.open()) == (BODIES, 0)


def test_a_directory_that_was_drained_may_go(life: Life) -> None:
    log = life.open(life.b, life.a)
    assert life.drained(log) == (BODIES, 0)
    log.close()
    shutil.rmtree(life.a)
    log = life.open(life.b)
    life.fill(log, [b"more"])
    assert life.drained(log) == ([b"more"], 0)


def test_a_log_that_was_not_stopped_may_have_more_than_its_checkpoint_knows(life: Life) -> None:
    """A segment was begun on the disk that is away, behind the last checkpoint."""
    log = life.open(life.b, life.a)
    assert life.drained(log) == (BODIES, 0)
    log.checkpoint()
    log.checkpoint()
    life.fill(log, [b"more"])
    log._claim.give_back()  # killed
    life.opened.clear()
    life.unmount(life.b)
    with pytest.raises(ConfigurationError, match="was not stopped in order"):
        life.open()
    life.mount(life.b)
    assert life.drained(life.open()) == ([b"more"], 0)


def test_a_directory_is_given_up_by_one_who_says_so(life: Life) -> None:
    """The rest goes on, the loss is counted; and what comes back all the same is kept."""
    checkpoint_dir = life.settings.checkpoint_dir
    with pytest.raises(ConfigurationError, match="is there"):
        give_up(checkpoint_dir, [life.b])
    with pytest.raises(ConfigurationError, match="no data directory of the channel"):
        give_up(checkpoint_dir, [life.b / "other"])
    life.unmount(life.b)
    give_up(checkpoint_dir, [life.b])
    log = life.open()
    assert sum(lost.last - lost.first + 1 for lost in log.recovered.lost) == 6
    life.fill(log, [b"more"])
    assert life.drained(log) == ([*BODIES[:6], b"more"], 6)
    for _ in range(3):
        log.checkpoint()
    log.close()
    life.mount(life.b)
    names = [path.name for path in segments(life.b)]
    log = life.open()
    kept = life.b / "came-back"
    assert [path.name for path in segments(kept)] == names and len(names) == 2
    assert sum(f"shipper channel export {kept} --data {kept}" in line for line in log.recovered.notes) == 2
    assert life.drained(log) == ([], 0)
    assert [bytes(record.body) for record, _ in offline.export(kept, [kept])] == BODIES[6:]


def test_a_directory_that_is_back_before_anything_of_it_was_passed_is_delivered(life: Life) -> None:
    """It was given up, but no sink has come so far."""
    life.unmount(life.b)
    give_up(life.settings.checkpoint_dir, [life.b])
    log = life.open(life.a, life.b)
    life.fill(log, [b"more"])
    log.close()
    life.mount(life.b)
    log = life.open()
    assert life.drained(log) == ([*BODIES, b"more"], 0)
    for _ in range(3):
        log.checkpoint()
    assert not list(life.b.glob("came-back*"))


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "killed"])
@pytest.mark.parametrize("gone", ["all", "checkpoint and b"])
def test_a_log_that_is_away_with_its_checkpoint_is_missed_by_who_has_a_note_of_it(
    life: Life, stopped: bool, gone: str
) -> None:
    """Nothing is made, not even a lock. Given up, what was there is counted as lost, and the rest goes on."""
    log = life.open(life.b, life.a)
    note = Noted(log.outline(stopped=stopped), " --state-dir /s")
    log.close()
    directories = [life.settings.checkpoint_dir, life.b, *([life.a] if gone == "all" else [])]
    for directory in directories:
        shutil.rmtree(directory)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"12 events wait in the log .*--state-dir /s") as told:
            Log.open(life.settings, ["k1.0"], lambda body: [], noted=note)
        assert ("was not stopped in order" in str(told.value)) != stopped
        assert not any(directory.exists() for directory in directories)
    give_up(life.settings.checkpoint_dir, directories[1:], noted=note)
    log = life.open(*life.settings.data_dirs)
    life.fill(log, [b"more"])
    left = [] if gone == "all" else BODIES[:6]
    assert life.drained(log) == ([*left, b"more"], 12 - len(left))


def test_a_note_of_an_empty_log_and_one_of_a_log_that_is_there_refuse_nothing(life: Life) -> None:
    log = life.open()
    note = Noted(log.outline())
    log.close()
    log = Log.open(life.settings, ["k1.0"], lambda body: [], noted=note)
    life.opened.append(log)
    assert life.drained(log) == (BODIES, 0)
    note = Noted(log.outline(stopped=True))
    log.close()
    for directory in life.settings.directories:
        shutil.rmtree(directory)
    life.opened.append(Log.open(life.settings, ["k1.0"], lambda body: [], noted=note))
    assert life.opened[-1].recovered.created


def test_a_file_that_is_missing_from_its_directory_costs_what_was_in_it(life: Life) -> None:
    """It is named at each start until it was passed; when it comes back behind that, it is kept."""
    path = segments(life.a)[0]
    content = path.read_bytes()
    path.unlink()
    for _ in range(2):
        log = life.open()
        assert [(lost.first, lost.last) for lost in log.recovered.lost] == [(1, 3)]
        log.close()
    log = life.open()
    assert life.drained(log) == (BODIES[3:], 3)
    for _ in range(3):
        log.checkpoint()
    log.close()
    path.write_bytes(content)
    assert "came back" in " ".join(life.open().recovered.notes)
    assert (life.a / "came-back" / path.name).read_bytes() == content


def test_a_file_that_came_back_half_passed_is_kept(life: Life) -> None:
    path = segments(life.a)[1]
    content = path.read_bytes()
    path.unlink()
    log = life.open()
    reader = Reader(log.board, log.settings.data_dirs, LANE, 5)
    assert reader.try_hold()
    for _ in range(4):  # three before it, and one behind it
        assert reader.peek() is not None
        reader.step()
    assert reader.lost_rows == 3
    reader.release(1)
    reader.close()
    log.close()
    path.write_bytes(content)
    log = life.open()
    reader = Reader(log.board, log.settings.data_dirs, LANE, 6)
    assert not reader.try_hold()  # of the sink that is called 5
    reader.close()
    assert life.drained(log)[0] == BODIES[7:]
    for _ in range(3):
        log.checkpoint()
    kept = [*life.a.glob("came-back/*"), *life.a.glob(path.name)]
    assert [one.read_bytes() for one in kept] == [content]


def test_a_reader_takes_a_directory_that_is_away_for_no_loss(life: Life) -> None:
    log = life.open()
    life.unmount(life.b)
    reader = Reader(log.board, log.settings.data_dirs, LANE, 5)
    assert reader.try_hold()
    with pytest.raises(ComponentFailed, match="Nothing in it counts as lost"):
        reader.peek()
    reader.close()
    life.mount(life.b)
    assert life.drained(log) == (BODIES, 0)


@pytest.mark.parametrize("when", ["first", "middle", "last", "both last", "all"])
def test_what_is_missing_is_seen_without_the_agent(
    life: Life, when: str, look: Callable[..., offline.LogReport]
) -> None:
    """Wherever it stood: the checkpoint knows what should be there."""
    paths = [*segments(life.a), *segments(life.b)]
    gone = {"first": paths[:1], "middle": paths[1:2], "last": paths[3:], "both last": paths[2:], "all": paths}[when]
    for path in gone:
        path.unlink()
    report = look(life.settings.checkpoint_dir, life.settings.data_dirs)
    assert not report.sound
    missing = {number for lost in report.lost for number in range(lost.first, lost.last + 1)}
    wanted = {"first": range(1, 4), "middle": range(4, 7), "last": range(10, 13)}
    assert missing == set(wanted.get(when, range(7 if when == "both last" else 1, 13)))
    assert (report.rows_waiting, report.rows_missing) == (12, 3 * len(gone))


@pytest.fixture(params=[offline.inspect, offline.verify], ids=["inspect", "verify"])
def look(request: pytest.FixtureRequest) -> Callable[..., offline.LogReport]:
    """Both ways to look."""
    found: Callable[..., offline.LogReport] = request.param
    return found


def test_a_checkpoint_that_is_damaged_or_missing_is_seen(life: Life, look: Callable[..., offline.LogReport]) -> None:
    path = life.settings.checkpoint_dir / "shipper.checkpoint"
    assert look(life.settings.checkpoint_dir, life.settings.data_dirs).sound
    for damage in (lambda: path.write_bytes(bytes(path.stat().st_size)), path.unlink):
        damage()
        report = look(life.settings.checkpoint_dir, life.settings.data_dirs)
        assert [one.path for one in report.segments if one.wrong] == [path]
