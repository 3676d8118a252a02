"""The quarantine: each row once, whoever dies; bounded, and nothing dropped when it is full."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.api import EventBatch, RetryLater
from shipper.pipeline.quarantine import Quarantine
from shipper.testing.fakes import ManualClock
from tests.pipeline.conftest import Right

Make = Callable[..., Right]
LANE = "r1.0--k1.0"


def made(path: Path, run_id: str = "run", **options: int) -> Quarantine:
    """A quarantine as a new process opens it."""
    return Quarantine(path / "quarantine.jsonl", ManualClock(), sink="k1", channel="c1", run_id=run_id, **options)


def bodies(path: Path) -> list[str]:
    """All rows, oldest first."""
    return [body for file in made(path).paths() for body in lines(file)]


def lines(file: Path) -> list[str]:
    """The rows of one file."""
    return [json.loads(line)["body"] for line in file.read_text().splitlines()]


class TestAfterADeath:
    """What was written and not committed is cut: its rows come again."""

    def test_lines_of_a_commit_that_was_never_stored_are_cut(self, tmp_path: Path) -> None:
        one = made(tmp_path)
        one.add(EventBatch.of([b"a"]), "bad", (LANE, 4))
        one.committed()
        one.add(EventBatch.of([b"b", b"c"]), "bad", (LANE, 5))
        one.add(EventBatch.of([b"d"]), "worse", (LANE, 5))
        assert made(tmp_path).settle(lambda lane: 5) == 3
        assert bodies(tmp_path) == ["a"]

    def test_lines_of_a_commit_that_was_stored_stay(self, tmp_path: Path) -> None:
        made(tmp_path).add(EventBatch.of([b"a"]), "bad", (LANE, 5))
        assert made(tmp_path).settle(lambda lane: 6) == 0
        assert bodies(tmp_path) == ["a"]

    def test_a_torn_line_is_cut(self, tmp_path: Path) -> None:
        made(tmp_path).add(EventBatch.of([b"a"]), "bad", (LANE, 4))
        with (tmp_path / "quarantine.jsonl").open("ab") as file:
            file.write(b'{"at":1,"sink":"k1"')
        made(tmp_path).settle(lambda lane: 5)
        assert bodies(tmp_path) == ["a"]

    @pytest.mark.parametrize("cut", range(0, 400, 7))
    def test_whatever_part_was_written(self, cut: int, tmp_path: Path) -> None:
        made(tmp_path).add(EventBatch.of([b"a"]), "bad", (LANE, 4))
        file = tmp_path / "quarantine.jsonl"
        whole = file.stat().st_size
        made(tmp_path).add(EventBatch.of([b"b", b"c"]), "bad", (LANE, 5))
        with file.open("r+b") as opened:
            opened.truncate(min(whole + cut, file.stat().st_size))
        made(tmp_path).settle(lambda lane: 5)
        assert bodies(tmp_path) == ["a"]

    def test_lines_of_another_run_stay(self, tmp_path: Path) -> None:
        """A clean stop has removed the lanes: all that was written was committed."""
        made(tmp_path, "before").add(EventBatch.of([b"a"]), "bad", (LANE, 5))
        assert made(tmp_path).settle(lambda lane: 0) == 0
        assert made(tmp_path, "before").settle(lambda lane: None) == 0

    def test_lines_that_a_person_added_stay(self, tmp_path: Path) -> None:
        (tmp_path / "quarantine.jsonl").write_text('{"body": "mine"}\nnot even JSON\n')
        assert made(tmp_path).settle(lambda lane: 0) == 0


def test_a_worker_that_died_between_the_quarantine_and_the_commit_sets_nothing_aside_twice(right: Make) -> None:
    first = right()
    assert first.memory.put(b"bad", b"a")
    first.target.poison = {b"bad"}

    class Killed(BaseException):
        pass

    def flush() -> int:
        raise Killed  # the line is in the file, the commit is not stored

    first.target.flush = flush  # type: ignore[method-assign]
    with pytest.raises(Killed):
        first.delivery.step()
    assert bodies(first.quarantine.parent) == [] or first.quarantine.exists()
    first.memory.kill()
    second = right(first.memory)
    second.target.poison = {b"bad"}
    quarantine = Quarantine(
        second.quarantine, second.clock, sink="k1", channel="c1", run_id="run"
    )  # fmt: skip
    assert quarantine.settle(second.memory.take_side().generations().get) == 1
    assert second.delivery.step()
    assert lines(second.quarantine) == ["bad"] and second.target.safe == [b"a"]


class TestBounds:
    """Files are put aside under numbers; all of them together have a limit."""

    def test_a_long_file_is_put_aside_and_a_new_one_begun(self, tmp_path: Path) -> None:
        one = made(tmp_path, file_bytes=200)
        for number in range(5):
            one.add(EventBatch.of([b"%d" % number]), "bad", (LANE, number))
            one.committed()
        assert [path.name for path in one.paths()] == [
            "quarantine.1.jsonl", "quarantine.2.jsonl", "quarantine.jsonl"
        ]  # fmt: skip
        assert bodies(tmp_path) == ["0", "1", "2", "3", "4"]

    def test_one_transaction_stands_in_one_file_and_can_be_taken_out(self, tmp_path: Path) -> None:
        one = made(tmp_path, file_bytes=200)
        one.add(EventBatch.of([b"a"] * 3), "bad", (LANE, 0))
        one.committed()
        one.add(EventBatch.of([b"b"] * 3), "bad", (LANE, 1))
        one.add(EventBatch.of([b"c"] * 3), "bad", (LANE, 1))
        one.rolled_back()
        assert bodies(tmp_path) == ["a"] * 3

    def test_at_the_limit_the_sink_waits_and_nothing_is_dropped(self, right: Make) -> None:
        half = right(limit_bytes=1000)
        half.target.poison = {b"bad"}
        delivered = 0
        while half.memory.put(b"bad", b"good") and half.delivery.step():
            delivered += 1
            assert delivered < 20
        assert half.memory.rows() == 2, "both are in the channel still"
        level, line = half.said[-1]
        assert level == "warning" and "the quarantine is full" in line and "quarantine.maxBytes" in line
        assert half.waits[-1].startswith("the quarantine is full")
        half.quarantine.rename(half.quarantine.with_name("looked-at"))
        half.clock.advance(10)
        assert half.delivery.step()
        assert half.memory.rows() == 0
        assert len(half.target.safe) == delivered + 1

    def test_what_one_transaction_has_is_set_aside_whole_and_the_next_one_waits(self, right: Make) -> None:
        """A take may have more than the limit: waiting for room that can't come would hold its sink up for ever."""
        half = right(limit_bytes=1000)
        half.target.poison = {b"bad"}
        assert half.memory.put(*[b"bad"] * 12, b"good")
        assert half.delivery.step()
        assert half.target.safe == [b"good"] and lines(half.quarantine) == ["bad"] * 12
        has = half.quarantine.stat().st_size
        assert half.memory.put(b"bad")
        assert not half.delivery.step()
        assert f"has {has} of 1000 bytes" in half.waits[-1]
        assert half.quarantine.stat().st_size == has and half.memory.rows() == 1

    def test_a_refusal_that_comes_later_in_a_transaction_finds_room_as_the_first_did(self, tmp_path: Path) -> None:
        """Or the first would be taken out again, and both come back at each try."""
        one = made(tmp_path, limit_bytes=300)
        for body in (b"a", b"b", b"c"):
            one.add(EventBatch.of([body]), "bad", (LANE, 4))
        one.committed()
        with pytest.raises(RetryLater, match="the quarantine is full: 1 event is refused"):
            one.add(EventBatch.of([b"d"]), "bad", (LANE, 5))
        assert bodies(tmp_path) == ["a", "b", "c"]
