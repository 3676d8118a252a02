"""An agent under measurement: a real `shipper agent` process, started from a properties file as a person starts it.

Its numbers are read from the metrics block in its run directory, which costs the agent nothing; the HTTP port is on
all the same, because people have it on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from perf.harness import usage
from shipper.errors import DamagedData
from shipper.metrics.block import Kind, MetricsBlock, State
from shipper.testing.mortal import dies_with_us
from shipper.testing.ports import free_port

_START_S = 60.0
_PROJECT = Path(__file__).resolve().parents[2]


class AgentFailed(Exception):
    """The agent ended, or did not do what was waited for; the message has the end of its log."""


class Agent:
    """An agent called `a1`.

    Args:
        properties: its file, without the `a1.` at the beginning of each key.
        directory: for its file, log and run directory; the rings lie here, so it should be in memory.
        state_dir: for positions and journals; on a disk, as in production.
    """

    def __init__(self, properties: Mapping[str, object], directory: Path, state_dir: Path) -> None:
        self.run_dir = directory / "run"
        self._log = directory / "agent.log"
        self._file = directory / "a1.properties"
        self._state_dir = state_dir
        self._file.write_text("".join(f"a1.{key} = {value}\n" for key, value in properties.items()))
        self._process: subprocess.Popen[bytes] | None = None
        self._block: MetricsBlock | None = None
        self.startup_s = 0.0

    def start(self) -> None:
        """Starts it, and waits until every component works."""
        began_s = time.perf_counter()
        port = free_port()
        command = [sys.executable, "-m", "shipper.cli.main", "agent", "-n", "a1", "-f", str(self._file)]
        command += ["--run-dir", str(self.run_dir), "--state-dir", str(self._state_dir), "--no-reload-conf"]
        command += ["-Dflume.monitoring.type=http", f"-Dflume.monitoring.port={port}"]
        environment = {**os.environ, "PYTHONPATH": str(_PROJECT)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed agent has its modules compiled
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, preexec_fn=dies_with_us()
            )
        deadline_s = began_s + _START_S
        while not self._works():
            if time.perf_counter() > deadline_s:
                raise self.failed(f"the agent does not work after {_START_S:.0f} s")
            time.sleep(0.002)
        self.startup_s = time.perf_counter() - began_s

    def __enter__(self) -> Agent:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        assert self._process is not None, "the agent was not started"
        return self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds of all its processes so far."""
        return usage.cpu_s(self.pid)

    def busy_s(self) -> dict[Kind, float]:
        """CPU seconds that its sources, and its sinks, have used so far."""
        assert self._block is not None, "the agent was not started"
        found = dict.fromkeys((Kind.SOURCE, Kind.SINK), 0.0)
        for worker in self._block.sample().workers:
            found[worker.kind] += usage.cpu_s(worker.pid)
        return found

    def memory_bytes(self) -> int:
        """Pss_Anon + Pss_File of all its processes, and what its run directory holds."""
        return usage.memory_bytes(self.pid) + usage.allocated_bytes(self.run_dir)

    def ring_bytes(self) -> int:
        """What the lanes of its channels take."""
        return sum(path.stat().st_blocks * 512 for path in self.run_dir.rglob("*--*") if path.is_file())

    def counted(self, kind: Kind, counter: str) -> int:
        """The sum of a counter over the sources, or over the sinks."""
        assert self._block is not None, "the agent was not started"
        return sum(entry.counters.get(counter) for entry in self._block.entries if entry.kind == kind)

    def delivered_rows(self) -> int:
        """Events whose commit by a sink is stored."""
        return self.counted(Kind.SINK, "EventDrainSuccessCount")

    def wait_delivered(self, rows: int, timeout_s: float = 600.0) -> None:
        """Waits until the sinks have committed `rows` events.

        Raises:
            AgentFailed: nothing was delivered for 30 s, or the time is over.
        """
        deadline_s = time.monotonic() + timeout_s
        moved_s, seen = time.monotonic(), -1
        while (now := self.delivered_rows()) < rows:
            if now != seen:
                moved_s, seen = time.monotonic(), now
            if time.monotonic() > min(deadline_s, moved_s + 30) or self._ended():
                raise self.failed(f"{now} of {rows} events were delivered, and no more come")
            time.sleep(0.001)

    def stop(self) -> None:
        """Stops it in order; kills it when that takes more than 60 s."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise self.failed("the agent did not stop in 60 s") from None

    def failed(self, what: str) -> AgentFailed:
        """An error with the end of the agent's log."""
        return AgentFailed(f"{what}; the end of its log:\n{self._log.read_text()[-3000:]}")

    # --- inside

    def _works(self) -> bool:
        if self._ended():
            raise self.failed("the agent ended")
        if self._block is None:
            found = list(self.run_dir.glob("a1-*/metrics"))
            if not found:
                return False
            try:
                self._block = MetricsBlock.view(found[0])
            except (FileNotFoundError, DamagedData):
                return False
        workers = [entry for entry in self._block.entries if entry.kind in (Kind.SOURCE, Kind.SINK)]
        return bool(workers) and all(
            entry.counters.get("progress_ms") and entry.counters.get("state") != State.FAILED for entry in workers
        )

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None
