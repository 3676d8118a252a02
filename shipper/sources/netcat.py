"""`netcat`: lines over TCP, each answered with `OK` once its event is in the channels.

A line ends in `\\n`; a `\\r` before it is data; what follows the last `\\n` when a client leaves is dropped. Lines of
all connections come together in one block (`_intake.py`), which is a batch as it lies there. Whether the block is UTF-8
and no line is too long is asked of the whole block at once; only a block that fails is looked at client by client
(`_line_rules.py`). Who may come, and who must go, `_line_clients.py` knows.

An answer is owed for each row: a client hears `OK` for the rows that were committed, in one write, then the reason for
its end if there is one (`_line_client.py`).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from shipper.api import (
    EventBatch,
    Options,
    Origin,
    Source,
    SourceContext,
    at_least,
    flag,
    integer,
    option,
    seconds,
    text,
)
from shipper.batch.framing import rows_of
from shipper.sources._charset import charset
from shipper.sources._intake import Block, Intake
from shipper.sources._line_client import DecodingClient, Fault, LineClient
from shipper.sources._line_clients import LineClients
from shipper.sources._line_rules import LineRules
from shipper.sources._listen import PolledLoop, listening_socket
from shipper.sources._settling import ReceivedLines

_MORE_BYTES = 1 << 14
_MUCH_BYTES = 1 << 18
_RESTS = 4
_REST_S = 0.0005
_FAREWELL_TURNS = 50
_FAREWELL_TURN_S = 0.02
_LAST_TURNS = 4
_GREETING_TURNS = 64

_port = dataclasses.replace(at_least(integer, 0, 65535), name="port")


@dataclass(frozen=True, kw_only=True)
class NetcatOptions(Options):
    """Options of the netcat source."""

    bind: str = option("bind", text, help="Address or name to listen on; 0.0.0.0 is all of this machine's.")
    port: int = option("port", _port, help="TCP port to listen on.")
    line_chars_max: int = option(
        "max-line-length", at_least(integer, 1), 512, help="Longest line in characters, its newline included."
    )
    ack_every_event: bool = option("ack-every-event", flag, True, help="Answer OK for each event.")
    encoding: str = option(
        "encoding", charset, "utf-8", help="Character set of what clients send and hear; bodies are UTF-8."
    )
    connections_max: int = option(
        "max-connections", at_least(integer, 1), 1000, ours=True, help="Connections at the same time, in each worker."
    )
    idle_s: float = option(
        "idle-timeout", at_least(seconds, 0), 300.0, ours=True,
        help="When all connections are taken, one that was silent for so long makes room for a new one.",
    )  # fmt: skip


class NetcatSource(Source[NetcatOptions]):
    """Listens, and takes lines."""

    Options = NetcatOptions
    aliases = ("netcat", "org.apache.flume.source.netcatsource")
    light = True
    listens = True

    def __init__(self, options: NetcatOptions) -> None:
        super().__init__(options)
        self.awaits_durable = options.ack_every_event
        self._loop: PolledLoop | None = None
        self._ok = "OK\n".encode(options.encoding)
        self._too_long = self._failed(
            f"Event exceeds the maximum length ({options.line_chars_max} chars, including newline)"
        )
        self.encoding = options.encoding
        self.rest_bytes_max = options.line_chars_max
        self._rules = LineRules(options.encoding, options.line_chars_max)
        self.waiting: list[LineClient] = []
        self._came = False
        self._reads = True
        self._lines: ReceivedLines[LineClient] | None = None

    def open(self, context: SourceContext) -> None:
        options = self.options
        self._context = context
        self._rows_max = 1 if context.strict else context.rows_max
        self.intake: Intake[LineClient] = Intake(context.batch_bytes)
        self.connections = LineClients(context, "netcat", options.connections_max, options.idle_s)
        self.now_s = context.clock.monotonic_s()
        listener = listening_socket(options.bind, options.port, share_port=context.workers > 1)
        #: Where it listens: (address, port).
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._loop = PolledLoop(context.waiter, lambda problem: context.say("warning", f"netcat: {problem}"))
        kind = DecodingClient if self._rules.decodes else LineClient
        self._server = self._loop.run(self._loop.loop.create_server(lambda: kind(self), sock=listener))

    def poll(self, wait_s: float) -> EventBatch | None:
        if self._lines is None:
            block = self._next_block(wait_s)
            if block is None:
                return None
            self._lines = self._scan(block)
        batch = self._lines.batch(self._rows_max)
        if batch is None:
            self._settle(b"")
        return batch

    def committed(self, batch: EventBatch) -> None:
        self._settle(self._ok if self.options.ack_every_event else b"")

    def refused(self, batch: EventBatch, reason: str) -> bool:
        if not self.options.ack_every_event:
            return True  # The client will hear nothing of it: its lines wait here, and what it sends next waits in TCP.
        self._give_up(batch, reason)
        return False

    def position(self, origins: Sequence[Origin]) -> None:
        if self._lines is not None:
            self._give_up(None, "the agent is stopping")

    def stop_reading(self) -> bool:
        self._reads = False  # the loop stands still from here on; what it has received is handed out and answered
        return True

    def close(self) -> None:
        if self._loop is None:
            return
        loop, self._loop = self._loop, None
        self._say_what_is_lost()
        self._lines = None
        self.intake.borrow(None)
        self._server.close()
        for _ in range(_FAREWELL_TURNS):
            if not any(connection.unsent_bytes() for connection in self.connections):
                break
            loop.run(asyncio.sleep(_FAREWELL_TURN_S))
        # Whoever was just being let in while this ended is sent away by `joined`, so a few turns leave nobody.
        for _ in range(_LAST_TURNS):
            for connection in list(self.connections):
                connection.abort()
            loop.turn()
        loop.close()

    # --- what comes in

    def _next_block(self, wait_s: float) -> Block[LineClient] | None:
        loop = self._loop
        assert loop is not None
        intake = self.intake
        if self._reads and not intake.full:
            if intake.may_borrow:
                intake.borrow(self._context.room(intake.block_bytes))
            self._turn(loop)
            if intake.empty:
                if not loop.wait(wait_s):
                    return None
                self._turn(loop)
            # Clients that come in a crowd are let in one a turn.
            turns = 0
            while self._came and turns < _GREETING_TURNS:
                turns += 1
                self._turn(loop)
            # Little has come: whoever sent it waits for the answer. Much: more is waiting in the kernel. In between,
            # more is under way, and to wait for it a moment costs less than a batch of every packet.
            rests = 0
            while not intake.full and intake.received_bytes >= _MORE_BYTES:
                if intake.received_bytes < _MUCH_BYTES:
                    if rests == _RESTS:
                        break
                    rests += 1
                    loop.rest(_REST_S)
                self._turn(loop)
        return intake.take()

    def _turn(self, loop: PolledLoop) -> None:
        self.now_s = self._context.clock.monotonic_s()
        self.intake.received_bytes = 0
        self._came = False
        waiting, self.waiting = self.waiting, []
        for connection in waiting:
            connection.listen()
        loop.turn()

    def _scan(self, block: Block[LineClient]) -> ReceivedLines[LineClient]:
        """The lines of a block, without those that a client must not send."""
        ascii_only = block.scan.is_ascii()
        offsets = block.scan.ends()
        data = block.view[: block.filled]
        checksum = block.scan.checksum(data)
        if block.borrowed and len(offsets) > self._rows_max + 1:
            data = memoryview(bytes(data))  # the channel takes it in parts, and may write over it behind the first
        records = rows_of(data, offsets)
        run_rows = np.searchsorted(offsets, [end for _, end in block.runs])
        if not self._rules.all_kept(block, offsets, ascii_only):
            good, faults = self._rules.judge(block, offsets, run_rows)
            for client, fault in faults:
                client.broken = True
                self.end_badly(client, fault)
            records = records.filter(pa.array(good))
            run_rows = np.cumsum(good)[run_rows - 1]
        senders = [sender for sender, _ in block.runs]
        runs = list(zip(senders, run_rows.tolist(), strict=True))
        return ReceivedLines(block, records, runs, (len(data), checksum))

    def judge_rest(self, client: LineClient) -> None:
        """Ends a client whose unfinished line is already as long as a whole one may be."""
        fault = self._rules.fault_of_rest(client.rest)
        if fault is not None:
            self.end_badly(client, fault)

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        """Does something when the time has come, at the next turn of the loop."""
        if self._loop is not None:
            self._loop.loop.call_later(delay_s, action)

    def end_badly(self, client: LineClient, fault: Fault) -> None:
        """A client sent what it must not: it is told so, as Flume tells it, and left."""
        counters = self._context.counters
        undecodable = fault is Fault.UNDECODABLE
        if undecodable:
            what = f"bytes that are no {self.options.encoding}"
        else:
            what = f"a line of more than max-line-length = {self.options.line_chars_max} characters"
        if not client.condemned:  # the rest of what it sent may be just as bad
            client.condemned = True
            counters.add("EventReadFail")
            counters.add("decode_errors", int(undecodable))
            self._context.say("warning", f"netcat: {client.peer} sent {what}; its connection was closed")
        client.end(b"" if undecodable else self._too_long)

    # --- what is answered

    def _settle(self, answer: bytes) -> None:
        """The rows of the last batch have their answer."""
        lines = self._lines
        assert lines is not None
        for connection, rows in lines.settle():
            if answer:
                connection.write(answer * rows)
        for connection in lines.finished_runs():
            connection.run_is_settled()
        if lines.done:
            self.intake.release(lines.block)
            self._lines = None
        if answer:
            self.connections.bound_unread_answers()

    def _give_up(self, batch: EventBatch | None, reason: str) -> None:
        lines = self._lines
        assert lines is not None
        self._context.counters.add("rows_dropped", lines.polled)
        answer = self._failed(reason) if self.options.ack_every_event else b""
        self._settle(answer)

    def _failed(self, reason: str) -> bytes:
        return f"FAILED: {reason}\n".encode(self.options.encoding, "replace")

    # --- who comes and goes

    def joined(self, client: LineClient) -> bool:
        """Lets a client in, if there is room or somebody who has been silent for long can be sent away."""
        self._came = True
        if self._loop is None or not self.connections.let_in(client, self.now_s):
            return False
        self.intake.share(len(self.connections))
        return True

    def left(self, client: LineClient) -> None:
        """A client is gone. What it sent before is still delivered."""
        self.connections.left(client)
        self.intake.share(len(self.connections))

    def _say_what_is_lost(self) -> None:
        lost_bytes = sum(block.filled for block in iter(self.intake.take, None))
        if lost_bytes:
            self._context.say("warning", f"netcat: {lost_bytes} bytes of lines that nobody had asked for yet are lost")
