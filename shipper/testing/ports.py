"""Free ports: for servers that somebody else starts, so that the port has to be known before.

They lie below those that the kernel gives to anybody, and all processes of this user's tests share one book of them:
what one was given, no other is given for a long while. So a port stays free until its server listens, and while that is
started again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path

_PORTS = range(11_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    found: list[int] = []
    with (Path(tempfile.gettempdir()) / f"shipper-test-ports-{os.getuid()}").open("a+") as book:
        fcntl.flock(book, fcntl.LOCK_EX)  # given back when it is closed
        book.seek(0)
        last = int(book.read() or _PORTS[0])
        while len(found) < count:
            last = last + 1 if last + 1 in _PORTS else _PORTS[0]
            with socket.socket() as tried, contextlib.suppress(OSError):
                tried.bind(("127.0.0.1", last))
                found.append(last)
        book.truncate(0)
        book.write(str(last))
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
