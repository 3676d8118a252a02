"""Each option of TAILDIR does what its sentence says."""

from __future__ import annotations

import itertools
import os

import pytest

from shipper.api import ComponentFailed
from shipper.config.field import declarations, read_options
from shipper.sources.taildir import TaildirOptions


def problems(properties: dict[str, str]) -> list[str]:
    """What is said about a file with these keys."""
    return [finding.message for finding in read_options(TaildirOptions, properties)[1]]


def test_groups_and_patterns_are_required_and_fit_together(tmp_path):
    assert len(problems({})) == 2
    named = {"filegroups": "a b", "filegroups.a": f"{tmp_path}/x", "filegroups.c": f"{tmp_path}/y"}
    unread = "filegroups does not name c: its files are not read"
    assert problems(named) == ["filegroups names b, but filegroups.b is missing", unread]
    named["filegroups.b"] = "relative/x"
    assert "must be an absolute path" in problems(named)[0]
    named["filegroups.b"] = f"{tmp_path}/a[b"
    assert "is no regular expression: a class ([...]) is not closed" in problems(named)[0]
    named["filegroups.b"] = f"{tmp_path}/*/x"
    assert problems(named) == [
        unread,
        f"{tmp_path}/* is taken literally: only the file name is a pattern",
    ]


def test_a_header_of_an_unknown_group_is_doubted(tmp_path):
    said = problems({"filegroups": "a", "filegroups.a": f"{tmp_path}/x", "headers.b.k": "v"})
    assert said == ["no group is called b: the header is never set"]


def test_a_directory_that_is_missing_is_refused_with_what_to_do(world):
    with pytest.raises(
        ComponentFailed, match=r"there is no directory .*/nowhere .* create it, or correct filegroups\.g"
    ):
        world.start({"filegroups": "g", "filegroups.g": f"{world.logs}/nowhere/x"})


def test_a_position_file_that_can_not_be_read_is_refused_with_what_to_do(world):
    world.position_file.mkdir(parents=True)
    with pytest.raises(ComponentFailed, match="positionFile"):
        world.start()


