"""Things that lie in log directories and are no quiet text files."""

from __future__ import annotations

import errno
import os
import random
import resource

import pytest

from shipper.api import ComponentFailed
from shipper.sources._tail import watch as watch_module


def test_a_directory_and_a_fifo_are_left_alone_and_said(world):
    (world.logs / "app.log.d").mkdir()
    os.mkfifo(world.logs / "app.log.p")
    world.write("app.log", "a\n")
    assert world.read(world.start()) == ["a"]
    assert "app.log.d is a directory: left alone" in world.words()
    assert "app.log.p is no regular file: left alone" in world.words()


@pytest.mark.permissions_count
def test_a_file_that_may_not_be_read_is_said_once_and_read_when_it_may(world):
    path = world.write("app.log", "a\n")
    path.chmod(0)
    source = world.start()
    assert world.wait_and_read(source, 10) == []
    assert world.words().count("can't be read: Permission denied") == 1
    assert source.trouble() == f"{path} can't be read: Permission denied"
    path.chmod(0o600)
    assert world.read(source) == ["a"]
    assert source.trouble() == ""


@pytest.mark.permissions_count
def test_a_file_that_may_not_be_read_is_no_trouble_once_it_is_gone(world):
    paths = [world.write(f"app.log.{number}", "a\n") for number in range(2)]
    for path in paths:
        path.chmod(0)
    source = world.start()
    assert source.trouble() == f"{paths[0]} can't be read, and 1 more: Permission denied"
    paths[0].unlink()
    world.wait_and_read(source, 6)
    assert source.trouble() == f"{paths[1]} can't be read: Permission denied"
    paths[1].unlink()
    paths[1].mkdir()
    world.wait_and_read(source, 6)
    assert source.trouble() == ""


def test_a_file_that_can_not_be_opened_is_said_once_and_read_when_it_can(world, monkeypatch):
    path = world.write("app.log", "a\n")
    real_open = os.open

    def refuse(name, *args, **more):
        if name == str(path):
            raise PermissionError(13, "Permission denied", name)
        return real_open(name, *args, **more)

    monkeypatch.setattr(os, "open", refuse)
    source = world.start()
    assert world.wait_and_read(source, 10) == []
    assert world.words().count(f"{path} can't be read: Permission denied; trying again") == 1
    monkeypatch.setattr(os, "open", real_open)
    assert world.read(source, wait_s=6) == ["a"]


def test_a_position_of_a_file_that_can_not_be_opened_at_start_is_kept(world, monkeypatch):
    path = world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    world.append("app.log", "a2\n")
    real_open = os.open
    monkeypatch.setattr(
        os, "open", lambda name, *args, **more: real_open("/nowhere/x" if name == str(path) else name, *args, **more)
    )
    source = world.start()
    world.wait_and_read(source, 10)
    source.close()
    source = world.start()
    monkeypatch.setattr(os, "open", real_open)
    assert world.read(source, wait_s=6) == ["a2"]


def test_a_chain_of_symbolic_links_is_followed(world, tmp_path):
    """As in /var/log/containers: a link to a link to the file, which rotates where the group can't see it."""
    pods, docker = tmp_path / "pods", tmp_path / "docker"
    pods.mkdir()
    docker.mkdir()
    (docker / "c.log").write_bytes(b"a1\n")
    (pods / "0.log").symlink_to(docker / "c.log")
    (world.logs / "app.log").symlink_to(pods / "0.log")
    source = world.start()
    assert world.read(source) == ["a1"]
    with open(docker / "c.log", "ab") as file:
        file.write(b"a2\n")
    assert world.read(source) == ["a2"]
    with open(docker / "c.log", "ab") as file:
        file.write(b"a3\n")
    os.rename(docker / "c.log", docker / "c.log.1")
    (docker / "c.log").write_bytes(b"b1\n")
    assert sorted(world.read(source)) == ["a3", "b1"]
    with open(docker / "c.log.1", "ab") as file:
        file.write(b"a4\n")
    assert world.read(source) == ["a4"]


def test_nothing_is_kept_of_links_and_strange_files_that_are_gone(world, tmp_path):
    source = world.start({"rotateWait": "0", "idleTimeout": "1"})
    for number in range(3):
        behind = tmp_path / f"pod{number}"
        behind.mkdir()
        (behind / "c.log").write_bytes(b"a\n")
        (world.logs / f"app.log.{number}").symlink_to(behind / "c.log")
        (world.logs / f"app.log.folder{number}").mkdir()
        assert world.wait_and_read(source, 5) == ["a"]
        (world.logs / f"app.log.{number}").unlink()
        (behind / "c.log").unlink()
        (world.logs / f"app.log.folder{number}").rmdir()
        world.wait_and_read(source, 10)
    files = source._tail._files
    assert (files.known, files._by_place, dict(files._behind_links), files._said) == ({}, {}, {}, {})
    assert world.words().count("is a directory: left alone") == 3


