"""Death at every store: whatever was in memory when the process died, recovery finds "before" or "after", never more.

The process is simulated at two depths. Behind every bytecode of an action the mapped files are copied, with torn
versions of every change that is longer than a word; where the machine allows ptrace, a second process is stepped
through the same actions one machine instruction at a time. Each distinct copy is opened as the next start would open
it. Mutants of the ring show that the search has teeth.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.ring import consumer as consumer_module
from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import COMMIT_SLOT, GENERATION, Frame, frame_header, slot_checksum
from shipper.ring.puts import COMMITTED, PutPage, PutState
from shipper.shared.words import LINE_BYTES
from tests.ring.conftest import Deaths, Ring

Make = Callable[..., Ring]
Outcome = tuple[tuple[bytes, ...], ...]

OLD = bytes(range(1, 200)) * 2
NEW_A, NEW_B = b"\xa1" * 700, b"\xb2" * 300


def outcome(ring: Ring) -> Outcome:
    """What waits in each lane; and the ring must work on from there."""
    found = tuple(tuple(ring.peek_all(lane)) for lane in range(ring.lanes))
    for lane in range(ring.lanes):
        assert ring.consumers[lane].lost_bytes == 0, "recovery met damage"
        assert 0 <= ring.producers[lane].lane.head() <= ring.page.tail(lane) <= ring.producers[lane].lane.head() + 4096
    assert ring.put(*[b"works on"] * ring.lanes)
    for lane in range(ring.lanes):
        assert ring.peek_all(lane) == [*found[lane], b"works on"]
        assert ring.consumers[lane].lost_bytes == 0
    return found


def outcomes(deaths: Deaths, lanes: int = 1) -> set[Outcome]:
    """What the next start finds, over all states."""
    found = set()
    for directory in deaths.buried():
        ring = Ring(directory, lanes).attach()
        found.add(outcome(ring))
        ring.close()
    return found


def old(ring: Ring, wrapped: bool) -> None:
    """Some traffic, so that the ring is not new: the next frames wrap, or they do not."""
    for _ in range(4 if wrapped else 1):
        assert ring.put(*[OLD] * ring.lanes)
        for lane in range(ring.lanes):
            ring.take(lane)
    assert ring.put(*[b"waits"] * ring.lanes)


@pytest.mark.parametrize("wrapped", [False, True])
class TestPut:
    """A put is nowhere or in all lanes."""

    def test_dying_in_a_put_over_two_lanes(self, ring: Make, deaths: Deaths, wrapped: bool) -> None:
        one = ring(lanes=2)
        old(one, wrapped)
        deaths.during(lambda: one.put(NEW_A, NEW_B))
        assert len(deaths.states) > 8
        assert outcomes(deaths, 2) == {((b"waits",),) * 2, ((b"waits", NEW_A), (b"waits", NEW_B))}

    def test_dying_in_a_put_that_is_rolled_back(self, ring: Make, deaths: Deaths, wrapped: bool) -> None:
        one = ring()
        old(one, wrapped)

        def roll_back() -> None:
            one.stage(NEW_A)
            one.producers[0].forget()
            one.put(NEW_B)

        deaths.during(roll_back)
        assert outcomes(deaths) == {((b"waits",),), ((b"waits", NEW_B),)}


@pytest.mark.parametrize("wrapped", [False, True])
class TestTake:
    """A take is committed whole or not at all."""

    def test_dying_in_a_take_of_two_frames(self, ring: Make, deaths: Deaths, wrapped: bool) -> None:
        one = ring()
        old(one, wrapped)
        assert one.put(NEW_A) and one.put(NEW_B)
        deaths.during(lambda: one.take(frames=2))
        assert outcomes(deaths) == {((b"waits", NEW_A, NEW_B),), ((NEW_B,),)}

    def test_dying_in_a_commit_inside_a_frame(self, ring: Make, deaths: Deaths, wrapped: bool) -> None:
        one = ring()
        old(one, wrapped)
        one.take()
        one.stage(NEW_A, rows=10)
        one.commit()

        def commit_rows() -> None:
            one.consumers[0].peek()
            one.consumers[0].release_rows(3, sequence=0)
            one.consumers[0].release_rows(8, sequence=0)

        deaths.during(commit_rows)
        found = set()
        for directory in deaths.buried():
            next_one = Ring(directory).attach()
            assert next_one.consumers[0].peek() is not None
            slot = next_one.consumers[0].lane.committed()
            found.add((next_one.consumers[0].rows_done, slot.rows - slot.rows_done))
            next_one.close()
        assert {done for done, _ in found} == {0, 3, 8}
        assert len({before for _, before in found}) == 1


def test_dying_while_taking_over(ring: Make, deaths: Deaths) -> None:
    """A takeover that dies is a takeover that never was: the next one finds the same frames."""
    one = ring(lanes=2)
    old(one, wrapped=True)
    one.close()
    deaths.during(lambda: ring(lanes=2).close())
    assert len(deaths.states) > 4
    assert outcomes(deaths, 2) == {((b"waits",),) * 2}


def test_dying_while_letting_go(ring: Make, deaths: Deaths, tmp_path: Path) -> None:
    """Afterwards the lane is free or still this sink's: never lost to both."""
    one = ring()
    old(one, wrapped=False)
    deaths.during(lambda: one.consumers[0].let_go())
    for directory in deaths.buried():
        mine = Ring(directory, sink=7)
        assert mine.consumers[0].try_hold() and mine.peek_all() == [b"waits"]
        mine.close()


