"""What an agent at rest takes: little is imported, and what work has left goes back to the system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from perf.harness.usage import memory_bytes
from shipper.metrics.counters import Counters
from shipper.testing.agent import Agent
from shipper.workers import duty as duties
from shipper.workers import heap
from shipper.workers.control import Control
from shipper.workers.duty import Duty
from tests.workers.conftest import agent_of, file_roll, has, taildir

MB = 1_000_000
#: Each maps a library of its own, or brings a hundred functions that a tail and a file_roll do not call.
NEEDLESS = ("hashlib", "ctypes.util", "tempfile", "subprocess", "asyncio", "logging", "ssl", "pyarrow.compute")


class Nobody:
    """The entry of a worker that nobody looks at."""

    def __init__(self) -> None:
        self.counters = Counters.private()

    def waits_for(self, text: str) -> None:
        """Nobody asks."""

    def trouble(self, text: str) -> None:
        """Nobody asks."""


def code_of_arrow() -> int:
    """KiB of Arrow's code that are mapped in this process."""
    kib, wanted = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        key, *values = line.split()
        if not key.endswith(":"):
            wanted = values[0] == "r-xp" and "libarrow.so" in line
        elif wanted and key == "Rss:":
            kib += int(values[0])
    return kib


def use_arrow() -> int:
    """What a sink calls for each batch."""
    batch = pa.record_batch({"body": pa.array([b"a", b"b"], pa.binary())})
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, batch.schema) as writer:
        writer.write_batch(batch)
    return int(pa.ipc.open_stream(stream.getvalue()).read_next_batch().num_rows)


def test_code_that_nobody_runs_any_more_is_not_mapped_and_comes_back_when_it_is_called() -> None:
    assert use_arrow() == 2
    worked = code_of_arrow()
    heap.tidy()
    assert code_of_arrow() < worked / 4
    assert use_arrow() == 2


class TestRest:
    """When a process has come to rest."""

    def test_two_seconds_after_its_start(self) -> None:
        rest = heap.Rest()
        assert [rest.slept(0, 10**9, woken=False) for _ in range(3)] == [False, True, False]

    def test_not_before_it_has_worked_again(self) -> None:
        rest = heap.Rest()
        rest.slept(0, 2 * 10**9, woken=False)
        assert not any(rest.slept(10**6, 10**9, woken=False) for _ in range(40))
        assert any(rest.slept(10**6, 10**9, woken=False) for _ in range(20))

    def test_not_in_the_middle_of_a_flow(self) -> None:
        """Something comes before a sleep is over, again and again."""
        rest = heap.Rest()
        assert not any(rest.slept(10**6, 10**9, woken=woken) for woken in (False, True) * 100)


def test_a_worker_at_rest_tidies_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tidied: list[int] = []
    slept: list[bool] = []

    class AtRestNow(heap.Rest):
        def slept(self, busy_ns: int, asleep_ns: int, woken: bool) -> bool:
            slept.append(woken)
            return len(slept) == 2

    monkeypatch.setattr(duties.heap, "Rest", AtRestNow)
    monkeypatch.setattr(duties.heap, "tidy", lambda: tidied.append(len(slept)))
    control = Control.create(tmp_path / "control")
    duty = Duty(control, 0, Nobody(), tmp_path / "bell")
    duty.wait(0)
    duty.wait(0)
    rung = os.open(tmp_path / "bell", os.O_WRONLY | os.O_NONBLOCK)
    os.write(rung, b"!")
    os.close(rung)
    duty.wait(30)
    assert (slept, tidied) == ([False, False, True], [2])


def test_a_worker_of_the_main_job_imports_nothing_that_it_has_no_use_for() -> None:
    program = (
        "import sys, shipper.workers.template\n"
        "from shipper import registry\n"
        "for family, name in [('source', 'taildir'), ('selector', 'replicating'), ('processor', 'default'),\n"
        "                     ('sink', 'file_roll'), ('serializer', 'text')]:\n"
        "    assert registry.find(family, name)\n"
        f"print(*(name for name in {NEEDLESS!r} if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_an_agent_at_rest_takes_at_most_60_mb(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """All its processes. Others that run in Python here share pages with it, so a machine of its own shows more."""
    incoming = tmp_path / "in"
    incoming.mkdir()
    (incoming / "a.log").write_bytes(b"".join(b"%0143d\n" % number for number in range(10_000)))
    one = agent(agent_of(taildir("r1", "c1", incoming), file_roll("k1", "c1", tmp_path / "out"))).start()
    one.until(has(one, 10_000))
    one.until(lambda: memory_bytes(one.pid) <= 60 * MB, "60 MB at most")