def test_a_file_with_two_names_is_read_once(world):
    path = world.write("app.log", "a1\n")
    os.link(path, world.logs / "app.log.hard")
    (world.logs / "app.log.soft").symlink_to(path)
    both = {
        "filegroups": "g h",
        "filegroups.g": f"{world.logs}/app\\.log.*",
        "filegroups.h": f"{world.logs}/app.*",
    }
    source = world.start(both)
    assert world.read(source) == ["a1"]
    world.append("app.log.hard", "a2\n")
    assert world.read(source) == ["a2"]


def test_nul_and_invalid_utf8_pass_through_unchanged(world):
    content = bytes(random.Random(1).randrange(256) for _ in range(50_000)).replace(b"\n", b"\r")
    lines = [content[i : i + 97] + b"x" for i in range(0, len(content), 97)]
    world.write("app.log", b"\n".join(lines) + b"\n")
    source = world.start(batch_bytes=4096)
    assert [body for batch in world.batches(source) for body in batch.body.to_pylist()] == lines


def test_line_ends_of_every_kind(world):
    world.write("app.log", b"\n\r\n\r\r\na\rb\nc\r\n\n")
    source = world.start()
    assert [body for batch in world.batches(source) for body in batch.body.to_pylist()] == [
        b"", b"", b"\r", b"a\rb", b"c", b"",
    ]  # fmt: skip


def test_a_file_of_windows_lines_is_not_copied(world):
    world.write("app.log", b"a\r\nbb\r\n\r\n")
    (batch,) = world.batches(world.start())
    assert batch.trim == 2
    assert batch.body.to_pylist() == [b"a", b"bb", b""]


def test_an_empty_file_and_one_that_fills_later(world):
    world.write("app.log", b"")
    source = world.start()
    assert world.read(source) == []
    world.append("app.log", "a\n")
    assert world.read(source) == ["a"]


def test_nothing_matches_is_said_once_and_looked_for(world):
    source = world.start()
    assert world.wait_and_read(source, 30) == []
    assert [line for _, line in world.said] == ["no file matches g yet: looking on"]
    world.write("app.log", "a\n")
    assert world.read(source) == ["a"]


def test_the_hole_that_a_truncated_log_leaves_is_passed(world):
    """copytruncate under a program that keeps its own offset: what it writes next lies behind a hole of NULs."""
    with open(world.logs / "app.log", "wb") as file:
        file.write(b"before\n")
        file.seek(50_000_000)
        file.write(b"after the hole\nb\n")
    source = world.start({"maxLineBytes": "65536"}, batch_bytes=4096)
    assert [body.strip("\0") for body in world.read(source)] == ["before", "after the hole", "b"]
    assert world.counters.get("truncated_lines") == 0


def test_a_line_of_many_megabytes_that_grows_slowly_is_not_read_again_and_again(world, monkeypatch):
    world.write("app.log", "a\n")
    source = world.start(batch_bytes=65536)
    read = [0]
    preadv = os.preadv

    def counted(fd, buffers, offset):
        count = preadv(fd, buffers, offset)
        read[0] += count
        return count

    monkeypatch.setattr(os, "preadv", counted)
    assert world.read(source) == ["a"]
    for _ in range(100):
        world.append("app.log", "x" * 50_000)
        assert world.read(source) == []
    world.append("app.log", "\n")
    assert [len(body) for body in world.read(source)] == [5_000_000]
    assert read[0] < 30_000_000


def test_more_files_than_descriptors_take_turns(world, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (72, 72))
    for number in range(50):
        world.write(f"app.log.{number}", f"a{number}\n")
    source = world.start()
    assert len(world.read(source)) == 50
    for number in range(50):
        world.append(f"app.log.{number}", f"b{number}\n")
    assert sorted(world.read(source)) == sorted(f"b{number}" for number in range(50))
    assert source._tail._files.open_files <= 8


def test_when_the_process_has_no_descriptor_left_files_take_turns(world, monkeypatch):
    for number in range(10):
        world.write(f"app.log.{number}", f"a{number}\n")
    real_open, opened, closed = os.open, [], os.close

    def limited(name, *args, **more):
        if str(name).startswith(str(world.logs)):
            if len(opened) >= 4:
                raise OSError(24, "Too many open files", name)
            opened.append(fd := real_open(name, *args, **more))
            return fd
        return real_open(name, *args, **more)

    def close(fd):
        if fd in opened:
            opened.remove(fd)
        closed(fd)

    monkeypatch.setattr(os, "open", limited)
    monkeypatch.setattr(os, "close", close)
    source = world.start()
    assert len(world.read(source)) == 10
    assert "more than this process may open" in world.words()
    source.close()


