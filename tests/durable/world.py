"""A log on a simulated disk, and all that was ever put, acknowledged and delivered: what a crash is judged by."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from shipper.durable.board import lane_id
from shipper.durable.keys import Keys
from shipper.durable.log import Log
from shipper.durable.reader import Reader
from shipper.durable.settings import Entry, LogSettings
from shipper.durable.state import Position
from tests.durable.simulated import Image, SimulatedDisk

LANES = ("k1.0", "k2.0")
IDS = tuple(map(lane_id, LANES))
PRODUCER = 77
KEYS = Keys("one", {"one": bytes(range(32))})


def settings_of(
    *, readable_before_sync: bool = False, backup: bool = False, keys: Keys | None = None, segment_bytes: int = 20480
) -> LogSettings:
    """Small segments, two data directories."""
    return LogSettings(
        checkpoint_dir=Path("/log/checkpoint"),
        data_dirs=(Path("/log/data1"), Path("/log/data2")),
        backup_checkpoint_dir=Path("/log/backup") if backup else None,
        segment_bytes=segment_bytes,
        minimum_free_bytes=0,
        checkpoint_interval_s=30,
        readable_before_sync=readable_before_sync,
        keys=keys,
    )


def body_of(put: int, lane: int, size: int) -> bytes:
    """A body that no other put has; its first 8 bytes say which put it is."""
    return put.to_bytes(8, "little") + random.Random(put * 10 + lane).randbytes(size - 8)


def origins_of(body: memoryview) -> list[Position]:
    """The origin in a body."""
    return [("stream", 0, int.from_bytes(body[:8], "little"), "")]


@dataclass
class Ledger:
    """What is owed: by lane, everything that was appended, and how much of it was delivered."""

    bodies: tuple[list[tuple[int, bytes]], ...] = field(default_factory=lambda: ([], []))
    released: list[int] = field(default_factory=lambda: [0, 0])
    appended: int = 0
    acknowledged: int = 0
    seqs: dict[int, int] = field(default_factory=dict)

    def told(self, durable_seq: int) -> None:
        """The board says that everything up to here is safe: who waits for it may act on it."""
        done = [put for put, seq in self.seqs.items() if seq <= durable_seq]
        self.acknowledged = max([self.acknowledged, *done])
        for put in done:
            del self.seqs[put]

    def upto(self, lane: int, put: int) -> int:
        """How many bodies of a lane belong to puts up to this one."""
        return sum(number <= put for number, _ in self.bodies[lane])


class World:
    """A running log.

    Args:
        disk: where it lies.
        ledger: of before; None = nothing was ever put.
    """

    def __init__(self, disk: SimulatedDisk, settings: LogSettings, ledger: Ledger | None = None) -> None:
        self.disk = disk
        self.settings = settings
        self.ledger = ledger or Ledger()
        self.now_s = 0.0
        self.open()

    def open(self) -> None:
        """Opens the log and a reader a lane."""
        self.log = Log.open(self.settings, LANES, origins_of, disk=self.disk)
        self.readers = [
            Reader(self.log.board, self.settings.data_dirs, lane, 5 + number, keys=self.settings.keys, disk=self.disk)
            for number, lane in enumerate(IDS)
        ]
        for reader in self.readers:
            assert reader.try_hold()

    def put(self, sizes: tuple[int, int], *, twice: bool = False) -> bool:
        """Appends a put with a record in each lane whose size is not 0; False when there is no room."""
        number = max(self.ledger.appended, self.log.put_of(PRODUCER)) + 1
        entries = []
        for lane, size in enumerate(sizes):
            for part in range(2 if twice and size else 1):
                if size:
                    body = body_of(number, lane + 2 * part, max(size, 16))
                    view = memoryview(body)
                    origin = ("stream", 0, number, "")
                    entries.append((lane, body, Entry(IDS[lane], (view[:8], view[8:]), 2, len(body), (origin,))))
        # It may be found from here on, and need not be.
        self.ledger.appended = number
        for lane, body, _ in entries:
            self.ledger.bodies[lane].append((number, body))
        seq = self.log.append(PRODUCER, number, [entry for _, _, entry in entries])
        if seq is not None:
            self.ledger.seqs[number] = seq
        else:
            self.ledger.appended = number - 1
            for lane, _, _ in entries:
                self.ledger.bodies[lane].pop()
        return seq is not None

    def sync(self) -> None:
        """One sync; then everything appended is acknowledged."""
        self.log.sync()
        assert self.log.durable_seq == self.log.appended_seq
        self.ledger.acknowledged = self.ledger.appended

    def flush(self) -> None:
        """Writes; with `readable_before_sync` a process that dies may lose nothing of it."""
        self.log.flush()

    def take(self, lane: int, count: int, *, synced: bool = True) -> None:
        """Delivers so many records of a lane, as far as there are any, and commits."""
        reader, done = self.readers[lane], self.ledger.released[lane]
        for _ in range(count):
            record = reader.peek()
            if record is None:
                break
            assert bytes(record.body) == self.ledger.bodies[lane][done][1], "a wrong record was read"
            reader.step()
            done += 1
        if reader.moved:
            reader.release(1, synced=synced)
            self.ledger.released[lane] = done

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now_s += seconds
        self.log.tick(self.now_s)

    def reopen(self) -> None:
        """A clean stop and a start."""
        self.log.close()
        del self.log
        self.ledger.acknowledged = self.ledger.appended
        self.open()

    def found(self) -> tuple[list[bytes], list[bytes]]:
        """Everything that waits, by lane."""
        found: tuple[list[bytes], list[bytes]] = ([], [])
        for lane, reader in enumerate(self.readers):
            reader.rewind()
            while (record := reader.peek()) is not None:
                found[lane].append(bytes(record.body))
                reader.step()
            assert reader.lost_rows == 0, list(reader.lost)
            reader.rewind()
        return found


def judge(world: World, ledger: Ledger, *, same_boot: bool) -> int:
    """Fails when what was found after a death is not what the ledger allows; the last put that is there.

    Nothing acknowledged and undelivered is missing; nothing is there that was never put, or twice, or in another
    order; a put is there whole or not; what the log says of positions is what it holds; and under the same boot
    nothing that was committed comes again.
    """
    log = world.log
    assert not log.recovered.lost, log.recovered.lost
    last = log.put_of(PRODUCER)
    assert ledger.acknowledged <= last <= ledger.appended, f"puts up to {last}, acknowledged {ledger.acknowledged}"
    position = log.positions().get("stream")
    assert (position[2] if position else 0) == last, f"position {position}, but puts up to {last}"
    waiting = 0
    for lane, found in enumerate(world.found()):
        expected = [body for _, body in ledger.bodies[lane]][: ledger.upto(lane, last)]
        start = len(expected) - len(found)
        assert found == expected[start:] if found else True, f"lane {lane}: wrong records, or in a wrong order"
        assert start <= ledger.released[lane], f"lane {lane}: {start - ledger.released[lane]} records are lost"
        if same_boot:
            assert start == ledger.released[lane], f"lane {lane}: a record comes twice"
        waiting += len(found)
    assert log.rows == 2 * waiting
    return last


def works_on(world: World, ledger: Ledger, last: int) -> None:
    """A put after the death is durable like any other."""
    world.ledger = Ledger()
    before = world.found()
    assert world.put((100, 2000))
    world.sync()
    image = next(iter(world.disk.images(1, random.Random(0))))
    again = World(SimulatedDisk(image, boot=world.disk.boot + 1), world.settings)
    assert again.log.put_of(PRODUCER) == last + 1
    found = again.found()
    for lane in range(2):
        assert found[lane] == [*before[lane], world.ledger.bodies[lane][0][1]]


@dataclass
class Deaths:
    """Everything that a death may leave of a world, judged as it comes.

    Attributes:
        states: judged so far; equal ones are judged once.
    """

    world: World
    chance: random.Random
    most: int = 60
    states: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)
    every: int = 20
    kills: bool = True

    def watch(self) -> None:
        """Judges what a death behind each further change would leave."""
        self.world.disk.on_change = self._changed

    def _changed(self) -> None:
        ledger = self.world.ledger
        if hasattr(self.world, "log"):
            ledger.told(self.world.log.board.durable())
        key = hash((ledger.acknowledged, ledger.appended, *ledger.released))
        for image in self.world.disk.images(self.most, self.chance):
            state = (hash(image), key)
            if state not in self.seen:
                self.seen.add(state)
                self.states += 1
                self._judge_image(image, ledger)
        if self.kills:
            self.states += 1
            after = World(self.world.disk.killed(), self.world.settings)
            judge(after, ledger, same_boot=True)

    def _judge_image(self, image: Image, ledger: Ledger) -> None:
        disk = SimulatedDisk(image, boot=self.world.disk.boot + 1)
        inner: list[Image] = []
        deeper = self.states % self.every == 0
        if deeper:
            disk.on_change = lambda: inner.extend(disk.images(6, self.chance))
        after = World(disk, self.world.settings)
        disk.on_change = lambda: None
        last = judge(after, ledger, same_boot=False)
        if deeper:
            for second in dict.fromkeys(inner):
                self.states += 1
                again = World(SimulatedDisk(second, boot=disk.boot + 1), self.world.settings)
                assert judge(again, ledger, same_boot=False) == last, "recovery is not idempotent"
            works_on(after, ledger, last)


def live(world: World, chance: random.Random, actions: int) -> None:
    """A life of so many random actions."""
    steps: list[Callable[[], object]] = [
        lambda: world.put((chance.choice((0, 40, 700, 3000)), chance.choice((40, 500, 5000)))),
        lambda: world.put((chance.choice((1, 900)), chance.choice((0, 200))), twice=True),
        lambda: world.sync(),
        lambda: world.sync(),
        lambda: world.flush(),
        lambda: world.take(chance.randrange(2), chance.randrange(1, 5), synced=chance.random() < 0.7),
        lambda: world.take(0, 9) or world.take(1, 9),
        lambda: world.tick(chance.choice((1, 40))),
        lambda: world.tick(1),
        lambda: world.log.checkpoint(),
    ]
    weights = [8, 3, 4, 3, 1, 3, 3, 1, 1, 1]
    for _ in range(actions):
        if chance.random() < 0.04:
            world.reopen()
        else:
            chance.choices(steps, weights)[0]()
