"""The file_roll sink: names, rolls, what it does where Flume litters or truncates, and what it says when it can't."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shipper.api import ComponentFailed, EventBatch, RetryLater
from shipper.config.field import read_options
from shipper.sinks.file_roll import FileRollOptions, FileRollSink
from shipper.testing.fakes import sink_context
from tests.running_sink import RunningSink
from tests.vectors import vector

START_MS = 1_340_459_193_234


class Running(RunningSink):
    """An open sink with its directory and its clock."""

    def __init__(self, tmp_path: Path, sequence: int = 0, **properties: str) -> None:
        out = tmp_path / "out"
        out.mkdir(exist_ok=True)
        super().__init__(FileRollSink, tmp_path, {"sink.directory": str(out)} | properties, sequence=sequence)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.out.iterdir())}


def test_files_are_named_by_the_start_of_the_sink_and_a_count(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(31)
    running.deliver(b"b", b"c")
    assert running.files() == {f"{START_MS}-1": b"a\n", f"{START_MS}-2": b"b\nc\n"}


def test_a_file_ends_when_its_time_is_over_and_not_before(tmp_path: Path) -> None:
    running = Running(tmp_path, **{"sink.rollInterval": "5"})
    running.deliver(b"a")
    running.after(4)
    running.deliver(b"b")
    running.after(1)
    running.deliver(b"c")
    assert list(running.files().values()) == [b"a\nb\n", b"c\n"]


def test_interval_zero_is_one_file_for_ever(tmp_path: Path) -> None:
    running = Running(tmp_path, **{"sink.rollInterval": "0"})
    running.deliver(b"a")
    running.after(1_000_000)
    running.deliver(b"b")
    assert running.files() == {f"{START_MS}-1": b"a\nb\n"}


def test_a_quiet_sink_makes_no_files(tmp_path: Path) -> None:
    running = Running(tmp_path)
    for _ in range(10):
        running.deliver()
        running.after(31)
    running.sink.close()
    assert running.files() == {}


def test_rolltime_names_files_by_their_own_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = vector("file_roll", "rolltime")
    running = Running(tmp_path, **{key: str(value) for key, value in row["config"].items()})
    for _ in row["files_pattern"]:
        running.deliver(b"x")
        running.after(1.5)
    shape = [re.sub(r"\d{14}", "T", name) for name in row["files_pattern"]]
    assert [re.sub(r"\d{14}", "T", name) for name in running.files()] == shape == ["p-T-1.txt"] * 3
    stamps = [re.findall(r"\d{14}", name)[0] for name in running.files()]
    assert stamps == sorted(set(stamps))


def test_rolltime_counts_within_a_second(tmp_path: Path) -> None:
    running = Running(tmp_path, **{"sink.pathManager": "rolltime", "sink.rollInterval": "0.1"})
    for _ in range(3):
        running.deliver(b"x")
        running.after(0.2)
    assert [name[-2:] for name in running.files()] == ["-1", "-2", "-3"]


def test_header_and_text_writes_headers_as_flume_does(tmp_path: Path) -> None:
    row = vector("file_roll", "header_and_text")
    running = Running(tmp_path, **row["config"])
    running.deliver(b"event 0.0", b"event 1.0", headers=[{"i": "0"}, {"i": "1"}])
    assert list(running.files().values()) == [row["files"]["<T>-1"].encode()]


def test_no_newline_is_appended_when_the_file_says_so(tmp_path: Path) -> None:
    row = vector("file_roll", "no_newline")
    running = Running(
        tmp_path, **{"sink.serializer.appendNewline": str(row["config"]["sink.serializer.appendNewline"])}
    )
    running.deliver(b"event 0.0", b"event 1.0")
    assert list(running.files().values()) == [row["files"]["<T>-1"].encode()]


def test_a_prefix_and_an_extension_make_the_name(tmp_path: Path) -> None:
    running = Running(tmp_path, **{"sink.pathManager.prefix": "web-", "sink.pathManager.extension": "log"})
    running.deliver(b"a")
    assert list(running.files()) == [f"web-{START_MS}-1.log"]


def test_a_file_that_is_there_is_not_truncated(tmp_path: Path) -> None:
    running = Running(tmp_path)
    (running.out / f"{START_MS}-1").write_bytes(b"somebody's")
    running.deliver(b"a")
    assert running.files() == {f"{START_MS}-1": b"somebody's", f"{START_MS}-2": b"a\n"}


def test_rows_of_a_transaction_that_was_rolled_back_are_not_in_the_file(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    running.sink.deliver(EventBatch.of([b"b"]))
    running.sink.rolled_back()
    assert list(running.files().values()) == [b"a\n"]
    running.deliver(b"b")
    assert list(running.files().values()) == [b"a\nb\n"]


def test_after_a_death_the_open_file_is_gone_on_with_until_its_time_is_over(tmp_path: Path) -> None:
    first = Running(tmp_path)
    sequence = first.deliver(b"a")
    first.sink.deliver(EventBatch.of([b"b"]))  # and dies
    second = Running(tmp_path, sequence)
    second.deliver(b"b")
    assert second.files() == {f"{START_MS}-1": b"a\nb\n"}
    second.after(31)
    second.deliver(b"c")
    assert list(second.files().values()) == [b"a\nb\n", b"c\n"]


def test_a_missing_directory_is_answered_with_the_command_that_makes_it(tmp_path: Path) -> None:
    sink = FileRollSink(FileRollOptions(directory=str(tmp_path / "no such")))
    with pytest.raises(ComponentFailed, match=re.escape(f"mkdir -p '{tmp_path}/no such'")):
        sink.open(sink_context(tmp_path / "state"))
    sink.close()
    assert not (tmp_path / "no such").exists()


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(ComponentFailed, match="is a file: name a directory"):
        FileRollSink(FileRollOptions(directory=str(tmp_path / "f"))).open(sink_context(tmp_path / "state"))


def test_a_directory_that_goes_away_is_waited_for_and_not_made_elsewhere(tmp_path: Path) -> None:
    """It may be a disk that is not mounted at the moment: nothing must be written beside it."""
    running = Running(tmp_path)
    running.deliver(b"a")
    running.after(31)
    running.out.rename(tmp_path / "unmounted")
    with pytest.raises(RetryLater, match="the directory is gone"):
        running.sink.deliver(EventBatch.of([b"b"]))
    running.sink.rolled_back()
    assert not running.out.exists()
    (tmp_path / "unmounted").rename(running.out)
    running.deliver(b"b")
    assert list(running.files().values()) == [b"a\n", b"b\n"]


def test_a_file_that_is_removed_while_it_is_written_loses_no_row_that_was_not_in_it(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.deliver(b"a")
    (running.out / f"{START_MS}-1").unlink()
    running.sink.deliver(EventBatch.of([b"b"]))
    with pytest.raises(RetryLater):
        running.sink.flush()
    running.sink.rolled_back()
    running.deliver(b"b")
    assert running.files() == {f"{START_MS}-2": b"b\n"}
    assert "was removed or replaced while it was written, with 1 rows" in running.said[-1][1]
    assert running.context.counters.get("files_lost") == 1


def test_counters_tell_of_files_and_bytes(tmp_path: Path) -> None:
    running = Running(tmp_path)
    counters = running.context.counters
    running.deliver(b"abc", b"")
    assert [counters.get(name) for name in ("ConnectionCreatedCount", "open_files", "output_bytes")] == [1, 1, 5]
    running.sink.close()
    assert [counters.get(name) for name in ("ConnectionClosedCount", "open_files")] == [1, 0]


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("sink.pathManager", "org.acme.Manager", "must be one of DEFAULT, ROLLTIME"),
        ("sink.pathManager.prefix", "a/b", "no / is possible in a file name"),
        ("sink.pathManager.extension", "../x", "no / is possible in a file name"),
        ("sink.rollInterval", "-1", "must be at least 0"),
        ("sink.batchSize", "0", "must be at least 1"),
        ("sink.serializer", "txt", "no serializer has that name; did you mean text?"),
        ("sink.rollInterval", "soon", "a duration is a number"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(key: str, value: str, said: str) -> None:
    options, findings = read_options(FileRollOptions, {"sink.directory": "/d", key: value})
    assert options is None
    assert [finding.key for finding in findings] == [key]
    assert said in findings[0].message


def test_a_serializers_unknown_key_is_a_warning_with_the_nearest() -> None:
    options, findings = read_options(
        FileRollOptions, {"sink.directory": "/d", "sink.serializer.appendNewLine": "false"}
    )
    assert options is not None
    assert [finding.severity for finding in findings] == ["warning"]
    assert "did you mean sink.serializer.appendNewline?" in findings[0].message


def test_a_missing_directory_option_is_required() -> None:
    options, findings = read_options(FileRollOptions, {})
    assert options is None
    assert "sink.directory is required" in findings[0].message
