"""Launching: the supervisor's end of a template, and the workers that came out of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from shipper import log
from shipper.config.plan import Plan
from shipper.config.problem import Problem
from shipper.errors import ComponentFailed, ConfigurationError
from shipper.supervisor.service import OURS
from shipper.workers import kin
from shipper.workers.spec import WorkerSpec
from shipper.workers.stamp import STAMP

#: Set for the template and so for all workers: libraries must not start threads of their own behind our back, and
#: Arrow's allocator must not take 2 MB for the first of its small buffers, in each process again. What numpy takes and
#: gives back with each batch stays with the C library: else the kernel clears the same pages again for every batch,
#: which was seen to be a quarter of what a tail costs.
_QUIET_LIBRARIES = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    "MIMALLOC_ALLOW_THP": "0",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
}


#: How long a template that has closed its answers may take to be gone.
_LAST_BREATH_S = 5.0


def _environment() -> dict[str, str]:
    mine = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**mine, **_QUIET_LIBRARIES, kin.LOG_LEVEL: log.current().least}


class OtherBuild(ComponentFailed):
    """The template is of another build than this process: restart in order, and both are the new one."""


class Killed(ComponentFailed):
    """Somebody has killed the template, as the kernel does where memory is short: another one may live."""


@dataclass(frozen=True)
class Loaded:
    """A configuration as a template read it.

    Attributes:
        plan: None when it can't be run.
        problems: everything that is wrong or doubtful.
        counted: the Flume counters that each source and sink fills, by name.
    """

    plan: Plan | None
    problems: list[Problem]
    counted: dict[str, list[str]]


class Template:
    """A running template process.

    Args:
        log_fd: the write end of the log pipe: what the template and its workers say goes there.

    Raises:
        ComponentFailed: no process can be started now.
    """

    def __init__(self, log_fd: int) -> None:
        # The template must not die of a Ctrl-C that reaches the whole group before it can say so itself: it starts
        # with these signals blocked, and for this process they stay pending meanwhile.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, kin.EVERYBODYS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "shipper.workers.template"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log_fd,
                env=_environment(),
                start_new_session=False,
            )
        except OSError as problem:
            raise ComponentFailed(f"the template of the workers can't be started: {problem.strerror}") from problem
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def fileno(self) -> int:
        """Readable when an answer is there."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def pid(self) -> int:
        """Of the template."""
        return self._process.pid

    def load(self, files: Sequence[str], agent: str, system: Mapping[str, str], strict: bool) -> Loaded:
        """Reads and checks a configuration. Blocks about 0.4 s.

        Raises:
            OtherBuild, Killed, ComponentFailed
            ConfigurationError: the name of a file is no text.
        """
        for file in files:
            if _text(os.path.abspath(file)) != os.path.abspath(file):
                raise ConfigurationError(
                    f"the path {_text(os.path.abspath(file))} is no valid UTF-8: rename what is not"
                )
        request = {
            "files": list(files),
            "agent": agent,
            "system": {_text(key): _text(value) for key, value in system.items()},
            "environment": {_text(key): _text(value) for key, value in os.environ.items()},
            "strict": strict,
        }
        self._send({"load": request})
        answer = self._receive()
        plan = Plan.decode(orjson.dumps(answer["plan"])) if answer["plan"] is not None else None
        return Loaded(plan, [Problem(**found) for found in answer["problems"]], answer["counted"])

    def ask_for(self, specs: Sequence[WorkerSpec]) -> None:
        """Asks for workers; `pids` has the answer."""
        self._send({"fork": [spec.to_json() for spec in specs], "supervisor": os.getpid()})

    def pids(self) -> list[int]:
        """The process ids of the workers asked for, in order. The template has no more to do then: `close` it.

        Raises:
            OtherBuild, ComponentFailed: there are no such workers, nor will there be.
        """
        found: list[int] = self._receive()["pids"]
        return found

    def close(self) -> None:
        """Lets the template exit: its workers become the supervisor's children."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()

    def _gone(self) -> ComponentFailed:
        """How it ended."""
        said = "the template of the workers {}; see the lines above, if any"
        try:
            code = self._process.wait(_LAST_BREATH_S)
        except subprocess.TimeoutExpired:
            return ComponentFailed(said.format("answers no more"))
        if code < 0:
            return Killed(said.format(f"was killed by {signal.Signals(-code).name}"))
        return ComponentFailed(said.format(f"ended with code {code}"))

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orjson.dumps({**message, "stamp": STAMP}) + b"\n")
            self._process.stdin.flush()
        except OSError as problem:
            raise self._gone() from problem

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._gone()
        answer: dict[str, Any] = orjson.loads(line)
        if "stamp" in answer:
            raise OtherBuild(
                f"the program of the workers is build {answer['stamp']}, this process is build {STAMP}: shipper was "
                f"upgraded while the agent ran, or {sys.executable} finds two copies of it"
            )
        if "failed" in answer:
            raise ComponentFailed(answer["failed"])
        return answer


def _text(name: str) -> str:
    """What a person or a shell gave us as text: bytes that are no UTF-8 become U+FFFD, as in Java."""
    return os.fsencode(name).decode("utf-8", "replace")
