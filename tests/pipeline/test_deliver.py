"""The right half of the walk: delivered, flushed, committed; or nothing of it, and the same rows come again."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.api import EventBatch, Origin
from shipper.metrics.tied import TiedToTakes
from tests.channels.conftest import Memory
from tests.channels.logged import Logged
from tests.channels.spilled import Spilled
from tests.pipeline.conftest import Right

Make = Callable[..., Right]


def test_rows_are_delivered_flushed_then_committed(right: Make) -> None:
    half = right()
    assert half.memory.put(b"a", b"b") and half.memory.put(b"c")
    assert half.delivery.step()
    assert half.target.verbs == ["deliver 2", "deliver 1", "flush", "committed"]
    assert half.target.safe == [b"a", b"b", b"c"]
    assert half.memory.rows() == 0
    assert half.memory.take_side().sequence() == 1, "the commit names the sink's journal entry"
    names = ("EventDrainAttemptCount", "EventDrainSuccessCount", "BatchUnderflowCount", "body_bytes")
    assert half.count(*names) == [3, 3, 1, 3]


def test_what_was_committed_and_not_counted_is_counted_by_the_next_worker(
    right: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death between the channel's commit and the sink's counters; the ledger has the rows."""
    first = right()
    assert first.memory.put(b"a", b"b")
    assert first.delivery.step() and first.memory.put(b"c")

    class Killed(BaseException):
        pass

    def count(self: TiedToTakes) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(TiedToTakes, "count", count)
        with pytest.raises(Killed):
            first.delivery.step()
    assert first.memory.rows() == 0 and first.count("EventDrainSuccessCount") == [2]
    first.memory.kill()
    first.tied.settle(first.memory.take_side().generations())
    assert first.count("EventDrainSuccessCount", "body_bytes") == [3, 3]


def test_what_could_not_be_delivered_is_not_counted_because_the_sink_rolled_meanwhile(right: Make) -> None:
    half = right()
    assert half.memory.put(b"a")
    half.target.failing, half.target.to_roll = {"flush"}, True
    assert not half.delivery.step()
    half.target.failing = set()
    half.delivery.tick()  # commits, and takes nothing
    half.tied.settle(half.memory.take_side().generations())
    assert half.count("EventDrainSuccessCount") == [0]


def test_a_sink_that_prepares_hears_what_comes_next_before_it_flushes(right: Make) -> None:
    half = right(batch_bytes=2000)
    half.target.prepares = True
    for count in (1, 2, 3):
        assert half.memory.put(*(b"x" * 2000 for _ in range(count)))
    while half.delivery.step():
        pass
    assert half.target.verbs == [
        "deliver 1", "ahead 2", "flush", "committed",
        "deliver 2", "ahead 3", "flush", "committed",
        "deliver 3", "flush", "committed",
    ]  # fmt: skip
    assert half.memory.rows() == 0


def test_nothing_waiting_is_nothing_done(right: Make) -> None:
    half = right()
    assert not half.delivery.step()
    assert half.target.verbs == []
    assert half.count("BatchEmptyCount", "EventDrainAttemptCount") == [1, 0]


def test_a_transaction_ends_when_it_is_large_enough(right: Make) -> None:
    half = right(batch_bytes=2000)
    for _ in range(6):
        assert half.memory.put(b"x" * 900)
    assert half.delivery.step()
    assert half.target.verbs == ["deliver 1", "deliver 1", "flush", "committed"]
    assert half.count("BatchCompleteCount") == [1]
    while half.delivery.step():
        pass
    assert len(half.target.safe) == 6


def test_frames_without_rows_are_committed_and_the_sink_is_not_asked(right: Make) -> None:
    half = right()
    assert half.memory.put(b"a")
    assert half.delivery.step()
    assert half.memory.put(origins=[Origin("f", 0, 5)])
    assert not half.delivery.step()
    assert half.target.verbs == ["deliver 1", "flush", "committed"]
    assert half.memory.take_side().sequence() == 1, "what the sink committed before stays committed"
    assert not half.memory.take_side().waiting()


