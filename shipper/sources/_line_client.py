"""A client of a listener that takes lines: its bytes go to the intake, and it is told what became of them.

A client that does not read what it is told is not read from either. Its end has an order: nothing more is read, all
that was read gets its answer, then comes the farewell; and it is not cut off before it can have read that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Protocol, cast

from shipper.sources._charset import decoder
from shipper.sources._intake import Intake
from shipper.sources._listen import peer_name, widen

_LINGER_S = 1.0


class Fault(Enum):
    """What is wrong with what a client sent."""

    TOO_LONG = "too long"
    UNDECODABLE = "undecodable"


class LineServer(Protocol):
    """What a client asks of the source that it belongs to.

    Attributes:
        waiting: clients that are not read from before what they sent was polled.
        encoding: the character set of what they send, by Python's name.
        rest_bytes_max: an unfinished line of so many bytes is shown to `judge_rest`.
    """

    intake: Intake[LineClient]
    waiting: list[LineClient]
    now_s: float
    encoding: str
    rest_bytes_max: int

    def joined(self, client: LineClient) -> bool:
        """A client has come; False sends it away."""

    def left(self, client: LineClient) -> None:
        """A client is gone. What it sent before is still delivered."""

    def judge_rest(self, client: LineClient) -> None:
        """May end a client whose unfinished line grows too long."""

    def end_badly(self, client: LineClient, fault: Fault) -> None:
        """Ends a client that sent what it must not."""

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Does something when the time has come, at the next turn of the loop."""


class LineClient(asyncio.BufferedProtocol):
    """A client that sends UTF-8: its bytes go straight into the intake."""

    transport: asyncio.Transport

    def __init__(self, server: LineServer) -> None:
        self.server = server
        self.intake = server.intake
        self.rest = bytearray()
        self.open_runs = 0
        self.broken = False
        self.condemned = False
        self.deaf = False
        self.heard_s = server.now_s
        self.peer = "a client"
        self.descriptor = -1
        self._open = False
        self._reading = True
        self._at_end = False
        self._farewell: bytes | None = None

    # --- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._open = True
        self.peer = peer_name(transport)
        self.descriptor = transport.get_extra_info("socket").fileno()
        if not self.server.joined(self):
            self.abort()
            return
        widen(self.descriptor, self.intake.chunk_bytes)

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._farewell is None:
            return self.intake.room(self)
        return self.intake.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._farewell is not None:
            return
        self.intake.arrived(self, nbytes)
        self._has_come()

    def eof_received(self) -> bool:
        self._at_end = True
        if self._farewell is None:
            self.end(b"")
        elif not self.open_runs:
            self.transport.close()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        self.server.left(self)

    def pause_writing(self) -> None:
        self.deaf = True
        self._hush()

    def resume_writing(self) -> None:
        self.deaf = False
        self.listen()

    # --- called by the server

    def listen(self) -> None:
        """Reads on, unless the client is at its end or does not read its answers."""
        if not self._reading and self._open and not self.deaf and self._farewell is None:
            self._reading = True
            self.transport.resume_reading()

    def write(self, answer: bytes) -> None:
        """Answers, as long as there is somebody."""
        if self._open and not self.transport.is_closing():
            self.transport.write(answer)

    def unsent_bytes(self) -> int:
        """Bytes of answers that the client has not taken."""
        return int(self.transport.get_write_buffer_size()) if self._open else 0

    def end(self, farewell: bytes) -> None:
        """Nothing more is read. When all that was read is settled, says `farewell` and closes."""
        if self._farewell:
            return
        self._farewell = farewell
        self._hush()
        if not self.open_runs:
            self._leave()

    def run_is_settled(self) -> None:
        """One of the runs of this client has all its answers."""
        self.open_runs -= 1
        if not self.open_runs and self._farewell is not None:
            self._leave()

    def abort(self) -> None:
        """Closes at once, whatever is unsent."""
        self._farewell = self._farewell or b""
        if self._open:
            self.transport.abort()

    # --- inside

    def _has_come(self) -> None:
        server = self.server
        self.heard_s = server.now_s
        if len(self.rest) >= server.rest_bytes_max:
            server.judge_rest(self)
        if self.intake.full and self._reading:
            self._hush()
            server.waiting.append(self)

    def _hush(self) -> None:
        if self._reading and self._open and not self.transport.is_closing():
            self._reading = False
            self.transport.pause_reading()

    def _leave(self) -> None:
        if not self._open or self.transport.is_closing():
            return
        if self._farewell:
            self.transport.write(self._farewell)
        if self._at_end:
            self.transport.close()
            return
        # Closing while the client still sends would make the kernel throw away what it has not yet been told.
        self.transport.write_eof()
        self._reading = True
        self.transport.resume_reading()
        self.server.later(_LINGER_S, self.abort)


class DecodingClient(LineClient):
    """A client that sends another character set: its bytes are decoded as they come, and go on as UTF-8."""

    def __init__(self, server: LineServer) -> None:
        super().__init__(server)
        self._decoder = decoder(server.encoding)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.intake.scratch

    def buffer_updated(self, nbytes: int) -> None:
        if self._farewell is not None:
            return
        data = bytes(self.intake.scratch[:nbytes])
        try:
            self.intake.append(self, self._decoder.decode(data).encode())
        except UnicodeDecodeError as problem:
            good = max(0, problem.start - (len(problem.object) - nbytes))
            self.intake.append(self, self._decoder.decode(data[:good]).encode())
            self.server.end_badly(self, Fault.UNDECODABLE)
        self._has_come()
