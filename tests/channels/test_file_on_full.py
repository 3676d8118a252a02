"""What a file channel gives up, and only that: the oldest when it is full, and what is too old; both are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.channels.file import tally
from shipper.durable.disk import Disk
from tests.channels.logged import Logged

Make = Callable[..., Logged]


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Make]:
    """Makes file channels."""
    made: list[Logged] = []

    def make(properties: dict[str, str] | None = None, **grid: object) -> Logged:
        made.append(Logged(tmp_path, properties, **grid))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.kill()


def counted(channel: Logged) -> tuple[int, int]:
    """(expired, dropped), as they are stored with the commits."""
    board = channel.writer.log.board
    books = [tally.read(board, index)[1] for index in board.lanes().values()]
    return sum(book.expired for book in books), sum(book.dropped for book in books)


def insists(channel: Logged, body: bytes, worker: int = 0) -> tuple[int, int]:
    """A put that waits for room until it has some; what was given up for it."""
    gone = (0, 0)
    side = channel.put_side(worker)
    for _ in range(50):
        if channel.put(body, worker=worker):
            side.sleeping(False)
            return gone
        side.sleeping(True)
        channel.write()
        for sink in range(len(channel.sinks)):
            expired, dropped = channel.take_side(sink).make_way()
            gone = gone[0] + expired, gone[1] + dropped
    raise AssertionError(f"no room: {side.full_because(channel.name)}")


def test_the_oldest_make_way_for_new_rows(logged: Make) -> None:
    channel = logged({"capacity": "5", "onFull": "dropOldest"})
    for number in range(5):
        assert insists(channel, b"%d" % number) == (0, 0)
    for number in range(5, 8):
        assert insists(channel, b"%d" % number) == (0, 1), "one row needs the room of one"
    assert channel.drain() == [b"%d" % number for number in range(3, 8)]
    assert counted(channel) == (0, 3)


def test_of_a_record_only_as_many_rows_go_as_are_in_the_way(logged: Make) -> None:
    channel = logged({"capacity": "6", "onFull": "dropOldest"})
    assert channel.put(b"1", b"2", b"3") and channel.put(b"4", b"5", b"6")
    assert insists(channel, b"7") == (0, 1)
    assert insists(channel, b"8") == (0, 1)
    channel.write()
    assert channel.drain() == [b"3", b"4", b"5", b"6", b"7", b"8"]


def test_what_a_sink_has_in_its_hands_is_not_dropped(logged: Make) -> None:
    channel = logged({"capacity": "2", "onFull": "dropOldest"})
    assert channel.put(b"1") and channel.put(b"2")
    channel.write()
    transaction = channel.take_side().transaction()
    transaction.begin()
    taken = transaction.take()
    assert taken is not None and taken.body.to_pylist() == [b"1"]
    channel.put_side().sleeping(True)
    assert not channel.put(b"3")
    channel.write()
    del taken
    transaction.commit()
    transaction.close()
    assert channel.take_side().make_way() == (0, 0), "there is room now"
    assert channel.put(b"3")
    channel.write()
    assert channel.drain() == [b"2", b"3"]


def test_two_sinks_do_not_both_drop_for_one_row(logged: Make) -> None:
    channel = logged({"capacity": "10", "onFull": "dropOldest"}, sinks=2)
    for number in range(10):
        assert channel.put(b"%d" % number)
    channel.write()
    assert insists(channel, b"10") == (0, 1)
    channel.write()
    assert len(channel.drain(0)) + len(channel.drain(1)) == 10


def test_a_death_before_the_commit_gives_nothing_up(logged: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = logged({"capacity": "2", "onFull": "dropOldest"})
    assert channel.put(b"1") and channel.put(b"2")
    channel.put_side().sleeping(True)
    assert not channel.put(b"3")
    channel.write()
    side = channel.take_side()
    lane = side.lanes[0]
    monkeypatch.setattr(lane, "release", lambda sequence: None)
    assert side.make_way() == (0, 1)
    channel.kill()
    assert counted(channel) == (0, 0)
    assert channel.drain() == [b"1", b"2"]


class FullDisk(Disk):
    """Has room for so many segments, and no more."""

    segments = 3

    def free_bytes(self, directory: Path) -> int:
        there = len(list(directory.glob("*.segment")))
        return (1 << 40) if there < self.segments else 0


def test_a_full_disk_is_given_back_file_by_file(logged: Make) -> None:
    channel = logged({"onFull": "dropOldest", "maxFileSize": "64k", "ring.bytes": "256k"}, disk=FullDisk())
    wanted = [b"%03d" % number + b"x" * 8000 for number in range(60)]
    gone = 0
    for body in wanted:
        gone += insists(channel, body)[1]
        channel.write()
        gone += channel.take_side().make_way()[1]
        channel.now_s += 1
        channel.writer.tick(channel.now_s)
    for _ in range(20):
        channel.write()
        gone += channel.take_side().make_way()[1]
        channel.now_s += 1
        channel.writer.tick(channel.now_s)
    left = channel.drain()
    assert 0 < gone < 60 and len(left) >= 7
    assert left == wanted[gone:], "only the oldest"
    assert counted(channel) == (0, gone)


def test_rows_that_are_too_old_are_counted_in_place_of_being_delivered(logged: Make) -> None:
    channel = logged({"maxAge": "60"})
    assert channel.put(b"old") and channel.put(b"old", b"too")
    channel.write()
    channel.clock.advance(59)
    assert channel.put(b"young")
    channel.write()
    assert channel.take_side().make_way() == (0, 0)
    channel.clock.advance(2)
    assert channel.take_side().make_way() == (3, 0)
    assert counted(channel) == (3, 0)
    assert channel.drain() == [b"young"]


def test_age_outlives_a_restart_of_everything(logged: Make) -> None:
    channel = logged({"maxAge": "60"})
    assert channel.put(b"old")
    channel.write()
    channel.kill()
    channel.clock.advance(61)
    assert channel.take_side().make_way() == (1, 0)


def test_rows_that_nobody_gave_a_time_are_never_too_old(logged: Make, tmp_path: Path) -> None:
    """They were put by a release, or by a configuration, without `maxAge`."""
    channel = logged()
    assert channel.put(b"no time")
    channel.write()
    channel.kill()
    channel = logged({"maxAge": "1"})
    channel.clock.advance(10_000)
    assert channel.take_side().make_way() == (0, 0)
    assert channel.drain() == [b"no time"]
