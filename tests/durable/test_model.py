"""The log against a list: whatever is called in whatever order, a lane is a list, and a death forgets what it may."""

from __future__ import annotations

import os
import random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.durable.simulated import SimulatedDisk
from tests.durable.world import IDS, KEYS, PRODUCER, World, judge, settings_of

SIZES = st.sampled_from([0, 16, 40, 63, 64, 200, 900, 4000, 17_000])


class LogModel(RuleBasedStateMachine):
    """Puts, syncs, takes, rollbacks, handovers, stops, kills and power cuts."""

    @initialize(encrypted=st.booleans(), early=st.booleans(), backup=st.booleans())
    def begin(self, encrypted: bool, early: bool, backup: bool) -> None:
        chosen = settings_of(keys=KEYS if encrypted else None, readable_before_sync=early, backup=backup)
        self.world = World(SimulatedDisk(), chosen)
        self.early = early

    @rule(first=SIZES, second=SIZES, twice=st.booleans())
    def put(self, first: int, second: int, twice: bool) -> None:
        if first or second:
            self.world.put((first, second), twice=twice)

    @rule()
    def sync(self) -> None:
        self.world.sync()

    @rule()
    def flush(self) -> None:
        self.world.flush()

    @rule(lane=st.integers(0, 1), count=st.integers(1, 9), synced=st.booleans())
    def take(self, lane: int, count: int, synced: bool) -> None:
        self.world.take(lane, count, synced=synced)

    @rule(lane=st.integers(0, 1))
    def take_and_roll_back(self, lane: int) -> None:
        reader = self.world.readers[lane]
        if reader.peek() is not None:
            reader.step()
            reader.peek()
        reader.rewind()

    @rule(lane=st.integers(0, 1))
    def take_a_part_of_a_record(self, lane: int) -> None:
        reader, ledger = self.world.readers[lane], self.world.ledger
        record = reader.peek()
        if record is not None:
            reader.release_rows(1, 1)
            reader.rewind()
            again = reader.peek()
            assert again is not None and again.seq == record.seq and reader.rows_done == 1
            reader.step()
            reader.release(1)
            ledger.released[lane] += 1

    @rule(lane=st.integers(0, 1))
    def synced_later(self, lane: int) -> None:
        self.world.readers[lane].mark_synced()

    @rule(seconds=st.sampled_from([0.5, 31.0]))
    def tick(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule()
    def stop_and_start(self) -> None:
        self.world.reopen()

    @rule()
    def kill(self) -> None:
        world = self.world
        if self.early:
            world.flush()
            world.ledger.acknowledged = world.ledger.appended
        self._after(World(world.disk.killed(), world.settings), same_boot=True)

    @rule(seed=st.integers(0, 1000))
    def power_cut(self, seed: int) -> None:
        world = self.world
        world.ledger.told(world.log.board.durable() if not self.early else 0)
        images = list(world.disk.images(30, random.Random(seed)))
        if self.early:
            world.ledger.acknowledged = 0  # nothing but what was synced is promised; when it was is not followed here
        disk = SimulatedDisk(images[seed % len(images)], boot=world.disk.boot + 1)
        self._after(World(disk, world.settings), same_boot=False)

    def _after(self, world: World, *, same_boot: bool) -> None:
        ledger: Any = self.world.ledger
        last = judge(world, ledger, same_boot=same_boot)
        # What is not there was not acknowledged; what comes again is owed again.
        found = world.found()
        for lane in range(2):
            del ledger.bodies[lane][ledger.upto(lane, last) :]
            ledger.released[lane] = len(ledger.bodies[lane]) - len(found[lane])
        ledger.appended = ledger.acknowledged = last
        ledger.seqs.clear()
        world.ledger = ledger
        self.world = world

    @invariant()
    def numbers_agree(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        log, ledger = world.log, world.ledger
        assert log.durable_seq <= log.appended_seq
        assert log.board.durable() == log.durable_seq
        assert log.put_of(PRODUCER) == ledger.appended
        owed = sum(len(ledger.bodies[lane]) - ledger.released[lane] for lane in range(2))
        assert log.rows == 2 * owed
        for lane, key in enumerate(IDS):
            assert log.board.head(log.board.index(key)) == world.readers[lane].committed


TestLogModel = LogModel.TestCase
TestLogModel.settings = settings(
    max_examples=int(os.environ.get("SHIPPER_MODEL_LIVES", "25")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
