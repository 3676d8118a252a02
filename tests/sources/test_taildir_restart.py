"""Where reading goes on after a restart, and who is believed about it."""

from __future__ import annotations

import errno
import json
import os
import zlib
from dataclasses import replace

import pytest

from shipper.api import ComponentFailed, Origin
from shipper.sources._tail import positions
from shipper.sources._tail.flume_positions import fingerprint
from shipper.sources._tail.identity import FileKey, key_of, owner_of
from shipper.sources._tail.watched import WatchedFile


def test_a_restart_neither_loses_nor_repeats(world):
    world.write("app.log", "a1\na2\nhalf")
    source = world.start()
    assert world.read(source) == ["a1", "a2"]
    source.close()
    world.append("app.log", " a line\na4\n")
    assert world.read(world.start()) == ["half a line", "a4"]


def test_what_was_not_committed_is_read_again(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    assert source.poll(0).rows == 2
    source.close()
    assert world.read(world.start()) == ["a1", "a2"]


def test_a_rolled_back_batch_is_read_again(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    batch = source.poll(0)
    source.position(batch.origins)
    world.append("app.log", "a3\n")
    assert world.read(source) == ["a1", "a2", "a3"]


def test_a_refused_batch_is_tried_again(world):
    world.write("app.log", "a1\n")
    source = world.start()
    assert source.refused(source.poll(0), "c1 is full")


def test_after_a_kill_the_channel_knows(world):
    """Nothing was saved: the origins in the channel are the only memory."""
    world.write("app.log", "a1\na2\n")
    world.read(world.start())
    world.append("app.log", "a3\n")
    assert not world.position_file.exists()
    assert world.read(world.start(from_channel=True)) == ["a3"]


def test_the_channel_knows_better_than_an_older_save(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    world.wait_and_read(source, 10)
    world.append("app.log", "a2\n")
    world.read(source)
    world.append("app.log", "a3\n")
    assert world.read(world.start(from_channel=True)) == ["a3"]


def test_positions_are_written_at_their_interval_and_on_close(world):
    world.write("app.log", "a1\n")
    source = world.start({"writePosInterval": "20000"})
    world.read(source)
    world.wait_and_read(source, 15)
    assert not world.position_file.exists()
    world.wait_and_read(source, 10)
    assert json.loads(world.position_file.read_text())[0]["pos"] == 3
    world.append("app.log", "a2\n")
    world.read(source)
    source.close()
    assert json.loads(world.position_file.read_text())[0]["pos"] == 6


def test_flumes_position_file_is_taken_over_and_given_back(world):
    path = world.write("app.log", "a1\na2\na3\n")
    other = world.write("app.log.1", "b1\nb2\n")
    world.position_file.parent.mkdir()
    entries = [
        {"inode": path.stat().st_ino, "pos": 3, "file": str(path)},
        {"inode": other.stat().st_ino, "pos": 6, "file": str(other)},
    ]
    world.position_file.write_text(json.dumps(entries, separators=(",", ":")))
    source = world.start()
    assert world.read(source) == ["a2", "a3"]
    assert f"{path}: going on at byte 3, as {world.position_file} says" in world.words()
    source.close()
    entries[0]["pos"] = 9
    assert sorted(json.loads(world.position_file.read_text()), key=str) == sorted(entries, key=str)
    names = [world.position_file.name, f".{world.position_file.name}.owner"]
    assert sorted(os.listdir(world.position_file.parent)) == sorted(names)


def test_a_switch_to_flume_and_back_goes_on_where_flume_stopped(world):
    path = world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    world.append("app.log", "a2\na3\n")
    entry = {"inode": path.stat().st_ino, "pos": 6, "file": str(path)}
    world.position_file.write_text(json.dumps([entry], separators=(",", ":")))
    assert world.read(world.start(from_channel=True)) == ["a3"]
    assert f"{path}: going on at byte 6" in world.words()


def test_a_file_that_flume_does_not_name_is_read_from_its_beginning(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    world.position_file.write_text("[]")
    assert world.read(world.start()) == ["a1"]


def test_a_removed_position_file_means_from_the_beginning(world):
    world.write("app.log", "a1\na2\n")
    source = world.start()
    world.read(source)
    source.close()
    world.position_file.unlink()
    assert world.read(world.start(from_channel=True)) == ["a1", "a2"]
    assert f"{world.position_file} is gone: every file is read as if it was new" in world.words()


def test_another_agent_with_the_same_position_file_makes_nothing_come_twice(world, tmp_path):
    """Agents whose files say nothing of a positionFile share Flume's default, and each writes its own files there."""
    (tmp_path / "logs2").mkdir()
    (tmp_path / "logs2" / "app.log").write_text("their 1\n")
    their_group = {"filegroups.g": f"{tmp_path}/logs2/app\\.log.*"}
    our_state = world.state

    def run(state, group):
        world.state = state
        source = world.start(group)
        rows = world.read(source)
        source.close()
        return rows

    world.write("app.log", "our 1\n")
    assert run(our_state, {}) == ["our 1"]
    assert run(tmp_path / "state2", their_group) == ["their 1"]
    world.append("app.log", "our 2\n")
    assert run(our_state, {}) == ["our 2"]
    assert "another agent writes it too" in world.words()
    with (tmp_path / "logs2" / "app.log").open("a") as log:
        log.write("their 2\n")
    assert run(tmp_path / "state2", their_group) == ["their 2"]


def test_an_agent_without_files_leaves_the_position_file_of_another_alone(world, tmp_path):
    """Its directory is still empty. What it would write there makes the other agent read everything anew."""
    (tmp_path / "logs2").mkdir()
    their_group = {"filegroups.g": f"{tmp_path}/logs2/app\\.log.*"}
    our_state = world.state

    def run(state, group):
        world.state = state
        source = world.start(group)
        rows = world.read(source)
        source.close()
        return rows

    world.write("app.log", "our 1\n")
    assert run(our_state, {}) == ["our 1"]
    assert run(tmp_path / "state2", their_group) == []
    assert run(tmp_path / "state2", their_group) == []
    world.append("app.log", "our 2\n")
    assert run(our_state, {}) == ["our 2"]
    (tmp_path / "logs2" / "app.log").write_text("their 1\n")
    assert run(tmp_path / "state2", their_group) == ["their 1"]
    assert run(our_state, {}) == []


def test_a_decision_by_hand_outlives_a_kill(world):
    """The old origins stay in the channel; they must not count again at the start after next."""
    world.write("app.log", "a1\na2\n")
    source = world.start()
    world.read(source)
    source.close()
    world.position_file.unlink()
    world.start(from_channel=True)
    assert world.read(world.start(from_channel=True)) == ["a1", "a2"]


def test_a_position_file_that_is_none_is_said_and_our_own_places_count(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    world.append("app.log", "a2\n")
    world.position_file.write_text('[{"inode":12,')
    assert world.read(world.start()) == ["a2"]
    assert "is no position file" in world.words()


@pytest.mark.parametrize("damage", [b"", b"shipper-tail 1 9 9 9\n{}", b"\0" * 300])
def test_a_damaged_slot_costs_one_save_and_no_line(world, damage):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    world.wait_and_read(source, 5)
    world.append("app.log", "a2\n")
    world.read(source)
    source.close()
    slots = sorted(world.state.glob("tail-*"), key=lambda path: int(path.read_bytes().split()[2]))
    assert len(slots) == 2
    slots[-1].write_bytes(damage)
    assert world.read(world.start()) in (["a2"], [])


def test_when_our_own_places_are_lost_the_position_file_counts(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    for slot in world.state.glob("tail-*"):
        slot.unlink()
    world.append("app.log", "a2\n")
    assert world.read(world.start()) == ["a2"]


def test_a_start_that_failed_forgets_nothing(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    before = world.position_file.read_bytes()
    os.rename(world.logs, world.logs.with_name("away"))
    with pytest.raises(ComponentFailed, match="there is no directory"):
        world.start()
    world.close()
    os.rename(world.logs.with_name("away"), world.logs)
    assert world.position_file.read_bytes() == before
    assert world.read(world.start()) == []


def test_an_empty_mount_point_makes_nobody_forget(world, tmp_path):
    """The disk with the logs is not there yet at one start, and there again later."""
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    os.rename(world.logs, tmp_path / "away")
    world.logs.mkdir()
    source = world.start()
    assert world.read(source) == []
    source.close()
    world.logs.rmdir()
    os.rename(tmp_path / "away", world.logs)
    assert world.read(world.start()) == []


def test_positions_belong_to_the_position_file_and_not_to_the_name(world, tmp_path):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    other = {"positionFile": str(tmp_path / "other.json")}
    assert world.read(world.start(other)) == ["a1"]
    link = tmp_path / "link"
    link.symlink_to(world.position_file.parent)
    assert world.read(world.start({"positionFile": str(link / world.position_file.name)})) == []


def test_files_are_dealt_to_workers_and_change_hands(world):
    names = {f"app.log.{number}" for number in range(40)}
    for name in names:
        world.write(name, f"{name}\n")
    shares = []
    for worker in range(3):
        source = world.start(worker=worker, workers=3)
        shares.append(world.read(source))
        source.close()
    assert sorted(name for share in shares for name in share) == sorted(names)
    assert all(shares)
    assert {entry["file"] for entry in json.loads(world.position_file.read_text())} == {
        str(world.logs / name) for name in names
    }
    for name in names:
        world.append(name, f"more {name}\n")
    again = []
    for worker in range(2):
        source = world.start(worker=worker, workers=2)
        again += world.read(source)
        source.close()
    assert sorted(again) == sorted(f"more {name}" for name in names)


def test_a_file_that_comes_back_to_a_worker_goes_on_where_the_other_one_left_it(world):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    old = dict(world.channel)
    world.append("app.log", "a2\n")
    source = world.start()
    world.read(source)
    source.close()
    world.append("app.log", "a3\n")
    assert world.read(world.start(positions=old)) == ["a3"]


def test_a_worker_never_writes_down_anew_what_another_one_reads(world):
    """Each knows the places of all, as they were at its start: they must not become newer than the right ones."""
    names = [f"app.log.{number}" for number in range(8)]
    for name in names:
        world.write(name, f"{name} 0\n")
    for run in range(1, 5):
        sources = [world.start(worker=worker, workers=2) for worker in range(2)]
        assert sorted(line for source in sources for line in world.read(source)) == [
            f"{name} {run - 1}" for name in names
        ]
        for source in sources:
            source.close()
        for name in names:
            world.append(name, f"{name} {run}\n")


@pytest.mark.parametrize("together", [True, False], ids=["together", "one after the other"])
def test_a_file_goes_on_whoever_read_it_before(world, together):
    """However many workers there are: a file is found again by its new worker, under its new name."""
    names = [f"app.log.{number}" for number in range(12)]
    for name in names:
        world.write(name, f"{name} 0\n")
    for run, workers in enumerate((2, 3, 1, 4, 2, 3, 3, 2), 1):
        found = []
        if together:
            sources = [world.start(worker=worker, workers=workers) for worker in range(workers)]
            for source in sources:
                found += world.wait_and_read(source, 5)
            for source in sources:
                source.close()
        else:
            for worker in range(workers):
                source = world.start(worker=worker, workers=workers)
                found += world.wait_and_read(source, 5)
                source.close()
        assert sorted(found) == sorted(f"{name} {run - 1}" for name in names), f"run {run} with {workers} workers"
        for name in names:
            world.append(name, f"{name} {run}\n")
        (world.logs / "app.log.3").rename(world.logs / "turning")
        (world.logs / "app.log.5").rename(world.logs / "app.log.3")
        (world.logs / "turning").rename(world.logs / "app.log.5")


def as_the_release_before(world, places):
    """Slots as it wrote them: worker -> (run, {path: lines that were read of it})."""
    store = next(world.state.glob("tail-*.[01]"))
    name = store.stem.removeprefix("tail-").rpartition("-")[0]
    for path in world.state.glob("tail-*.[01]"):
        path.unlink()
    for worker, (run, lines) in places.items():
        content = {"run": run, "epoch": 0, "json": [list(positions_of(world))], "files": []}
        for path, count in lines.items():
            with open(path, "rb") as file:
                watched = WatchedFile(key_of(file.fileno(), os.fstat(file.fileno())), "", str(path), None)
                watched.fd = file.fileno()
                watched.go_to(len(b"".join(file.readlines()[:count])))
            key = watched.key
            content["files"].append([key.device, key.inode, key.generation, watched.offset, watched.mark_text])
        body = json.dumps(content, separators=(",", ":")).encode()
        head = f"shipper-tail 1 {run} {len(body)} {zlib.crc32(body)}\n".encode()
        (world.state / f"tail-{name}-{worker}.{run % 2}").write_bytes(head + body)


def positions_of(world):
    """How a slot knows the position file."""
    return fingerprint(world.position_file.read_bytes())


@pytest.mark.parametrize("workers", [2, 3, 1])
def test_what_the_release_before_wrote_down_too_often_is_not_believed(world, workers):
    """It wrote old places of files that another worker read under a run as new as that worker's, or newer."""
    paths = [
        world.write(f"app.log.{number}", "".join(f"{number} {line}\n" for line in range(4))) for number in range(9)
    ]
    source = world.start()
    assert len(world.read(source)) == 36
    source.close()
    owner = {path: owner_of((path.stat().st_dev, path.stat().st_ino), 2) for path in paths}
    as_the_release_before(
        world,
        {
            0: (7, {path: 3 if owner[path] == 0 else 1 for path in paths}),
            1: (8, {path: 3 if owner[path] == 1 else 2 for path in paths}),
        },
    )
    for number in range(9):
        world.append(f"app.log.{number}", f"{number} 4\n")
    found = []
    for worker in range(workers):
        source = world.start(worker=worker, workers=workers)
        found += world.read(source)
        source.close()
    assert sorted(found) == [f"{number} {line}" for number in range(9) for line in (3, 4)]
    again = [world.start(worker=worker, workers=workers) for worker in range(workers)]
    assert [line for source in again for line in world.read(source)] == []


def test_a_shorter_place_of_the_worker_that_reads_a_file_counts_though_the_release_before_kept_a_longer_one(world):
    """A log was truncated and began with the same lines: what another worker had kept fits it too."""
    path = world.write("app.log", "a\nb\nc\n")
    source = world.start()
    world.read(source)
    source.close()
    owner = owner_of((path.stat().st_dev, path.stat().st_ino), 2)
    as_the_release_before(world, {owner: (7, {path: 1}), 1 - owner: (8, {path: 3})})
    assert world.read(world.start(worker=owner, workers=2)) == ["b", "c"]


def test_a_renamed_file_stays_with_its_worker(world):
    for number in range(20):
        world.write(f"app.log.{number}", "a\n")
    sources = [world.start(worker=worker, workers=2) for worker in range(2)]
    assert sum(len(world.read(source)) for source in sources) == 20
    for number in range(20):
        os.rename(world.logs / f"app.log.{number}", world.logs / f"app.log.{number + 100}")
        world.append(f"app.log.{number + 100}", "b\n")
    assert [body for source in sources for body in world.read(source)] == ["b"] * 20


def test_a_start_that_breaks_off_while_it_finds_files_forgets_nothing(world, monkeypatch):
    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    source.close()
    before = world.position_file.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr("shipper.sources._tail.files.FileSet.find", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.start()
    world.close()
    assert world.position_file.read_bytes() == before
    assert world.read(world.start()) == []


@pytest.mark.parametrize("handles", [True, False], ids=["another disk number", "no file handles any more"])
def test_a_disk_that_was_renumbered_at_reboot_is_the_same_disk(world, monkeypatch, handles):
    """LVM, ZFS, overlay and cloud disks: head and anchor fit, so reading goes on and the key is rewritten."""
    lines = [f"line {number} of a log that is long enough to be known by what is in it" for number in range(100)]
    world.write("app.log", "\n".join(lines) + "\n")
    source = world.start()
    assert world.read(source) == lines
    source.close()
    save = positions.PositionStore.save

    def renumbered(self, run, epoch, written, marks, kept, **more):
        moved = [
            (FileKey(key.device + 4711, key.inode, key.generation if handles else 77), offset, anchor)
            for key, offset, anchor in marks
        ]
        save(self, run, epoch, written, moved, kept, **more)

    found = []
    for more in ("one more", "two more"):
        with monkeypatch.context() as patch:
            patch.setattr(positions.PositionStore, "save", renumbered)
            source = world.start()
            found += world.read(source)
            source.close()
        world.append("app.log", f"{more}\n")
    found += world.read(world.start())
    assert found == ["one more", "two more"]
    assert "from its beginning" not in world.words()


def test_a_file_with_the_inode_of_one_of_another_group_stays_in_its_own(world, monkeypatch):
    """What is known of `a.log`, which was deleted, is known by the inode that `b.log` was given then. And `b.log` has
    left its group when the next run looks."""
    groups = {"filegroups": "a b"}
    for name in "ab":
        groups |= {f"filegroups.{name}": f"{world.logs}/{name}\\.log", f"headers.{name}.who": name}
    world.write("a.log", "a1\n")
    inode = world.write("b.log", "b1\n").stat().st_ino
    save = positions.PositionStore.save

    def used_again(self, run, epoch, written, marks, kept, **more):
        moved = [
            (key if key.inode == inode else FileKey(key.device, inode, key.generation ^ 1), offset, anchor)
            for key, offset, anchor in marks
        ]
        save(self, run, epoch, written, moved, kept, **more)

    with monkeypatch.context() as patch:
        patch.setattr(positions.PositionStore, "save", used_again)
        source = world.start(groups)
        assert world.read(source) == ["a1", "b1"]
        source.close()
    (world.logs / "a.log").unlink()
    world.append("b.log", "b2\n")
    (world.logs / "b.log").rename(world.logs / "b.log.1")
    [batch] = world.batches(world.start(groups))
    assert (batch.body.to_pylist(), batch.headers_of(0)) == ([b"b2"], {"who": "b"})


def test_what_is_known_of_a_deleted_file_is_forgotten_when_its_lines_are_durable(world):
    forgotten = []
    world.write("app.log", "a1\n")
    source = world.start(tells_durable=True, forget=forgotten.append)
    [batch] = world.batches(source)
    (world.logs / "app.log").unlink()
    world.wait_and_read(source, 10)
    assert not source._tail._files.known
    assert forgotten == [], "the channels may lose it, and nobody else knows then that it was read"
    assert source.durable(batch.origins)
    assert forgotten == [batch.origins[0].stream]


def test_the_next_start_forgets_files_that_went_while_nobody_ran(world):
    """Also when the process died before it could; those that may come back are remembered."""
    for name in ("app.log", "app.log.1", "app.log.2"):
        world.write(name, f"{name}\n")
    world.read(world.start(tells_durable=True))
    streams = {origin.anchor.rpartition("/")[2]: origin for origin in world.channel.values()}
    (world.logs / "app.log.1").unlink()
    (world.logs / "app.log.2").rename(world.logs / "away")
    forgotten = []
    source = world.start(tells_durable=True, forget=forgotten.append, from_channel=True)
    assert forgotten == []
    assert source.durable(list(world.channel.values()))
    assert forgotten == [streams["app.log.1"].stream]


def test_a_file_that_gets_its_name_back_goes_on(world):
    """However long it had another one; its stream is forgotten when the next start finds it gone."""
    forgotten = []
    world.write("app.log", "a1\n")
    source = world.start({"filegroups.g": f"{world.logs}/app\\.log"}, tells_durable=True, forget=forgotten.append)
    [batch] = world.batches(source)
    (world.logs / "app.log").rename(world.logs / "away")
    world.wait_and_read(source, 300)
    assert source._tail._files.known, "while it is not durable it is not let go"
    assert source.durable(batch.origins)
    world.wait_and_read(source, 5)
    assert not source._tail._files.known
    (world.logs / "away").rename(world.logs / "app.log")
    world.append("app.log", "a2\n")
    assert world.wait_and_read(source, 5) == ["a2"]
    assert forgotten == []


def test_files_that_left_their_group_are_remembered_while_they_are_there(world, monkeypatch):
    monkeypatch.setattr("shipper.sources._tail.memory._LEFT_LEAST", 4)
    forgotten = []
    given = {"filegroups.g": f"{world.logs}/app\\.log", "rotateWait": "0", "idleTimeout": "1"}
    source = world.start(given, forget=forgotten.append)
    world.write("app.log.stays", "")
    for number in range(40):
        world.write("app.log", f"{number}\n")
        assert world.wait_and_read(source, 2) == [str(number)]
        (world.logs / "app.log").rename(world.logs / f"app.log.{number}")
        world.wait_and_read(source, 8)
        if number >= 3:
            (world.logs / f"app.log.{number - 3}").unlink()
    assert len(source._tail._memory._marks) <= 12
    source.close()
    assert len(set(forgotten)) >= 20


def test_what_is_durable_of_a_file_is_known_under_its_new_disk_number_before_the_old_one_is_forgotten(world):
    lines = [f"line {number} of a log that is long enough to be known by what is in it" for number in range(100)]
    world.write("app.log", "\n".join(lines) + "\n")
    world.read(world.start())
    [(stream, origin)] = world.channel.items()
    prefix, _, key = stream.rpartition(":")
    device, _, rest = key.partition(".")
    old = replace(origin, stream=f"{prefix}:{int(device, 16) + 4711:x}.{rest}")
    forgotten = []
    source = world.start(tells_durable=True, forget=forgotten.append, positions={old.stream: old})
    assert world.read(source) == []
    assert source.durable([old])
    assert forgotten == [old.stream]
    assert world.read(world.start(tells_durable=True)) == [], "the power went"


def test_a_start_lists_a_directory_as_often_however_many_files_are_gone(world, monkeypatch):
    def looks(gone):
        positions = {
            stream: Origin(stream, 0, 5, f"5:0:5:0:0:{world.logs}/app.log.{number}")
            for number in range(gone)
            for stream in [f"{prefix}40.{10**9 + number:x}.1"]
        }
        listed = []
        with monkeypatch.context() as counted:
            counted.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
            world.start(positions=positions)
        return len(listed)

    scandir = os.scandir
    world.write("app.log", "a1\n")
    prefix = world.start()._tail._memory.stream_prefix
    assert looks(100) == looks(1)


def test_a_full_disk_under_the_positions_is_named(world, monkeypatch):
    def full(descriptor, data, offset):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    world.write("app.log", "a1\n")
    source = world.start()
    world.read(source)
    with monkeypatch.context() as broken:
        broken.setattr(positions.os, "pwrite", full)
        source.close()
    assert f"writing positions to {world.state}" in world.words()
