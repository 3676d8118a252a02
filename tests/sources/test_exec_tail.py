"""exec with a `tail` command: which commands are read by our own tail, and what comes of it."""

from __future__ import annotations

import os

import pytest

from shipper.api import ComponentFailed
from shipper.config.field import read_options
from shipper.sources._tail.command import FirstPlace, TailCommand, parse_tail
from shipper.sources.exec import ExecOptions, ExecSource

TEN = FirstPlace(10)


@pytest.mark.parametrize(
    ("command", "files", "first"),
    [
        ("tail -F /a.log", ["/a.log"], TEN),
        ("tail -f /a.log /b.log", ["/a.log", "/b.log"], TEN),
        ("/usr/bin/tail   -F  /x/*.log", ["/x/*.log"], TEN),
        ("tail -n 0 -F /a", ["/a"], FirstPlace(0)),
        ("tail -n0 -F /a", ["/a"], FirstPlace(0)),
        ("tail -Fn 5 /a", ["/a"], FirstPlace(5)),
        ("tail -fn5 /a", ["/a"], FirstPlace(5)),
        ("tail -n +1 -F /a", ["/a"], FirstPlace(1, from_start=True)),
        ("tail -F -n +3 /a", ["/a"], FirstPlace(3, from_start=True)),
        ("tail --lines=+0 --follow=name --retry /a", ["/a"], FirstPlace(0, from_start=True)),
        ("tail --lines 7 -F /a", ["/a"], FirstPlace(7)),
        ("tail -c +0 -f /a", ["/a"], FirstPlace(0, lines=False, from_start=True)),
        ("tail -c 20 -f /a", ["/a"], FirstPlace(20, lines=False)),
        ("tail --bytes=20 -f /a", ["/a"], FirstPlace(20, lines=False)),
        ("tail -100f /a", ["/a"], FirstPlace(100)),
        ("tail -20 -F /a", ["/a"], FirstPlace(20)),
        ("tail -n 0 -qF /a", ["/a"], FirstPlace(0)),
        ("tail -n0 -Fv /a", ["/a"], FirstPlace(0)),
        ("tail -n +1 -fq /a", ["/a"], FirstPlace(1, from_start=True)),
        ("tail -20 -Fv /a", ["/a"], FirstPlace(20)),
        ("tail -qF /a", ["/a"], TEN),
        ("tail -q -s 0.5 -F -- /a", ["/a"], TEN),
        ("tail --sleep-interval=2 -v -F /a", ["/a"], TEN),
        ("bash -c 'tail -F /a'", ["/a"], TEN),
        ('/bin/bash -c "tail -n +1 -F /a"', ["/a"], FirstPlace(1, from_start=True)),
    ],
)
def test_commands_that_follow_files_are_understood(command, files, first):
    assert parse_tail(command, None) == TailCommand(tuple(files), first)


@pytest.mark.parametrize(
    ("command", "shell", "files"),
    [
        ("tail -F /a", "/bin/sh -c", ["/a"]),
        ("exec tail -F '/a b'", "/bin/bash -c", ["/a b"]),
        ("tail -F /x/*.log", "/bin/bash --norc -c", ["/x/*.log"]),
    ],
)
def test_commands_in_a_shell_are_understood(command, shell, files):
    assert parse_tail(command, shell) == TailCommand(tuple(files), TEN)


@pytest.mark.parametrize(
    ("command", "shell"),
    [
        ("tail -F /a | grep x", None),
        ("tail -F /a | grep x", "/bin/sh -c"),
        ("tail -F /a > /b", "/bin/sh -c"),
        ("tail -F $LOG", "/bin/sh -c"),
        ("tail -F '/x/*.log'", "/bin/sh -c"),
        ("tail -F '/a'", None),
        ("tail -n 10 /a", None),
        ("tail -F", None),
        ("tail -F -", None),
        ("tail -F --pid=3 /a", None),
        ("tail -z -F /a", None),
        ("tail -n 10k -F /a", None),
        ("tail -F /a", "/bin/sh -x"),
        ("tail -F /a", "/usr/bin/python3 -c"),
        ("sudo tail -F /a", None),
        ("cat /a", None),
        ("bash -c 'tail -F /a | cat'", None),
        ("bash -c 'tail -F", None),
        ("", None),
    ],
)
def test_everything_else_is_for_the_real_program(command, shell):
    assert parse_tail(command, shell) is None


@pytest.mark.parametrize("content", [b"", b"1\n", b"1\n2\n3\n4\n5\n", b"1\n2\n3\n4\nhalf", b"\n\n\n\n"])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
def test_first_places_are_those_of_the_real_tail(tmp_path, content, count):
    path = tmp_path / "a"
    path.write_bytes(content)
    lines = content.splitlines(keepends=True)
    expected = {
        FirstPlace(count): b"".join(lines[len(lines) - min(count, len(lines)) :]),
        FirstPlace(count, from_start=True): b"".join(lines[max(0, count - 1) :]),
        FirstPlace(count, lines=False): content[max(0, len(content) - count) :],
        FirstPlace(count, lines=False, from_start=True): content[max(0, count - 1) :],
    }
    fd = os.open(path, os.O_RDONLY)
    seen = {place: content[place(fd, len(content)) :] for place in expected}
    os.close(fd)
    assert seen == expected


