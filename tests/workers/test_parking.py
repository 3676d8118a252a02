"""Parking: what channels hold when an agent stops is on disk, and comes back, once, in order, whatever dies when."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from shipper import log, whole_file
from shipper.batch.batch import Origin
from shipper.errors import ConfigurationError
from shipper.instance import parked_file, parking
from shipper.instance.holdings import holdings
from shipper.instance.parked_file import ParkedFile
from shipper.metrics.block import MetricsBlock
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, seq, taildir, texts
from tests.workers.rings import CONFIGURATION, Rings

LINES = [b"line %04d" % n for n in range(400)]
TAKEN = 100
ORIGIN = Origin("stream", 0, 4000, "anchor")
#: The calls by which a process changes what the next one finds.
EFFECTS = {
    "open", "write", "pwrite", "rename", "replace", "unlink", "rmdir", "mkdir", "fsync", "posix_fallocate", "link",
}  # fmt: skip


@pytest.fixture
def said() -> Iterator[list[tuple[str, str, str]]]:
    """What the person is told."""
    lines: list[tuple[str, str, str]] = []
    before = log.current()
    log.configure(log.Log([("DEBUG", lambda *fact: lines.append(fact))]))
    yield lines
    log.configure(before)


def stopped(directory: Path) -> tuple[Rings, str]:
    """An agent that was stopped with 300 of 400 lines in its channel, not put away yet; and its run id."""
    rings = Rings(directory)
    for at in range(0, len(LINES), 50):
        rings.put(*LINES[at : at + 50], origin=ORIGIN if at == 350 else None)
    rings.remember(ORIGIN)
    assert rings.take(frames=2, sequence=17) == LINES[:TAKEN]
    rings.end_workers()
    return rings, rings.instance.run_id()


def put_away(rings: Rings) -> bool:
    return parking.put_away(rings.instance, rings.file, True)


def started(directory: Path, configuration: str = CONFIGURATION) -> Rings:
    """The next start of the same agent."""
    rings = Rings(directory, configuration, start=False)
    rings.instance.claim()
    parking.take_back(rings.instance)
    rings.build()
    return rings


def judge(directory: Path, run_id: str) -> None:
    """Everything is as if the agent had never stopped."""
    rings = started(directory)
    assert rings.instance.run_id() == run_id, "journals would take the rows for those of another run"
    with_positions = rings.positions()
    assert with_positions.streams == {"stream": ORIGIN}
    with_positions.close()
    assert rings.put_side().last_origins() == [ORIGIN]
    assert rings.put_side().number == 8
    assert rings.take_side().sequence() == 17
    rings.put(b"new")
    assert rings.drain() == [*LINES[TAKEN:], b"new"]
    assert not parking.parked_path(rings.instance.state_dir).exists()
    rings.end()
    shutil.rmtree(rings.instance.run_dir)


def test_what_waits_comes_back_in_order_before_anything_new(tmp_path: Path, said: list[tuple[str, str, str]]) -> None:
    rings, run_id = stopped(tmp_path)
    assert put_away(rings)
    rings.instance.close()
    assert not rings.instance.run_dir.exists()
    (level, who, line), path = said[-1], parking.parked_path(rings.instance.state_dir)
    assert (level, who) == ("WARN", "agent")
    assert line == f"parked 300 events (2.6 KiB) of c1 in {path}; the next start of this agent takes them back"
    judge(tmp_path, run_id)
    assert any(line.startswith("took back 300 events (2.6 KiB) of c1, parked at 20") for _, _, line in said)


def test_only_what_waits_is_copied(tmp_path: Path) -> None:
    """Of a ring of 64 KiB with few events: those, the page of words, and the put page."""
    rings, _ = stopped(tmp_path)
    assert put_away(rings)
    parked = ParkedFile(parking.parked_path(rings.instance.state_dir))
    lane = next(part for part in parked.parts if part.name == "channels/c1/r1.0--k1.0")
    assert lane.size_bytes == 4096 + 65536
    assert sum(length for _, length in lane.extents) - 4096 < 300 * 9 + 6 * 2048
    assert not [part.name for part in parked.parts if part.name.split("/")[0] in ("control", "metrics", "bells")]
    rings.instance.close()


def test_an_empty_channel_is_removed(tmp_path: Path, said: list[tuple[str, str, str]]) -> None:
    rings = Rings(tmp_path)
    rings.put(b"a")
    assert rings.drain() == [b"a"]
    rings.end_workers()
    assert put_away(rings)
    assert not rings.instance.run_dir.exists()
    assert not parking.parked_path(rings.instance.state_dir).exists()
    assert not said
    rings.instance.close()


def test_an_empty_channel_is_kept_for_a_worker_that_was_killed(
    tmp_path: Path, said: list[tuple[str, str, str]]
) -> None:
    """Its next process finds there what it had committed; a reboot in between changes nothing."""
    rings = Rings(tmp_path)
    rings.put(b"a", origin=ORIGIN)  # killed before it could write its position table
    assert rings.take(sequence=5) == [b"a"]
    rings.end_workers(in_order=False)
    assert parking.put_away(rings.instance, rings.file, False)
    assert said[-1][2].startswith("no events wait in memory; how far the workers were is kept in ")
    rings.instance.close()
    shutil.rmtree(tmp_path / "run")
    rings = started(tmp_path)
    assert rings.take_side().sequence() == 5
    assert rings.take_side().lanes[0].consumer.holder == rings.take_side().sink
    assert rings.put_side().last_origins() == [ORIGIN]
    assert rings.drain() == []
    rings.end()


def test_a_wrapped_ring_comes_back(tmp_path: Path) -> None:
    """Frames at both ends of the ring, a PAD between them."""
    rings = Rings(tmp_path)
    number = 0
    for _ in range(9):
        for _ in range(4):
            rings.put(b"%06d" % number * 1000)
            number += 1
        if number < 36:
            assert len(rings.drain()) == 4
    rings.end_workers()
    assert put_away(rings)
    rings.instance.close()
    rings = started(tmp_path)
    assert rings.drain() == [b"%06d" % n * 1000 for n in range(32, 36)]
    rings.end()


def test_rows_in_an_overflow_file_come_back(tmp_path: Path) -> None:
    big = os.urandom(100_000)
    rings = Rings(tmp_path)
    rings.put(big)
    rings.end_workers()
    assert put_away(rings)
    rings.instance.close()
    shutil.rmtree(tmp_path / "run")
    rings = started(tmp_path)
    assert rings.drain() == [big]
    rings.end()


# --- deaths


def in_a_child(action: Callable[[], object], dies_at: int) -> int:
    """Runs `action` in a process that dies before its n-th effect; -1 when it came to its end."""
    pid = os.fork()
    if pid:
        return -1 if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0 else dies_at
    try:
        seen = 0

        def look(frame: FrameType, event: str, argument: object) -> None:
            nonlocal seen
            if event == "c_call" and getattr(argument, "__name__", "") in EFFECTS:
                if seen == dies_at:
                    os._exit(9)
                seen += 1

        sys.setprofile(look)
        action()
        sys.setprofile(None)
        os._exit(0)
    except BaseException:
        os._exit(1)


@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize("dies_in", ["parking", "taking back"])
def test_a_death_at_any_step_loses_and_repeats_nothing(tmp_path: Path, dies_in: str, reboots: bool) -> None:
    """Of the process alone; or of the machine, as soon as the rows are parked."""
    rings, run_id = stopped(tmp_path)
    if dies_in == "taking back":
        assert put_away(rings)
    rings.instance.close()
    before = tmp_path / "before"
    before.mkdir()
    for name in ("run", "state"):
        if (tmp_path / name).exists():
            shutil.copytree(tmp_path / name, before / name)
    parked = parking.parked_path(rings.instance.state_dir)

    def act() -> None:
        if dies_in == "parking":
            assert put_away(rings)
        else:
            rings.instance.claim()
            parking.take_back(rings.instance)

    for step in range(10_000):
        for name in ("run", "state"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            if (before / name).exists():
                shutil.copytree(before / name, tmp_path / name)
        at = in_a_child(act, step)
        if not reboots:
            judge(tmp_path, run_id)
        elif parked.exists():
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
            judge(tmp_path, run_id)
        if at == -1:
            break
    assert step > 10, "the steps were not seen"


def test_two_deaths_in_a_row_change_nothing(tmp_path: Path) -> None:
    """While it is taken back, and again while that is done once more."""
    rings, run_id = stopped(tmp_path)
    assert put_away(rings)
    rings.instance.close()

    def act() -> None:
        rings.instance.claim()
        parking.take_back(rings.instance)

    for step in (2, 5, 9, 12, 14):
        assert in_a_child(act, step) == step
    judge(tmp_path, run_id)


# --- trouble


def no_room(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The disk is full after so many writes."""
    real, left = os.write, after

    def write(descriptor: int, data: bytes) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left -= 1
        return real(descriptor, data)

    monkeypatch.setattr(whole_file.os, "write", write)


