"""Handing over: lanes of a sink that will not come back are opened, and what it had committed is not forgotten."""

from __future__ import annotations

from pathlib import Path

from shipper.instance.handover import committed_before, hand_over, note_of
from tests.channels.conftest import Memory


def commit(memory: Memory, worker: int, sequence: int) -> None:
    """Takes one frame and commits it with a sequence."""
    transaction = memory.take_side(worker).transaction()
    transaction.begin()
    assert transaction.take() is not None
    transaction.sequence = sequence
    transaction.commit()


def test_lanes_of_a_dead_sink_are_opened_and_its_last_commit_is_kept(tmp_path: Path) -> None:
    """Another sink commits in the lane: the word of the dead one's last entry goes, and the note has it still."""
    memory = Memory(tmp_path, {"ring.bytes": "256k"}, sinks=2)
    for number in range(40):
        assert memory.put(b"%d" % number)
    memory.take_side(1)
    commit(memory, 0, 7)
    dead = memory.take_side(0).sink
    memory.kill_sink(0)
    lanes, note = [memory.lane(0, sink) for sink in (0, 1)], note_of(tmp_path, dead)
    assert hand_over(lanes, dead, note) == [memory.lane(0, 0)]
    memory.take_side(1).come_back()
    left = memory.drain(1)
    assert len(left) == 39
    assert memory.take_side(0).sequence() == 0, "the lane names the other sink now"
    assert committed_before(note) == 7
    memory.kill()


def test_lanes_of_a_living_sink_are_not_touched(tmp_path: Path) -> None:
    memory = Memory(tmp_path, {}, sinks=2)
    assert memory.put(b"a")
    sink = memory.take_side(0).sink
    assert hand_over([memory.lane(0, 0)], sink, note_of(tmp_path, sink)) == []
    assert memory.take_side(0).lanes[0].consumer.holder == sink
    memory.kill()


def test_a_sink_that_never_was_handed_over_has_no_note(tmp_path: Path) -> None:
    assert committed_before(note_of(tmp_path, 5)) == 0


def test_an_older_hand_over_does_not_take_the_note_back(tmp_path: Path) -> None:
    note = note_of(tmp_path, 5)
    note.parent.mkdir()
    note.write_text("12")
    memory = Memory(tmp_path, {}, sinks=2)
    assert hand_over([memory.lane(0, 0)], 5, note) == []
    assert committed_before(note) == 12
    memory.kill()