def test_first_places_are_found_in_large_files(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x\n" * 3_000_000)
    fd = os.open(path, os.O_RDONLY)
    assert FirstPlace(2_000_000)(fd, 6_000_000) == 2_000_000
    assert FirstPlace(2_000_001, from_start=True)(fd, 6_000_000) == 4_000_000
    os.close(fd)


def start(world, command, properties=None, **context):
    return world.start({"command": command} | (properties or {}), source=ExecSource, **context)


def test_a_line_at_start_says_that_the_real_command_is_not_run(world):
    source = start(world, f"tail -F {world.logs}/*.log")
    assert source.replayable
    assert world.words().startswith(f"tail -F {world.logs}/*.log: read by shipper itself, with positions")
    assert f"new files that match {world.logs}/*.log are read too" in world.words()
    assert "exec.native = false" in world.words()


def test_exec_native_false_runs_the_real_command(world):
    options, _ = read_options(ExecOptions, {"command": "tail -F /a", "exec.native": "false"})
    assert options.tail is None
    assert not ExecSource(options).replayable


def test_the_first_start_shows_the_last_ten_lines_and_later_ones_go_on(world):
    world.write("a.log", "".join(f"{number}\n" for number in range(30)))
    command = f"tail -F {world.logs}/a.log"
    source = start(world, command)
    assert world.read(source) == [str(number) for number in range(20, 30)]
    source.close()
    world.append("a.log", "30\n")
    assert world.read(start(world, command)) == ["30"]


def test_a_file_that_appears_later_is_read_from_its_beginning(world):
    world.write("a.log", "a\n" * 30)
    command = f"tail -n 1 -F {world.logs}/*.log"
    source = start(world, command)
    assert world.read(source) == ["a"]
    world.write("b.log", "b\n" * 30)
    assert len(world.read(source)) == 30
    source.close()
    world.write("c.log", "c\n" * 30)
    assert len(world.read(start(world, command))) == 30


def test_a_file_that_is_not_there_yet_is_waited_for(world):
    source = start(world, f"tail -F {world.logs}/later.log")
    assert world.read(source) == []
    world.write("later.log", "a\n")
    assert world.read(source) == ["a"]


def test_rotation_neither_loses_nor_repeats(world):
    source = start(world, f"tail -n +1 -F {world.logs}/a.log")
    world.write("a.log", "a1\n")
    assert world.read(source) == ["a1"]
    world.append("a.log", "a2\n")
    os.rename(world.logs / "a.log", world.logs / "a.log.1")
    world.write("a.log", "b1\n")
    assert sorted(world.read(source)) == ["a2", "b1"]


def test_globs_in_directories_are_expanded_again(world):
    (world.logs / "one").mkdir()
    (world.logs / "one" / "x.log").write_bytes(b"1\n")
    source = start(world, f"tail -n +1 -F {world.logs}/*/x.log")
    assert world.read(source) == ["1"]
    (world.logs / "two").mkdir()
    (world.logs / "two" / "x.log").write_bytes(b"2\n")
    assert world.read(source, wait_s=6) == ["2"]


def test_lines_end_by_execs_rule_and_bytes_go_through_the_charset(world):
    world.write("a.log", b"a\rb\r\nc\n\xe9\nlast\r")
    source = start(world, f"tail -n +1 -F {world.logs}/a.log")
    assert world.read(source) == ["a", "b", "c", "\ufffd"]
    world.append("a.log", b"\nd\n")
    assert world.read(source) == ["last", "d"]


def test_after_a_kill_the_channel_knows(world):
    world.write("a.log", "a1\n")
    command = f"tail -n +1 -F {world.logs}/a.log"
    world.read(start(world, command))
    world.append("a.log", "a2\n")
    assert world.read(start(world, command, from_channel=True)) == ["a2"]


def test_batch_size_is_literal_where_batches_are_strict(world):
    world.write("a.log", "x\n" * 50)
    source = start(world, f"tail -n +1 -F {world.logs}/a.log", strict=True)
    assert [batch.rows for batch in world.batches(source)] == [20, 20, 10]


def test_max_line_bytes_is_honoured(world):
    world.write("a.log", b"x" * 5000 + b"\nb\n")
    source = start(world, f"tail -n +1 -F {world.logs}/a.log", {"maxLineBytes": "2048"})
    assert [len(body) for body in world.read(source)] == [2048, 1]


def test_a_directory_is_refused_with_what_to_write(world):
    with pytest.raises(ComponentFailed, match=r"is a directory; name files, as in .*/\*"):
        start(world, f"tail -F {world.logs}")
