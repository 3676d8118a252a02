"""RS5: an agent with a tenth of a processor, as in a small container: slow, but nothing is lost, and idle when idle.

What is watched: nobody spends the quota on running in circles, a worker started anew comes up, a stop is a stop, and
once the quota is lifted everything that waited goes through. Skipped where no control group can be made.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from shipper.metrics.block import MetricsBlock
from shipper.metrics.health import findings
from shipper.testing.agent import Agent
from tests.crash.conftest import Writer, agent_of, file_roll, taildir, texts
from tests.crash.groups import processor_group
from tests.crash.test_descriptors import busy_s

_SHARE = 0.1
_IDLE_SHARE = 0.05


def starved(tmp_path: Path, seconds: float) -> None:
    (tmp_path / "in").mkdir()
    lines = agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))
    with processor_group() as group, Agent(tmp_path / "agent", lines, before=group.group.enters) as one:
        one.start()
        writer = Writer(tmp_path / "in" / "app.log", 200_000)
        group.allow(_SHARE)
        writer.start()
        one.kill("r1")
        threading.Event().wait(seconds)
        one.kill("k1")
        total = writer.end()
        one.until(lambda: {"r1", "k1"} <= one.workers().keys(), "both are back with little time", 60)
        group.allow(None)
        began_s = time.monotonic()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= total, "everything is delivered", 60)
        recovered_s = time.monotonic() - began_s
        sample = MetricsBlock.view(one.instance_dir() / "metrics").sample()
        assert not findings(sample), "and nobody is called hanging"
        group.allow(_SHARE)
        pids = [one.pid, *one.workers().values()]
        before_s, began_s = sum(map(busy_s, pids)), time.monotonic()
        threading.Event().wait(4)
        idle = (sum(map(busy_s, pids)) - before_s) / (time.monotonic() - began_s)
        assert idle < _IDLE_SHARE, f"{idle:.1%} of a processor with nothing to do"
        assert one.stop() == 0, one.log()
        print(f"{total} lines, {recovered_s:.1f} s to catch up, {idle:.2%} idle")
        assert texts(tmp_path / "out").split() == [b"%d" % number for number in range(total)]
        assert "deadline" not in one.log() and "Traceback" not in one.log()


def test_little_time_is_slow_and_no_more(tmp_path: Path) -> None:
    starved(tmp_path, 3)


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_little_time_for_five_minutes(tmp_path: Path) -> None:
    starved(tmp_path, 300)