def test_position_file_is_flumes_own_when_none_is_given(world, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    world.write("app.log", "a\n")
    (default,) = [d.default for d in declarations(TaildirOptions).values() if d.key == "positionFile"]
    source = world.start({"positionFile": default})
    world.read(source)
    source.close()
    assert (tmp_path / ".flume" / "taildir_position.json").exists()


@pytest.mark.parametrize(("given", "seen"), [({}, None), ({"fileHeader": "true"}, "file")])
def test_file_header(world, given, seen):
    path = world.write("app.log", "a\n")
    (batch,) = world.batches(world.start(given))
    assert batch.headers_of(0) == ({} if seen is None else {seen: str(path)})


def test_file_header_key(world):
    path = world.write("app.log", "a\n")
    (batch,) = world.batches(world.start({"fileHeader": "true", "fileHeaderKey": "path"}))
    assert batch.headers_of(0) == {"path": str(path)}


def test_byte_offsets_go_on_over_batches_and_restarts(world):
    world.write("app.log", "a\nbb\n")
    source = world.start({"byteOffsetHeader": "true"}, rows_max=1)
    assert [batch.headers_of(0)["byteoffset"] for batch in world.batches(source)] == ["0", "2"]
    source.close()
    world.append("app.log", "c\n")
    (batch,) = world.batches(world.start({"byteOffsetHeader": "true"}))
    assert batch.headers_of(0) == {"byteoffset": "5"}


def test_batch_size_is_literal_where_batches_are_strict(world):
    world.write("app.log", "x\n" * 250)
    rows = [batch.rows for batch in world.batches(world.start({"batchSize": "100"}, strict=True))]
    assert rows == [100, 100, 50]


def test_batch_size_does_not_make_small_batches_where_they_are_not(world):
    world.write("app.log", "x\n" * 250)
    assert [batch.rows for batch in world.batches(world.start({"batchSize": "100"}))] == [250]


def test_no_batch_has_more_rows_than_the_channel_takes(world):
    world.write("app.log", "x\n" * 250)
    assert [batch.rows for batch in world.batches(world.start(rows_max=120))] == [120, 120, 10]


def order_of_turns(world, properties, **context):
    """The rows of each batch as (first letter, count), over two files of 300 lines."""
    for age, name in enumerate("ab"):
        os.utime(world.write(f"app.log.{name}", f"{name}\n" * 300), (1000 + age, 1000 + age))
    source = world.start(properties, **context)
    return [(batch.body[0].as_py().decode(), batch.rows) for batch in world.batches(source)]


def test_max_batch_count_is_the_turn_of_a_file_while_others_wait(world):
    turns = order_of_turns(world, {"batchSize": "50", "maxBatchCount": "2"}, strict=True)
    assert turns == [("a", 50), ("a", 50), ("b", 50), ("b", 50)] * 3


def test_max_batch_count_counts_lines_where_batches_are_not_strict(world):
    turns = order_of_turns(world, {"batchSize": "50", "maxBatchCount": "2"})
    assert turns == [("a", 100), ("b", 100)] * 3


def test_flumes_max_batch_count_written_out_reads_each_file_to_its_end(world):
    turns = order_of_turns(world, {"maxBatchCount": "9223372036854775807"}, rows_max=100)
    assert turns == [("a", 100)] * 3 + [("b", 100)] * 3


def test_without_max_batch_count_files_take_turns_by_one_batch(world):
    assert order_of_turns(world, {}, rows_max=100) == [("a", 100), ("b", 100)] * 3


def test_skip_to_end_is_for_files_without_a_position_only(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    world.append("app.log", "a2\n")
    world.write("app.log.1", "b1\n")
    source = world.start({"skipToEnd": "true"})
    assert world.read(source) == ["a2"]
    world.append("app.log.1", "b2\n")
    assert world.read(source) == ["b2"]


def test_what_skip_to_end_skipped_stays_skipped_after_a_restart(world):
    world.write("app.log", "a1\n")
    world.start({"skipToEnd": "true"}).close()
    world.append("app.log", "a2\n")
    assert world.read(world.start()) == ["a2"]


def test_idle_timeout_closes_a_file_and_growth_opens_it_again(world):
    world.write("app.log", "a1\n")
    source = world.start({"idleTimeout": "10000"})
    assert world.read(source) == ["a1"]
    world.wait_and_read(source, 8)
    assert world.counters.get("open_files") == 1
    world.wait_and_read(source, 8)
    assert world.counters.get("open_files") == 0
    world.append("app.log", "a2\n")
    assert world.read(source) == ["a2"]


def test_a_closed_file_that_is_renamed_and_grows_is_found_by_its_inode(world):
    world.write("app.log", "a1\n")
    source = world.start({"idleTimeout": "2000", "filegroups.g": f"{world.logs}/app.log"})
    world.read(source)
    world.wait_and_read(source, 5)
    assert world.counters.get("open_files") == 0
    world.append("app.log", "a2\n")
    os.rename(world.logs / "app.log", world.logs / "app.log.1")
    world.write("app.log", "b1\n")
    assert sorted(world.read(source)) == ["a2", "b1"]


@pytest.mark.parametrize(
    ("step", "most", "looks"), [("1000", "5000", [1, 2, 3, 4, 5, 5, 5]), ("2000", "3000", [2, 3, 3, 3])]
)
def test_an_idle_look_makes_the_pause_to_the_next_longer(world, step, most, looks):
    """Without the kernel's word, the pauses are Flume's back-off."""
    world.write("app.log", "a1\n")
    source = world.start({"inotify": "false", "backoffSleepIncrement": step, "maxBackoffSleep": most})
    world.read(source)
    found = source._tail._files.find
    times: list[float] = []

    def find():
        times.append(world.clock.monotonic_s())
        return found()

    source._tail._files.find = find
    while len(times) < len(looks) + 1:
        world.read(source, wait_s=1)
    pauses = [round(after - before) for before, after in itertools.pairwise(times)]
    assert pauses[: len(looks)] == looks or pauses[: len(looks) - 1] == looks[1:]


def test_without_inotify_new_lines_and_files_are_found_by_the_sweep(world):
    world.write("app.log", "a1\n")
    source = world.start({"inotify": "false"})
    assert world.read(source) == ["a1"]
    world.append("app.log", "a2\n")
    world.write("app.log.new", "b1\n")
    assert source._tail._watch.fileno == -1
    assert sorted(world.read(source, wait_s=6)) == ["a2", "b1"]


def test_cache_pattern_matching_lists_a_directory_again_only_when_it_changed(world, monkeypatch):
    listings: list[str] = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listings.append(path) or listdir(path))
    os.utime(world.logs, (1000, 1000))
    for cached, expected in (("true", 1), ("false", 3)):
        source = world.start({"cachePatternMatching": cached, "inotify": "false"})
        listings.clear()
        source._tail._files._listings.clear()
        for _ in range(3):
            source._tail._files.find()
        assert len(listings) == expected
        source.close()


@pytest.mark.parametrize("block_bytes", [1024, 1 << 20])
def test_a_line_longer_than_max_line_bytes_is_cut_said_and_counted(world, block_bytes):
    world.write("app.log", b"a\n" + b"x" * 5000 + b"\nb\n" + b"y" * 2048 + b"\r\n" + b"z" * 2047 + b"\n")
    source = world.start({"maxLineBytes": "2048"}, batch_bytes=block_bytes)
    assert [len(body) for body in world.read(source)] == [1, 2048, 1, 2048, 2047]
    assert world.counters.get("truncated_lines") == 1
    assert "a line has more than maxLineBytes = 2048: its rest is dropped" in world.words()


def test_the_rest_of_a_cut_line_is_dropped_after_a_restart_too(world):
    world.write("app.log", b"a\n" + b"x" * 5000)
    source = world.start({"maxLineBytes": "2048"}, batch_bytes=1024)
    assert [len(body) for body in world.read(source)] == [1, 2048]
    source.close()
    world.append("app.log", "x" * 100 + "\nb\n")
    assert world.read(world.start({"maxLineBytes": "2048"})) == ["b"]
