"""The service manager: what systemd is told of the agent, over the datagram socket that `$NOTIFY_SOCKET` names.

`READY=1` once every component has started, or has tried and is tried again: a target that is down when the machine
starts must not keep the agent from reading. `RELOADING=1` and `READY=1` around another configuration, `STOPPING=1`, a
`STATUS=` line for `systemctl status`, and `WATCHDOG=1` as long as nothing hangs (`metrics/health.py`): a supervisor
that goes its rounds while a worker hangs is not alive.

Without `$NOTIFY_SOCKET` nothing of this happens. A socket that takes nothing changes nothing either.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

#: What the processes of an agent must not inherit: they are no service.
OURS = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Service:
    """The end of a service manager's socket.

    Args:
        environment: where the manager has left its address, and how often it wants a sign of life.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, monotonic_s: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte of an address that is no file.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._monotonic_s = monotonic_s
        self._status = ""
        self._socket: socket.socket | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._sign_every_s = _seconds(environment)
        self._sign_due_s = monotonic_s()

    def ready(self) -> None:
        """Everything has started, or runs again with another configuration."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """Another configuration is about to run; `ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """It ends in order."""
        self._tell("STOPPING=1", "STATUS=stopping: sinks empty the channels")

    def status(self, text: str) -> None:
        """One line for a person."""
        if text != self._status:
            self._status = text
            self._tell(f"STATUS={text}")

    @property
    def sign_is_due(self) -> bool:
        """True when the manager expects a sign of life."""
        return self._sign_every_s > 0 and self._monotonic_s() >= self._sign_due_s

    def alive(self) -> None:
        """Nothing hangs."""
        self._sign_due_s = self._monotonic_s() + self._sign_every_s
        self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Lets go of the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            pass  # nobody listens any more, or listens slowly: the agent does its work all the same


def _seconds(environment: Mapping[str, str]) -> float:
    """Seconds between two signs of life: a third of what the manager allows; 0 when it wants none of this process."""
    allowed = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()) or not allowed.isdigit():
        return 0.0
    return int(allowed) / 3_000_000
