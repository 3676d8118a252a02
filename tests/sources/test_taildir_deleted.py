"""Files that went away before they were read to their end: what is kept, and what is said."""

from __future__ import annotations

import errno
import os

import pytest

from shipper.sources._tail import rescue
from shipper.sources._tail.identity import owner_of

LINES = [f"line {number} of a log that is long enough to be known by what is in it" for number in range(100)]


def _lose(world, source, committed=1):
    """Has some batches of `app.log` committed; then it is deleted, and another file has its name."""
    for _ in range(committed):
        batch = source.poll(0)
        source.committed(batch)
        world.channel.update({origin.stream: origin for origin in batch.origins})
    (world.logs / "app.log").rename(world.logs / "app.log.1")
    world.write("app.log", "new 1\n")
    (world.logs / "app.log.1").unlink()


def _kept(world):
    return sorted(path.name for path in world.state.glob("unread-*"))


@pytest.fixture(params=["inside the kernel", "by hand"])
def copied(request, monkeypatch):
    """How files are copied."""

    def refused(*args):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    if request.param == "by hand":
        monkeypatch.setattr(rescue.os, "copy_file_range", refused)


@pytest.mark.parametrize("from_channel", [True, False])
def test_what_only_the_source_held_open_is_read_on_at_the_next_start(world, copied, from_channel):
    """With the headers that its lines would have had, and before the file that has its name now."""
    given = {"byteOffsetHeader": "true", "fileHeader": "true"}
    world.write("app.log", "\n".join(LINES) + "\n")
    source = world.start(given, rows_max=10)
    _lose(world, source)
    source.close()
    source = world.start(given, rows_max=200, from_channel=from_channel)
    first, second = [(batch.body.to_pylist(), batch.headers_of(0)) for batch in world.batches(source)]
    at = sum(len(line) + 1 for line in LINES[:10])
    headers = {"byteoffset": str(at), "file": str(world.logs / "app.log")}
    assert first == ([line.encode() for line in LINES[10:]], headers)
    assert second[0] == [b"new 1"]


def test_a_file_that_was_moved_to_another_directory_is_kept_too(world, tmp_path):
    world.write("app.log", "a1\na2\n")
    source = world.start(rows_max=1)
    source.committed(source.poll(0))
    (world.logs / "app.log").rename(tmp_path / "app.log.1")
    source.close()
    assert world.read(world.start()) == ["a2"]


def test_what_was_kept_is_removed_when_it_is_durable_that_it_was_read(world):
    world.write("app.log", "a1\na2\na3")
    source = world.start(rows_max=1, tells_durable=True)
    _lose(world, source)
    source.close()
    forgotten = []
    source = world.start(tells_durable=True, forget=forgotten.append, from_channel=True)
    before = dict(world.channel)
    assert world.wait_and_read(source, 10) == ["a2", "new 1", "a3"], "nobody will end its last line"
    assert len(_kept(world)) == 2
    assert source.durable(list(world.channel.values()))
    world.wait_and_read(source, 10)
    assert _kept(world) == []
    assert source.durable([])
    assert set(before) <= set(forgotten)
    source.close()
    assert world.read(world.start(tells_durable=True)) == []
    assert not world.counters.get("files_lost")


def test_what_was_kept_comes_once_however_often_its_reader_is_killed(world):
    """Both the original and the copy have places in the channels then."""
    world.write("app.log", "\n".join(LINES) + "\n")
    source = world.start(rows_max=10, tells_durable=True)
    _lose(world, source, committed=2)
    source.close()
    bodies = []
    for _ in range(4):
        source = world.start(rows_max=10, tells_durable=True, from_channel=True)
        batch = source.poll(0)
        bodies += batch.body.to_pylist()
        source.committed(batch)
        world.channel.update({origin.stream: origin for origin in batch.origins})
    assert bodies == [line.encode() for line in LINES[20:60]]


def test_what_was_kept_comes_again_from_what_is_durable_when_the_power_goes(world):
    world.write("app.log", "\n".join(LINES) + "\n")
    source = world.start(rows_max=10, tells_durable=True)
    _lose(world, source)
    assert source.durable(list(world.channel.values()))
    batch = source.poll(0)
    source.committed(batch)
    source.close()
    for _ in range(2):
        assert world.read(world.start(rows_max=200, tells_durable=True)) == [*LINES[10:], "new 1"]


def test_what_was_kept_is_read_after_a_decision_by_hand(world):
    world.write("app.log", "\n".join(LINES) + "\n")
    source = world.start(rows_max=10)
    _lose(world, source)
    source.close()
    world.position_file.unlink()
    assert world.read(world.start(from_channel=True)) == [*LINES[10:], "new 1"]


def test_what_was_kept_is_read_by_the_worker_that_knows_the_original(world):
    world.write("app.log", "\n".join(LINES) + "\n")
    identity = (world.logs / "app.log").stat().st_dev, (world.logs / "app.log").stat().st_ino
    source = world.start(rows_max=10)
    _lose(world, source)
    source.close()
    owner = owner_of(identity, 3)
    found = [world.read(world.start(worker=worker, workers=3, from_channel=worker == owner)) for worker in range(3)]
    assert [body for body in found[owner] if body != "new 1"] == LINES[10:]
    assert sum(len(bodies) for bodies in found) == 91


