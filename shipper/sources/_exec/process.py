"""A command that runs for us, and dies with us.

The command gets a process group of its own and a companion in it: a shell that waits for the end of a pipe whose other
end only this process holds. However this process ends, the pipe ends with it, and the companion kills the group. The
parent-death signal of the kernel would reach the first process of a shell pipeline only; this reaches all of them, and
needs no code between fork and exec.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence

from shipper.api import ComponentFailed

_SHELL = "/bin/sh"
# The companion is started twice removed, so that the command does not find a child that it never had.
_COMPANION = """exec 3<&0 </dev/null
( (read -r _ <&3; kill -9 0) >/dev/null 2>&1 & )
exec 3<&-
exec "$@"
"""
_PIPE_BYTES = 1 << 20
_GRACE_S = 0.5


class Command:
    """A running command.

    Args:
        argv: program and arguments.
        keep_errors: True to have its standard error at `errors`; else it is thrown away.

    Raises:
        ComponentFailed: there is no such program.
    """

    def __init__(self, argv: Sequence[str], *, keep_errors: bool) -> None:
        if shutil.which(argv[0]) is None:
            raise ComponentFailed(
                f"starting {' '.join(argv)}: there is no program {argv[0]}; correct `command` or PATH"
            )
        companion = os.path.exists(_SHELL)
        self._process = subprocess.Popen(
            [_SHELL, "-c", _COMPANION, "sh", *argv] if companion else list(argv),
            stdin=subprocess.PIPE if companion else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if keep_errors else subprocess.DEVNULL,
            bufsize=0,
            process_group=0,
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.output = self._process.stdout.fileno()
        self.errors = -1 if self._process.stderr is None else self._process.stderr.fileno()
        for fd in (self.output, self.errors):
            if fd >= 0:
                os.set_blocking(fd, False)
        try:
            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:  # the user's share of pipe memory is used up: a small pipe works as well
            pass

    def ended(self) -> bool:
        """True when the command itself has exited; what it started may still hold its output open."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def close_errors(self) -> None:
        """The standard error has come to its end, and would be readable for ever: it is not looked at any more."""
        assert self._process.stderr is not None
        self._process.stderr.close()
        self.errors = -1

    def end(self) -> None:
        """Ends the whole group, first kindly. What it has printed can still be read."""
        if not self.ended():
            self._signal(signal.SIGTERM)
            deadline_s = time.monotonic() + _GRACE_S
            while not self.ended() and time.monotonic() < deadline_s:
                time.sleep(0.005)
        # The first process is not waited for yet, so its number, which is the group's, can't belong to another.
        self._signal(signal.SIGKILL)

    def close(self) -> int:
        """Ends the whole group, and returns the exit code (minus the signal, if one ended it)."""
        if self._process.returncode is not None:
            return self._process.returncode
        self.end()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()
        return self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass
