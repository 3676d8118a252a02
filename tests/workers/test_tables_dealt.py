"""More or fewer workers of a source: each goes on from what all those before it had put."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.batch.batch import EventBatch, Origin
from shipper.errors import ComponentFailed
from shipper.instance import ledger
from shipper.workers import tables_dealt
from shipper.workers.heads import LeftHead, lane_heads
from shipper.workers.position_table import PositionTable
from shipper.workers.positions import Positions
from tests.workers.rings import CONFIGURATION, Rings

ONE, TWO, NEW = Origin("one", 0, 10, "x"), Origin("two", 0, 20), Origin("two", 20, 30)


def configuration(workers: int) -> str:
    return CONFIGURATION + f"a1.sources.r1.workers = {workers}\n"


class Source:
    """Source r1 with so many workers, which put by hand."""

    def __init__(self, directory: Path, workers: int) -> None:
        self.rings = Rings(directory, configuration(workers))
        self.run_dir = self.rings.instance.run_dir

    def put(self, worker: int, origin: Origin, *, stored: bool = True) -> None:
        """A put of a worker; a killed one has perhaps not stored it in its table."""
        side = self.rings.put_side("r1", worker)
        table = self.table(worker) if stored else None
        transaction = side.transaction()
        transaction.begin()
        assert transaction.put("c1", EventBatch.of([b"%d" % origin.end]).with_origins([origin]))
        transaction.commit()
        transaction.close()
        if table is not None:
            table.store([origin])
            table.close()

    def table(self, worker: int) -> Positions:
        """The table of a worker, as its process opens it."""
        side = self.rings.put_side("r1", worker)
        table = Positions(
            self.path(worker), lane_heads(side, ["c1"]), workers=len(self.rings.grid.sources),
            left=lambda name: LeftHead(name, self.run_dir / "channels" / name),
        )  # fmt: skip
        if side.number > table.number:
            table.store(side.last_origins())
        return table

    def become(self, workers: int) -> None:
        """All end, and the source begins with another number of workers."""
        self.rings.end_workers()
        self.rings.file.write_text(configuration(workers))
        self.rings.build()
        tables_dealt.deal(self.run_dir, "r1", workers)

    def path(self, worker: int) -> Path:
        """Of a worker's table."""
        return self.run_dir / "puts" / f"r1.{worker}.positions"

    def tables(self) -> dict[str, PositionTable]:
        """What lies in the run directory."""
        found = sorted((self.run_dir / "puts").glob("*.positions"))
        return {path.name: PositionTable.read(path.read_bytes()) for path in found}


@pytest.fixture
def source(tmp_path: Path) -> Source:
    found = Source(tmp_path, 2)
    found.put(0, ONE)
    found.put(1, TWO)
    return found


def test_each_of_more_workers_knows_what_all_have_put(source: Source) -> None:
    source.become(3)
    for worker in range(3):
        assert source.table(worker).streams == {"one": ONE, "two": TWO}


def test_fewer_workers_know_it_too_and_the_tables_of_the_others_are_gone(source: Source) -> None:
    source.become(1)
    assert list(source.tables()) == ["r1.0.positions"]
    assert source.table(0).streams == {"one": ONE, "two": TWO}


def test_what_another_worker_put_is_durable_when_its_lane_says_so(source: Source) -> None:
    source.become(3)
    table = source.table(2)
    assert table.durable() == [], "it waits in the lanes of the others"
    side = source.rings.take_side()
    source.rings.drain()
    assert table.durable() == [], "it is taken, and nobody has synced it"
    side.publish_durable(side.committed())
    assert {origin.stream: origin for origin in table.durable()} == {"one": ONE, "two": TWO}


def test_a_put_that_a_killed_worker_had_not_stored_is_known(source: Source) -> None:
    source.put(1, NEW, stored=False)
    source.become(3)
    assert source.table(0).streams["two"] == NEW
    assert [put.origins for put in source.tables()["r1.2.positions"].waiting].count([NEW]) == 1


