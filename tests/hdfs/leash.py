"""A leash: the process between a test run and one server, which ends the server when the run has ended, however.

A server of the tests belongs to no single test process: one starts it, another uses it. So it is a child of a leash,
and the leash watches the process that stands for the whole run. When that one is gone, killed or not, the server is
killed and its data removed. A leash that is killed takes its server with it.

::

    python leash.py PID_FILE LOG WATCHED_PID DATA COMMAND...
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def main(pid_file: str, log: str, watched: str, data: str, *command: str) -> None:
    """Returns in the process that was called, once the server runs; stays in another."""
    ready, told = os.pipe()
    if os.fork():
        os.close(told)
        sys.exit(0 if os.read(ready, 1) else 1)
    os.setsid()
    try:
        run = os.pidfd_open(int(watched))
    except ProcessLookupError:
        return
    parent = os.getpid()

    def in_child() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    with open(log, "wb") as said, open(os.devnull, "rb") as nothing:
        server = subprocess.Popen(command, stdin=nothing, stdout=said, stderr=said, preexec_fn=in_child)
        for descriptor in (0, 1, 2):  # whoever reads what the starter prints must not wait for us
            os.dup2(nothing.fileno() if descriptor == 0 else said.fileno(), descriptor)
    Path(f"{pid_file}.new").write_text(f"{server.pid} {started(server.pid)}")
    os.rename(f"{pid_file}.new", pid_file)
    os.write(told, b".")
    os.close(told)
    select.select([run, os.pidfd_open(server.pid)], [], [])
    if server.poll() is None and select.select([run], [], [], 0)[0]:
        server.kill()
        server.wait()
        shutil.rmtree(data, ignore_errors=True)


def started(pid: int) -> str:
    """When a process started, in ticks: with it a process id means one process for ever. "" when it is dead."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state in "ZX" else fields[18]


if __name__ == "__main__":
    main(*sys.argv[1:])
