"""A tiny ring, and a way to see what its memory looked like behind every store."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import pytest

from shipper.ring.consumer import Consumer
from shipper.ring.lane import Lane
from shipper.ring.layout import LaneState
from shipper.ring.producer import Producer
from shipper.ring.puts import NO_LANE, PutPage, PutState

CAPACITY = 4096


@dataclass
class Ring:
    """The put side of a worker with some lanes, and the take side of each, as raw bytes.

    Args:
        directory: where the segments lie; opened as they are when they are there.
    """

    directory: Path
    lanes: int = 1
    sink: int = 7
    producers: list[Producer] = field(default_factory=list)
    consumers: list[Consumer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page = PutPage.ensure(self.directory / "page", 4)
        for number in range(self.lanes):
            index = self.page.register(100 + number)
            lane = Lane.ensure(self.directory / f"lane{number}", CAPACITY)
            self.producers.append(Producer(lane, self.page.lane(index)))
            self.consumers.append(Consumer(Lane.open(lane.segment.path), self.page, index, self.sink))

    def attach(self) -> Ring:
        """Takes all roles over."""
        assert self.page.take_over()
        assert all(producer.take_over() for producer in self.producers)
        assert all(consumer.try_hold() for consumer in self.consumers)
        return self

    def stage(self, payload: bytes, lane: int = 0, rows: int = 1) -> bool:
        """Writes a frame behind the tail; False when there is no room."""
        producer = self.producers[lane]
        memory = producer.claim(len(payload))
        if memory is None:
            return False
        memory[:] = payload
        producer.publish(len(payload), rows=rows, size_bytes=len(payload), units=1, put=self.page.number() + 1)
        return True

    def commit(self) -> None:
        """Makes all that is staged visible."""
        states = tuple(producer.state for producer in self.producers)
        self.page.commit(PutState(self.page.number() + 1, NO_LANE, 0, states))
        for producer in self.producers:
            producer.committed()

    def put(self, *payloads: bytes) -> bool:
        """One put: a payload a lane. False, and nothing done, when there is no room."""
        if all(self.stage(payload, lane) for lane, payload in enumerate(payloads)):
            self.commit()
            return True
        for producer in self.producers:
            producer.forget()
        return False

    def peek_all(self, lane: int = 0) -> list[bytes]:
        """All that waits, taken and put back."""
        found = []
        consumer = self.consumers[lane]
        while (frame := consumer.peek()) is not None:
            found.append(bytes(frame.payload))
            consumer.step()
        consumer.rewind()
        return found

    def take(self, lane: int = 0, frames: int = 1) -> list[bytes]:
        """Takes so many frames and commits."""
        found = []
        for _ in range(frames):
            frame = self.consumers[lane].peek()
            assert frame is not None
            found.append(bytes(frame.payload))
            self.consumers[lane].step()
        self.consumers[lane].release(0)
        return found

    def close(self) -> None:
        """As the end of the process does."""
        for producer in self.producers:
            producer.lane.close()
        for consumer in self.consumers:
            consumer.lane.close()
        self.page.close()

    @property
    def states(self) -> tuple[LaneState, ...]:
        """What the page says of the lanes."""
        return tuple(self.page.lane(i) for i in range(self.lanes))


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Callable[..., Ring]]:
    """Makes attached rings; `ring()` again opens the same segments as the next process would, after `close`."""
    made: list[Ring] = []

    def make(lanes: int = 1, directory: Path = tmp_path, sink: int = 7) -> Ring:
        made.append(Ring(directory, lanes, sink))
        return made[-1].attach()

    yield make
    for one in made:
        one.close()


@dataclass
class Deaths:
    """The states of memory in which the process could have died.

    Args:
        home: where the segments lie.
        graves: where copies go.
    """

    home: Path
    graves: Path
    states: list[dict[str, bytes]] = field(default_factory=list)

    def during(self, action: Callable[[], object]) -> None:
        """Runs the action and remembers the segments as they were before it and behind every bytecode of it."""
        self.look()

        def tracer(frame: FrameType, event: str, argument: object) -> object:
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            if event in ("opcode", "return"):
                self.look()
            return tracer

        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # else Python 3.12 traces none until the next time
        sys.settrace(tracer)  # type: ignore[arg-type]
        try:
            action()
        finally:
            sys.settrace(before)
        self.look()

    def look(self) -> None:
        """Remembers the segments if they changed."""
        state = {path.name: path.read_bytes() for path in sorted(self.home.iterdir()) if path.name[0] != "."}
        if not self.states or self.states[-1] != state:
            self.states.append(state)

    def torn(self) -> Iterator[dict[str, bytes]]:
        """Every state, and between two of them those in which only a part of the words had been stored.

        A copy that is killed leaves any subset of its words behind, not a prefix.
        """
        for earlier, later in zip(self.states, self.states[1:], strict=False):
            yield earlier
            for name in later:
                old, new = earlier.get(name, b""), later[name]
                changed = [at for at in range(0, len(new), 8) if old[at : at + 8] != new[at : at + 8]] if old else []
                if len(changed) > 1:
                    for chosen in (
                        changed[0::2],
                        changed[1::2],
                        changed[:-1],
                        changed[1:],
                        changed[: len(changed) // 2],
                    ):
                        mixed = bytearray(old)
                        for at in chosen:
                            mixed[at : at + 8] = new[at : at + 8]
                        yield {**earlier, name: bytes(mixed)}
        yield self.states[-1]

    def buried(self) -> Iterator[Path]:
        """A directory with each of the states, one after the other."""
        for state in self.torn():
            shutil.rmtree(self.graves, ignore_errors=True)
            self.graves.mkdir()
            for name, data in state.items():
                (self.graves / name).write_bytes(data)
            yield self.graves


@pytest.fixture
def deaths(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Deaths:
    """Remembers how the segments in `tmp_path` looked while something was done with them."""
    return Deaths(tmp_path, tmp_path_factory.mktemp("graves") / "grave")
