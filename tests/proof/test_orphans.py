"""A test run that is killed leaves no agent behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.waiting import alive, until_dead
from tests.workers.conftest import agent_of, file_roll, taildir

_STARTS = """
import sys, time
from pathlib import Path
from shipper.testing.agent import Agent
one = Agent(Path(sys.argv[1]), sys.argv[2]).start()
print(one.run_dir, one.pid, *one.workers().values(), flush=True)
time.sleep(600)
"""


def test_agents_die_with_the_process_that_tests_them(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    properties = agent_of(taildir("r1", "c1", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"))
    with subprocess.Popen(
        [sys.executable, "-c", _STARTS, str(tmp_path / "agent"), properties], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    ) as tester:  # fmt: skip
        assert tester.stdout is not None
        try:
            run_dir, *pids = tester.stdout.readline().split()
            there = [alive(int(pid)) for pid in pids]
        finally:
            os.kill(tester.pid, signal.SIGKILL)
        assert there == [True, True, True]
        until_dead(map(int, pids))  # no agent goes on without its tester
    subprocess.run(["rm", "-r", run_dir], check=True)