@pytest.mark.parametrize("after", range(4))
def test_a_full_disk_leaves_the_rows_where_they_are(
    tmp_path: Path, said: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    rings, run_id = stopped(tmp_path)
    with monkeypatch.context() as patch:
        no_room(patch, after)
        assert not put_away(rings)
    rings.instance.close()
    level, _, line = said[-1]
    assert level == "ERROR"
    assert "300 events could not be parked" in line and "No space left on device" in line
    assert f"they stay in {rings.instance.run_dir}" in line
    assert [path.name for path in rings.instance.state_dir.iterdir()] == ["lock"]
    judge(tmp_path, run_id)


def test_a_full_disk_where_no_events_wait_is_said_of_what_could_not_be_kept(
    tmp_path: Path, said: list[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = Rings(tmp_path)
    rings.put(b"a")
    assert rings.drain() == [b"a"]
    rings.end_workers(in_order=False)
    with monkeypatch.context() as patch:
        no_room(patch, 0)
        assert not parking.put_away(rings.instance, rings.file, False)
    rings.instance.close()
    parked = parking.parked_path(rings.instance.state_dir)
    assert said[-1][2].startswith(f"how far the workers were could not be kept in {parked}: No space left on device;")
    assert f"that stays in {rings.instance.run_dir}" in said[-1][2]


def test_no_room_to_take_back_leaves_the_rows_parked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rings, run_id = stopped(tmp_path)
    assert put_away(rings)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(parked_file.os, "posix_fallocate", full)
        with pytest.raises(parking.ComponentFailed, match=r"No space left on device; they stay parked in"):
            parking.take_back(rings.instance)
    rings.instance.close()
    judge(tmp_path, run_id)


def test_rows_are_not_copied_while_a_worker_lives(tmp_path: Path, said: list[tuple[str, str, str]]) -> None:
    """One that hangs in a system call is not dead until it is gone."""
    rings, _ = stopped(tmp_path)
    side = rings.put_side()
    assert not put_away(rings)
    assert "a process still works with" in said[-1][2]
    side.close()
    rings.instance.close()


def test_parked_rows_do_not_take_the_place_of_newer_ones(tmp_path: Path, said: list[tuple[str, str, str]]) -> None:
    """The state directory came back from a backup, or another one was used in between."""
    rings, _ = stopped(tmp_path)
    assert put_away(rings)
    path = parking.parked_path(rings.instance.state_dir)
    copy = path.read_bytes()
    path.unlink()
    rings.build()
    rings.put(b"newer")
    rings.end()
    path.write_bytes(copy)
    rings = started(tmp_path)
    assert rings.drain() == [b"newer"]
    aside = next(rings.instance.state_dir.glob("channels.parked.aside-*"))
    assert any(level == "ERROR" and str(aside) in line for level, _, line in said)
    assert ParkedFile(aside).about["channels"] == [["c1", 300, 2700]]
    rings.end()


def test_what_a_newer_release_parked_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rings, _ = stopped(tmp_path)
    monkeypatch.setattr(parking, "VERSION", 2)
    assert put_away(rings)
    rings.instance.close()
    monkeypatch.setattr(parking, "VERSION", 1)
    with pytest.raises(ConfigurationError, match=r"layout 2; this one reads 1"):
        started(tmp_path)
    assert parking.parked_path(rings.instance.state_dir).exists()


@pytest.mark.parametrize("spot", ["trailer", "other trailer", "directory", "other directory"])
@pytest.mark.parametrize("damage", ["flipped", "zeroed"])
def test_one_damaged_spot_of_the_directory_hides_nothing(tmp_path: Path, spot: str, damage: str) -> None:
    rings, run_id = stopped(tmp_path)
    assert put_away(rings)
    rings.instance.close()
    path = parking.parked_path(rings.instance.state_dir)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[-16:-8], "little")
    end = len(data) - 48
    at = {"trailer": end + 30, "other trailer": end + 8, "directory": end - 40, "other directory": end - length - 40}[
        spot
    ]
    data[at : at + 8] = bytes(8) if damage == "zeroed" else bytes([data[at] ^ 4]) + data[at + 1 : at + 8]
    path.write_bytes(data)
    judge(tmp_path, run_id)


def test_a_file_that_is_beyond_reading_is_set_aside(tmp_path: Path, said: list[tuple[str, str, str]]) -> None:
    """No state ever has to be removed by hand before an agent starts."""
    rings, _ = stopped(tmp_path)
    path = parking.parked_path(rings.instance.state_dir)
    path.write_bytes(b"something else")
    rings.instance.close()
    rings = started(tmp_path)
    assert rings.drain() == LINES[TAKEN:]
    assert "set aside as" in next(line for level, _, line in said if level == "ERROR")
    rings.end()


# --- with real processes


def sink_without_directory(directory: Path) -> str:
    """A sink that can't open its directory."""
    return f"a1.sinks.k1.type = file_roll\na1.sinks.k1.sink.directory = {directory}\na1.sinks.k1.channel = c1\n"


def test_lines_outlive_a_reboot(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Stopped with lines in the channel, the run directory gone, started: each of them once, the source reads none."""
    out = tmp_path / "missing" / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_bytes(b"".join(b"%d\n" % n for n in range(500)))
    one = agent(agent_of(taildir("r1", "c1", tmp_path / "in"), sink_without_directory(out))).start(wait=False)
    one.until(lambda: in_channel(one) == 500)
    assert one.stop() == 3
    assert "parked 500 events (1.4 KiB) of c1" in one.log(), one.log()
    shutil.rmtree(one.run_dir)
    out.mkdir(parents=True)
    with (tmp_path / "in" / "a.log").open("ab") as file:
        file.write(b"".join(b"%d\n" % n for n in range(500, 700)))
    one.start()
    one.until(lambda: texts(out).count(b"\n") >= 700)
    assert "took back 500 events" in one.log()
    assert one.stop() == 0
    assert texts(out) == b"".join(b"%d\n" % n for n in range(700))
    assert not list(one.run_dir.iterdir())


def test_what_can_not_be_parked_is_delivered_by_the_next_start(agent: Callable[..., Agent], tmp_path: Path) -> None:
    out = tmp_path / "missing" / "out"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_bytes(b"".join(b"%d\n" % n for n in range(500)))
    one = agent(agent_of(seq("r1", "c1", 500), sink_without_directory(out))).start(wait=False)
    one.until(lambda: in_channel(one) == 500)
    in_the_way = next(one.state_dir.glob("a1-*")) / "channels.parked.new"
    in_the_way.mkdir()
    assert one.stop() == 3
    assert "500 events could not be parked" in one.log()
    in_the_way.rmdir()
    out.mkdir(parents=True)
    one.start(wait=False)
    one.until(lambda: texts(out).count(b"\n") == 500)
    assert one.stop() == 0
    assert texts(out) == b"".join(b"%d\n" % n for n in range(500))


def in_channel(one: Agent) -> int:
    """Rows in channel c1, as the supervisor last saw it."""
    for path in one.run_dir.glob("a1-*/metrics"):
        return MetricsBlock.view(path).sample().channels.get("c1", {}).get("size", 0)
    return 0


# --- damage


def test_a_damaged_segment_is_mended_at_the_next_start(tmp_path: Path, said: list[tuple[str, str, str]]) -> None:
    """Also one that was parked with its damage."""
    rings, run_id = stopped(tmp_path)
    lane = rings.instance.run_dir / "channels" / "c1" / "r1.0--k1.0"
    with lane.open("r+b") as file:
        file.write(bytes(8))  # its first word
        file.seek(512)
        words = file.read(8)
        file.seek(512)
        file.write(bytes([words[0] ^ 128]) + words[1:])  # the position of its commit
    with (rings.instance.run_dir / "puts" / "r1.0").open("r+b") as file:
        file.seek(256)
        file.write(bytes(8))  # the number of its last put
    assert put_away(rings)
    rings.instance.close()
    judge(tmp_path, run_id)
    assert [who for level, who, line in said if level == "ERROR" and "repaired" in line].count("c1") >= 1


def test_a_channel_that_is_taken_out_of_the_file_is_kept_and_said(
    tmp_path: Path, said: list[tuple[str, str, str]]
) -> None:
    """Also over a stop; and when it is in the file again, its events are delivered."""
    rings, _ = stopped(tmp_path)
    rings.instance.close()
    other = CONFIGURATION.replace("c1", "c2")
    for _ in range(2):
        rings = started(tmp_path, other)
        rings.put(b"new", channel="c2")
        assert rings.drain() == [b"new"]
        rings.end_workers()
        assert put_away(rings)
        rings.instance.close()
    assert any(who == "c1" and line.startswith("300 events wait in this channel") for _, who, line in said)
    rings = started(tmp_path)
    assert rings.drain() == LINES[TAKEN:]
    rings.end()


def test_a_start_says_that_it_goes_on_with_what_a_killed_agent_left(
    tmp_path: Path, said: list[tuple[str, str, str]]
) -> None:
    rings, _ = stopped(tmp_path)
    parking.say_survived(holdings(rings.instance.run_dir))
    assert said[-1] == ("INFO", "agent", "goes on with the events that a killed agent left: 300 in c1")
    rings.instance.close()
