"""A mortal child: a process that the kernel kills when the one that started it dies, however that happens.

A test run that is killed can't clean up; without this its agents would go on for ever, and take the machine from the
next run. The kernel goes by the thread: a child that a helper thread starts dies with that thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def dies_with_us() -> Callable[[], None]:
    """For `preexec_fn` of a `subprocess.Popen`: the child will not outlive this thread."""
    parent = os.getpid()

    def in_child() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return in_child
