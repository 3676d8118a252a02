"""A memory channel beside a model of it: any sequence of puts, takes, rollbacks, deaths and changes of hands.

The model is a dictionary from row to source; a step that makes the channel and the model differ is shrunk to the
shortest sequence that does.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shipper.api import EventBatch, Origin
from tests.channels.conftest import Memory

SOURCES, SINKS, CAPACITY = 2, 2, 40


class ChannelMachine(RuleBasedStateMachine):
    """Two sources and two sinks at one channel with a capacity, its rings just large enough to wrap often."""

    @initialize(bounded=st.booleans())
    def make(self, bounded: bool) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="shipper-model-"))
        properties = {"ring.bytes": "256k"}
        if bounded:
            properties["capacity"] = str(CAPACITY)
        self.bounded = bounded
        self.channel = Memory(self.directory, properties, sources=SOURCES, sinks=SINKS)
        self.waiting: dict[bytes, int] = {}
        self.delivered: list[bytes] = []
        self.next_row = 0
        self.positions: dict[int, list[Origin]] = {}
        self.forgotten: dict[bytes, int] = {}  # stream -> rows below it were put by a process that died
        self.held_back = [False] * SINKS
        for sink in range(SINKS):
            self.channel.take_side(sink)

    @rule(
        source=st.integers(0, SOURCES - 1),
        puts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000), st.integers(0, 2)), min_size=1, max_size=6),
    )
    def several_puts(self, source: int, puts: list[tuple[int, int, int]]) -> None:
        for rows, size, stream in puts:
            self.put(source, rows, size, stream)

    def put(self, source: int, rows: int, size: int, stream: int) -> None:
        name = b"%d%d" % (source, stream)
        bodies = [b"%s %06d " % (name, self.next_row + i) + b"." * size for i in range(rows)]
        origin = Origin(name.decode(), self.next_row, self.next_row + rows)
        accepted = self.channel.put(*bodies, worker=source, origins=[origin])
        if self.bounded and len(self.waiting) + rows > CAPACITY:
            assert not accepted, "more rows than its capacity"
        elif self.bounded and size < 100:
            assert accepted or self.full_ring(source), self.channel.put_side(source).putters["c1"].full_because
        if accepted:
            self.waiting.update((body, source) for body in bodies)
            self.positions[source] = [origin]
            self.next_row += rows

    def full_ring(self, source: int) -> bool:
        because = self.channel.put_side(source).putters["c1"].full_because
        return "ring" in because or "another lane" in because

    @rule(source=st.integers(0, SOURCES - 1), rows=st.integers(1, 5))
    def put_and_roll_back(self, source: int, rows: int) -> None:
        transaction = self.channel.put_side(source).transaction()
        transaction.begin()
        transaction.put("c1", EventBatch.of([b"rolled back"] * rows))
        transaction.rollback()
        transaction.close()

    @rule(source=st.integers(0, SOURCES - 1))
    def put_more_than_half_a_ring(self, source: int) -> None:
        body = b"%d9 %06d " % (source, self.next_row) + b"L" * 70_000
        if self.channel.put(body, worker=source):
            self.waiting[body] = source
            self.positions[source] = []
            self.next_row += 1

    @rule(sink=st.integers(0, SINKS - 1), batches=st.integers(1, 4))
    def take(self, sink: int, batches: int) -> None:
        for body in self.channel.take(sink, batches=batches):
            assert body in self.waiting, "delivered twice, or never put"
            del self.waiting[body]
            self.in_order(body)
            self.delivered.append(body)

    def in_order(self, body: bytes) -> None:
        stream, number = body.split(b" ")[:2]
        if stream.endswith(b"9"):
            return  # rows without a stream go to any lane
        earlier = [other for other in self.waiting if other.split(b" ")[0] == stream]
        earlier = [int(other.split(b" ")[1]) for other in earlier]
        first = self.forgotten.get(stream, 0)
        assert not any(first <= waiting < int(number) for waiting in earlier), "a stream lost its order"

    @rule(sink=st.integers(0, SINKS - 1), batches=st.integers(1, 4))
    def take_and_roll_back(self, sink: int, batches: int) -> None:
        for body in self.channel.take(sink, commit=False, batches=batches):
            assert body in self.waiting

    @rule(sink=st.integers(0, SINKS - 1))
    def let_go(self, sink: int) -> None:
        self.channel.take_side(sink).let_go(lambda: None)
        self.held_back[sink] = True

    @rule(sink=st.integers(0, SINKS - 1))
    def come_back(self, sink: int) -> None:
        self.channel.take_side(sink).come_back()
        self.held_back[sink] = False

    @rule(sink=st.integers(0, SINKS - 1))
    def give_back(self, sink: int) -> None:
        self.channel.take_side(sink).give_back(lambda: None)

    @rule(source=st.integers(0, SOURCES - 1))
    def kill_source(self, source: int) -> None:
        self.channel.put_side(source)
        self.channel.kill_source(source)
        if origins := self.positions.get(source):
            assert self.channel.put_side(source).last_origins() == origins
        # Which lane a stream was in is known to the process only: the next one deals anew.
        for stream in range(10):
            self.forgotten[b"%d%d" % (source, stream)] = self.next_row

    @rule(sink=st.integers(0, SINKS - 1))
    def kill_sink(self, sink: int) -> None:
        self.channel.kill_sink(sink)
        self.channel.take_side(sink)
        self.held_back[sink] = False

    @precondition(lambda self: not any(self.held_back))
    @rule()
    def drain(self) -> None:
        for _ in range(3):
            for sink in range(SINKS):
                while taken := self.channel.take(sink):
                    for body in taken:
                        del self.waiting[body]
                self.channel.take_side(sink).give_back(lambda: None)
        assert not self.waiting, "sinks that are up leave nothing behind"

    @invariant()
    def the_count_is_exact(self) -> None:
        if hasattr(self, "channel"):
            assert self.channel.rows() == len(self.waiting)
            for sink in range(SINKS):
                self.channel.take_side(sink).check()

    def teardown(self) -> None:
        if not hasattr(self, "channel"):
            return
        try:
            for sink in range(SINKS):
                self.channel.take_side(sink).come_back()
            taken = [body for _ in range(3) for sink in range(SINKS) for body in self.channel.drain(sink)]
            assert sorted(taken) == sorted(self.waiting), "lost"
        finally:
            self.channel.kill()
            shutil.rmtree(self.directory)


ChannelMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SHIPPER_MODEL_LIVES", "40")), stateful_step_count=50, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)  # fmt: skip
TestAgainstTheModel = ChannelMachine.TestCase
