"""Dead letters: what a sink refuses for good goes into another channel, each row once, whoever dies when."""

from __future__ import annotations

import contextlib
import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.api import Counters, EventBatch
from shipper.channels.memory.channel import MemoryChannel, MemoryOptions
from shipper.channels.memory.put import LaneRoute, PutSide, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.config.field import read_options
from shipper.instance import ledger
from shipper.instance.handover import hand_over, note_of
from shipper.instance.letters import settle_letters
from shipper.pipeline.dead_letters import DeadLetters
from shipper.pipeline.deliver import Delivery
from shipper.pipeline.group_sink import GroupSink
from shipper.processors.default import DefaultOptions, DefaultProcessor
from shipper.ring import promise as promises
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from shipper.shared.take_mark import TakeMark
from shipper.testing.fakes import FakeWaiter, ManualClock
from tests.pipeline.conftest import Target
from tests.ring.conftest import Deaths

K1, K2, OTHER = 1001, 1002, 1003
POISON = (b"bad 1", b"bad 2", b"bad 3")


class World:
    """A source worker, a sink that refuses some rows, its dead-letter channel, and the sink of that one.

    Args:
        directory: the run directory; opened as it is when it is there.
        letters: properties of the dead-letter channel.
        others: more sink workers of the first channel.
    """

    def __init__(self, directory: Path, letters: dict[str, str] | None = None, others: tuple[str, ...] = ()) -> None:
        self.run_dir = directory
        self.clock = ManualClock()
        self.said: list[str] = []
        for folder in ("bells", "puts"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        self.options = {
            "c1": self._options({"ring.bytes": "64k"}), "d1": self._options({"ring.bytes": "64k", **(letters or {})})
        }  # fmt: skip
        self.homes = {"c1": ["k1.0", *others], "d1": ["k2.0"]}
        self.producers = {"c1": "r1.0", "d1": "k1%dead.0"}
        for channel, options in self.options.items():
            folder = directory / "channels" / channel
            MemoryChannel(channel, options).prepare(folder, [self.producers[channel]], self.homes[channel], 64 << 10)
            page = PutPage.ensure(directory / "puts" / self.producers[channel])
            for home in self.homes[channel]:
                page.register(lane_key(channel, f"{self.producers[channel]}--{home}"))
            page.close()
        self.target, self.counters = Target(), Counters.private()
        self.target.poison = set(POISON)
        self.open: list[Any] = []

    @staticmethod
    def _options(properties: dict[str, str]) -> MemoryOptions:
        options, findings = read_options(MemoryOptions, properties)
        assert options is not None, findings
        return options

    def lane(self, channel: str, home: str) -> Path:
        return self.run_dir / "channels" / channel / f"{self.producers[channel]}--{home}"

    def put_side(self, channel: str) -> PutSide:
        routes = [LaneRoute(self.lane(channel, home), self.run_dir / "bells" / home) for home in self.homes[channel]]
        page = self.run_dir / "puts" / self.producers[channel]
        side = open_put_side(page, {channel: (self.options[channel], routes)}, {}, self.clock)
        self.open.append(side)
        return side

    def take_side(self, channel: str, sink: int, home: str) -> TakeSide:
        page = self.run_dir / "puts" / self.producers[channel]
        bell = self.run_dir / "bells" / self.producers[channel]
        routes = [TakeRoute(channel, self.lane(channel, one), page, bell, one == home) for one in self.homes[channel]]
        side = TakeSide(routes, sink, clock=self.clock)
        side.settle()
        self.open.append(side)
        return side

    def put(self, *bodies: bytes, **headers: str) -> None:
        """Puts one frame into the first channel, as a source would."""
        side = self.put_side("c1")
        put = side.transaction()
        put.begin()
        assert put.put("c1", EventBatch.of(bodies, [headers] * len(bodies) if headers else None))
        put.commit()
        side.close()

    def sink(self) -> Delivery:
        """The sink's worker, started as a worker is: what one before it has promised is settled first."""
        settle_letters(self.run_dir, K1)
        side = self.take_side("c1", K1, "k1.0")
        letters = DeadLetters(
            "d1", self.put_side("d1"), self.clock, sink="k1", source="c1", capacity=self.options["d1"].capacity,
            taken=lambda mark: TakeMark("c1", mark[0], "", mark[1], K1),
        )  # fmt: skip
        return Delivery(
            {"k1": GroupSink("k1", self.target, self.counters, letters)},
            DefaultProcessor(DefaultOptions(), ["k1"], self.clock), side, FakeWaiter(self.clock), batch_bytes=1 << 20,
            linger_s=0, stopping=lambda: False, waiting_for=lambda reason: None,
            say=lambda level, line: self.said.append(line), clock=self.clock,
        )  # fmt: skip

    def letters(self) -> list[tuple[bytes, dict[str, str | None]]]:
        """All that waits in the dead-letter channel, with its headers; gone afterwards."""
        side = self.take_side("d1", K2, "k2.0")
        take, found = side.transaction(), []
        take.begin()
        while (batch := take.take()) is not None:
            found += [(body, batch.headers_of(row)) for row, body in enumerate(batch.body.to_pylist())]
        take.book("k2", len(found), sum(len(body) for body, _ in found), 0)
        take.commit()
        side.close()
        return found

    def balanced(self) -> ledger.Ledger:
        """The ledger; it has to add up."""
        found = ledger.read(self.run_dir)
        assert not found.damaged
        assert {name: ledger.mismatch(numbers) for name, numbers in found.channels.items()} == {"c1": 0, "d1": 0}
        return found

    def kill(self) -> None:
        """The worker is gone: its locks with it."""
        gc.collect()  # views of batches hold the mapping, and a killed process holds none
        for side in self.open:
            side.close()
        self.open.clear()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with contextlib.closing(_Closing(World(tmp_path / "run"))) as one:
        yield one.world


class _Closing:
    def __init__(self, world: World) -> None:
        self.world = world

    def close(self) -> None:
        self.world.kill()


def test_refused_rows_go_to_the_channel_with_what_is_known_of_them(world: World) -> None:
    world.put(b"a", b"bad 1", b"b", b"bad 2", host="h1")
    assert world.sink().step()
    assert world.target.safe == [b"a", b"b"]
    about = {
        "host": "h1", "deadLetter.reason": "not a number", "deadLetter.sink": "k1", "deadLetter.channel": "c1",
        "deadLetter.timestamp": str(world.clock.now_ms()),
    }  # fmt: skip
    assert world.letters() == [(b"bad 1", about), (b"bad 2", about)]
    found = world.balanced()
    assert found.channels["c1"]["set_aside"] == 2 and found.channels["d1"]["accepted"] == 2
    assert found.letters["k1"]["d1"]["accepted"] == 2 and "k1" not in found.sources
    assert world.counters.get("rows_set_aside") == 2
    assert world.said == ["2 events are set aside in channel d1: not a number"]


def test_rows_that_are_found_by_halving_keep_their_reasons_and_their_order(world: World) -> None:
    world.target.knows_which = False
    world.put(b"bad 1", b"a", b"b", b"bad 2", b"bad 3")
    assert world.sink().step()
    assert [body for body, _ in world.letters()] == list(POISON)
    assert world.target.safe == [b"a", b"b"]


def test_a_transaction_ends_behind_the_frame_with_a_refused_row(world: World) -> None:
    world.put(b"a")
    world.put(b"bad 1", b"b")
    world.put(b"c")
    delivery = world.sink()
    assert delivery.step() and world.target.safe == [b"a", b"b"]
    assert delivery.step() and world.target.safe == [b"a", b"b", b"c"]


@pytest.mark.parametrize("verb", ["deliver", "flush"])
def test_a_target_that_fails_after_rows_were_refused_makes_no_letter(world: World, verb: str) -> None:
    world.put(b"bad 1", b"a")
    delivery = world.sink()
    world.target.failing = {verb}
    assert not delivery.step()
    assert world.letters() == []
    assert not list(world.run_dir.glob("puts/*.promise")), "a promise of a take that never was is gone"
    world.target.failing = set()
    world.clock.advance(1)
    assert delivery.step()
    assert [body for body, _ in world.letters()] == [b"bad 1"]


class TestAFullChannel:
    """Nothing is lost for want of room: the sink waits, and says why."""

    def test_the_sink_waits_until_there_is_room(self, tmp_path: Path) -> None:
        world = World(tmp_path / "run", {"capacity": "2"})
        world.put(b"bad 1", b"bad 2")
        world.put(b"bad 3", b"a")
        delivery = world.sink()
        assert delivery.step()
        assert not delivery.step()
        assert world.target.safe == []
        assert world.said[-1] == (
            "1 event is refused, and the dead-letter channel d1 takes none: its capacity of 2 events is used up; "
            "trying again"
        )
        assert world.counters.get("EventWriteFail") == 1
        assert [body for body, _ in world.letters()] == [b"bad 1", b"bad 2"]
        world.clock.advance(1)
        assert delivery.step()
        assert [body for body, _ in world.letters()] == [b"bad 3"] and world.target.safe == [b"a"]
        world.balanced()
        world.kill()

    def test_more_at_once_than_it_can_ever_hold_is_said(self, tmp_path: Path) -> None:
        world = World(tmp_path / "run", {"capacity": "2"})
        world.put(*POISON)
        assert not world.sink().step()
        assert "So many at once will never fit: give it a capacity of 3 or more" in world.said[-1]
        world.kill()

    def test_letters_that_it_gives_up_because_its_file_says_so_are_counted_there(self, tmp_path: Path) -> None:
        world = World(tmp_path / "run", {"capacity": "2", "onFull": "dropNewest"})
        world.put(*POISON)
        world.put(b"a")
        delivery = world.sink()
        assert delivery.step() and delivery.step()
        found = world.balanced()
        assert found.channels["c1"]["set_aside"] == 3 and found.channels["d1"]["dropped_new"] == 3
        world.kill()

    def test_letters_larger_than_half_the_ring_go_to_an_overflow_file(self, world: World) -> None:
        large = b"x" * 50_000
        world.target.poison = {large}
        world.put(large, b"a")
        assert world.sink().step()
        assert [body for body, _ in world.letters()] == [large]


class Everything(Deaths):
    """All files of a run directory, in which the process could have died."""

    def look(self) -> None:
        state = {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in sorted(self.home.rglob("*")) if path.is_file()
        }  # fmt: skip
        if not self.states or self.states[-1] != state:
            self.states.append(state)

    def buried(self) -> Iterator[Path]:
        for state in self.torn():
            shutil.rmtree(self.graves, ignore_errors=True)
            for name, data in state.items():
                (self.graves / name).parent.mkdir(parents=True, exist_ok=True)
                (self.graves / name).write_bytes(data)
            yield self.graves


@pytest.fixture
def everything(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Everything:
    return Everything(tmp_path / "run", tmp_path_factory.mktemp("graves") / "grave")


def judge(after: World, wanted: list[bytes]) -> None:
    """Goes on as the next start would; each refused row is a letter once."""
    after.balanced()
    delivery = after.sink()
    after.balanced()
    while delivery.step():
        pass
    assert [body for body, _ in after.letters()] == wanted
    found = after.balanced()
    assert found.channels["c1"]["in_channel"] == 0
    assert found.channels["c1"]["set_aside"] == found.channels["d1"]["accepted"] == len(wanted)
    assert not list(after.run_dir.glob("puts/*.promise"))
    after.kill()


def test_dying_at_any_store_leaves_each_refused_row_once(world: World, everything: Everything) -> None:
    """Behind every bytecode of a transaction, torn stores included."""
    world.put(b"bad 1", b"a")
    world.put(b"b", b"bad 2", b"bad 3")
    delivery = world.sink()
    assert delivery.step()
    everything.during(delivery.step)
    world.kill()
    assert len(everything.states) > 20
    decided = 0
    for directory in everything.buried():
        promised = list(directory.glob("puts/*.promise"))
        judge(World(directory), list(POISON))
        decided += len(promised)
    assert decided > 10, "states with a promise were among them"


def test_dying_while_a_promise_is_kept_keeps_it_once(world: World, everything: Everything) -> None:
    world.put(b"bad 1", b"a")
    delivery = world.sink()
    side = world.open[-1]

    class Killed(BaseException):
        pass

    def commit(*_: object) -> None:
        raise Killed

    side.page.commit = commit  # the take is stored, the put is not
    with pytest.raises(Killed):
        delivery.step()
    world.kill()
    assert len(list(world.run_dir.glob("puts/*.promise"))) == 1
    everything.during(lambda: settle_letters(world.run_dir))
    assert len(everything.states) > 3
    for directory in everything.buried():
        judge(World(directory), [b"bad 1"])


def test_a_lane_that_is_opened_to_others_has_its_promise_settled_first(tmp_path: Path) -> None:
    """A take that never was is another sink's now, with the refused row: the promise is worth nothing."""
    world = World(tmp_path / "run", others=("k3.0",))
    world.put(b"bad 1")
    delivery = world.sink()
    world.target.failing = {"flush"}
    world.target.rolled_back = lambda: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        delivery.step()
    world.kill()
    promise = next(world.run_dir.glob("puts/*.promise"))
    assert promises.read(promise) is not None
    assert settle_letters(world.run_dir, K1) == 0
    lanes = [world.lane("c1", home) for home in world.homes["c1"]]
    assert hand_over(lanes, K1, note_of(world.run_dir, K1))
    other = world.take_side("c1", OTHER, "k3.0")
    take = other.transaction()
    take.begin()
    assert take.take() is not None
    take.book("k3", 1, 5, 0)
    take.commit()
    world.kill()
    world.sink()
    assert world.letters() == []
    world.balanced()
    world.kill()


def test_a_page_whose_worker_lives_is_left_alone(world: World) -> None:
    world.put(b"bad 1")
    delivery = world.sink()
    kept: list[int] = []
    world.target.committed = lambda: None  # type: ignore[method-assign]
    flush = world.target.flush

    def look() -> int:
        kept.append(settle_letters(world.run_dir))
        assert list(world.run_dir.glob("puts/*.promise")), "it is there still"
        return flush()

    world.target.flush = look  # type: ignore[method-assign]
    assert delivery.step()
    assert kept == [0] and [body for body, _ in world.letters()] == [b"bad 1"]
