"""Rows that lie in memory until they are in their files: they need not come back from the disk, and always can."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shipper.files import local
from shipper.files.columns.bench import Bench
from shipper.files.columns.room import BLOCK_BYTES, Room
from shipper.files.columns.stage import StageReader
from shipper.files.local import LocalFile
from tests.files.columns.life import Life

MIB = 1 << 20


def large(letter: bytes) -> bytes:
    """A body that makes its record batch large."""
    return letter * (300 << 10)


def stages(life: Life) -> list[Path]:
    return [path for path in life.stage.iterdir() if path.suffix in (".open", ".whole")]


def test_memory_comes_back_with_the_last_view_of_it() -> None:
    room = Room(3 * MIB)
    views = [room.lay([bytes([number]) * MIB], MIB) for number in range(3)]
    assert [view is not None and view[-1] for view in views] == [0, 1, 2]
    assert not room.crowded
    assert room.lay([bytes(MIB)], MIB) is None
    assert room.crowded
    first = memoryview(pa.py_buffer(views[1]))[:10]
    views[1] = None
    assert room.crowded
    assert bytes(first) == bytes([1]) * 10
    del first
    assert not room.crowded
    views[0] = None  # what lay behind it is free as well: both are one place
    assert room.lay([bytes(2 * MIB)], 2 * MIB) is not None


def test_what_would_never_find_a_place_is_not_waited_for() -> None:
    room = Room(MIB)
    assert room.lay([bytes(2 * MIB)], 2 * MIB) is None
    assert not room.crowded


def test_memory_goes_back_to_the_machine_when_nothing_lies_in_it() -> None:
    room = Room(MIB)
    for still_lies in (True, False):
        view = room.lay([b"x" * MIB], MIB)
        kept = view if still_lies else None
        del view
        room.rest()
        assert kept is None or kept[0] == ord("x")
        del kept
    view = room.lay([], MIB)
    assert view is not None
    assert bytes(view) == bytes(MIB)


def test_memory_is_given_back_when_no_rows_wait_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: list[int] = []
    monkeypatch.setattr(Room, "rest", lambda _: files.append(len(life.names())))
    life = Life(tmp_path, idleTimeout="5")
    life.deliver(large(b"a"))
    life.sync()
    assert not files
    life.clock.advance(6)
    life.sink.tick()
    life.sync()
    assert files == [1]
    life.sink.close()


def test_what_a_stage_has_is_found_once_and_not_behind_its_end() -> None:
    room = Room(MIB)
    for position in (0, BLOCK_BYTES, 2 * BLOCK_BYTES):
        view = room.lay([b"x" * BLOCK_BYTES], BLOCK_BYTES)
        assert view is not None
        room.put("stage", position, view)
    assert room.take("another", 0) is None
    assert room.take("stage", 0) is not None
    assert room.take("stage", 0) is None
    room.cut("stage", 2 * BLOCK_BYTES)
    assert room.take("stage", 2 * BLOCK_BYTES) is None
    assert room.take("stage", BLOCK_BYTES) is not None


def test_rows_that_lie_in_the_room_are_not_read_from_the_disk(tmp_path: Path) -> None:
    life = Life(tmp_path)
    bodies = [large(b"a"), large(b"b")]
    for body in bodies:
        life.deliver(body)
    (stage,) = stages(life)
    size = stage.stat().st_size
    with stage.open("r+b") as file:  # but for its schema
        file.seek(BLOCK_BYTES)
        file.write(bytes(size - BLOCK_BYTES))
    life.sink.close()
    assert life.rows() == bodies


def test_large_and_small_record_batches_are_read_back_as_they_came(tmp_path: Path) -> None:
    """Large ones end with a block, and so does all that is large behind them, until something small comes."""
    bodies = [b"small", large(b"a"), large(b"b"), b"small too", b"and again", large(b"c"), b"last"]
    life, lengths = Life(tmp_path), []
    for body in bodies:
        life.deliver(body, x="y")
        (stage,) = stages(life)
        lengths.append(stage.stat().st_size)
    assert [not length % BLOCK_BYTES for length in lengths] == [len(body) > 100 for body in bodies]
    reader = StageReader(str(stage.with_suffix("")), Room(0))
    batches = reader.read(lengths[-1], 1 << 30)
    assert [row for batch in batches for row in batch.column(0).to_pylist()] == bodies
    reader.close()
    life.sink.close()
    assert life.rows() == bodies


@pytest.mark.parametrize("body", [large(b"b"), b"small"])
def test_what_was_taken_back_is_not_found_again(body: bytes, tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.deliver(b"first")
    for letter in (b"x", b"y"):
        life.sink.deliver(life.batch(large(letter)))
        life.sink.flush()
        life.sink.rolled_back()
    life.deliver(body)
    life.sink.close()
    assert life.rows() == [b"first", body]


def test_a_file_is_made_again_from_the_stage_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was packed once lies in the room no more."""
    life = Life(tmp_path, rowGroupSize="300KB")

    really = LocalFile.write

    def write(file: LocalFile, data: bytes) -> None:
        if type(file) is LocalFile:
            raise OSError(errno.ENOSPC, "no room")
        really(file, data)  # to a stage

    bodies = [large(b"a"), large(b"b"), large(b"c")]
    life.deliver(bodies[0])
    with monkeypatch.context() as patch:
        patch.setattr(LocalFile, "write", write)
        life.deliver(bodies[1])
    assert any("could not make" in line for _, line in life.lines), life.lines
    life.clock.advance(300)
    life.deliver(bodies[2])
    life.sink.close()
    assert life.rows() == bodies


def test_a_disk_that_takes_nothing_past_the_page_cache_takes_it_through_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    class Fcntl:
        F_SETFL = fcntl.F_SETFL

        @staticmethod
        def fcntl(descriptor: int, command: int, flags: int) -> int:
            if flags & os.O_DIRECT:
                refused.append(flags)
                raise OSError(errno.EINVAL, "no")
            return fcntl.fcntl(descriptor, command, flags)

    monkeypatch.setattr(local, "fcntl", Fcntl)
    life = Life(tmp_path)
    life.deliver(large(b"a"))
    assert refused
    life.sink.close()
    assert life.rows() == [large(b"a")]


def test_nobody_waits_for_a_place_that_takes_nothing() -> None:
    """A round that has begun is waited for, but not for ever: the place where the files go may hang."""
    now_s = [100.0]

    class Hangs:
        done = False

    bench = Bench(makers=_NOBODY, round_bytes=1, start=lambda _: Hangs(), now_s=lambda: now_s[0], say=print)
    assert not bench.pace(0.0)
    bench.put(_NOBODY)
    bench.advance()
    assert bench.pace(0.0)
    now_s[0] += 2
    assert not bench.pace(0.0)


class _Nobody:
    """Has nothing to do."""


_NOBODY: Any = _Nobody()