def test_a_worker_that_comes_back_does_not_go_back_to_its_own_last_put(source: Source) -> None:
    source.become(1)
    source.put(0, NEW)
    source.become(2)
    assert source.table(1).streams["two"] == NEW


def test_the_furthest_place_of_a_stream_counts(source: Source) -> None:
    source.put(0, NEW)
    source.become(1)
    assert source.table(0).streams["two"] == NEW


def test_the_ledger_has_the_furthest_place_of_a_stream_that_changed_hands(source: Source) -> None:
    source.become(3)
    source.put(0, NEW)
    assert ledger.read(source.run_dir).streams["r1"] == {"one": ONE.end, "two": NEW.end}


def test_with_the_same_number_nothing_is_touched(source: Source) -> None:
    before = {path: (path.read_bytes(), path.stat().st_ino) for path in (source.path(0), source.path(1))}
    source.path(1).rename(away := source.run_dir / "away")  # not started yet
    tables_dealt.deal(source.run_dir, "r1", 2)
    assert not source.path(1).exists(), "it begins with what it finds itself"
    away.rename(source.path(1))
    tables_dealt.deal(source.run_dir, "r1", 2)
    assert before == {path: (path.read_bytes(), path.stat().st_ino) for path in before}


def test_other_sources_with_names_that_begin_alike_are_left_alone(source: Source) -> None:
    for name in ("r1.x", "r1%dead.0", "r11.0", "r1.0.1"):
        (source.run_dir / "puts" / f"{name}.positions").write_bytes(b"")
    tables_dealt.deal(source.run_dir, "r1", 1)
    for name in ("r1.x", "r1%dead.0", "r11.0", "r1.0.1"):
        assert (source.run_dir / "puts" / f"{name}.positions").read_bytes() == b""


@pytest.mark.parametrize("said", [True, False], ids=["as now", "by the release before"])
@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2), (2, 1), (1, 3)])
def test_dying_between_any_two_steps_the_next_start_deals_them_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, after: int, said: bool
) -> None:
    puts = tmp_path / "puts"
    streams = {f"s{n}": Origin(f"s{n}", 0, n + 1) for n in range(before)}
    rename, unlink = os.rename, Path.unlink
    for steps in range(after + max(before - after, 0) + 1):
        for path in (*puts.glob("*"), puts) if puts.exists() else ():
            path.rmdir() if path.is_dir() else path.unlink()
        puts.mkdir()
        for n, origin in enumerate(streams.values()):
            table = PositionTable([f"c1/r1.{n}--k1.0"], before if said else 0, streams={origin.stream: origin})
            (puts / f"r1.{n}.positions").write_bytes(b"".join(table.lines()))
        left = [steps]

        def die(left: list[int] = left) -> None:
            if not left[0]:
                raise InterruptedError("killed")
            left[0] -= 1

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", lambda *args: (die(), rename(*args)))
            patch.setattr(Path, "unlink", lambda path: (die(), unlink(path)))
            try:
                tables_dealt.deal(tmp_path, "r1", after)
            except (ComponentFailed, InterruptedError):
                assert left == [0]
        tables_dealt.deal(tmp_path, "r1", after)
        found = {path.name: PositionTable.read(path.read_bytes()) for path in puts.glob("*.positions")}
        assert sorted(found) == [f"r1.{n}.positions" for n in range(after)], steps
        assert all(table.streams == streams for table in found.values()), steps
        assert all(table.workers == after for table in found.values()), steps


def test_no_room_for_the_tables_names_the_file_and_what_to_do(source: Source) -> None:
    source.rings.end_workers()
    (source.run_dir / "puts" / "r1.2.positions.new").mkdir()
    with pytest.raises(ComponentFailed, match=r"can't write the positions to .*/puts/r1\.2\.positions: .*make room"):
        tables_dealt.deal(source.run_dir, "r1", 3)
