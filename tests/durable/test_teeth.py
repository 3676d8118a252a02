"""Mutants of the log: each breaks one rule, and the search through the states of death must notice each of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from shipper.durable import active, checkpoint, keeper, log, recovery, segment
from shipper.durable.layout import RecordHeader
from shipper.durable.state import Place, State
from tests.durable.simulated import SimulatedDisk
from tests.durable.test_damage import check, damaged, stored
from tests.durable.world import Deaths, World, live, settings_of

Patch = Callable[[pytest.MonkeyPatch], None]
STATES = 20_000


def no_sync_of_records(patch: pytest.MonkeyPatch) -> None:
    """Acknowledged before it is on the disk."""
    patch.setattr(active.Active, "sync", lambda self: None)


def no_sync_of_the_directory(patch: pytest.MonkeyPatch) -> None:
    """A segment whose name may be gone."""
    patch.setattr(SimulatedDisk, "sync_directory", lambda self, path: None)


def segment_not_synced_before_it_is_used(patch: pytest.MonkeyPatch) -> None:
    """A segment whose identity may be gone when its records are there."""

    def create(disk: Any, directory: Any, identity: Any) -> Any:
        path = directory / segment.segment_name(identity.number)
        handle = disk.create(path)
        disk.allocate(handle, identity.size_bytes)
        for offset in (0, identity.size_bytes - segment.BLOCK_BYTES):
            disk.write(handle, [segment.identity_bytes(identity)], offset)
        disk.close(handle)
        return path

    patch.setattr("shipper.durable.supply.create", create)


def acknowledged_too_early(patch: pytest.MonkeyPatch) -> None:
    """The words that readers and sources wait for are stored before the sync."""
    real = log.Log.sync

    def sync(self: log.Log) -> int:
        self._active and self._active.write()
        self.board.publish(self.appended_seq, self.appended_seq)
        return real(self)

    patch.setattr(log.Log, "sync", sync)


def checkpoint_not_synced(patch: pytest.MonkeyPatch) -> None:
    """Segments go although the checkpoint that leaves them out may not be stored."""

    def store(self: checkpoint.Checkpoint, generation: int, payload: bytes) -> None:
        if self._handle < 0:
            self._replace(len(payload), generation, payload)
        else:
            self._write(self._handle, generation, payload, self.slot_bytes)

    patch.setattr(checkpoint.Checkpoint, "store", store)


def checkpoint_over_the_newer_slot(patch: pytest.MonkeyPatch) -> None:
    """A torn store leaves no checkpoint at all."""
    real = checkpoint.Checkpoint._write

    def write(self: checkpoint.Checkpoint, handle: int, generation: int, payload: bytes, slot_bytes: int) -> None:
        self._disk.write(handle, [bytes(2 * slot_bytes)], 0)
        real(self, handle, generation, payload, slot_bytes)

    patch.setattr(checkpoint.Checkpoint, "_write", write)


def checkpoint_stored_too_early(patch: pytest.MonkeyPatch) -> None:
    """It says that everything appended is durable."""
    real = keeper.Keeper.store

    def store(self: keeper.Keeper, scan: Place, durable_seq: int, next_number: int) -> None:
        ahead = max([durable_seq, *AHEAD])
        real(self, scan, ahead, next_number)

    patch.setattr(keeper.Keeper, "store", store)
    real_append = log.Log.append

    def append(self: log.Log, *args: Any) -> int | None:
        seq = real_append(self, *args)
        AHEAD[:] = [seq or 0]
        return seq

    AHEAD.clear()
    patch.setattr(log.Log, "append", append)


AHEAD: list[int] = []


def removed_before_the_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """Segments go first, by the heads of now, and the checkpoint says so later."""
    real = keeper.Keeper.store

    def store(self: keeper.Keeper, *args: Any) -> None:
        self._low_before = self.state.last_seq + 1
        for number in self.removable():
            self._disk.unlink(self.paths.pop(number))
        real(self, *args)

    patch.setattr(keeper.Keeper, "store", store)


def volatile_heads_in_the_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """A head counts that was delivered by nobody yet: the position is stored before delivery."""

    def refresh(self: keeper.Keeper, board: Any) -> None:
        for key, index in board.lanes().items():
            lane = self.state.lane(key)
            lane.head = board.head(index)._replace(seq=board.tail(index).seq + 1)

    patch.setattr(keeper.Keeper, "refresh_heads", refresh)


def source_position_stored_too_early(patch: pytest.MonkeyPatch) -> None:
    """A source is told to go on behind rows that are not durable."""
    real = log.Log.append

    def append(self: log.Log, producer: int, put: int, entries: Any) -> int | None:
        for entry in entries:
            self._keeper.state.add_origins(entry.origins)
        return real(self, producer, put, entries)

    patch.setattr(log.Log, "append", append)


def body_checksum_not_checked(patch: pytest.MonkeyPatch) -> None:
    """A torn body is taken for whole."""

    def stored_body(view: Any, header: RecordHeader) -> memoryview:
        start = header.offset + 128
        found: memoryview = view.memory[start : start + header.stored_bytes]
        return found

    patch.setattr(recovery, "stored_body", stored_body)
    patch.setattr("shipper.durable.search.stored_body", stored_body)


def goes_on_behind_a_torn_record(patch: pytest.MonkeyPatch) -> None:
    """Above D, what follows a record that is not whole is kept."""
    real = recovery._Recovery._find_durable

    def find(self: Any, scanned: Any, ends: Any) -> None:
        real(self, scanned, ends)
        self.outcome.durable_seq = max(self.outcome.durable_seq, self._seen_seq)

    patch.setattr(recovery._Recovery, "_find_durable", find)


def half_a_put_counts(patch: pytest.MonkeyPatch) -> None:
    """A put of two records is kept with one."""
    patch.setattr(RecordHeader, "continues", property(lambda self: False))


def end_of_the_log_not_fixed(patch: pytest.MonkeyPatch) -> None:
    """What was given up in one recovery is found again by the next."""
    real = State.to_bytes

    def to_bytes(self: State) -> bytes:
        closed, self.scan = self.scan, self.scan._replace(closed=False)
        payload = real(self)
        self.scan = closed
        return payload

    patch.setattr(State, "to_bytes", to_bytes)


def numbers_used_again(patch: pytest.MonkeyPatch) -> None:
    """A new record has the seq of one that was given up, and may lie beside it."""
    real = recovery._Recovery._follow

    def follow(self: Any, *args: Any) -> None:
        real(self, *args)
        state = self.outcome.state
        state.last_seq = state.durable_seq = max(self.outcome.last_seq - 1, 0)

    patch.setattr(recovery._Recovery, "_follow", follow)


MUTANTS: list[Patch] = [
    no_sync_of_records, no_sync_of_the_directory, segment_not_synced_before_it_is_used, acknowledged_too_early,
    checkpoint_not_synced, checkpoint_over_the_newer_slot, checkpoint_stored_too_early, removed_before_the_checkpoint,
    volatile_heads_in_the_checkpoint, source_position_stored_too_early, body_checksum_not_checked,
    goes_on_behind_a_torn_record, half_a_put_counts, end_of_the_log_not_fixed,
    numbers_used_again,
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_log_that_breaks_the_rule_is_caught(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same search that finds nothing in the log as it is."""
    mutant(monkeypatch)
    chance = random.Random(1)
    judged = 0
    try:
        while judged < STATES:
            world = World(SimulatedDisk(), settings_of())
            watched = Deaths(world, chance, most=40, every=8)
            live(world, chance, 4)
            watched.watch()
            live(world, chance, 14)
            world.disk.on_change = lambda: None
            judged += watched.states
    except Exception:
        return
    pytest.fail(f"{judged} states of death, and nothing was noticed")


