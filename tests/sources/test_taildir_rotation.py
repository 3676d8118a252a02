"""Files that are renamed, copied and truncated, deleted, and written anew while they are read."""

from __future__ import annotations

import os
import random
import shutil

import pytest


def only(world, *more):
    """A group of `app.log` alone: rotated names do not match."""
    return {"filegroups": "g", "filegroups.g": f"{world.logs}/app\\.log"} | dict(*more)


def test_a_renamed_file_is_not_read_twice(world):
    world.write("app.log", "a1\n")
    source = world.start()
    assert world.read(source) == ["a1"]
    os.rename(world.logs / "app.log", world.logs / "app.log.1")
    world.append("app.log.1", "a2\n")
    world.write("app.log", "b1\n")
    assert sorted(world.read(source)) == ["a2", "b1"]


def test_a_file_renamed_out_of_its_group_is_followed_to_its_end(world):
    world.write("app.log", "a1\n")
    source = world.start(only(world))
    assert world.read(source) == ["a1"]
    os.rename(world.logs / "app.log", world.logs / "old")
    world.append("old", "a2\n")
    assert world.read(source) == ["a2"]
    world.append("old", "a3\n")
    assert world.read(source, wait_s=6) == ["a3"]


def test_a_file_renamed_out_of_its_group_while_nobody_ran_is_followed_to_its_end(world):
    world.write("app.log", "a1\n")
    source = world.start(only(world))
    world.read(source)
    source.close()
    world.append("app.log", "a2\n")
    os.rename(world.logs / "app.log", world.logs / "app.log.1")
    world.write("app.log", "b1\n")
    again = world.start(only(world))
    assert sorted(world.read(again)) == ["a2", "b1"]
    world.append("app.log.1", "a3\n")
    again.close()
    assert world.read(world.start(only(world))) == ["a3"]


@pytest.mark.parametrize("group", ["app\\.log", "app\\.log.*"])
@pytest.mark.parametrize(("old_s", "new_s"), [(1000, 1000), (2000, 1000), (1000, 2000)])
def test_the_end_of_a_renamed_file_comes_before_the_new_one(world, group, old_s, new_s):
    """Whatever their times: one tick of the kernel gives both the same, and a writer may end the old one last."""
    world.write("app.log", "a1\n")
    source = world.start({"filegroups.g": f"{world.logs}/{group}"})
    assert world.read(source) == ["a1"]
    world.append("app.log", "a2\n")
    os.rename(world.logs / "app.log", world.logs / "app.log.1")
    world.append("app.log.1", "a3\n")
    world.write("app.log", "b1\n")
    os.utime(world.logs / "app.log.1", (old_s, old_s))
    os.utime(world.logs / "app.log", (new_s, new_s))
    assert world.read(source) == ["a2", "a3", "b1"]


def test_files_of_a_chain_that_were_renamed_at_once_come_oldest_first(world):
    for name, line in [("app.log.2", "a1"), ("app.log.1", "b1"), ("app.log", "c1")]:
        world.write(name, line + "\n")
    source = world.start()
    world.read(source)
    for name, line in [("app.log.2", "a2"), ("app.log.1", "b2"), ("app.log", "c2")]:
        world.append(name, line + "\n")
        age = int(name.removeprefix("app.log.") if name != "app.log" else 0)
        os.rename(world.logs / name, world.logs / f"app.log.{age + 1}")
    world.write("app.log", "d1\n")
    for path in world.logs.iterdir():
        os.utime(path, (1000, 1000))
    assert world.read(source) == ["a2", "b2", "c2", "d1"]


def test_files_that_exchanged_their_names_are_both_read(world):
    world.write("app.log.1", "a1\n")
    world.write("app.log.2", "b1\n")
    source = world.start()
    world.read(source)
    world.append("app.log.1", "a2\n")
    world.append("app.log.2", "b2\n")
    for old, new in [("app.log.1", "other"), ("app.log.2", "app.log.1"), ("other", "app.log.2")]:
        os.rename(world.logs / old, world.logs / new)
    assert sorted(world.read(source)) == ["a2", "b2"]


def test_a_file_moved_out_of_its_directory_is_read_to_its_end(world, tmp_path):
    world.write("app.log", "a1\n")
    source = world.start()
    assert world.read(source) == ["a1"]
    world.append("app.log", "a2\n")
    os.rename(world.logs / "app.log", tmp_path / "elsewhere")
    assert world.read(source) == ["a2"]


def test_a_deleted_file_is_read_to_its_end_and_released(world):
    world.write("app.log", "a1\n")
    source = world.start()
    assert world.read(source) == ["a1"]
    world.append("app.log", "a2\nlast words")
    os.unlink(world.logs / "app.log")
    assert world.read(source) == ["a2"]
    assert world.wait_and_read(source, 4) == []
    assert world.wait_and_read(source, 6) == ["last words"]
    world.wait_and_read(source, 2)
    assert world.counters.get("open_files") == 0


