"""RS2: a target that takes nothing for long: memory and descriptors stay flat, the source waits, all of it comes after.

With every run for some seconds, which fill a small channel hundreds of times over; at night for ten minutes
(`SHIPPER_STALL_S`).
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, taildir
from tests.workers.test_kills import line

LINES = 200_000


def anonymous_bytes(pid: int) -> int:
    """Memory that is a process's own: pages of a lane are not, nor those of a library, which the others may leave."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Anonymous:"))


def descriptors(pid: int) -> int:
    """How many files a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def stall(tmp_path: Path, stall_s: float) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "app.log").write_bytes(b"".join(map(line, range(LINES))))
    blocked = tmp_path / "out"
    blocked.write_text("a file where the directory should be")
    sink = (
        f"a1.sinks.k1.type = hdfs\na1.sinks.k1.hdfs.path = file://{blocked}\na1.sinks.k1.channel = c1\n"
        "a1.sinks.k1.hdfs.fileType = DataStream\na1.sinks.k1.hdfs.rollCount = 0\na1.sinks.k1.hdfs.rollSize = 0\n"
    )
    more = "a1.channels.c1.ring.bytes = 1m\n"
    with Agent(tmp_path / "agent", agent_of(taildir("r1", "c1", tmp_path / "in"), sink, more=more)) as one:
        one.start()
        one.until(lambda: "trying again" in one.log(), "the target refuses")
        threading.Event().wait(2)  # the channel is full by now, and all has been used once
        pids = [one.pid, *one.workers().values()]
        before = {pid: (anonymous_bytes(pid), descriptors(pid)) for pid in pids}
        threading.Event().wait(stall_s)
        assert [one.pid, *one.workers().values()] == pids, "nobody has died over it"
        for pid, (size_bytes, files) in before.items():
            assert descriptors(pid) <= files + 1
            assert anonymous_bytes(pid) <= size_bytes * 1.01 + (1 << 20)
        blocked.unlink()
        blocked.mkdir()

        def arrived() -> list[int]:
            found = b"".join(path.read_bytes() for path in blocked.iterdir())
            return [int(text[:10]) for text in found.splitlines()]

        one.until(lambda: len(arrived()) >= LINES, "everything is delivered", 90)
        assert one.stop() == 0, one.log()
        assert arrived() == list(range(LINES))


def test_a_stalled_target_costs_nothing_but_time(tmp_path: Path) -> None:
    stall(tmp_path, 5)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_a_target_that_is_stalled_for_ten_minutes(tmp_path: Path) -> None:
    stall(tmp_path, float(os.environ.get("SHIPPER_STALL_S", "600")))
