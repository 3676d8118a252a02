"""A channel that spills dies at each store that it makes, and comes back: every row once, in order, and it goes on.

Stores are those of `shared/words.py`, by which processes tell each other positions, each word one (which is what the
machine does), and of the disk, where a write may have been done in part. "Dies" means that from this store on nothing
of the process happens: the sides are closed as the kernel would, and opened anew. What is written to memory besides are
frames above a lane's tail, which nobody reads before a word says so; `tests/ring/test_deaths.py` has those.

With every run it dies at every third store, beginning with another one each time; `SHIPPER_DEATHS_STRIDE=1` is all.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from shipper.durable.disk import Disk
from shipper.shared.words import Words
from tests.channels.spilled import Spilled

STRIDE = int(os.environ.get("SHIPPER_DEATHS_STRIDE", "3"))
FIRST = int(os.environ.get("SHIPPER_SEED", "0")) or os.getpid()
PROPERTIES = {"memoryCapacity": "3", "maxFileSize": "64k"}


class Died(BaseException):
    """The process is gone: nothing in it may handle this."""


class Stores:
    """Counts the stores of this process, and lets it die at one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.dies_at = 0
        self.dead = False
        store = self._counted(Words.store)

        def each(words: Words, offset: int, values: tuple[int, ...]) -> None:
            for index, value in enumerate(values):
                store(words, offset + 8 * index, value)

        for owner, name, do in (
            (Words, "store", store), (Words, "write", each), (Words, "publish", self._counted(Words.publish)),
            (Disk, "sync", self._counted(Disk.sync)), (Disk, "rename", self._counted(Disk.rename)),
            (Disk, "write", self._counted(Disk.write, _in_part)),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, do)

    def _counted(self, do: Callable[..., Any], last: Callable[..., Any] = lambda *_: None) -> Callable[..., Any]:
        """What does `do` until the process dies, and `last` then."""

        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise Died
            self.count += 1
            if self.count == self.dies_at:
                self.dead = True
                last(*args, **kwargs)
                raise Died
            return do(*args, **kwargs)

        return counted

    @contextlib.contextmanager
    def life(self, dies_at: int = 0) -> Iterator[None]:
        """What happens inside ends at that store."""
        self.count, self.dies_at = 0, dies_at
        with contextlib.suppress(Died):
            yield

    def reborn(self) -> None:
        """Another process begins."""
        self.dead, self.dies_at = False, 0


def _in_part(disk: Disk, handle: int, views: Sequence[memoryview | bytes], offset: int) -> None:
    """The process is killed inside the call: half of the bytes are there."""
    data = b"".join(views)
    os.pwrite(handle, data[: len(data) // 2], offset)


class Story:
    """Rows that go into a channel and come out of it, over any number of lives."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.channel = Spilled(directory, PROPERTIES, poison=False)
        self.put = self.tried = 0
        self.out: list[int] = []
        self.in_hands: list[int] = []

    def puts(self, rows: int) -> None:
        """Rows in puts of one each; whether the last one counts is asked when its process has died."""
        for _ in range(rows):
            self.tried = self.put + 1
            assert self.channel.put(b"%d" % self.tried)
            self.put = self.tried

    def takes(self) -> None:
        """One transaction."""
        side = self.channel.take_side()
        transaction = side.transaction()
        transaction.begin()
        self.in_hands = []
        while (batch := transaction.take()) is not None:
            self.in_hands += [int(body) for body in batch.body.to_pylist()]
            del batch
        self.generations = self._generations()
        transaction.commit()
        self.out += self.in_hands
        self.in_hands = []
        transaction.close()

    def life(self) -> None:
        """More than memory holds, and again while some of it is taken: both ways, back, and a new file of the log."""
        self.puts(5)
        self.channel.write()
        self.takes()
        self.puts(4)
        self.takes()
        self.channel.write()
        self.takes()
        self.puts(1)
        self.takes()

    def dies(self) -> None:
        """The process is gone; whether its last put and its last take count is what the channel says."""
        gc.collect()
        channel = self.channel
        for side in (*channel._puts.values(), *channel._takes.values()):
            side.close()
        channel._puts.clear()
        channel._takes.clear()
        channel.kill_writer()

    def comes_back(self) -> None:
        """What the stored words say of the last put and of the last take."""
        self.put = self.channel.put_side().number
        if self.in_hands and self._generations() != self.generations:
            self.out += self.in_hands
        self.in_hands = []

    def _generations(self) -> list[int | None]:
        side = self.channel.take_side()
        return [side.generations()[name] for name in ("r0.0--k0.0", "k0.0")]

    def ends(self) -> None:
        """All that is in it comes out."""
        self.channel.write()
        while True:
            before = len(self.out)
            self.takes()
            if len(self.out) == before:
                break
        assert self.out == list(range(1, self.put + 1))
        assert (self.channel.in_memory, self.channel.on_disk) == (0, 0)


def test_a_death_at_any_store_loses_nothing_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One life after the other, each ends one store later than the one before."""
    stores = Stores(monkeypatch)
    story = Story(tmp_path)
    story.comes_back()
    story.life()
    with stores.life():
        story.life()
    count = stores.count
    assert count > 100
    first = 1 + FIRST % STRIDE
    print(f"{count} stores; dies at each {STRIDE}th from {first} on (SHIPPER_SEED={first - 1 or STRIDE})")
    for at in range(first, count + 1, STRIDE):
        with stores.life(at):
            story.life()
        story.dies()
        stores.reborn()
        story.comes_back()
        story.ends()
    story.dies()


def test_deaths_at_random_stores_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in what the death before left."""
    stores = Stores(monkeypatch)
    story = Story(tmp_path)
    chance = random.Random(7)
    for _ in range(30):
        story.comes_back()
        with stores.life(chance.randrange(1, 900)):
            story.life()
        story.dies()
        stores.reborn()
    story.comes_back()
    story.ends()
    story.dies()