def test_the_last_words_of_a_renamed_file_come_after_rotate_wait(world):
    world.write("app.log", "a1\nlast words")
    source = world.start({"rotateWait": "30"})
    assert world.read(source) == ["a1"]
    os.rename(world.logs / "app.log", world.logs / "app.log.1")
    assert world.wait_and_read(source, 25) == []
    assert world.wait_and_read(source, 10) == ["last words"]
    source.close()
    assert world.read(world.start()) == []


def test_the_last_words_of_a_file_that_stands_are_waited_for(world):
    world.write("app.log", "a1\nhalf")
    source = world.start({"idleTimeout": "1000"})
    assert world.read(source) == ["a1"]
    assert world.wait_and_read(source, 600) == []


def test_a_truncated_file_is_read_from_its_beginning(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    assert world.read(source) == ["a1", "a2"]
    world.write("app.log", "b\n")
    assert world.read(source) == ["b"]
    assert "app.log was truncated or written anew" in world.words()


@pytest.mark.parametrize("content", ["b1\n", "b1\nb2\n", "b1\nb2\nb3\nb4\n"])
def test_a_file_written_anew_while_nobody_ran_is_read_from_its_beginning(world, content):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    world.read(source)
    source.close()
    world.write("app.log", content)
    assert world.read(world.start()) == content.split()


def test_a_file_written_anew_with_the_same_length_is_read(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    assert world.read(source) == ["a1", "a2"]
    world.write("app.log", "b1\nb2\n")
    assert world.read(source) == ["b1", "b2"]


def test_a_file_that_an_editor_replaced_by_a_copy_with_more_goes_on_where_it_was(world):
    lines = "".join(f"line {n} of a file that is long enough to be known again\n" for n in range(100))
    world.write("app.log", lines)
    source = world.start()
    world.read(source)
    source.close()
    world.write("copy", lines + "more\n")
    os.replace(world.logs / "copy", world.logs / "app.log")
    assert world.read(world.start()) == ["more"]


def test_a_new_file_with_the_same_first_lines_is_read_whole(world):
    """Equal heads prove nothing: the short file of yesterday and that of today begin alike."""
    world.write("app.log", "# header\nx\n")
    source = world.start(only(world))
    world.read(source)
    source.close()
    world.write("new", "# header\nx\ny\n")
    os.replace(world.logs / "new", world.logs / "app.log")
    assert world.read(world.start(only(world))) == ["# header", "x", "y"]


@pytest.mark.parametrize("inotify", ["true", "false"])
def test_a_storm_of_renames_loses_and_repeats_nothing(world, inotify):
    """A chain of ten rotated files, all in the group, renamed between any two reads."""
    chance = random.Random(5)
    source = world.start({"inotify": inotify, "cachePatternMatching": "false"})
    written, read = [], []
    for number in range(600):
        line = f"line {number}"
        world.append("app.log", line + "\n")
        written.append(line)
        if chance.random() < 0.5:
            for age in range(9, 0, -1):
                if (world.logs / f"app.log.{age}").exists():
                    os.rename(world.logs / f"app.log.{age}", world.logs / f"app.log.{age + 1}")
            os.rename(world.logs / "app.log", world.logs / "app.log.1")
        if chance.random() < 0.5:
            read += world.read(source, wait_s=5 if inotify == "false" else 0)
    read += world.read(source, wait_s=10)
    assert sorted(read) == sorted(written)


def test_a_storm_of_renames_out_of_the_group_loses_and_repeats_nothing(world):
    """The names that were renamed before anybody saw them are known from the watch."""
    chance = random.Random(6)
    source = world.start(only(world))
    written, read = [], []
    for number in range(600):
        line = f"line {number}"
        world.append("app.log", line + "\n")
        written.append(line)
        if chance.random() < 0.6:
            os.rename(world.logs / "app.log", world.logs / f"app.log.{number}")
        if chance.random() < 0.3:
            read += world.read(source)
    read += world.read(source, wait_s=10)
    assert sorted(read) == sorted(written)


def test_a_storm_of_renames_and_restarts_loses_and_repeats_nothing(world):
    chance = random.Random(7)
    source = world.start()
    written, read = [], []
    for number in range(300):
        line = f"line {number}"
        world.append("app.log", line + "\n")
        written.append(line)
        if chance.random() < 0.3:
            os.rename(world.logs / "app.log", world.logs / f"app.log.{number}")
        if chance.random() < 0.4:
            read += world.read(source)
        if chance.random() < 0.2:
            source.close()
            source = world.start()
    read += world.read(source, wait_s=10)
    assert sorted(read) == sorted(written)


def test_a_storm_of_copytruncates_loses_and_repeats_nothing(world):
    """Lines that were read before the truncation come once, those after it too."""
    chance = random.Random(8)
    source = world.start(only(world))
    written, read = [], []
    for number in range(600):
        line = f"line {number} " + "x" * chance.randrange(40)
        world.append("app.log", line + "\n")
        written.append(line)
        if chance.random() < 0.5:
            read += world.read(source)
            if chance.random() < 0.6:
                world.copytruncate("app.log", "app.log.1")
    read += world.read(source)
    assert read == written


@pytest.mark.parametrize("group", ["app\\.log", "app\\.log.*"])
def test_lines_that_nobody_had_read_when_a_file_was_copied_and_truncated_come_from_the_copy(world, group):
    world.write("app.log", "a1\n")
    source = world.start({"filegroups.g": f"{world.logs}/{group}"})
    assert world.read(source) == ["a1"]
    world.append("app.log", "a2\n")
    world.copytruncate("app.log", "app.log.1", "b1\n")
    assert sorted(world.read(source, wait_s=10)) == ["a2", "b1"]


def test_a_copy_in_the_group_that_is_seen_before_the_truncation_waits_for_it(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    assert world.read(source) == ["a1", "a2"]
    world.write("app.log.1", "a1\n")
    assert world.read(source) == []
    world.append("app.log.1", "a2\n")
    assert world.read(source) == []
    os.truncate(world.logs / "app.log", 0)
    assert world.read(source, wait_s=10) == []
    world.append("app.log", "b1\n")
    world.append("app.log.1", "a3\n")
    assert sorted(world.read(source)) == ["a3", "b1"]


def test_a_copy_that_is_seen_before_anything_of_its_original_was_read_is_one_all_the_same(world):
    """Its first bytes are not known by reading it yet; a moment later it has given lines that the copy has too."""
    world.write("app.log", "a1\na2\n")
    source = world.start()
    shutil.copy(world.logs / "app.log", world.logs / "app.log.1")
    assert world.read(source) == ["a1", "a2"]
    world.append("app.log.1", "a3\n")
    os.truncate(world.logs / "app.log", 0)
    world.append("app.log", "b1\n")
    assert sorted(world.read(source, wait_s=10)) == ["a3", "b1"]


def test_the_copy_of_a_file_of_which_nothing_was_read_is_read_whole(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    world.copytruncate("app.log", "app.log.1", "b1\n")
    assert sorted(world.read(source, wait_s=10)) == ["a1", "a2", "b1"]


def test_a_file_with_equal_content_is_no_copy_while_the_other_stands(world):
    world.write("app.log", "same\nlines\n")
    source = world.start()
    assert world.read(source) == ["same", "lines"]
    world.write("app.log.1", "same\nlines\n")
    assert world.wait_and_read(source, 4) == []
    assert world.wait_and_read(source, 4) == ["same", "lines"]


def test_an_old_rotated_file_that_begins_alike_is_no_copy(world):
    os.utime(world.write("app.log.1", "# header\nyesterday\n"), (1000, 1000))
    world.write("app.log", "# header\n")
    source = world.start(only(world))
    assert world.read(source) == ["# header"]
    world.write("app.log", "")
    world.append("app.log", "x\n")
    assert world.read(source, wait_s=10) == ["x"]


@pytest.mark.parametrize("group", ["app\\.log", "app\\.log.*"])
@pytest.mark.parametrize("names", ["a new name", "the same name"])
def test_a_storm_of_copytruncates_of_files_that_are_behind_loses_and_repeats_nothing(world, group, names):
    """What was written after the last read and before the copy is in the copy alone."""
    chance = random.Random(9)
    source = world.start({"filegroups.g": f"{world.logs}/{group}"})
    written, read = [], []
    for number in range(300):
        line = f"line {number} " + "x" * chance.randrange(40)
        world.append("app.log", line + "\n")
        written.append(line)
        if chance.random() < 0.4:
            read += world.read(source)
            world.append("app.log", f"unread {number}\n")
            written.append(f"unread {number}")
            world.copytruncate("app.log", f"app.log.{number if names == 'a new name' else 1}")
            read += world.read(source)
    read += world.read(source, wait_s=10)
    assert sorted(read) == sorted(written)


@pytest.mark.parametrize("end", ["", " and more"])
def test_an_inode_that_is_used_again_while_its_file_was_closed_is_another_file(world, end):
    """Some file systems give the inode of a deleted file to the next new one, here even with the same length."""
    for number in range(20):
        world.write(f"app.log.{number}", f"a{number:02}\n")
    source = world.start({"idleTimeout": "1000"})
    assert len(world.read(source)) == 20
    world.wait_and_read(source, 5)
    assert world.counters.get("open_files") == 0
    for number in range(20):
        os.unlink(world.logs / f"app.log.{number}")
        world.write(f"app.log.new.{number}", f"b{number:02}{end}\n")
    assert sorted(world.read(source, wait_s=10)) == [f"b{number:02}{end}" for number in range(20)]
    assert world.counters.get("files_lost") == 0


def test_a_thousand_files_that_rotate_at_once(world):
    source = world.start()
    for number in range(1000):
        world.write(f"app.log.{number}", f"a{number}\n")
    assert len(world.read(source)) == 1000
    for number in range(1000):
        world.append(f"app.log.{number}", f"b{number}\n")
        os.rename(world.logs / f"app.log.{number}", world.logs / f"old.{number}")
    assert sorted(world.read(source)) == sorted(f"b{number}" for number in range(1000))
