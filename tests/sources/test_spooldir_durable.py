"""A spooled file stays under its name until all that it gave is durable: for every deserializer, wherever one dies."""

from __future__ import annotations

import dataclasses
import gzip
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.api import EventBatch
from shipper.config.field import read_options
from shipper.registry import everything
from shipper.sources.spooldir import SpooldirOptions, SpooldirSource
from shipper.testing.fakes import ManualClock, source_context
from shipper.workers.positions import Positions

_BLOCK_BYTES = 1 << 10
_POLICIES: dict[str, dict[str, str]] = {
    "renamed": {},
    "deleted": {"deletePolicy": "immediate"},
    "marked": {"trackingPolicy": "tracker_dir"},
}


def _container(records: int) -> bytes:
    fastavro = pytest.importorskip("fastavro")
    file = io.BytesIO()
    fastavro.writer(file, "string", [f"record {n}" for n in range(records)], sync_interval=200)
    return file.getvalue()


def _lines(size: int) -> bytes:
    return b"".join(b"line %010d\n" % n for n in range(size // 16))


#: By deserializer: what a file may hold, with the options that make its end hard to see. Each is read in pieces.
_CONTENTS: dict[str, dict[str, tuple[Callable[[], bytes], dict[str, str]]]] = {
    "line": {
        "some lines": (lambda: _lines(900) + b"no end", {}),
        "whole blocks": (lambda: _lines(3 * _BLOCK_BYTES), {}),
        "bytes that give nothing at the end": (
            lambda: _lines(_BLOCK_BYTES) + b"\xff", {"decodeErrorPolicy": "IGNORE"},
        ),
        "nothing": (lambda: b"", {}),
    },
    "avro": {
        "some blocks": (lambda: _container(100), {}),
        "one block": (lambda: _container(1), {}),
    },
    "blob": {
        "one event": (lambda: b"x" * 100, {}),
        "whole events": (lambda: b"x" * 100, {"deserializer.maxBlobLength": "10"}),
        "nothing": (lambda: b"", {}),
    },
}  # fmt: skip
_CASES = [
    pytest.param(name, content, packed, id=f"{name}: {content}{', packed' * packed}")
    for name, contents in _CONTENTS.items()
    for content in contents
    for packed in (False, True)
    if not (packed and content == "nothing")
]


class _Head:
    """How far the only lane has got, in puts."""

    name = "c1/r1.0--k1.0"

    def __init__(self) -> None:
        self.at = self.safe = 0

    def put(self) -> int:
        return self.at

    def rows(self) -> int:
        return self.at

    def durable(self) -> int:
        return self.safe


class World:
    """A spool directory, a channel and a source worker that can die between any two of its steps.

    Attributes:
        puts: the bodies of each put that the channel has had.
    """

    def __init__(self, folder: Path, config: dict[str, str]) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.spool.mkdir(parents=True)
        options, findings = read_options(SpooldirOptions, {"spoolDir": str(self.spool)} | config)
        assert options is not None, findings
        self._options = options
        self.clock = ManualClock()
        self.said: list[tuple[str, str]] = []
        self.head = _Head()
        self.puts: list[list[bytes]] = []
        self._source: SpooldirSource | None = None
        self.start()

    def put(self, name: str, content: bytes, mtime_s: int = 1) -> Path:
        """Puts a file into the directory."""
        path = self.spool / name
        path.write_bytes(content)
        os.utime(path, (mtime_s, mtime_s))
        return path

    def start(self) -> None:
        """A worker starts: the first, or the next behind a death."""
        self.close()
        self.table = Positions(self.folder / "table", [self.head])
        self._source = SpooldirSource(self._options)
        context = source_context(
            self.folder, clock=self.clock, said=self.said, rows_max=7, batch_bytes=_BLOCK_BYTES,
            positions=self.table.streams,
        )  # fmt: skip
        self._source.open(dataclasses.replace(context, tells_durable=True, forget=self.table.forget))

    def cut_power(self) -> None:
        """Everything in memory is gone: the table, and what the channel had and nobody has made durable."""
        del self.puts[self.head.safe :]
        self.head.at = self.head.safe
        (self.folder / "table").unlink()
        self.start()

    def steps(self) -> Iterator[str]:
        """What a worker does until nothing is left to read; what was done is told behind each step."""
        assert self._source is not None
        while True:
            self.clock.advance(1)
            batch = self._source.poll(0)
            yield "polled"
            if batch is None:
                return
            self._carry(batch)
            yield "put"
            self._source.committed(batch)
            yield "committed"

    def read(self) -> None:
        """All that can be read is in the channel."""
        for _ in self.steps():
            pass

    def deliver(self, puts: int) -> None:
        """So many more puts become durable, and the source is told."""
        assert self._source is not None
        self.head.safe = min(self.head.safe + puts, self.head.at)
        if found := self.table.durable():
            self._source.durable(found)

    def deliver_all(self) -> None:
        """Everything that was put is durable."""
        self.deliver(len(self.puts))

    def names(self) -> list[str]:
        """What is there and not done: neither taken away nor marked."""
        done = {path.name for path in (self.spool / ".flumespool").glob("*.COMPLETED")}
        names = (path.name for path in self.spool.iterdir() if path.suffix != ".COMPLETED" and path.name[0] != ".")
        return sorted(name for name in names if f"{name}.COMPLETED" not in done)

    def bodies(self) -> list[bytes]:
        """All that the channel has had."""
        return [body for put in self.puts for body in put]

    def close(self) -> None:
        """Gives the worker's descriptors back, as its death does."""
        if self._source is not None:
            self._source.close()
            self.table.close()

    def _carry(self, batch: EventBatch) -> None:
        self.puts.append(batch.body.to_pylist())
        self.head.at += 1
        self.table.store(batch.origins)


Make = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes worlds. Nobody waits for the disk: their power cuts spare what was written."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
    made: list[World] = []

    def make(config: dict[str, str] | None = None) -> World:
        made.append(World(tmp_path / str(len(made)), config or {}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _given(name: str, content: str, packed: bool) -> tuple[str, bytes, dict[str, str]]:
    """The name of a file, what is in it, and the options to read it with."""
    make, config = _CONTENTS[name][content]
    data = gzip.compress(make()) if packed else make()
    return "f.gz" if packed else "f", data, {"deserializer": name} | config


def test_every_deserializer_is_among_the_cases() -> None:
    """A new one says here what is in its files."""
    assert _CONTENTS.keys() == everything("deserializer").keys()


@pytest.mark.parametrize("policy", _POLICIES)
@pytest.mark.parametrize(("name", "content", "packed"), _CASES)
def test_a_file_stays_until_its_last_rows_are_durable(
    world: Make, name: str, content: str, packed: bool, policy: str
) -> None:
    """Not only until its first ones are."""
    file, data, config = _given(name, content, packed)
    one = world(config | _POLICIES[policy])
    one.put(file, data)
    one.read()
    assert one.puts
    for _ in one.puts:
        assert one.names() == [file]
        one.deliver(1)
    assert one.names() == []
    assert one.table.streams == {}, "and nothing of it is kept"


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(("name", "content", "packed"), _CASES)
def test_a_worker_that_dies_anywhere_repeats_nothing_and_loses_nothing(
    world: Make, name: str, content: str, packed: bool, slow: bool
) -> None:
    """The channels are there: with all that was put still in them, or with all of it durable."""
    file, data, config = _given(name, content, packed)
    expected = world(config)
    expected.put(file, data)
    expected.read()
    for step in range(3 * len(expected.puts) + 1):
        one = world(config)
        one.put(file, data)
        for _, _ in zip(range(step + 1), one.steps(), strict=False):
            if not slow:
                one.deliver_all()
        one.start()
        one.read()
        assert one.bodies() == expected.bodies(), f"died behind step {step}"
        for _ in range(one.head.safe, len(one.puts)):
            assert one.names() == [file]
            one.deliver(1)
        one.deliver(0)
        one.read()
        assert one.names() == []


@pytest.mark.parametrize("delivered", [0, 1, 2])
@pytest.mark.parametrize(("name", "content", "packed"), _CASES)
def test_a_power_cut_anywhere_loses_nothing(world: Make, name: str, content: str, packed: bool, delivered: int) -> None:
    """The channels are empty then; so many puts had become durable. What is plain text is not repeated either."""
    file, data, config = _given(name, content, packed)
    expected = world(config)
    expected.put(file, data)
    expected.read()
    for step in range(3 * len(expected.puts) + 1):
        one = world(config | _POLICIES["deleted"])
        one.put(file, data)
        done = [done for _, done in zip(range(step + 1), one.steps(), strict=False)]
        if done[-1] != "put":  # its source hears of the put before it hears that it is durable
            one.deliver(delivered)
        one.cut_power()
        one.read()
        one.deliver_all()
        assert set(one.bodies()) == set(expected.bodies()), f"cut behind step {step}"
        if not packed:
            assert one.bodies() == expected.bodies(), f"cut behind step {step}"
        assert one.names() == []


def test_a_file_without_events_is_retired_at_once(world: Make) -> None:
    """Nothing of it can be lost."""
    one = world({"deserializer": "AVRO"})
    one.put("f", _container(0))
    one.put("f.gz", gzip.compress(_container(0)))
    one.read()
    assert one.bodies() == []
    assert one.names() == []


def test_files_that_follow_each_other_become_durable_one_by_one(world: Make) -> None:
    """The end of one is in the channels while the beginning of the next one is."""
    one = world()
    for number in range(3):
        one.put(f"f{number}", _lines(16 * 21), number)
    one.read()
    for delivered in range(9):
        assert one.names() == [f"f{number}" for number in range(delivered // 3, 3)]
        one.deliver(1)
    assert one.names() == []


def test_what_was_durable_before_a_file_is_opened_again_counts(world: Make) -> None:
    """The worker died between the two; the file that it comes to first is another one."""
    one = world({"consumeOrder": "youngest"})
    one.put("old", _lines(48), 1)
    one.read()
    one.head.safe = one.head.at
    one.start()
    one.put("new", _lines(48), 2)
    steps = one.steps()
    assert next(steps) == "polled"
    one.deliver(0)
    for _ in steps:
        pass
    assert one.names() == ["new"]


@pytest.mark.parametrize("change", ["touched", "rewritten"])
def test_a_file_that_is_changed_while_it_is_read_stays_too(world: Make, change: str) -> None:
    """Under its name; it is set aside when what was read of it is durable."""
    one = world(_POLICIES["deleted"])
    path = one.put("f", _lines(160))
    steps = one.steps()
    for _ in range(3):
        next(steps)
    if change == "rewritten":
        path.write_bytes(_lines(160).replace(b"line", b"LINE"))
    os.utime(path, (9, 9))
    for _ in steps:
        pass
    assert one.names() == ["f"]
    one.deliver_all()
    assert [path.name for path in one.spool.glob("*.COMPLETED")] == [f"f.{one.clock.now_ms()}.COMPLETED"]


def test_a_file_that_grows_behind_its_end_is_read_on(world: Make) -> None:
    """When what was read of it is durable; before, it might come twice."""
    one = world()
    path = one.put("f", b"a\n")
    one.read()
    with path.open("ab") as file:
        file.write(b"b\n")
    one.deliver_all()
    assert one.names() == ["f"]
    one.read()
    one.deliver_all()
    assert one.bodies() == [b"a", b"b"]
    assert one.names() == []


def test_a_place_is_written_down_while_the_end_of_its_file_waits(world: Make) -> None:
    """A power cut repeats what was not durable, not the whole file."""
    one = world()
    one.put("f", _lines(16 * 70))
    one.read()
    one.deliver(5)
    one.cut_power()
    one.read()
    assert one.bodies() == _lines(16 * 70).splitlines()


def test_places_inside_packed_files_are_not_said_to_be_written_down(world: Make) -> None:
    """Nor those behind which the file has ended, until it is retired."""
    one = world()
    one.put("f.gz", gzip.compress(_lines(16 * 21)))
    one.read()
    said: list[Any] = []
    assert one._source is not None
    for safe in (1, 2, 3):
        one.head.safe = safe
        said.append(one._source.durable(one.table.durable()))
    assert said == [False, False, True]
