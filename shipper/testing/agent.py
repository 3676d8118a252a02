"""A real agent in processes of its own: started, watched, killed and stopped as a person, or a machine, would.

::

    with Agent(tmp_path, "a1.sources = r1 ...") as agent:
        agent.start()
        agent.until(lambda: outputs() == wanted)
        agent.kill("k1")
        assert agent.stop() == 0
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from shipper.supervisor.signals import SAME_WORD_S
from shipper.testing.holds import holds
from shipper.testing.mortal import dies_with_us

_MEMORY = Path("/dev/shm")
_LOOK_EVERY_S = 0.01
#: How much longer than on a quiet machine everything may take.
_PATIENCE = float(os.environ.get("SHIPPER_TEST_PATIENCE", "1"))


class AgentFailed(AssertionError):
    """The agent did not do what was waited for; the message ends in its log."""


class Agent:
    """One agent with a file, a run directory and a state directory of its own.

    Args:
        directory: for the configuration file, the log and the state.
        properties: the configuration.
        name: of the agent in it.
        arguments: more of the command line, such as `-Dflume.monitoring.type=http`.
        environment: more variables.
        before: words before the command, such as `("unshare", "--pid")`.

    Attributes:
        pid: of the supervisor, 0 when it does not run.
    """

    def __init__(
        self,
        directory: Path,
        properties: str,
        *,
        name: str = "a1",
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.file = directory / f"{name}.properties"
        self.file.write_text(properties)
        self.log_file = directory / "agent.log"
        self.state_dir = directory / "state"
        in_memory = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)
        self.run_dir = Path(tempfile.mkdtemp(prefix="shipper-test-", dir=_MEMORY if in_memory else directory))
        self._arguments = tuple(arguments)
        self._before = tuple(before)
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {**os.environ, "PYTHONPATH": path, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    # --- starting and stopping

    @property
    def pid(self) -> int:
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def command(self) -> list[str]:
        """The command line."""
        return [
            *self._before, sys.executable, "-m", "shipper.cli.main", "agent", "-n", self.name, "-f", str(self.file),
            "--run-dir", str(self.run_dir), "--state-dir", str(self.state_dir), *self._arguments,
        ]  # fmt: skip

    def start(self, *, wait: bool = True) -> Agent:
        """Starts it, and waits until all its workers run unless `wait` is false. It is the head of a group.

        It does not outlive the thread that starts it.
        """
        said = self.log().count("is running")
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment,
                process_group=0, preexec_fn=dies_with_us(),
            )  # fmt: skip
        if wait:
            self.until(lambda: self.log().count("is running") > said, "all workers run")
        return self

    def send(self, number: int, *, everybody: bool = False) -> None:
        """Sends a signal to the supervisor, or to its whole group, as a terminal does."""
        assert self._process is not None
        if everybody:
            os.killpg(self._process.pid, number)
        else:
            os.kill(self._process.pid, number)

    def ended(self, timeout_s: float = 45) -> int:
        """Waits for its end; the exit code."""
        assert self._process is not None
        try:
            return self._process.wait(timeout_s * _PATIENCE)
        except subprocess.TimeoutExpired:
            raise AgentFailed(f"it did not end within {timeout_s} s\n{self.log()}") from None

    def hurry(self, number: int = signal.SIGTERM, *, everybody: bool = False) -> None:
        """Tells an agent that was seen to do what it was told last to hurry: late enough to be another word."""
        time.sleep(SAME_WORD_S)
        self.send(number, everybody=everybody)

    def stop(self, number: int = signal.SIGTERM, *, everybody: bool = False) -> int:
        """Stops it in order; the exit code."""
        self.send(number, everybody=everybody)
        return self.ended()

    def run(self) -> int:
        """Starts it and waits for its end: for files that can't be run."""
        return self.start(wait=False).ended()

    # --- its processes

    def workers(self) -> dict[str, int]:
        """Process ids of its workers by label (`r1`, `k1.0`); without the dead that wait to be buried."""
        found = {}
        for pid in filter(_lives, self.children()):
            with contextlib.suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                if name.startswith("shipper "):
                    found[name.removeprefix("shipper ")] = pid
        return found

    def children(self) -> list[int]:
        """Process ids of all children of the supervisor."""
        try:
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def worker(self, label: str) -> int:
        """Process id of a worker; waits until there is one."""
        found: dict[str, int] = {}

        def runs() -> bool:
            found.update(self.workers())
            return label in found

        self.until(runs, f"{label} runs")
        return found[label]

    def kill(self, label: str | None = None) -> int:
        """SIGKILL for a worker, or the supervisor when `label` is None; the process id that was. It is dead then."""
        pid = self.worker(label) if label else self.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if label is None:
            assert self._process is not None
            self._process.wait()
        else:
            self.until_gone([pid])
        return pid

    def kill_all(self) -> None:
        """SIGKILL for everybody at once; all are dead then."""
        there = self.children()
        self.send(signal.SIGKILL, everybody=True)
        self.ended()
        self.until_gone(there)

    def freeze(self, label: str) -> int:
        """SIGSTOP for a worker; the process id. It is in no call any more then, and writes nothing."""
        pid = self.worker(label)
        os.kill(pid, signal.SIGSTOP)
        self.until(lambda: _state(pid) == "T", f"{label} stands still")
        return pid

    @staticmethod
    def until_gone(pids: Sequence[int], timeout_s: float = 20) -> None:
        """Waits until none of these processes lives any more; one that waits to be buried does not."""
        deadline_s = time.monotonic() + timeout_s * _PATIENCE
        while any(_lives(pid) for pid in pids):
            if time.monotonic() > deadline_s:
                raise AgentFailed(f"some of {pids} live on")
            time.sleep(_LOOK_EVERY_S)

    # --- watching

    def log(self) -> str:
        """All that it has said."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def until(self, condition: Callable[[], object], what: str = "the condition holds", timeout_s: float = 45) -> None:
        """Waits until the condition `holds`.

        Raises:
            AgentFailed: it did not come true in time, or the agent ended before.
        """
        deadline_s = time.monotonic() + timeout_s * _PATIENCE
        while not holds(condition):
            if self._process is not None and self._process.poll() is not None and not holds(condition):
                raise AgentFailed(f"{what}: it ended with {self._process.returncode}\n{self.log()}")
            if time.monotonic() > deadline_s:
                raise AgentFailed(f"{what}: not within {timeout_s} s\n{self.log()}")
            time.sleep(_LOOK_EVERY_S)

    def instance_dir(self) -> Path:
        """Where its segments lie."""
        return next(self.run_dir.glob(f"{self.name}-*"))

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        if self.pid:
            left = self.children()
            self.kill()
            for pid in left:  # they die with it; a test that fails must not leave one behind all the same
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.run_dir, ignore_errors=True)


def _lives(pid: int) -> bool:
    return _state(pid) not in ("Z", "X")


def _state(pid: int) -> str:
    """What the kernel says of a process; X when it is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