def test_a_start_without_a_descriptor_says_what_to_raise(world, monkeypatch):
    """Which files were there at the start decides where they begin, so it begins when it can look."""

    def refuse(path):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    world.write("app.log", "a1\n")
    with monkeypatch.context() as without:
        without.setattr(os, "listdir", refuse)
        with pytest.raises(ComponentFailed, match="ulimit -n, LimitNOFILE"):
            world.start()
    assert world.read(world.start()) == ["a1"]


def test_a_closed_file_that_is_deleted_with_unread_lines_is_counted_and_said(world):
    for number in range(3):
        world.write(f"app.log.{number}", f"a{number}\n")
    source = world.start()
    files = source._tail._files
    for file in files:
        files.close_file(file)
    os.unlink(world.logs / "app.log.1")
    assert sorted(world.wait_and_read(source, 10)) == ["a0", "a2"]
    assert world.counters.get("files_lost") == 1
    assert "app.log.1 was deleted before its last 3 bytes were read" in world.words()


def test_a_directory_that_goes_and_comes_back_is_watched_again(world, tmp_path):
    world.write("app.log", "a\n")
    source = world.start()
    assert world.read(source) == ["a"]
    os.rename(world.logs, tmp_path / "away")
    world.wait_and_read(source, 6)
    world.logs.mkdir()
    world.wait_and_read(source, 6)
    world.write("app.log", "b\n")
    assert world.read(source) == ["b"]


def test_when_the_kernel_lost_count_every_file_is_looked_at(world, monkeypatch):
    source = world.start()
    changes = watch_module.Changes(overflow=True)
    world.write("app.log", "a\n")
    monkeypatch.setattr(source._tail._watch, "changes", lambda: changes)
    assert world.read(source) == ["a"]
    assert "looking at every file" in world.words()


def test_when_watches_are_used_up_the_sweep_goes_on_and_it_is_said_once(world, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watch_module.inotify.Inotify, "add", refuse)
    world.write("app.log", "a\n")
    source = world.start()
    assert world.read(source) == ["a"]
    world.append("app.log", "b\n")
    assert world.read(source, wait_s=12) == ["b"]
    assert world.words().count("raise fs.inotify.max_user_watches") == 1


def test_on_a_network_file_system_the_sweep_does_it_alone(world, monkeypatch):
    monkeypatch.setattr(watch_module, "_network_kind", lambda directory: "nfs4")
    world.write("app.log", "a\n")
    source = world.start()
    assert world.read(source) == ["a"]
    world.append("app.log", "b\n")
    assert world.read(source) == []
    assert world.read(source, wait_s=6) == ["b"]
    assert "is on nfs4, which tells of no changes" in world.words()


def test_a_busy_stranger_in_the_directory_does_not_keep_us_running(world):
    world.write("app.log", "a\n")
    source = world.start()
    world.read(source)
    world.waiter.on_wait = lambda: world.append("stranger", "x\n")
    world.waiter.waited_s.clear()
    world.wait_and_read(source, 1)
    assert len(world.waiter.waited_s) <= 1 / 0.0025


def test_names_that_are_no_utf8(world):
    name = os.fsdecode(b"app.log.\xff")
    world.write(name, "a1\n")
    source = world.start({"fileHeader": "true"})
    (batch,) = world.batches(source)
    assert batch.headers_of(0)["file"].endswith("/app.log.\ufffd")
    source.close()
    world.append(name, "a2\n")
    assert world.read(world.start()) == ["a2"]


def test_idle_files_cost_nothing_but_a_look_now_and_then(world):
    for number in range(100):
        world.write(f"app.log.{number}", "a\n")
    source = world.start()
    world.read(source)
    world.wait_and_read(source, 30)
    world.waiter.waited_s.clear()
    assert source.poll(60) is None
    assert len(world.waiter.waited_s) <= 130


def test_lag_is_what_is_known_to_wait(world):
    world.write("app.log", "a\n" * 1000)
    source = world.start({"writePosInterval": "1000"}, rows_max=100)
    batch = source.poll(0)
    source.committed(batch)
    world.clock.advance(2)
    batch = source.poll(0)
    assert source.lag_bytes() == 1800
    source.committed(batch)


def test_lag_is_known_while_a_put_waits(world):
    """The channel is full: nobody polls, and programs write on."""
    world.write("app.log", "a\n" * 1000)
    world.write("app.log.1", "b\n" * 500)
    source = world.start(rows_max=100)
    assert source.lag_bytes() == 3000
    assert source.poll(0).rows == 100
    world.append("app.log", "c\n" * 5000)
    assert source.lag_bytes() == 3000, "the files are asked at most twice a second"
    world.clock.advance(0.5)
    assert source.lag_bytes() == 13_000