def test_a_copy_that_is_not_whole_counts_for_nothing(world):
    world.write("app.log", "a1\na2\n")
    source = world.start(rows_max=1)
    _lose(world, source)
    source.close()
    [copy] = world.state.glob("unread-*[0-9]")
    (world.state / f"{copy.name}.note").unlink()
    assert world.read(world.start()) == ["new 1"]
    assert _kept(world) == []


def test_what_finds_no_room_is_said_and_counted(world, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.write("app.log", "a1\na2\na3\n")
    source = world.start(rows_max=1)
    _lose(world, source)
    monkeypatch.setattr(rescue.os, "copy_file_range", full)
    source.close()
    assert f"keeping the end of {world.logs}/app.log in {world.state}: No space left on device" in world.words()
    assert ("error", f"{world.logs}/app.log was deleted before its last 6 bytes were read") in world.said
    assert world.counters.get("files_lost") == 1
    assert _kept(world) == []
    monkeypatch.undo()
    assert world.read(world.start()) == ["new 1"]


def test_a_file_that_is_still_there_is_not_copied(world):
    """Under another name, or with nothing behind what was read: the next start finds it, or needs nothing of it."""
    world.write("app.log", "a1\na2\n")
    world.write("app.log.2", "b1\n")
    source = world.start({"filegroups.g": f"{world.logs}/app\\.log(\\.2)?"}, rows_max=1)
    source.committed(source.poll(0))
    source.committed(source.poll(0))
    (world.logs / "app.log").rename(world.logs / "app.log.1")
    (world.logs / "app.log.2").unlink()
    source.close()
    assert _kept(world) == []


def test_what_was_kept_for_a_group_that_is_gone_is_said(world):
    world.write("app.log", "a1\na2\n")
    source = world.start(rows_max=1)
    _lose(world, source)
    source.close()
    assert world.read(world.start({"filegroups.g": f"{world.logs}/other"})) == []
    assert f"is the end of {world.logs}/app.log, which no file group reads any more" in world.words()
    assert len(_kept(world)) == 2


def _warnings(world):
    return [line for level, line in world.said if level == "warning"]


@pytest.mark.parametrize("ends", ["stopped", "killed"])
@pytest.mark.parametrize("goes", ["compressed", "moved"])
def test_a_file_that_went_while_nobody_ran_is_said_once(world, tmp_path, ends, goes):
    world.write("app.log", "a1\n")
    source = world.start(tells_durable=True)
    world.read(source)
    if ends == "stopped":
        source.close()
    world.append("app.log", "a2\n")
    if goes == "compressed":
        world.write("old.gz", "compressed")
        (world.logs / "app.log").unlink()
    else:
        (world.logs / "app.log").rename(tmp_path / "app.log.1")
    world.write("app.log", "new and longer 1\n")
    for _ in range(3):
        world.read(world.start(tells_durable=True, from_channel=True))
    [line] = _warnings(world)
    assert f"{world.logs}/app.log (read to byte 3); what was written behind that before they went was not read" in line


def test_files_that_went_while_nobody_ran_are_said_in_one_line(world):
    for number in range(5):
        world.write(f"app.log.{number}", f"{number}\n")
    source = world.start()
    world.read(source)
    source.close()
    for number in range(5):
        (world.logs / f"app.log.{number}").unlink()
    world.write("app.log", "a1\n")
    world.start()
    [line] = _warnings(world)
    assert f"{world.logs}/app.log.2 (read to byte 2) and 2 more;" in line


@pytest.mark.parametrize("group", ["app\\.log.*", "app\\.log"])
def test_a_log_that_was_deleted_after_its_source_had_seen_it_end_is_not_said(world, group):
    """That is what happens to logs. The channels' table may name it for long: it is written anew when it is large."""
    given = {"filegroups.g": f"{world.logs}/{group}", "idleTimeout": "1000"}
    world.write("app.log", "a1\n")
    source = world.start(given, forget=lambda stream: None)
    world.read(source)
    (world.logs / "app.log").rename(world.logs / "app.log.1")
    world.write("app.log", "b1\n")
    world.wait_and_read(source, 20)
    (world.logs / "app.log.1").unlink()
    world.wait_and_read(source, 20)
    assert len(world.channel) == 2
    for _ in range(3):
        source = world.start(given, from_channel=True)
        assert world.read(source) == []
        world.wait_and_read(source, 10)
        source.close()
    assert _warnings(world) == []


def test_a_log_that_was_truncated_while_nobody_ran_is_said(world):
    """Its copy was compressed: nobody knows whether more stood in it than was read."""
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    world.write("app.log", "b1\nb2\n")
    assert world.read(world.start()) == ["b1", "b2"]
    [line] = _warnings(world)
    assert "no longer what was read last time, up to byte 3" in line
    assert "what was written behind that byte and not read is gone" in line
