"""A disk that fails or is full at the n-th call of each operation: nothing acknowledged is lost; it starts again."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.durable.segment import is_segment_name
from shipper.errors import ComponentFailed, ConfigurationError
from tests.durable.simulated import SimulatedDisk
from tests.durable.world import Deaths, Ledger, World, judge, live, settings_of

OPERATIONS = (
    "write", "sync", "sync_directory", "create", "open", "allocate", "rename", "unlink", "read", "map", "names",
    "free_bytes", "lock", "make_directory",
)  # fmt: skip
REASONS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT}


def survives(disk: SimulatedDisk, ledger: Ledger, settings: Any) -> None:
    """Both deaths, with a disk that works again."""
    disk.fail = lambda name, count: 0
    judge(World(disk.killed(), settings), ledger, same_boot=True)
    for image in disk.images(12, random.Random(3)):
        judge(World(SimulatedDisk(image, boot=9), settings), ledger, same_boot=False)


def fails_at(name: str, number: int, reason: int, seed: int, *, backup: bool = False) -> bool:
    """A life in which one call fails; False when it had not so many calls."""
    met = []

    def fail(called: str, count: int) -> int:
        if called == name and count == number:
            met.append(called)
            return reason
        return 0

    disk = SimulatedDisk()
    disk.fail = fail
    ledger = Ledger()
    settings = settings_of(backup=backup)
    try:
        world = World(disk, settings, ledger)
        live(world, random.Random(seed), 40)
        world.sync()
        ledger.told(world.log.board.durable())
        world.reopen()
    except (ComponentFailed, ConfigurationError):
        pass
    # Told by the board, though the call that made it durable may have failed later.
    for data in disk.boards.values():
        ledger.told(int.from_bytes(data[264:272], "little"))
    survives(disk, ledger, settings)
    return bool(met)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_failing_call_loses_what_was_acknowledged(operation: str, reason: str) -> None:
    """One call fails in each of many equal lives: each of the first dozen, later ones in growing steps."""
    number = met = 0
    while number < 400:
        number += 1 + number // 12
        if not fails_at(operation, number, REASONS[reason], 5, backup=number % 2 == 0):
            break
        met += 1
    assert met, f"{operation} is never called"


def test_a_sync_that_failed_is_never_tried_again_on_that_file() -> None:
    """What was not acknowledged is written to another file; then the put is as durable as any."""
    disk = SimulatedDisk()
    world = World(disk, settings_of())
    world.put((100, 200))
    world.sync()
    synced: list[int] = []
    real: Callable[[int], None] = disk.sync

    def sync(handle: int) -> None:
        synced.append(disk._handles[handle])
        real(handle)

    disk.sync = sync  # type: ignore[method-assign]
    world.put((100, 300))
    world.put((0, 300))
    disk.fail = lambda name, count: errno.EIO if name == "sync" and len(synced) == 1 else 0
    world.sync()
    first = synced[0]
    assert synced.count(first) == 1
    assert "failed" in world.log.notes()[0]
    world.put((50, 50))
    world.sync()
    assert synced.count(first) == 1
    image = next(disk.images(1, random.Random(0)))
    judge(World(SimulatedDisk(image, boot=2), world.settings), world.ledger, same_boot=False)
    world.take(0, 9)
    world.take(1, 9)
    assert world.ledger.released == [3, 4]


def test_a_second_failure_ends_the_log_and_acknowledges_nothing() -> None:
    """Every later call says why; opening it again finds all that was acknowledged."""
    disk = SimulatedDisk()
    world = World(disk, settings_of())
    world.put((100, 200))
    world.sync()
    world.put((100, 200))
    before = world.log.durable_seq
    disk.fail = lambda name, count: errno.EIO if name == "sync" else 0
    with pytest.raises(ComponentFailed, match="twice"):
        world.log.sync()
    for call in (world.log.sync, world.log.flush, world.log.checkpoint, lambda: world.put((1, 1))):
        with pytest.raises(ComponentFailed, match="twice"):
            call()
    assert world.log.durable_seq == world.log.board.durable() == before
    survives(disk, world.ledger, world.settings)


def test_a_full_disk_is_met_before_anything_is_appended() -> None:
    """A put that finds no room changes nothing; taking, checkpointing and removing go on, and then there is room."""
    disk = SimulatedDisk()
    world = World(disk, settings_of())
    disk.space = 3 * 20480
    while world.put((3000, 3000)):
        world.sync()
    assert "minimumRequiredSpace" in world.log.full_because
    appended = world.log.appended_seq
    assert not world.put((3000, 3000))
    assert world.log.appended_seq == appended
    removed = disk.calls.get("unlink", 0)
    world.take(0, 99)
    world.take(1, 99)
    world.tick(1)
    world.tick(1)
    world.tick(1)
    assert disk.calls["unlink"] > removed
    assert world.put((3000, 3000))
    world.sync()


def test_a_full_disk_with_one_segment_is_filled_and_drained_over_and_over() -> None:
    """The last segment is given up when everything in it is delivered; a death at any of these steps loses nothing."""
    disk = SimulatedDisk()
    world = World(disk, settings_of())
    disk.space = 20480 + 500
    watched = Deaths(world, random.Random(7), every=5)
    watched.watch()
    for _ in range(4):
        while world.put((3000, 0)):
            world.sync()
        assert not world.put((3000, 0)), "nothing was delivered yet"
        world.take(0, 99)
        assert world.put((3000, 0)), world.log.full_because
        world.sync()
    assert sum(is_segment_name(Path(name).name) for name in disk.names_seen) == 1
    assert watched.states > 300
    disk.on_change = lambda: None
    world.take(0, 99)
    world.reopen()
    assert world.put((3000, 0))


def test_a_put_that_is_larger_than_a_segment_gets_one_of_its_own() -> None:
    """It is never refused for its size, and what comes after goes into segments as before."""
    world = World(SimulatedDisk(), settings_of())
    assert world.put((100, 90_000))
    assert world.put((100, 5000))
    world.sync()
    sizes = [
        len(world.disk.inodes[inode].cache)
        for name, inode in world.disk.names_seen.items()
        if is_segment_name(Path(name).name)
    ]
    assert sorted(sizes)[-1] > 90_000
    assert 20480 in sizes
    world.take(0, 9)
    world.take(1, 9)
    assert world.ledger.released == [2, 2]


def test_a_checkpoint_grows_before_a_put_needs_it() -> None:
    """Thousands of streams: the larger file takes the place of the small one; without room the put waits."""
    world = World(SimulatedDisk(), settings_of())
    lane = world.log._keeper.state.lanes
    from shipper.durable.settings import Entry

    origins = [(f"stream {number}", 0, number, "") for number in range(3000)]
    disk = world.disk
    space, disk.space = disk.space, 60_000
    entry = Entry(next(iter(lane)), (b"x" * 16,), 1, 16, origins)
    assert world.log.append(1, 1, [entry]) is None
    assert "checkpoint" in world.log.full_because
    disk.space = space
    assert world.log.append(1, 1, [entry]) is not None
    world.log.sync()
    world.log.checkpoint()
    image = next(disk.images(1, random.Random(0)))
    again = World(SimulatedDisk(image, boot=2), world.settings)
    assert len(again.log.positions()) == 3000