@pytest.mark.parametrize("verb", ["deliver", "flush"])
class TestATargetThatIsDown:
    """Nothing counts, everything comes again, less and less often."""

    def test_the_rows_come_again_in_order(self, right: Make, verb: str) -> None:
        half = right()
        assert half.memory.put(b"a") and half.memory.put(b"b")
        half.target.failing = {verb}
        assert not half.delivery.step()
        assert half.target.verbs[-1] == "rolled_back" and "committed" not in half.target.verbs
        assert half.memory.rows() == 2
        half.target.failing = set()
        assert not half.delivery.step(), "it waits first"
        half.clock.advance(1)
        assert half.delivery.step()
        assert half.target.safe == [b"a", b"b"]
        assert half.count("EventWriteFail", "EventDrainSuccessCount", "body_bytes") == [1, 2, 2]

    def test_the_pauses_grow_to_five_seconds_and_are_forgotten(self, right: Make, verb: str) -> None:
        half = right()
        assert half.memory.put(b"a")
        half.target.failing = {verb}
        pauses = []
        for _ in range(7):
            half.delivery.step()
            pauses.append(half.delivery.retry_at_s - half.clock.monotonic_s())
            half.clock.advance(pauses[-1])
        assert pauses == [1, 2, 3, 4, 5, 5, 5]
        half.target.failing = set()
        assert half.delivery.step()
        assert half.memory.put(b"b")
        half.target.failing = {verb}
        half.delivery.step()
        assert half.delivery.retry_at_s - half.clock.monotonic_s() == 1

    def test_a_person_hears_of_it_and_of_its_end(self, right: Make, verb: str) -> None:
        half = right()
        assert half.memory.put(b"a")
        half.target.failing = {verb}
        half.delivery.step()
        reason = "the target is " + ("down" if verb == "deliver" else "full")
        assert half.waits == [reason]
        assert half.said == [("warning", f"{reason}; trying again")]
        half.target.failing = set()
        half.clock.advance(1)
        assert half.delivery.step()
        assert half.waits == [reason, ""]
        assert half.said[-1] == ("info", "the target takes events again")


def test_a_target_says_how_long_it_wants_to_be_left_alone(right: Make) -> None:
    half = right()
    assert half.memory.put(b"a")
    half.target.failing, half.target.after_s = {"deliver"}, 42.0
    half.delivery.step()
    assert half.delivery.retry_at_s - half.clock.monotonic_s() == 42


def test_a_defect_of_the_sink_rolls_back_and_is_not_hidden(right: Make) -> None:
    half = right()
    assert half.memory.put(b"a")
    half.target.deliver = lambda batch: 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        half.delivery.step()
    del half.target.deliver
    assert half.delivery.step() and half.target.safe == [b"a"]


class TestLettingGo:
    """A sink that can't deliver holds nothing back from another one."""

    def test_another_sink_takes_what_was_waiting(self, right: Make) -> None:
        first = right(sinks=2)
        second = right(first.memory, worker=1)
        bodies = [b"%d" % number for number in range(10)]
        assert all(first.memory.put(body) for body in bodies)
        first.target.failing = {"deliver"}
        first.delivery.step()
        assert first.target.verbs[-2:] == ["rolled_back", "releasing"]
        while second.delivery.step():
            pass
        assert sorted(second.target.safe) == bodies
        assert first.memory.rows() == 0

    def test_it_gets_its_lane_back_when_it_has_recovered(self, right: Make) -> None:
        first = right(sinks=2)
        second = right(first.memory, worker=1)
        assert all(first.memory.put(b"%d" % number) for number in range(4))
        first.target.failing = {"deliver"}
        first.delivery.step()
        while second.delivery.step():
            pass
        first.target.failing = set()
        first.clock.advance(5)
        for number in range(4, 40):
            assert first.memory.put(b"%d" % number)
            second.delivery.step()
            first.delivery.step()
        assert first.target.safe, "the lane is its own again"
        assert sorted(first.target.safe + second.target.safe) == sorted(b"%d" % number for number in range(40))

    def test_the_only_sink_keeps_its_lane(self, right: Make) -> None:
        half = right()
        assert half.memory.put(b"a")
        half.target.failing = {"deliver"}
        half.delivery.step()
        assert "releasing" not in half.target.verbs


