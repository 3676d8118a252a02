"""The window of a log: what keeps up is read from memory, and nothing depends on that."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.durable import window as windows
from shipper.durable.board import Board, lane_id
from shipper.durable.disk import Disk
from shipper.durable.file_view import FileView
from shipper.durable.loans import Loans
from shipper.durable.log import Log
from shipper.durable.reader import Reader
from shipper.durable.settings import Entry, LogSettings
from shipper.durable.window import Window
from shipper.errors import ComponentFailed
from tests.durable.reading import bodies

LANE = lane_id("k1.0")
BLOCK = 4096


class UnreadableView(FileView):
    """A file whose records the disk can't read."""

    def ensure(self, start: int, end: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


class UnreadableDisk(Disk):
    """A disk that gives nothing back."""

    def map(self, handle: int) -> FileView:
        return UnreadableView(handle, self.size_bytes(handle))


class Life:
    """A log with a window, and readers of it."""

    def __init__(self, tmp_path: Path) -> None:
        self.place = tmp_path / "log.window"
        self.settings = LogSettings(
            checkpoint_dir=tmp_path / "checkpoint", data_dirs=(tmp_path / "data",), segment_bytes=8 << 20,
            minimum_free_bytes=0,
        )  # fmt: skip
        self.log: Log | None = None
        self._readers: list[tuple[Reader, Window | None]] = []

    def open(self, disk: Disk | None = None) -> Log:
        self.log = Log.open(self.settings, ["k1.0"], lambda body: [], window=Window.make(self.place), disk=disk)
        return self.log

    def put(self, *bodies: bytes) -> None:
        assert self.log is not None
        for body in bodies:
            assert self.log.append(1, 0, [Entry(LANE, (body,), 1, len(body))]) is not None
        self.log.sync()

    def reader(self, disk: Disk | None = None) -> Reader:
        view = Window.open(self.place)
        reader = Reader(Board.open(self.settings.board), self.settings.data_dirs, LANE, 5, window=view, disk=disk)
        self._readers.append((reader, view))
        assert reader.try_hold()
        return reader

    def close(self) -> None:
        for reader, view in self._readers:
            reader.close()
            reader.board.close()
            if view is not None:
                view.close()
        if self.log is not None:
            self.log.close()


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Closed behind the test."""
    made = Life(tmp_path)
    yield made
    made.close()


def test_what_keeps_up_needs_no_disk(life: Life) -> None:
    """The disk gives nothing back, and all comes: small, large, and over the end of the window."""
    log, written = life.open(), 0
    reader = life.reader(UnreadableDisk())
    for number in range(12):
        some = [b"small %d" % number, os.urandom(3 << 20), b"", os.urandom(5000)]
        life.put(*some)
        written += sum(map(len, some))
        assert bodies(reader) == some
        reader.release(number + 1)
    assert written > windows.SIZE_BYTES
    assert log.rows == reader.lost_rows == 0


def test_what_does_not_keep_up_is_read_from_the_files(life: Life) -> None:
    life.open()
    some = [os.urandom(3 << 20) for _ in range(16)]
    life.put(*some)
    assert bodies(life.reader()) == some


def test_a_record_that_is_larger_than_the_window_is_whole(life: Life) -> None:
    life.open()
    some = [b"before", os.urandom(windows.SIZE_BYTES + 12345), b"behind"]
    life.put(*some)
    reader = life.reader()
    assert bodies(reader) == some
    assert reader.lost_rows == 0


def test_what_is_overwritten_while_it_is_copied_is_read_from_the_file(life: Life) -> None:
    """The window has the record's header and other bytes behind it."""
    life.open()
    body = os.urandom(1 << 20)
    life.put(body)
    with open(life.place, "r+b") as file:
        file.seek(BLOCK + 128 + (900 << 10))
        file.write(b"something newer")
    reader = life.reader()
    assert bodies(reader) == [body]
    assert reader.lost_rows == 0


def test_what_was_in_the_window_before_does_no_harm(life: Life) -> None:
    """After a death of the writer the next one goes on in another segment, over what is there."""
    life.open()
    life.put(b"first")
    assert life.log is not None
    life.log.close()
    life.open()
    life.put(b"second")
    assert bodies(life.reader()) == [b"first", b"second"]


@pytest.mark.parametrize("there", [False, True], ids=["none", "too short"])
def test_without_a_window_all_is_read_from_the_files(life: Life, there: bool) -> None:
    life.open()
    life.put(b"one", os.urandom(1 << 20))
    life.place.unlink()
    if there:
        life.place.write_bytes(b"x")
    reader = life.reader()
    assert len(bodies(reader)) == 2


def test_where_memory_has_no_room_for_it_nothing_is_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fallocate(*of: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(windows.os, "posix_fallocate", fallocate)
    made = Window.make(tmp_path / "w")
    assert not made.shared
    assert Window.open(tmp_path / "w") is None
    made.close()


class Refusing(Disk):
    """A file system that takes nothing past its cache: it says so at once, or when the first block comes."""

    def __init__(self, when: str) -> None:
        self.when = when
        self.past = False

    def direct(self, handle: int, wanted: bool) -> bool:
        self.past = wanted and self.when == "at the first block"
        return self.past

    def write(self, handle: int, views: Sequence[memoryview | bytes], offset: int) -> None:
        if self.past:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        super().write(handle, views, offset)


class Broken(Disk):
    """A disk that takes no record."""

    def write(self, handle: int, views: Sequence[memoryview | bytes], offset: int) -> None:
        if offset >= BLOCK and any(len(view) >= BLOCK for view in views) and views[0][:4] == b"RCRD":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().write(handle, views, offset)


def test_a_log_whose_disk_has_failed_can_be_closed_on_the_way_out(life: Life) -> None:
    """What is said is what happened, and the next one may have the directories."""
    log = life.open(Broken())

    def run() -> None:
        try:
            life.put(b"x" * 5000)
        finally:
            log.close()

    with pytest.raises(ComponentFailed, match="the disk failed twice in a row"):
        run()
    life.open()
    life.put(b"one")
    assert bodies(life.reader()) == [b"one"]


@pytest.mark.parametrize("when", ["at once", "at the first block"])
def test_a_file_system_that_can_only_write_through_its_cache_is_written_so(life: Life, when: str) -> None:
    some = [b"one", os.urandom(100_000)]
    log = life.open(Refusing(when))
    life.put(*some)
    assert bodies(life.reader()) == some
    assert log.notes() == []


def test_a_log_on_a_disk_goes_past_the_page_cache(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that syncs rarely does not: the kernel gathers better."""
    asked = []
    real = Disk.direct
    monkeypatch.setattr(Disk, "direct", lambda self, handle, wanted: asked.append(wanted) or real(self, handle, wanted))
    life.open()
    life.put(b"one")
    assert life.log is not None
    life.log.close()
    life.settings = replace(life.settings, readable_before_sync=True)
    life.open()
    life.put(b"two")
    assert asked == [True]


@given(
    sizes=st.lists(st.lists(st.integers(0, 3 * BLOCK), min_size=1, max_size=6), min_size=1, max_size=8),
    large=st.integers(0, 6 * BLOCK),
)
def test_blocks_are_whole_and_hold_all_that_was_laid_down(sizes: list[list[int]], large: int) -> None:
    """Whatever the pieces, the file has them behind each other, and zeros to the end of the last block."""
    window = Window.make(None, 4 * BLOCK)
    file, expected, at = bytearray(1 << 20), bytearray(), BLOCK

    def write(blocks: Sequence[memoryview], offset: int) -> None:
        assert offset % BLOCK == 0
        assert all(len(block) % BLOCK == 0 for block in blocks)
        data = b"".join(blocks)
        assert len(data) <= 4 * BLOCK
        file[offset : offset + len(data)] = data

    for number, some in enumerate([*sizes, [large]]):
        pieces = [bytes([1 + (number + index) % 255]) * size for index, size in enumerate(some)]
        window.store(pieces, at, write)
        expected += b"".join(pieces)
        at = BLOCK + len(expected)
        end = at + -at % BLOCK
        assert file[BLOCK:end] == expected + bytes(end - at)
    window.close()


def test_a_buffer_comes_back_with_the_last_view_of_it() -> None:
    loans = Loans()
    first, second = loans.lend(100_000), loans.lend(100_000)
    there = {address(first), address(second)}
    first[:], second[:] = b"1" * 100_000, b"2" * 100_000
    part = first[50_000:]
    del first, second
    again = [loans.lend(90_000), loans.lend(90_000)]
    assert len(there & {address(view) for view in again}) == 1, "the one that nobody looks at any more"
    for view in again:
        view[:] = b"3" * 90_000
    assert part == b"1" * 50_000
    del part
    assert there < {address(view) for view in [*again, loans.lend(80_000)]}


def test_buffers_of_a_size_that_comes_no_more_make_room_for_others() -> None:
    loans = Loans()
    small = [loans.lend(100_000) for _ in range(6)]
    del small
    places = set()
    for _ in range(20):
        large = loans.lend(1 << 20)
        places.add(address(large))
        del large
    assert len(places) == 1


def address(view: memoryview) -> int:
    """Where it lies in memory."""
    start: int = np.frombuffer(view, np.uint8).ctypes.data
    return start
