"""Counters that say what commits say, whichever store the process died before."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from shipper.metrics.counters import NAMES, Counters
from shipper.metrics.tied import DRAINED, TIED_WORDS, TiedToTakes, tie_to_puts

LANE = "r1.0--k1.0"


class Killed(BaseException):
    """The process is dead."""


class Words(list[int]):
    """Words that outlive their process, which dies before a store."""

    stores_left = -1

    def __setitem__(self, at, value):  # type: ignore[no-untyped-def]
        if self.stores_left == 0:
            raise Killed
        self.stores_left -= 1
        super().__setitem__(at, value)


class Entry:
    """Counters of a component, what ties them, and the generation of a lane, in words of one memory."""

    def __init__(self) -> None:
        self.words = Words([0] * (len(NAMES) + TIED_WORDS + 1))
        words = self.words

        class Part:
            def __init__(self, first: int) -> None:
                self.first = first

            def __getitem__(self, at: int) -> int:
                return words[self.first + at]

            def __setitem__(self, at: int, value: int) -> None:
                words[self.first + at] = value

        self.tied_words = Part(len(NAMES))
        self.counters = Counters(Part(0))  # type: ignore[arg-type]
        self.lane = Part(len(NAMES) + TIED_WORDS)

    def takes(self) -> TiedToTakes:
        return TiedToTakes(self.counters, self.tied_words)  # type: ignore[arg-type]

    def puts(self, rows: int, size_bytes: int) -> None:
        tie_to_puts(self.counters, self.tied_words, rows, size_bytes)  # type: ignore[arg-type]

    def drained(self) -> list[int]:
        return [self.counters.get(name) for name in DRAINED]

    def accepted(self) -> list[int]:
        return [self.counters.get(name) for name in ("EventAcceptedCount", "body_bytes")]


def deaths(work: Callable[[Entry], None], begun: Callable[[], Entry]) -> list[Entry]:
    """What is left of `work` by a death before each of its stores; the last one lived."""
    found = []
    for stores in itertools.count():
        entry = begun()
        entry.words.stores_left = stores
        found.append(entry)
        try:
            work(entry)
        except Killed:
            entry.words.stores_left = -1
            continue
        entry.words.stores_left = -1
        return found
    raise AssertionError


def one_take(entry: Entry) -> None:
    tied = entry.takes()
    tied.announce((LANE, entry.lane[0]), 5, 50, 1)
    entry.lane[0] += 1
    tied.count()


def after_one_take() -> Entry:
    entry = Entry()
    one_take(entry)
    return entry


def test_a_commit_is_counted_once_wherever_its_process_died() -> None:
    left = deaths(one_take, after_one_take)
    assert len(left) == 11, "a death before each store, and none"
    for entry in left:
        for _ in range(2):  # who settles may die too
            entry.takes().settle({"r2.0--k1.0": 9, LANE: entry.lane[0]})
            assert entry.drained() == [5 * entry.lane[0], 50 * entry.lane[0], entry.lane[0]]


def test_who_settles_may_die_before_each_store() -> None:
    def settle(entry: Entry) -> None:
        entry.takes().settle({LANE: entry.lane[0]})

    def half_done() -> Entry:
        entry = after_one_take()
        entry.takes().announce((LANE, 1), 5, 50, 1)
        entry.lane[0] += 1
        return entry

    for entry in deaths(settle, half_done):
        settle(entry)
        assert entry.drained() == [10, 100, 2]


def test_a_commit_that_another_process_finished_is_counted() -> None:
    entry = Entry()
    entry.takes().announce((LANE, 0), 5, 50, 1)
    entry.takes().settle({LANE: 1})
    assert entry.drained() == [5, 50, 1]


def test_what_was_rolled_back_is_not_counted_because_another_commit_came() -> None:
    """A sink that only rolls a file moves the lane's generation too."""
    entry = Entry()
    tied = entry.takes()
    tied.announce((LANE, 0), 5, 50, 1)
    tied.withdraw()
    entry.takes().settle({LANE: 1})
    assert entry.drained() == [0, 0, 0]


@pytest.mark.parametrize("lane", ["r2.0--k1.0", "k1.0"])
def test_a_commit_of_another_lane_is_another_commit(lane: str) -> None:
    entry = Entry()
    entry.takes().announce((LANE, 0), 5, 50, 1)
    entry.takes().settle({lane: 7, LANE: 0})
    assert entry.drained() == [0, 0, 0]


def test_a_source_counts_what_its_page_has_counted_since_the_agent_started() -> None:
    """Also what its process put and did not count any more."""
    entry = Entry()
    entry.puts(1000, 9000)  # by agents before this one
    assert entry.accepted() == [0, 0]
    entry.counters.add("EventAcceptedCount", 10)
    entry.counters.add("body_bytes", 90)
    for again in deaths(lambda found: found.puts(1017, 9153), lambda: begun_at(1000, 9000, 10, 90)):
        again.puts(1017, 9153)
        assert again.accepted() == [17, 153]


def begun_at(rows: int, size_bytes: int, more: int, more_bytes: int) -> Entry:
    entry = Entry()
    entry.puts(rows, size_bytes)
    entry.counters.add("EventAcceptedCount", more)
    entry.counters.add("body_bytes", more_bytes)
    return entry


def test_a_page_that_was_made_anew_takes_nothing_away() -> None:
    entry = begun_at(1000, 9000, 10, 90)
    entry.puts(0, 0)
    assert entry.accepted() == [10, 90]
    entry.puts(3, 27)  # put into the new page, and not counted
    assert entry.accepted() == [13, 117]