def test_events_are_counted_by_the_worker_not_here(world):
    """The worker counts what a source hands out and what the channels took: here it would count twice."""
    world.write("app.log", "a\nb\n")
    world.read(world.start())
    names = ("EventReceivedCount", "EventAcceptedCount", "AppendBatchReceivedCount", "AppendBatchAcceptedCount")
    assert [world.counters.get(name) for name in names] == [0, 0, 0, 0]


def test_files_of_strangers_that_come_and_go_make_nobody_look_again(world, monkeypatch):
    world.write("app.log", "a\n")
    source = world.start()
    world.wait_and_read(source, 20)
    looks: list[int] = []
    find = source._tail._files.find
    monkeypatch.setattr(source._tail._files, "find", lambda: looks.append(1) or find())
    for number in range(50):
        world.write(f"stranger.{number}", "x\n")
        os.unlink(world.logs / f"stranger.{number}")
        world.read(source)
    assert looks == []
    world.write("app.log.1", "b\n")
    assert world.read(source) == ["b"]
    assert looks == [1]


@pytest.mark.parametrize("reason", [errno.EMFILE, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("how", ["listdir", "scandir"])
def test_a_directory_that_can_not_be_listed_for_a_while_changes_nothing(world, monkeypatch, reason, how):
    """What is in it is not gone, though nobody can look: it is neither given up nor read again."""
    for name in ("app.log", "app.log.1"):
        world.write(name, f"{name} a\n")
    source = world.start({"rotateWait": "1", "idleTimeout": "1000"})
    assert world.wait_and_read(source, 5) == ["app.log a", "app.log.1 a"]
    real = getattr(os, how)

    def refuse(path):
        if str(path) == str(world.logs):
            raise OSError(reason, os.strerror(reason), path)
        return real(path)

    monkeypatch.setattr(os, how, refuse)
    (world.logs / "app.log").rename(world.logs / "app.log.2")
    world.append("app.log.1", "app.log.1 b\n")
    world.write("app.log", "app.log new\n")
    found = world.wait_and_read(source, 30)
    monkeypatch.setattr(os, how, real)
    world.append("app.log.2", "app.log b\n")
    found += world.wait_and_read(source, 10)
    assert sorted(found) == ["app.log b", "app.log new", "app.log.1 b"]
    if how == "listdir":
        assert world.words().count(f"g can't be read: listing {world.logs}: {os.strerror(reason)}") == 1
    assert "was deleted" not in world.words()


@pytest.mark.parametrize("how", ["scandir", "open"])
def test_a_copy_is_found_though_there_was_no_descriptor_to_look_for_it_with(world, monkeypatch, how):
    """What of a truncated log was not read is in its copy; one of the open files makes room."""
    world.write("app.log.other", "other\n")
    world.write("app.log", "".join(f"line {number}\n" for number in range(1000)))
    source = world.start(batch_bytes=1024)
    found = []
    for _ in range(4):
        batch = source.poll(0)
        found += batch.body.to_pylist()
        source.committed(batch)
    (world.logs / "app.log.1").write_bytes((world.logs / "app.log").read_bytes())
    world.write("app.log", "new\n")
    real, refusals = getattr(os, how), []

    def refuse(name, *args, **more):
        if str(name).startswith(str(world.logs)) and not refusals and (how == "scandir" or str(name).endswith(".1")):
            refusals.append(name)
            raise OSError(errno.EMFILE, "Too many open files", name)
        return real(name, *args, **more)

    monkeypatch.setattr(os, how, refuse)
    rest = world.wait_and_read(source, 20)
    assert refusals
    assert sorted([*(body.decode() for body in found), *rest]) == sorted(
        ["new", "other", *(f"line {number}" for number in range(1000))]
    )
    assert not world.counters.get("files_lost")


def test_a_file_that_fails_to_be_read_keeps_nobody_from_the_others(world, monkeypatch):
    """Also not from one that might be its copy."""
    bad = world.write("app.log", "a1\n").stat().st_ino
    source = world.start()
    preadv, pread = os.preadv, os.pread

    def fails(fd):
        if os.fstat(fd).st_ino == bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", lambda fd, *more: fails(fd) or pread(fd, *more))
    monkeypatch.setattr(os, "preadv", lambda fd, *more: fails(fd) or preadv(fd, *more))
    world.write("app.log.1", "b1\n")
    assert world.read(source, wait_s=10) == ["b1"]
    monkeypatch.undo()
    assert world.read(source, wait_s=10) == ["a1"]