def length_trusted(patch: pytest.MonkeyPatch) -> None:
    """A header counts though its checksum does not fit: its length, its seq and its lane are anything."""
    patch.setattr("shipper.durable.layout.crc32", lambda data, before=0: 0)


def damaged_file_in_the_way(patch: pytest.MonkeyPatch) -> None:
    """Only the front of a segment says what it is."""
    real = SimulatedDisk.read

    def read(self: SimulatedDisk, handle: int, size_bytes: int, offset: int) -> bytes:
        found = real(self, handle, size_bytes, offset)
        return bytes(len(found)) if size_bytes == segment.BLOCK_BYTES and offset else found

    patch.setattr(SimulatedDisk, "read", read)


def stops_at_damage(patch: pytest.MonkeyPatch) -> None:
    """What stands behind a damaged header is not looked for."""
    patch.setattr("shipper.durable.search.next_record", lambda view, segment_id, start, end: None)


@pytest.mark.parametrize(
    "mutant",
    [body_checksum_not_checked, length_trusted, damaged_file_in_the_way, stops_at_damage],
    ids=lambda mutant: mutant.__name__,
)
def test_a_log_that_trusts_its_bytes_is_caught(mutant: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the search through damages."""
    mutant(monkeypatch)
    chance = random.Random(1)
    try:
        for _ in range(80):
            found = stored(chance, clean=True)
            for _ in range(25):
                check(found, *damaged(found, chance), keys=False)
    except Exception:
        return
    pytest.fail("2,000 damages, and nothing was noticed")
