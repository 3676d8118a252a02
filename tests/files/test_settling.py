"""What becomes of files that the process before had open, when they are not as it left them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.api import EventBatch
from shipper.files.journal import Journal
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.testing.fakes import ManualClock
from tests.running_sink import RunningSink


class Life(RunningSink):
    """One process of a sink that writes text to one bucket."""

    def __init__(self, tmp_path: Path, sequence: int = 0, start_s: float = 0, **properties: str) -> None:
        given = {"hdfs.path": f"file://{tmp_path}/out", "hdfs.fileType": "DataStream", "hdfs.rollCount": "0",
                 "hdfs.rollSize": "0", "hdfs.rollInterval": "0"}  # fmt: skip
        given |= {f"hdfs.{key}": value for key, value in properties.items()}
        clock = ManualClock()
        clock.wall_ms += round(start_s * 1000)
        super().__init__(HdfsSink, tmp_path, given, clock=clock, sequence=sequence)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.out.iterdir())}


NAME = "FlumeData.1340459193235"


def test_a_file_is_gone_on_with_behind_what_counts(tmp_path: Path) -> None:
    first = Life(tmp_path)
    sequence = first.deliver(b"a")
    first.sink.deliver(EventBatch.of([b"not committed"]))
    second = Life(tmp_path, sequence)
    assert second.files() == {f"{NAME}.tmp": b"a\n"}
    second.deliver(b"b")
    second.sink.close()
    assert second.files() == {NAME: b"a\nb\n"}
    assert not second.said


def test_a_file_that_became_shorter_is_set_aside_and_never_cut(tmp_path: Path) -> None:
    first = Life(tmp_path)
    sequence = first.deliver(b"abcdef")
    os.truncate(tmp_path / "out" / f"{NAME}.tmp", 3)
    second = Life(tmp_path, sequence)
    second.deliver(b"b")
    second.sink.close()
    (aside,) = (name for name in second.files() if "set-aside" in name)
    assert second.files()[aside] == b"abc"
    assert [data for name, data in second.files().items() if name != aside] == [b"b\n"]
    assert "has 3 bytes of 7 that were delivered to it: it is kept as" in second.said[0][1]
    assert second.context.counters.get("files_lost") == 1


def test_another_file_under_the_same_name_is_set_aside(tmp_path: Path) -> None:
    first = Life(tmp_path)
    sequence = first.deliver(b"abcdef")
    path = tmp_path / "out" / f"{NAME}.tmp"
    path.rename(tmp_path / "moved")
    path.write_bytes(b"something else, and longer")
    second = Life(tmp_path, sequence)
    (name,) = second.files()
    assert name.startswith(f"{NAME}.tmp.set-aside-")
    assert second.files()[name] == b"something else, and longer"
    assert "is another file" in second.said[0][1]


def test_a_file_that_is_gone_is_said_with_its_rows(tmp_path: Path) -> None:
    first = Life(tmp_path)
    sequence = first.deliver(b"a", b"b")
    (tmp_path / "out" / f"{NAME}.tmp").unlink()
    second = Life(tmp_path, sequence)
    assert "is gone, with 2 rows that were delivered to it" in second.said[0][1]
    second.deliver(b"c")
    assert list(second.files().values()) == [b"c\n"]


def test_a_file_of_other_settings_is_ended_and_not_gone_on_with(tmp_path: Path) -> None:
    first = Life(tmp_path)
    sequence = first.deliver(b"a")
    second = Life(tmp_path, sequence, fileType="CompressedStream", codeC="gzip")
    assert second.files() == {NAME: b"a\n"}
    second.deliver(b"b")
    second.sink.close()
    assert sorted(second.files()) == [NAME, "FlumeData.1340459193235.gz"]


def test_the_time_that_a_file_has_been_open_survives_the_process(tmp_path: Path) -> None:
    first = Life(tmp_path, rollInterval="30")
    sequence = first.deliver(b"a")
    second = Life(tmp_path, sequence, start_s=20, rollInterval="30")
    second.clock.advance(9)
    second.sink.tick()
    assert list(second.files()) == [f"{NAME}.tmp"]
    second.clock.advance(1)
    second.sink.tick()
    assert list(second.files()) == [NAME]


def test_rows_in_a_file_count_for_its_roll_after_a_death(tmp_path: Path) -> None:
    for key, limit in (("rollCount", "3"), ("rollSize", "3")):
        first = Life(tmp_path / key, **{key: limit})
        sequence = first.deliver(b"a", b"b")
        second = Life(tmp_path / key, sequence, **{key: limit})
        second.deliver(b"c", b"d")
        assert list(second.files().values()) == [b"a\nb\nc\n", b"d\n"]


def test_when_the_journal_is_lost_nothing_is_cut(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.deliver(b"a")
    kept = (tmp_path / "state" / "files.journal").read_bytes()
    sequence = first.deliver(b"b")
    (tmp_path / "state" / "files.journal").write_bytes(kept)  # an old one, from a backup
    second = Life(tmp_path, sequence)
    assert second.files() == {NAME: b"a\nb\n"}
    assert "does not have the state that the channel's last commit names" in second.said[0][1]
    third = Life(tmp_path, second.deliver(b"c"))
    third.sink.close()
    assert list(third.files().values()) == [b"a\nb\n", b"c\n"]
    assert not third.said


def test_after_a_reboot_what_was_written_counts(tmp_path: Path) -> None:
    """The commit slots were in memory. Rows that the position file of the source says are delivered must not be cut."""
    first = Life(tmp_path)
    first.deliver(b"a")
    first.sink.deliver(EventBatch.of([b"b"]))
    first.sink.flush()  # was it committed? Nobody knows any more
    second = Life(tmp_path, 0)
    assert second.files() == {f"{NAME}.tmp": b"a\nb\n"}


def test_a_clean_stop_and_a_fresh_channel_say_nothing(tmp_path: Path) -> None:
    for turn in range(3):
        life = Life(tmp_path, 0)
        assert not life.said
        life.deliver(b"%d" % turn)
        life.sink.close()
    assert list(life.files().values()) == [b"0\n", b"1\n", b"2\n"]


def test_a_death_behind_a_rename_to_another_name_is_not_taken_for_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Death(BaseException):
        pass

    def die(self: Journal, numbers: object) -> None:
        raise Death

    first = Life(tmp_path)
    sequence = first.deliver(b"a")
    (tmp_path / "out" / NAME).write_bytes(b"somebody's")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "gone", die)
        with pytest.raises(Death):
            first.sink.close()
    second = Life(tmp_path, sequence)
    assert second.files() == {NAME: b"somebody's", "FlumeData.1340459193236": b"a\n"}
    assert not second.said
    assert second.context.counters.get("files_lost") == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"shipper journal 1\n" + b"x" * 50])
def test_a_damaged_journal_needs_no_hand(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "files.journal").write_bytes(content)
    life = Life(tmp_path)
    life.deliver(b"a")
    life.sink.close()
    assert list(life.files().values()) == [b"a\n"]
