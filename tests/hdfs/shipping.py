"""Lines on their way from a log to files on a cluster, by a real agent; and the oracle: each is there once, in the end.

What has arrived is read by the cluster's own Java classes, of open files as far as it is visible.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from types import TracebackType

from hdfs.cluster import Cluster
from hdfs.web import RefusedByNameNode

from shipper.metrics.block import MetricsBlock
from shipper.metrics.sample import Kind, WorkerSample
from shipper.testing.agent import Agent

#: What `hdfs.callTimeout` is in these tests, so that faults are over soon.
CALL_TIMEOUT_S = 3.0
_LOOK_EVERY_S = 0.1  # a look at all files keeps the servers busy, and they have better things to do
#: A loop may stand still for two calls, one that fails and one that takes back what came before it, and for what a
#: machine with other work to do makes of that.
_HELD_UP_MOST_S = 2 * CALL_TIMEOUT_S + 10.0


class Shipment:
    """An agent that tails a log into files on a cluster.

    Args:
        directory: for the log, and what belongs to the agent.
        cluster: where to.
        conf: the directory behind `-c`; by default the cluster's, which names the web port.
        sink: settings of the sink, over those that are here.
        source: lines for the source.
        environment: more variables of the agent.
        folder: on the cluster; by default one that nothing has yet.
        uri: of the cluster, by another way than RPC.
    """

    def __init__(
        self,
        directory: Path,
        cluster: Cluster,
        *,
        conf: Path | None = None,
        sink: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
        uri: str = "",
    ) -> None:
        self.cluster = cluster
        self._uri = uri or cluster.uri
        self.folder = folder or cluster.folder()
        self._log = directory / "app.log"
        self._log.touch()
        self._written = 0
        self.agent = Agent(
            directory / "agent",
            self._properties(sink or {}),
            arguments=("-c", str(conf or cluster.conf_dir)),
            environment={"HADOOP_CONF_DIR": "", **(environment or {})},
        )
        self._watch = _Watch(self.agent)

    def _properties(self, sink: Mapping[str, str]) -> str:
        settings = {
            "type": "hdfs", "channel": "c1",
            "hdfs.path": f"{self._uri}{self.folder}", "hdfs.fileType": "DataStream",
            "hdfs.rollInterval": "0", "hdfs.rollSize": "0", "hdfs.rollCount": "0",
            "hdfs.callTimeout": str(int(CALL_TIMEOUT_S * 1000)), **sink,
        }  # fmt: skip
        own = "".join(f"a1.sinks.k1.{key} = {value}\n" for key, value in settings.items())
        return (
            "a1.sources = r1\na1.channels = c1\na1.sinks = k1\na1.channels.c1.type = memory\n"
            "a1.sources.r1.type = TAILDIR\na1.sources.r1.channels = c1\na1.sources.r1.filegroups = logs\n"
            f"a1.sources.r1.filegroups.logs = {self._log}\n"
            f"a1.sources.r1.positionFile = {self._log.parent}/positions.json\n{own}"
        )

    # --- what goes in

    def more(self, lines: int = 100) -> None:
        """The log gets more lines, no two of them the same."""
        self._written += lines
        with self._log.open("ab") as log:
            log.write(b"".join(line + b"\n" for line in self.lines()[-lines:]))

    def lines(self) -> list[bytes]:
        """All that the log has got."""
        return [b"line %08d of the log" % number for number in range(self._written)]

    # --- what comes out

    def files(self) -> list[str]:
        """Paths of the files on the cluster."""
        return self.cluster.files(self.folder)

    def arrived(self) -> Counter[bytes]:
        """How often each line is in the files, as far as they can be read at this moment."""
        found: Counter[bytes] = Counter()
        with suppress(RefusedByNameNode, OSError, HTTPException):
            for path in self.files():
                found.update(self.cluster.read(path).splitlines())
        return found

    def until_arrived(self, timeout_s: float = 100) -> None:
        """Waits until every line is there."""

        def arrived() -> bool:
            time.sleep(_LOOK_EVERY_S)
            return len(self.arrived()) == self._written

        self.agent.until(arrived, "all lines have arrived", timeout_s)

    def until_delivered(self) -> None:
        """Waits until the sink says that it has delivered every line: where the files can't be looked at so easily."""

        def delivered() -> int:
            sample = MetricsBlock.view(self.agent.instance_dir() / "metrics").sample()
            return sum(w.counters["EventDrainSuccessCount"] for w in sample.workers if w.kind == Kind.SINK)

        self.agent.until(lambda: delivered() == self._written, "all lines are delivered")

    def until_says(self, words: str, times: int = 1) -> None:
        """Waits until the agent has said something; `...` in it stands for anything."""
        looked_for = re.compile(re.escape(words).replace(re.escape("..."), ".*"))
        self.agent.until(lambda: len(looked_for.findall(self.agent.log())) >= times, f"it says {words!r}")

    # --- from start to end

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """The sink's worker is stopped for a while."""
        worker = self.agent.worker("k1")
        self._watch.looks_away = True
        os.kill(worker, signal.SIGSTOP)
        yield
        stood_ms = self._watch.step_ms(worker)
        os.kill(worker, signal.SIGCONT)
        self.agent.until(lambda: self._watch.step_ms(worker) != stood_ms, "the sink goes on")
        self._watch.looks_away = False

    def start(self) -> None:
        """Starts the agent, with what the log has."""
        self.agent.start()

    def settle(self) -> None:
        """All is well again: what is in the log arrives, the agent stops in order, each line is there once, no file is
        open or has its name of a file that is being written, and the cluster finds nothing wrong with them."""
        self.until_arrived()
        self._watch.end()  # at a stop it waits for files to be closed, and may
        assert self.agent.stop() == 0, self.agent.log()
        self.check()

    def check(self) -> None:
        """The agent has stopped: see `settle`."""
        arrived = self.arrived()
        twice = [line for line, times in arrived.items() if times > 1]
        assert (len(arrived), len(twice)) == (self._written, 0), f"{self.files()}\n{self.agent.log()}"
        assert [path for path in self.files() if path.endswith(".tmp")] == [], self.agent.log()
        assert self.cluster.open_files(self.folder) == []
        assert self.cluster.healthy(self.folder), self.cluster.fsck(self.folder)
        assert "internal error" not in self.agent.log() and "Traceback" not in self.agent.log(), self.agent.log()
        assert self._watch.longest_s < _HELD_UP_MOST_S, f"the sink's loop stood still for {self._watch.longest_s:.1f} s"

    def __enter__(self) -> Shipment:
        self.agent.__enter__()
        self._watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._watch.end()
        self.agent.__exit__(kind, value, at)


class _Watch:
    """Looks how long the loop of k1 stands still."""

    def __init__(self, agent: Agent) -> None:
        self.longest_s = 0.0
        self.looks_away = False
        self._agent = agent
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        self._thread.join()  # may be called twice

    def step_ms(self, pid: int) -> int:
        """When that worker's loop has made its last step."""
        return next((worker.counters["progress_ms"] for worker in self._workers() if worker.pid == pid), 0)

    def _run(self) -> None:
        while not self._over.wait(0.1):
            with suppress(OSError, StopIteration, ValueError):
                self._look()

    def _look(self) -> None:
        for worker in self._workers():
            step_ms = worker.counters["progress_ms"]
            runs = worker.kind == Kind.SINK and step_ms and not worker.stop_ms and self._agent.pid
            if runs and worker.pid in self._agent.children() and not self.looks_away:
                self.longest_s = max(self.longest_s, time.monotonic() - step_ms / 1000)

    def _workers(self) -> Sequence[WorkerSample]:
        return MetricsBlock.view(self._agent.instance_dir() / "metrics").sample().workers