def test_dying_while_segments_are_made(tmp_path: Path, deaths: Deaths) -> None:
    """A segment that can be found can be used; a half-made one has no name that anybody looks for."""
    (tmp_path / "made").mkdir()
    deaths.home = tmp_path / "made"
    deaths.during(lambda: Ring(tmp_path / "made", lanes=2).close())
    assert len(deaths.states) > 3
    assert outcomes(deaths, 2) == {((), ())}


# --- teeth: each of these mistakes must be found


def _commit_before_slots(self: PutPage, state: PutState) -> None:
    self.words.publish(COMMITTED, state.number)
    original_commit(self, state)


def _release_before_slot(self: Consumer, sequence: int) -> bool:
    slot = self._after._replace(sink=self.sink, sequence=sequence, epoch=self._epoch)
    generation = self.lane.words.load(GENERATION) + 1
    self.lane.words.publish(GENERATION, generation)
    self.lane.words.write(COMMIT_SLOT + (generation & 1) * LINE_BYTES, (*slot, slot_checksum(slot)))
    self._slot = self._after = slot
    return False


def _commit_in_place(self: PutPage, state: PutState) -> None:
    """One slot for everything, as if a page needed no second."""
    at = self._slots[(state.number - 1) & 1]
    for index, lane in enumerate(state.lanes):
        self.words.write(at + (1 + index) * LINE_BYTES, lane)
    original_commit(self, state)


def _commit_lane_by_lane(self: PutPage, state: PutState) -> None:
    """Each lane made visible by a commit of its own."""
    before = self.state()
    lanes = list(before.lanes) + [type(state.lanes[0])()] * (len(state.lanes) - len(before.lanes))
    for index, lane in enumerate(state.lanes):
        lanes[index] = lane
        original_commit(self, PutState(before.number + 1 + index, state.origin_lane, 0, tuple(lanes)))


original_commit = PutPage.commit

MUTANTS_OF_PUT = {
    "commit word stored before the slot": _commit_before_slots,
    "slot in force changed in place": _commit_in_place,
    "a commit a lane": _commit_lane_by_lane,
}


@pytest.mark.parametrize("mutant", MUTANTS_OF_PUT)
def test_a_mutant_of_the_put_commit_is_caught(
    mutant: str, ring: Make, deaths: Deaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ring(lanes=2)
    old(one, wrapped=True)
    monkeypatch.setattr(PutPage, "commit", MUTANTS_OF_PUT[mutant])
    deaths.during(lambda: one.put(NEW_A, NEW_B))
    monkeypatch.undo()
    assert not _only_before_or_after(deaths, 2, ((b"waits",),) * 2, ((b"waits", NEW_A), (b"waits", NEW_B)))


def test_a_mutant_of_the_take_commit_is_caught(ring: Make, deaths: Deaths, monkeypatch: pytest.MonkeyPatch) -> None:
    one = ring()
    old(one, wrapped=True)
    assert one.put(NEW_A) and one.take() == [b"waits"] and one.put(NEW_B)
    monkeypatch.setattr(Consumer, "release", _release_before_slot)
    deaths.during(lambda: one.take(frames=1))
    monkeypatch.undo()
    assert not _only_before_or_after(deaths, 1, ((NEW_A, NEW_B),), ((NEW_B,),))


def _unchecked(ring: memoryview, offset: int, position: int) -> Frame | None:
    """`read_frame` that believes in lengths and looks at no checksum."""
    import struct

    flags, at, length, payload_bytes, rows, put, *after = struct.unpack_from("<6xH8Q", ring, offset)
    return Frame(at, length, rows, put, *after, flags, ring[offset + 128 : offset + 128 + payload_bytes])


MUTANTS_OF_READ = {
    "no check at all": _unchecked,
    "length trusted, position checked": lambda ring, offset, position: (
        found if (found := _unchecked(ring, offset, position)) and found.position == position else None
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS_OF_READ)
def test_a_mutant_that_trusts_frames_is_caught(mutant: str, ring: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a commit word that is true, on a machine that reorders stores, frames may still be missing bytes."""
    one = ring()
    assert one.put(b"first") and one.put(NEW_A)
    lane = one.consumers[0].lane
    caught = 0
    for torn in _torn_frames(bytes(lane.ring[256:1152])):
        lane.ring[256:1152] = torn
        monkeypatch.setattr(consumer_module, "read_frame", MUTANTS_OF_READ[mutant])
        caught += _delivers_garbage(one)
        monkeypatch.undo()
        assert not _delivers_garbage(one), "the real one must not"
    assert caught


def _torn_frames(whole: bytes) -> Iterator[bytes]:
    """The frame before all of its bytes have come."""
    for kept in range(0, len(whole), 40):
        yield whole[:kept] + bytes(len(whole) - kept)
        yield bytes(kept) + whole[kept:]


def _delivers_garbage(ring: Ring) -> bool:
    consumer = ring.consumers[0]
    consumer.rewind()
    try:
        for _ in range(4):
            frame = consumer.peek()
            if frame is None:
                return False
            if bytes(frame.payload) not in (b"first", NEW_A):
                return True
            consumer.step()
    except Exception:
        return True
    finally:
        consumer.rewind()
    return False


def _only_before_or_after(deaths: Deaths, lanes: int, before: Outcome, after: Outcome) -> bool:
    try:
        return outcomes(deaths, lanes) <= {before, after}
    except Exception:
        return False
    except AssertionError:
        return False


# --- death at every machine instruction

_PTRACE_TRACEME, _PTRACE_SINGLESTEP, _PTRACE_CONT, _PTRACE_KILL = 0, 9, 7, 8
_INSTRUCTIONS_MAX = 3_000_000


def _ptrace_works() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    pid = os.fork()
    if pid == 0:
        code = 1 if libc.ptrace(_PTRACE_TRACEME, 0, None, None) else 0
        if not code:
            os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(code)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        return False
    works = libc.ptrace(_PTRACE_SINGLESTEP, pid, None, None) == 0
    os.waitpid(pid, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return works


def _step_through(action: Callable[[], object], deaths: Deaths, segments: list[Path]) -> int:
    """Runs the action in a child, one instruction at a time; looks at the segments behind each. The instructions."""
    libc = ctypes.CDLL(None, use_errno=True)
    mapped = [Lane.open(path).segment if path.name != "page" else PutPage.ensure(path).segment for path in segments]
    pid = os.fork()
    if pid == 0:
        libc.ptrace(_PTRACE_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            action()
            os.kill(os.getpid(), signal.SIGSTOP)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    views = [(path.name, segment.memory) for path, segment in zip(segments, mapped, strict=True)]
    last = {name: bytes(view) for name, view in views}
    deaths.states.append(last)
    steps = 0
    step, wait = libc.ptrace, os.waitpid
    try:
        while steps < _INSTRUCTIONS_MAX:
            if step(_PTRACE_SINGLESTEP, pid, None, None) != 0:
                raise OSError(ctypes.get_errno(), "ptrace")
            status = wait(pid, 0)[1]
            steps += 1
            if os.WSTOPSIG(status) == signal.SIGSTOP or not os.WIFSTOPPED(status):
                break
            for name, view in views:
                if view != last[name]:
                    last = {key: bytes(content) for key, content in views}
                    deaths.states.append(last)
                    break
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return steps


@pytest.mark.skipif(not _ptrace_works(), reason="this machine does not allow ptrace")
@pytest.mark.parametrize("wrapped", [False, True])
def test_dying_at_every_machine_instruction(ring: Make, deaths: Deaths, tmp_path: Path, wrapped: bool) -> None:
    """One put, one take and one letting go, stepped through; every memory state that there was is recovered from."""
    one = ring()
    old(one, wrapped)
    one.take()
    assert one.put(b"waits")
    payload = b"\xa1" * 40

    def everything() -> None:
        one.put(payload)
        one.take()
        one.consumers[0].let_go()

    steps = _step_through(everything, deaths, [tmp_path / "lane0", tmp_path / "page"])
    found = set()
    for number, state in enumerate(deaths.states):
        grave = deaths.graves.with_name(f"grave{number}")
        grave.mkdir()
        for name, data in state.items():
            (grave / name).write_bytes(data)
        next_one = Ring(grave).attach()
        found.add(outcome(next_one))
        next_one.close()
    print(f"{steps} instructions, {len(deaths.states)} states of memory")
    assert found == {((b"waits",),), ((b"waits", payload),), ((payload,),)}
    assert len(deaths.states) > 15


def test_the_frame_header_is_built_before_it_is_stored() -> None:
    """A header is one copy into the ring; nothing is packed in place, which would zero it first."""
    head = frame_header(Frame(0, 256, 1, 1, 1, 1, 1, 0, memoryview(b"x")))
    assert isinstance(head, bytes) and len(head) == 128