class TestRefusedRows:
    """What is never accepted goes to a file with the reason; the rest is delivered."""

    def lines(self, half: Right) -> list[dict]:
        return [json.loads(line) for line in half.quarantine.read_text().splitlines()]

    def test_the_rows_that_the_sink_names_are_set_aside(self, right: Make) -> None:
        half = right()
        assert half.memory.put(b"a", b"bad", b"b", b"worse", b"c")
        half.target.poison = {b"bad", b"worse"}
        assert half.delivery.step()
        assert half.target.safe == [b"a", b"b", b"c"]
        assert [line["body"] for line in self.lines(half)] == ["bad", "worse"]
        assert half.count("rows_set_aside", "EventDrainSuccessCount", "body_bytes") == [2, 5, 3]
        assert half.said == [("error", f"2 events are set aside in {half.quarantine}: not a number")]

    @pytest.mark.parametrize("rows", [1, 2, 3, 64, 100])
    def test_the_culprits_are_found_when_the_sink_does_not_know_them(self, right: Make, rows: int) -> None:
        half = right()
        bodies = [b"%d" % number for number in range(rows)]
        assert half.memory.put(*bodies)
        half.target.poison = {bodies[0], bodies[-1], bodies[rows // 3]}
        half.target.knows_which = False
        assert half.delivery.step()
        assert half.target.safe == [body for body in bodies if body not in half.target.poison]
        assert {line["body"].encode() for line in self.lines(half)} == half.target.poison
        assert len(half.target.verbs) < 8 * rows.bit_length() + 8, "halves, not row by row"

    def test_a_sink_that_names_no_rows_is_understood_as_not_knowing(self, right: Make) -> None:
        half = right()
        assert half.memory.put(b"a", b"bad")
        half.target.poison = {b"bad"}
        deliver = half.target.deliver

        def forgetful(batch: EventBatch) -> None:
            from shipper.api import Refused

            try:
                deliver(batch)
            except Refused as refusal:
                raise Refused(str(refusal), ()) from refusal

        half.target.deliver = forgetful  # type: ignore[method-assign]
        assert half.delivery.step()
        assert half.target.safe == [b"a"] and len(self.lines(half)) == 1

    def test_a_line_says_when_why_and_what(self, right: Make, tmp_path: Path) -> None:
        half = right()
        transaction = half.memory.put_side().transaction()
        transaction.begin()
        batch = EventBatch.of([b"caf\xc3\xa9\n", b"\xff\x00\n"], [{"k": "v"}, {"k": None}])
        assert transaction.put("c1", EventBatch(batch.records, trim=1, constants={"host": "h"}))
        transaction.commit()
        half.target.poison = {b"caf\xc3\xa9", b"\xff\x00"}
        assert half.delivery.step()
        about = {
            "at": half.clock.now_ms(), "sink": "k1", "channel": "c1", "reason": "not a number",
            "transaction": ["run", "r0.0--k0.0", 0],
        }  # fmt: skip
        assert self.lines(half) == [
            {**about, "headers": {"host": "h", "k": "v"}, "body": "café"},
            {
                **about, "headers": {"host": "h", "k": None},
                "body_base64": base64.b64encode(b"\xff\x00").decode(),
            },
        ]  # fmt: skip
        assert half.quarantine.stat().st_mode & 0o777 == 0o600

    def test_a_transaction_that_is_repeated_sets_nothing_aside_twice(self, right: Make) -> None:
        half = right()
        assert half.memory.put(b"bad", b"a")
        half.target.poison = {b"bad"}
        half.target.failing = {"flush"}
        for _ in range(3):
            half.delivery.step()
            half.clock.advance(10)
        assert half.quarantine.read_bytes() == b""
        half.target.failing = set()
        assert half.delivery.step()
        assert [line["body"] for line in self.lines(half)] == ["bad"]
        assert half.count("rows_set_aside", "body_bytes") == [1, 1]

    def test_rows_that_can_not_be_set_aside_are_kept(self, right: Make) -> None:
        half = right()
        half.quarantine.parent.parent.mkdir(exist_ok=True)
        half.quarantine.parent.write_text("a file where the directory should be")
        assert half.memory.put(b"bad", b"a")
        half.target.poison = {b"bad"}
        assert not half.delivery.step()
        assert half.memory.rows() == 2
        level, line = half.said[-1]
        assert level == "warning" and "1 event is refused (not a number) and can't be set aside in" in line
        half.quarantine.parent.unlink()
        half.clock.advance(5)
        assert half.delivery.step()
        assert half.target.safe == [b"a"] and len(self.lines(half)) == 1

    def test_a_quarantine_that_fails_half_way_has_whole_lines_only(
        self, right: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        half = right()
        assert half.memory.put(b"bad")
        half.target.poison = {b"bad"}
        write = os.write
        with monkeypatch.context() as patch:
            room = [10]

            def little_room(fd: int, data: bytes) -> int:
                if not room:
                    raise OSError(28, "No space left on device")
                return write(fd, bytes(data)[: room.pop()])

            patch.setattr(os, "write", little_room)
            assert not half.delivery.step()
        assert half.quarantine.read_bytes() == b""
        half.clock.advance(5)
        assert half.delivery.step()
        assert len(self.lines(half)) == 1


class TestLinger:
    """Few rows may wait for more, but not longer than they are allowed to."""

    def test_rows_that_come_meanwhile_are_taken_along(self, right: Make) -> None:
        half = right(linger_s=0.2)
        assert half.memory.put(b"a")
        half.waiter.on_wait = lambda: half.memory.put(b"b") and None if len(half.waiter.waited_s) == 1 else None
        assert half.delivery.step()
        assert half.target.verbs == ["deliver 1", "deliver 1", "flush", "committed"]

    def test_it_ends_when_the_time_is_over(self, right: Make) -> None:
        half = right(linger_s=0.2)
        assert half.memory.put(b"a")
        assert half.delivery.step()
        assert sum(half.waiter.waited_s) == pytest.approx(0.2, abs=0.01)
        assert half.count("BatchUnderflowCount") == [1]

    def test_it_ends_when_the_batch_is_large_enough(self, right: Make) -> None:
        half = right(linger_s=1000, batch_bytes=1500)
        assert half.memory.put(b"x" * 1500)
        assert half.delivery.step()
        assert half.waiter.waited_s == []

    def test_it_ends_when_another_lane_has_rows_that_wait(self, right: Make, tmp_path: Path) -> None:
        """One quiet source must not make a busy one wait: both go to this sink."""
        memory = Memory(tmp_path, {"ring.bytes": "512k"}, sources=2)
        half = right(memory, linger_s=1000)
        assert memory.put(b"quiet", worker=0)
        assert memory.put(b"busy", worker=1)
        assert half.delivery.step()
        assert half.waiter.waited_s == []

    @pytest.mark.parametrize("bound", [{"capacity": "2"}, {"byteCapacity": "250"}, {"ring.bytes": "64k"}])
    def test_it_ends_when_a_put_waits_for_the_room_of_what_was_taken(
        self, right: Make, tmp_path: Path, bound: dict[str, str]
    ) -> None:
        body = b"x" * (20_000 if "ring.bytes" in bound else 1)
        half = right(Memory(tmp_path, bound), linger_s=1000, batch_bytes=1 << 30)
        assert half.memory.put(body) and half.memory.put(body)
        half.waiter.on_wait = lambda: half.memory.put(body, body) and None
        assert half.delivery.step()
        assert len(half.waiter.waited_s) == 1 and half.target.safe == [body] * 2
        assert half.memory.put(body), "and what waited finds room"

    def test_it_ends_at_once_when_a_put_waited_before_the_rows_were_taken(self, right: Make, tmp_path: Path) -> None:
        half = right(Memory(tmp_path, {"capacity": "2"}), linger_s=1000)
        for round_ in (b"a", b"b", b"c"):
            assert half.memory.put(round_, round_) and not half.memory.put(b"more")
            assert half.delivery.step()
        assert half.waiter.waited_s == [] and half.memory.rows() == 0

    @pytest.mark.parametrize("full", [{"onFull": "dropNewest"}, {"onFull": "dropOldest"}])
    def test_it_ends_when_rows_are_given_up_for_want_of_room(
        self, right: Make, tmp_path: Path, full: dict[str, str]
    ) -> None:
        half = right(Memory(tmp_path, {"capacity": "2", **full}), linger_s=1000)
        assert half.memory.put(b"a", b"b")
        half.waiter.on_wait = lambda: half.memory.put(b"c") and None
        assert half.delivery.step()
        assert len(half.waiter.waited_s) == 1 and half.memory.put(b"d")

    def test_it_ends_for_all_sinks_whichever_source_has_filled_the_channel(self, right: Make, tmp_path: Path) -> None:
        memory = Memory(tmp_path, {"capacity": "2"}, sources=2, sinks=2)
        halves = [right(memory, worker=worker, linger_s=1000) for worker in range(2)]
        assert memory.put(b"a", worker=0) and memory.put(b"b", worker=0)
        for half in halves:
            half.waiter.on_wait = lambda: memory.put(b"c", worker=1) and None
        assert all(half.delivery.step() for half in halves)
        assert [len(half.waiter.waited_s) for half in halves] == [1, 0]

    def test_a_small_channel_that_is_not_full_is_gathered_from(self, right: Make, tmp_path: Path) -> None:
        half = right(Memory(tmp_path, {"capacity": "3"}), linger_s=0.2)
        assert half.memory.put(b"a", b"b", b"c") and not half.memory.put(b"d")
        assert half.delivery.step() and half.waiter.waited_s == []
        assert half.memory.put(b"e")
        half.waiter.on_wait = lambda: half.memory.put(b"f") and None if len(half.waiter.waited_s) == 1 else None
        assert half.delivery.step()
        assert half.target.verbs[-4:] == ["deliver 1", "deliver 1", "flush", "committed"]
        assert sum(half.waiter.waited_s) == pytest.approx(0.2, abs=0.01)

    def test_a_file_channel_hands_on_that_a_put_waits(self, right: Make, tmp_path: Path) -> None:
        logged = Logged(tmp_path, {"capacity": "2"})
        half = right(logged, linger_s=1000)
        assert logged.put(b"a", b"b")
        half.waiter.on_wait = lambda: logged.put(b"c") or logged.write()
        assert half.delivery.step()
        assert len(half.waiter.waited_s) == 1 and logged.put(b"c")

    def test_a_file_channel_whose_writer_is_slow_is_gathered_from(self, right: Make, tmp_path: Path) -> None:
        """Its lanes are full, and not its log: more comes without any commit."""
        logged = Logged(tmp_path, {"ring.bytes": "64k"})
        half = right(logged, linger_s=0.2)
        body = b"x" * 20_000
        assert logged.put(body)

        def fill() -> None:
            if len(half.waiter.waited_s) == 1:
                assert logged.put(body) and logged.put(body) and not logged.put(body, body)
                logged.write()

        half.waiter.on_wait = fill
        assert half.delivery.step()
        assert half.target.verbs == ["deliver 1", "deliver 1", "deliver 1", "flush", "committed"]
        assert sum(half.waiter.waited_s) > 0.03

    def test_a_channel_that_spills_says_of_both_parts_that_a_put_waits(self, right: Make, tmp_path: Path) -> None:
        bounds = {"memoryCapacity": "2", "overflowCapacity": "2", "transactionCapacity": "2"}
        spilled = Spilled(tmp_path, bounds)
        half = right(spilled, linger_s=1000)
        assert spilled.put(b"a", b"b")
        half.waiter.on_wait = lambda: spilled.put(b"c", b"d") or spilled.write()
        assert half.delivery.step() and half.delivery.step()
        assert half.target.safe == [b"a", b"b", b"c", b"d"] and len(half.waiter.waited_s) == 2

    def test_a_worker_that_is_to_stop_does_not_linger(self, right: Make) -> None:
        half = right(linger_s=1000)
        half.stop[0] = True
        assert half.memory.put(b"a")
        assert half.delivery.step()
        assert half.waiter.waited_s == []


class TestTick:
    """Files roll by time, also when no row comes."""

    def test_a_roll_is_flushed_and_its_entry_committed(self, right: Make) -> None:
        half = right()
        half.target.to_roll = True
        half.delivery.tick()
        assert half.target.verbs == ["flush", "committed"]
        assert half.memory.take_side().sequence() == 1

    def test_nothing_to_roll_costs_no_commit(self, right: Make) -> None:
        half = right()
        half.delivery.tick()
        assert half.target.verbs == []

    def test_a_roll_that_fails_is_a_failure_of_the_target(self, right: Make) -> None:
        half = right()
        half.target.failing = {"tick"}
        half.delivery.tick()
        assert half.target.verbs == ["rolled_back"]
        assert half.delivery.retry_at_s - half.clock.monotonic_s() == 1

    def test_what_a_sink_can_not_bring_on_is_told_until_it_can(self, right: Make) -> None:
        half = right()
        half.target.brings_on = False
        half.delivery.tick()
        half.target.brings_on = True
        half.delivery.tick()
        assert half.troubles == [("k1", "a file can't be made"), ("k1", "")]

    def test_a_roll_does_not_commit_rows(self, right: Make) -> None:
        half = right()
        assert half.memory.put(b"a")
        half.target.to_roll = True
        half.delivery.tick()
        assert half.memory.rows() == 1
        assert half.delivery.step() and half.target.safe == [b"a"]


def test_damage_in_the_channel_is_said(right: Make) -> None:
    """No silent loss: what was skipped is counted and told."""
    half = right()
    for body in (b"a", b"b", b"c"):
        assert half.memory.put(body)
    side = half.memory.take_side()
    position = half.memory.put_side().page.lane(0).last_frame
    half.memory.put_side().putters["c1"].producers[0].lane.ring[position + 128] ^= 0xFF
    assert half.delivery.step()
    assert half.target.safe == [b"a", b"b"]
    half.delivery.step()
    assert side.lost_bytes
    level, line = half.said[-1]
    assert level == "error" and f"{side.lost_bytes} bytes that are gone or fail their checks" in line
    assert half.memory.rows() == 0


def test_the_state_of_a_channel_is_what_both_halves_say(right: Make, tmp_path: Path) -> None:
    half = right(Memory(tmp_path / "own" if (tmp_path / "own").mkdir() is None else tmp_path, {}))
    for number in range(50):
        assert half.memory.put(*[b"x"] * (number % 5))
        if number % 3 == 0:
            half.delivery.step()
    while half.delivery.step():
        pass
    assert half.count("EventDrainSuccessCount") == [sum(number % 5 for number in range(50))]


class TestTheLedger:
    """Every row that is taken is booked: delivered, set aside, or given up."""

    def books(self, half: Right):  # type: ignore[no-untyped-def]
        from shipper.ring.tally import read_take

        slot, tally = read_take(half.memory.put_side().putters["c1"].producers[0].lane)
        assert slot.rows == tally.rows
        return tally

    def test_rows_delivered_and_set_aside_belong_to_their_sink(self, right: Make) -> None:
        from shipper.shared.tally import sink_key

        half = right()
        assert half.memory.put(b"aa", b"bad", b"bb")
        half.target.poison = {b"bad"}
        assert half.delivery.step()
        assert self.books(half).accounts == ((sink_key("k1"), 2, 4, 1),)

    def test_what_is_repeated_is_booked_once(self, right: Make) -> None:
        half = right()
        assert half.memory.put(b"a", b"bad")
        half.target.poison = {b"bad"}
        half.target.failing = {"flush"}
        for _ in range(3):
            half.delivery.step()
            half.clock.advance(10)
        half.target.failing = set()
        assert half.delivery.step()
        (account,) = self.books(half).accounts
        assert account[1:] == (1, 1, 1)

    def test_what_is_too_old_is_booked_and_said_while_the_target_is_down(self, right: Make, tmp_path: Path) -> None:
        half = right(Memory(tmp_path, {"ring.bytes": "256k", "maxAge": "60"}))
        half.target.failing = {"deliver"}
        assert half.memory.put(b"a", b"b")
        half.delivery.step()
        half.memory.clock.advance(61)
        assert not half.delivery.step()
        assert self.books(half).expired == 2
        assert half.count("rows_expired") == [2]
        assert ("warning", "2 events were dropped: they were in the channel for longer than its maxAge") in half.said

    def test_what_is_in_the_way_is_booked_and_said(self, right: Make, tmp_path: Path) -> None:
        half = right(Memory(tmp_path, {"capacity": "2", "onFull": "dropOldest"}))
        half.target.failing = {"deliver"}
        assert half.memory.put(b"a", b"b")
        half.delivery.step()
        assert not half.memory.put(b"c")
        half.delivery.step()
        assert half.memory.put(b"c")
        assert self.books(half).dropped == 1
        assert half.count("rows_dropped") == [1]
