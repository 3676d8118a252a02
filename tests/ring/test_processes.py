"""Two processes at one lane: locks that die with their holder, wake-ups that are not lost, nobody else in between."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shipper.ring.lane import Lane
from shipper.ring.layout import CONSUMER_ROLE, PRODUCER_ROLE
from shipper.ring.wait import BUSY_SLEEP_S, Bell, Doorbell
from shipper.shared.segment import Segment
from shipper.shared.words import full_fence
from tests.ring.conftest import Ring

Child = Callable[[Callable[[Callable[[], None]], None]], int]


@pytest.fixture
def child() -> Iterator[Child]:
    """Forks a process that runs a function; returns when it calls `ready`. It is killed when the test ends."""
    children: list[int] = []

    def start(work: Callable[[Callable[[], None]], None]) -> int:
        read_fd, write_fd = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                work(lambda: os.write(write_fd, b"!") and None)
                signal.pause()
            finally:
                os._exit(0)
        os.close(write_fd)
        children.append(pid)
        assert os.read(read_fd, 1) == b"!", "the child died before it was ready"
        os.close(read_fd)
        return pid

    yield start
    for pid in children:
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def hold(directory: Path, sink: int = 7) -> Callable[[Callable[[], None]], None]:
    """A process that takes all roles of a ring and holds them."""

    def work(ready: Callable[[], None]) -> None:
        Ring(directory, sink=sink).attach()
        ready()
        signal.pause()

    return work


@pytest.mark.parametrize("role", [PRODUCER_ROLE, CONSUMER_ROLE])
def test_a_role_has_one_holder_over_all_processes(role: int, tmp_path: Path, child: Child) -> None:
    Ring(tmp_path).close()
    child(hold(tmp_path))
    with Segment.open(tmp_path / "lane0") as segment:
        assert not segment.try_lock(role)


@pytest.mark.parametrize("role", [PRODUCER_ROLE, CONSUMER_ROLE])
def test_a_killed_holders_lock_is_free_as_soon_as_it_is_dead(role: int, tmp_path: Path, child: Child) -> None:
    Ring(tmp_path).close()
    pid = child(hold(tmp_path))
    with Segment.open(tmp_path / "lane0") as segment:
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # on a busy machine it takes a while to die
        assert segment.try_lock(role)


def test_a_stopped_holder_still_owns(tmp_path: Path, child: Child) -> None:
    Ring(tmp_path).close()
    pid = child(hold(tmp_path))
    os.kill(pid, signal.SIGSTOP)
    other = Ring(tmp_path)
    assert not other.producers[0].take_over() and not other.consumers[0].try_hold() and not other.page.take_over()
    other.close()


def test_a_program_that_the_holder_started_does_not_keep_its_lock(tmp_path: Path, child: Child) -> None:
    """Descriptors of segments are closed on exec: what an exec source starts never owns a lane."""
    Ring(tmp_path).close()

    def work(ready: Callable[[], None]) -> None:
        Ring(tmp_path).attach()
        (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "60"], close_fds=False).pid))
        ready()
        signal.pause()

    pid = child(work)
    sleeper = int((tmp_path / "pid").read_text())
    try:
        while os.readlink(f"/proc/{sleeper}/exe") == os.readlink("/proc/self/exe"):
            select.select([], [], [], 0.01)  # not yet the program
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        one = Ring(tmp_path)
        assert one.producers[0].take_over() and one.consumers[0].try_hold() and one.page.take_over()
        one.close()
    finally:
        os.kill(sleeper, signal.SIGKILL)


def test_the_lane_of_a_killed_sink_waits_for_that_sink(tmp_path: Path, child: Child) -> None:
    Ring(tmp_path).close()
    pid = child(hold(tmp_path, sink=7))
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    other = Ring(tmp_path, sink=9)
    assert not other.consumers[0].try_hold()
    other.close()
    same = Ring(tmp_path, sink=7)
    assert same.consumers[0].try_hold()
    same.close()


def test_every_byte_goes_across_while_both_sides_are_killed(tmp_path: Path, child: Child) -> None:
    """A producer and a consumer that are killed again and again: each number arrives, in order, none twice.

    The producer goes on at the number that the page says; the consumer writes what it took into a file before it
    commits, and cuts the file to what was committed when it comes back.
    """
    numbers, out = 2000, tmp_path / "out"
    out.touch()
    home = tmp_path / "ring"
    home.mkdir()
    Ring(home).close()

    def produce(ready: Callable[[], None]) -> None:
        ring = Ring(home)
        assert ring.page.take_over() and ring.producers[0].take_over()
        ready()
        number = ring.page.number()
        last = min(number + 300, numbers)  # in one life: so there are lives to end on any machine
        while number < last:
            if ring.put(b"%06d\n" % number * (1 + number % 40)):
                number += 1

    def consume(ready: Callable[[], None]) -> None:
        ring = Ring(home)
        consumer = ring.consumers[0]
        assert consumer.try_hold()
        ready()
        done = consumer.lane.committed().size_bytes
        with out.open("r+b", buffering=0) as file:
            file.truncate(done)
            file.seek(done)
            while consumer.lane.committed().rows < numbers:
                while (frame := consumer.peek()) is not None:
                    file.write(frame.payload)
                    consumer.step()
                consumer.release(0)

    watch = Ring(home)
    deadline_s = time.monotonic() + 200
    producer, consumer = child(produce), child(consume)
    kills = 0
    while watch.consumers[0].lane.committed().rows < numbers:
        assert time.monotonic() < deadline_s
        select.select([], [], [], 0.004 + 0.003 * (kills % 5))
        if kills % 2:
            os.kill(producer, signal.SIGKILL)
            os.waitpid(producer, 0)
            producer = child(produce)
        else:
            os.kill(consumer, signal.SIGKILL)
            os.waitpid(consumer, 0)
            consumer = child(consume)
        kills += 1
    assert kills >= 12
    assert out.read_bytes() == b"".join(b"%06d\n" % number * (1 + number % 40) for number in range(numbers))
    watch.close()


class TestBells:
    """A sleeper is woken at once, and a ring before the sleep is not lost."""

    def test_a_ring_before_the_sleep_ends_it(self, tmp_path: Path) -> None:
        bell, doorbell = Bell(tmp_path / "bell"), Doorbell(tmp_path / "bell")
        bell.ring()
        began_s = time.monotonic()
        doorbell.wait(20)
        assert time.monotonic() - began_s < 10
        doorbell.close()
        bell.close()

    def test_a_ring_nobody_hears_hurts_nobody(self, tmp_path: Path) -> None:
        bell = Bell(tmp_path / "bell")
        bell.ring()
        doorbell = Doorbell(tmp_path / "bell")
        for _ in range(100_000):
            bell.ring()
        doorbell.wait(1)
        doorbell.clear()
        began_s = time.monotonic()
        doorbell.wait(0.02)
        assert time.monotonic() - began_s >= 0.015, "all rings were heard in one go"
        doorbell.close()
        bell.close()

    def test_a_bell_outlives_both_sides(self, tmp_path: Path) -> None:
        first = Doorbell(tmp_path / "bell")
        bell = Bell(tmp_path / "bell")
        bell.ring()
        first.close()
        bell.ring()
        second = Doorbell(tmp_path / "bell")
        bell.ring()
        began_s = time.monotonic()
        second.wait(20)
        assert time.monotonic() - began_s < 10
        second.close()
        bell.close()

    def test_other_descriptors_are_waited_for_too(self, tmp_path: Path) -> None:
        doorbell = Doorbell(tmp_path / "bell")
        read_fd, write_fd = os.pipe()
        os.write(write_fd, b"x")
        assert doorbell.wait(5, [read_fd]) == (read_fd,)
        assert doorbell.wait(0, []) == ()
        for fd in (read_fd, write_fd):
            os.close(fd)
        doorbell.close()


def test_no_wake_up_is_lost(tmp_path: Path, child: Child) -> None:
    """The consumer says that it sleeps, looks once more, sleeps; the producer commits, looks whether to ring.

    In no round may both miss each other. (A lost one costs the time-out; here the time-out is long, so it would show.)
    """
    rounds = 3000
    home = tmp_path / "ring"
    home.mkdir()
    ring = Ring(home)
    there, back = tmp_path / "there", tmp_path / "back"
    back_bell = Doorbell(back)

    def consume(ready: Callable[[], None]) -> None:
        mine = Ring(home)
        consumer = mine.consumers[0]
        assert consumer.try_hold()
        doorbell, answer = Doorbell(there), Bell(back)
        ready()
        for _ in range(rounds):
            while consumer.peek() is None:
                consumer.sleeping(True)
                if not consumer.waiting:
                    doorbell.wait(10)
                consumer.sleeping(False)
            consumer.step()
            if consumer.release(0):
                answer.ring()

    assert ring.page.take_over() and ring.producers[0].take_over()
    child(consume)
    bell, producer = Bell(there), ring.producers[0]
    longest_s = 0.0
    for number in range(rounds):
        assert ring.put(b"%d" % number)
        full_fence()
        began_s = time.monotonic()
        if producer.consumer_sleeps:
            bell.ring()
        while not producer.drained:
            producer.sleeping(True)
            if not producer.drained:
                back_bell.wait(10)
            producer.sleeping(False)
        longest_s = max(longest_s, time.monotonic() - began_s)
    assert longest_s < 5, f"a wake-up was lost: {longest_s:.2f} s, where a sleep lasts {BUSY_SLEEP_S} s at most"
    back_bell.close()
    ring.close()


def test_no_module_of_the_ring_packs_into_shared_memory() -> None:
    """`struct.pack_into` zeroes its target first: a reader, or a death, in between sees zeros. Nothing uses it."""
    root = Path(Lane.create.__func__.__code__.co_filename).parents[1]  # type: ignore[attr-defined]
    for path in [*root.glob("ring/*.py"), *root.glob("shared/*.py"), *root.glob("workers/control.py")]:
        code = "".join(line for line in path.read_text().splitlines(True) if "never used" not in line)
        assert "pack_into(" not in code.replace("unpack_from(", ""), path


def test_the_ring_imports_no_arrow() -> None:
    """The supervisor opens lanes and pages: it stays small."""
    script = "import sys, shipper.ring.consumer, shipper.ring.producer; print(sorted(sys.modules))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert "pyarrow" not in found and "numpy" not in found
