"""A command that runs for us, and dies with us, with all that it started.

The command gets a process group of its own and two shells in it. The keeper is its parent, and what the kernel calls a
child subreaper: whatever the command leaves behind, in whatever group or session, becomes the keeper's child when its
own parent ends, and is buried by it. The watcher waits for the end of a socket whose other end only this process holds.
However this process ends, the socket ends with it; then the watcher kills the keeper's children until there are none,
and at last the group, the keeper and itself included. The parent-death signal of the kernel would reach one process
only.

::

    worker --socket--> watcher   reads the socket; at its end: kill -9 the keeper's children, then the group
       |               /
       `---- keeper --<          waits, buries, and says through the socket with which code the command ended
                       \
                        command  may start, fork and leave what it likes

One call is made between fork and exec, that of `prctl`: a shell can't make it. It needs no import and no lock, and the
worker itself was forked beside the same threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Sequence

from shipper.api import ComponentFailed

_SHELL = "/bin/sh"
# Descriptor 3 is the socket, 4 and 5 are where the command prints. The keeper has them while the command runs in its
# foreground: in the background of a shell it could not be interrupted. Both shells let pass what somebody sends to the
# whole group. The watcher looks whether /proc speaks of the same process ids, and whether the keeper still lives.
_KEEPER = r"""exec 3<&0 4>&1 5>&2 </dev/null >/dev/null 2>&1
trap '' HUP INT QUIT TERM PIPE USR1 USR2 ALRM
children() {
    if [ -r /proc/$$/task/$$/children ]; then
        read -r found </proc/$$/task/$$/children
    else
        found=
        for stat in /proc/[0-9]*/stat; do
            line= && read -r line <"$stat"
            set -- ${line##*) }
            [ "$2" != $$ ] || found="$found ${line%% *}"
        done
    fi
    left=
    for child in $found; do
        [ "$child" = "$watcher" ] || left="$left $child"
    done
    [ -n "$left" ]
}
(
    exec 4>&- 5>&-
    read -r _ <&3
    read -r watcher _ _ parent _ </proc/self/stat
    rounds=0
    while [ "$parent" = $$ ] && [ $rounds -lt 200 ] && children; do
        kill -9 $left
        rounds=$((rounds + 1))
        sleep 0.01
    done
    kill -9 0
) &
(
    trap - HUP INT QUIT TERM PIPE USR1 USR2 ALRM
    exec "$@" 3<&- >&4 2>&5 4>&- 5>&-
)
echo $? >&3
exec 4>&- 5>&-
wait
"""
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)
_SIGNALS = range(128 + 1, 128 + 65)  # how a shell says that a signal ended a command
_PIPE_BYTES = 1 << 20
_GRACE_S = 0.5
_KILLED_S = 5.0


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
        self._code: int | None = None
        self._socket: socket.socket | None = None
        keeper = os.path.exists(_SHELL)
        if keeper:
            self._socket, theirs = socket.socketpair()
            self._socket.setblocking(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # see above: a fork beside threads
            try:
                self._process = subprocess.Popen(
                    [_SHELL, "-c", _KEEPER, "sh", *argv] if keeper else list(argv),
                    stdin=theirs.fileno() if keeper else subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE if keep_errors else subprocess.DEVNULL,
                    bufsize=0,
                    process_group=0,
                    preexec_fn=_adopt_orphans if keeper else None,
                )
            finally:
                if keeper:
                    theirs.close()
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
        if self._code is None and self._socket is not None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                if said := self._socket.recv(16):
                    self._code = int(said)
        return self._code is not None or self._exited()

    def close_errors(self) -> None:
        """The standard error has come to its end, and would be readable for ever: it is not looked at any more."""
        assert self._process.stderr is not None
        self._process.stderr.close()
        self.errors = -1

    def end(self) -> None:
        """Ends all that the command started, first its group kindly. What it has printed can still be read."""
        if not self.ended():
            self._signal(signal.SIGTERM)
            deadline_s = time.monotonic() + _GRACE_S
            while not self.ended() and time.monotonic() < deadline_s:
                time.sleep(0.005)
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            deadline_s = time.monotonic() + _KILLED_S
            while not self._exited() and time.monotonic() < deadline_s:
                time.sleep(0.002)
        # The first process is not waited for yet, so its number, which is the group's, can't belong to another.
        self._signal(signal.SIGKILL)

    def close(self) -> int:
        """Ends all that the command started, and returns its exit code (minus the signal, if one ended it)."""
        if self._process.returncode is None:
            self.end()
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    pipe.close()
            self._process.wait()
        code = self._process.returncode if self._code is None else self._code
        return 128 - code if code in _SIGNALS else code

    def _exited(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


def _adopt_orphans() -> None:
    """Where the kernel refuses, what left the group and its parent is not found; all others are."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
