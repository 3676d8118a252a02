"""RC6: the kernel kills in a group of 256 MiB while the target is dead: all starts again, drains, 0 lost, 0 twice.

Something else in the group takes the memory, and the agent's processes are offered first, so that the kernel chooses
among these: the largest, as a rule a worker. With every run two deaths; at night fifty, over ten minutes
(`SHIPPER_STALL_S`). Where no control group can be made it is skipped: a limit on address space would only make
allocations fail, which nobody dies of.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.testing.agent import Agent
from shipper.testing.mortal import dies_with_us
from tests.crash.conftest import Writer, agent_of, taildir
from tests.crash.groups import MemoryGroup, memory_group
from tests.waiting import alive, until

LIMIT_BYTES = 256 << 20
#: Words before a command whose processes are killed before all others.
_OFFERED = ("sh", "-c", 'echo 1000 > /proc/self/oom_score_adj && exec "$0" "$@"')
_HOG = """
import sys
held = []
for word in sys.stdin:
    held.append(bytearray(1 << 20)) if word == "more\\n" else held.clear()
    print(len(held), flush=True)
"""


class Hog:
    """A process that takes memory of a group, a mebibyte a word."""

    def __init__(self, group: MemoryGroup) -> None:
        self._group = group
        self._process = subprocess.Popen(
            [*group.group.enters, sys.executable, "-c", _HOG],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=dies_with_us(), text=True, bufsize=1,
        )  # fmt: skip

    def squeeze(self) -> None:
        """Takes memory until the kernel has killed somebody, and gives it back."""
        before = self._group.kills
        taken = 0
        while self._group.kills == before:
            taken = self._say("more")
            assert taken < 2 * LIMIT_BYTES >> 20, "the group has no limit"
        self._say("none")

    def _say(self, word: str) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(word, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def hog_in(group: MemoryGroup) -> Iterator[Hog]:
    hog = Hog(group)
    try:
        yield hog
    finally:
        hog.end()


def properties(tmp_path: Path, target: Path) -> str:
    """A tail, a channel of a megabyte, and a sink whose target can't be written yet."""
    sink = (
        f"a1.sinks.k1.type = hdfs\na1.sinks.k1.hdfs.path = file://{target}\na1.sinks.k1.channel = c1\n"
        "a1.sinks.k1.hdfs.fileType = DataStream\na1.sinks.k1.hdfs.rollCount = 0\na1.sinks.k1.hdfs.rollSize = 0\n"
        "a1.sinks.k1.hdfs.rollInterval = 2\n"
    )
    more = "a1.channels.c1.ring.bytes = 1m\n"
    return agent_of(taildir("r1", "c1", tmp_path / "in"), sink, more=more)


def survives(tmp_path: Path, deaths: int, stall_s: float) -> None:
    (tmp_path / "in").mkdir()
    target = tmp_path / "out"
    target.write_text("a file where the directory should be")
    writer = Writer(tmp_path / "in" / "app.log", 5_000)
    with (
        memory_group(LIMIT_BYTES) as group,
        Agent(tmp_path / "agent", properties(tmp_path, target), before=(*group.group.enters, *_OFFERED)) as one,
        hog_in(group) as hog,
    ):
        one.start()
        writer.start()
        began_s, died = time.monotonic(), {"supervisor": 0, "worker": 0}
        for number in range(deaths):
            one.until(lambda: {"r1", "k1"} <= one.workers().keys(), "both workers run", 60)
            pause_s = began_s + stall_s * (number + 1) / deaths - time.monotonic()
            threading.Event().wait(max(0.0, min(pause_s, stall_s / deaths)))
            there = [one.pid, *one.children()]
            hog.squeeze()
            until(lambda there=there: not all(map(alive, there)), "who was chosen is dead")
            if one.pid:
                died["worker"] += 1
            else:
                died["supervisor"] += 1
                one.start()
            if number % 5 == 4:
                print(f"{number + 1} of {deaths} deaths, {writer.lines} lines", file=sys.stderr, flush=True)
        total = writer.end()
        if not one.pid:
            one.start()
        os.unlink(target)
        target.mkdir()

        def arrived() -> bytes:
            return b"".join(path.read_bytes() for path in sorted(target.iterdir()))

        one.until(lambda: arrived().count(b"\n") >= total, "everything is delivered", 120)
        assert one.stop() == 0, one.log()
        print(f"{deaths} deaths ({died}) in {time.monotonic() - began_s:.0f} s, {total} lines")
        assert arrived().split() == [b"%d" % number for number in range(total)], "none lost, none twice, in order"
        assert "Traceback" not in one.log()


def test_deaths_for_want_of_memory_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    survives(tmp_path, 2, 2)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_fifty_deaths_for_want_of_memory_in_ten_minutes(tmp_path: Path) -> None:
    survives(tmp_path, int(os.environ.get("SHIPPER_KILLS", "50")), float(os.environ.get("SHIPPER_STALL_S", "600")))
