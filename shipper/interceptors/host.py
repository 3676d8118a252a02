"""`host`: puts this machine's address, or its full name, into a header.

The machine is looked up once, when the worker starts. When that fails a line says so and the events go on without the
header, as in Flume.
"""

from __future__ import annotations

import logging
import socket
from dataclasses import dataclass

from shipper.api import Clock, EventBatch, Interceptor, Options, flag, option, text
from shipper.interceptors._fill import fill_header

_LOG = logging.getLogger("shipper.interceptor.host")


@dataclass(frozen=True, kw_only=True)
class HostOptions(Options):
    """Options of the host interceptor."""

    host_header: str = option("hostHeader", text, "host", help="The header to set.")
    use_ip: bool = option("useIP", flag, True, help="The address when true, else the canonical name.")
    preserve_existing: bool = option("preserveExisting", flag, False, help="Keep the value of an event that has one.")


class HostInterceptor(Interceptor[HostOptions]):
    """Sets the header to this machine."""

    Options = HostOptions
    aliases = (
        "host",
        "org.apache.flume.interceptor.hostinterceptor",
        "org.apache.flume.interceptor.hostinterceptor$builder",
    )

    def __init__(self, options: HostOptions, clock: Clock) -> None:
        super().__init__(options, clock)
        self._host = this_machine(use_ip=options.use_ip)

    def intercept(self, batch: EventBatch) -> EventBatch:
        if self._host is None:
            return batch
        options = self.options
        return fill_header(batch, options.host_header, self._host, preserve=options.preserve_existing)


def this_machine(*, use_ip: bool) -> str | None:
    """The address that the machine's own name stands for, or the canonical name of that address; None when unknown.

    IPv4 comes first, as in Java. An address without a name is its own canonical name.
    """
    name = socket.gethostname()
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        _LOG.warning(
            "the name of this machine, %s, has no address (%s): events get no host header; "
            "a line for it in /etc/hosts mends that",
            name,
            problem,
        )
        return None
    address = str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])
    if use_ip:
        return address
    try:
        return socket.getnameinfo((address, 0), 0)[0]
    except OSError:
        return address
