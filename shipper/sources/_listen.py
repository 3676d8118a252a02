"""What the sources that listen share: a bound socket, an event loop that runs only inside `poll`, and who may come in.

The loop is uvloop's. It stands still between two polls: nothing is read while a channel is full, so the kernel's
buffers fill and the senders learn of it from TCP. Waiting is done by the worker's own waiter, on the loop's epoll
descriptor: the worker's bell wakes it, and its time accounts are right.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import uvloop

from shipper.api import ComponentFailed, Waiter

T = TypeVar("T")

_BACKLOG = 1024
_LISTENING = "0A"


class PolledLoop:
    """An event loop that moves only when it is told to."""

    def __init__(self, waiter: Waiter, on_error: Callable[[str], None]) -> None:
        self.loop = uvloop.new_event_loop()
        self._waiter = waiter
        # The epoll descriptor of the loop: readable when a turn has something to do.
        self._fd = int(self.loop._get_backend_id())  # type: ignore[attr-defined]
        self.loop.set_exception_handler(
            lambda _, context: on_error(str(context.get("exception") or context["message"]))
        )

    def run(self, work: Awaitable[T]) -> T:
        """Runs the loop until `work` is done."""
        done: T = self.loop.run_until_complete(work)
        return done

    def turn(self) -> None:
        """Does what can be done now, and no more: each ready connection is read and written once or a few times."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def wait(self, wait_s: float) -> bool:
        """Sleeps until something can be done, the worker is rung or the time is over; True for the first."""
        return bool(self._waiter.wait(wait_s, (self._fd,)))

    def rest(self, seconds: float) -> None:
        """Sleeps, whatever comes in, but for the worker's bell."""
        self._waiter.wait(seconds)

    def close(self) -> None:
        """Closes the loop. All that it served is closed before, and had a turn or two to go."""
        self.loop.close()


def listening_socket(host: str, port: int, *, share_port: bool) -> socket.socket:
    """A TCP socket that listens on one address of `host`, IPv4 first, as in Java.

    Args:
        share_port: several workers of this source listen on the port, and the kernel deals the connections out.

    Raises:
        ComponentFailed: it can't; the message says what to do.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as problem:
        raise ComponentFailed(
            f"listening on {host}:{port}: {host} is no address and no name that can be looked up ({problem}); "
            "bind = 0.0.0.0 listens on all addresses of this machine"
        ) from problem
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as problem:
        listener.close()
        raise ComponentFailed(f"listening on {host}:{port}: {_what_to_do(host, port, problem)}") from problem
    return listener


def _what_to_do(host: str, port: int, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        holders = ", ".join(holders_of(port)) or "a process that can't be seen from here"
        return f"the port is in use by {holders}; stop that, or choose another port"
    if problem.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine; bind = 0.0.0.0 listens on all that it has"
    if problem.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose one above"
    return str(problem.strerror or problem)


def holders_of(port: int) -> list[str]:
    """The processes that listen on a TCP port, as `4711 (java)`; those of other users only when we are root."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return []
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and sockets & set(_descriptors(process)):
            with contextlib.suppress(OSError):
                found.append(f"process {process.name} ({(process / 'comm').read_text().strip()})")
    return found


def _listening_inodes(port: int) -> Iterable[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _descriptors(process: Path) -> Iterable[str]:
    try:
        for entry in os.scandir(process / "fd"):
            with contextlib.suppress(OSError):
                yield os.readlink(entry.path)
    except OSError:
        return


def widen(descriptor: int, size_bytes: int) -> None:
    """Lets so many bytes of a TCP connection wait in the kernel for us; more than now, if at all.

    The kernel widens the window of a connection only as fast as it sees us read. Where we keep up with a quick sender
    it stays small, and we read little, often, and against the sender, whose packets then are our work. `SO_RCVBUF`
    would end the widening for good, at a limit that is small on most machines; `SO_RCVLOWAT` makes room for what it
    asks for, and leaves the room when it is taken back.
    """
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as twin:
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size_bytes)
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def peer_name(transport: asyncio.BaseTransport) -> str:
    """The address at the other end, without its port, for a person."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else "a client"
