"""A daemon: one server process of a test cluster, which all processes of the test run can start, kill and freeze."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hdfs.leash import started

LEASH = Path(__file__).with_name("leash.py")
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class Daemon:
    """One server of a cluster. What is known of it lies in files, so that all processes know the same.

    Args:
        name: `nn1`, `dn2`.
        command: the command line.
        home: the folder of its log and of its process id.
        data: what it keeps; removed when the run has ended.
        watched: the process that stands for the whole run.
    """

    name: str
    command: Sequence[str]
    home: Path
    data: Path
    watched: int

    @property
    def log(self) -> Path:
        """What it has said since it was started last."""
        return self.home / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Its process id; 0 when it does not run."""
        try:
            pid, birth = (self.home / f"{self.name}.pid").read_text().split()
        except FileNotFoundError:
            return 0
        return int(pid) if birth == started(int(pid)) else 0

    def start(self) -> None:
        """Starts it unless it runs; thaws it. It is not ready yet."""
        if self.pid:
            self.thaw()
            return
        files = (str(self.home / f"{self.name}.pid"), str(self.log), str(self.watched), str(self.data))
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HADOOP_", "KRB5"))}
        subprocess.run(
            [sys.executable, "-SE", str(LEASH), *files, *self.command], env=environment, check=True, timeout=60
        )

    def kill(self) -> None:
        """SIGKILL; it is dead when this returns."""
        if pid := self.pid:
            os.kill(pid, signal.SIGKILL)
            # Its leash buries it; before that one of its threads may still hold its sockets.
            until(lambda: not Path(f"/proc/{pid}").exists(), f"{self.name} is dead")

    def freeze(self) -> None:
        """SIGSTOP: its sockets stay open, and nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Ends `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def said(self, words: str) -> int:
        """How often its log has these words."""
        return self.log.read_text(errors="replace").count(words) if self.log.exists() else 0

    def until_said(self, words: str, count: int = 1) -> None:
        """Waits until it has said something so many times."""

        def done() -> bool:
            assert self.pid, f"{self.name} has ended: {self.log.read_text(errors='replace')[-3000:]}"
            return self.said(words) >= count

        until(done, f"{self.name} says {words!r}, see {self.log}")


def until(condition: Callable[[], object], what: str, timeout_s: float = 120) -> None:
    """Waits until the condition is true; an AssertionError when it does not come true in time."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(_LOOK_EVERY_S)
