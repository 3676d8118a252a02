"""Kin: how the processes of an agent belong together, and with which codes they part.

The supervisor is child subreaper: what a template forks becomes its child when the template exits. A worker asks the
kernel to kill it when its parent dies, once its parent is the supervisor, and looks again afterwards.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: Exit codes of a worker: stopped in order; can't go on and is started again with back-off; its source is finished.
STOPPED, GAVE_UP, FINISHED = 0, 3, 4

#: Environment variable that tells a template the least level of log lines that anybody wants.
LOG_LEVEL = "SHIPPER_LOG_LEVEL"

#: What reaches every process of a terminal or a service at once.
EVERYBODYS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_ADOPTION_S = 10.0


def adopt_orphans() -> None:
    """Makes this process the parent of its grandchildren when their parents exit."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def belong_to(supervisor: int) -> None:
    """Waits until this process is the supervisor's child, and asks to die with it. Exits when it is gone already."""
    deadline = time.monotonic() + _ADOPTION_S
    while os.getppid() != supervisor:
        if time.monotonic() > deadline or not Path(f"/proc/{supervisor}").exists():
            os._exit(GAVE_UP)
        time.sleep(0.0005)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died between the two lines above
        os._exit(GAVE_UP)


def start_again(leave: Sequence[int]) -> None:
    """Becomes the program that this process was started as, anew: the same process id, what lies on the disk now.

    Args:
        leave: descriptors that would outlive this program and are nobody's then.
    """
    for fd in leave:
        os.set_inheritable(fd, False)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def be_deaf() -> None:
    """Lets the signals that a terminal or a service manager sends to everybody pass without effect.

    Handlers that do nothing, not SIG_IGN: a program that this process executes starts with the default again.
    """
    for number in EVERYBODYS:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EVERYBODYS)


def call_oneself(name: str) -> None:
    """Sets the name that `ps` and `top` show, cut to 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.cast(ctypes.create_string_buffer(name.encode()[:15]), ctypes.c_void_p))


def _prctl(option: int, value: int | ctypes.c_void_p) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
