"""The netcat source with crowds, and with clients that only take: memory is bounded, and nobody else waits."""

from __future__ import annotations

import dataclasses
import os
import resource
import socket
import time

import numpy as np
import pyarrow as pa
import pytest

from tests.sources.netcat_server import Serve, Server

_CROWD = 1000


def let_in(server: Server, count: int) -> None:
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == count)


# --- crowds


def test_a_thousand_connections_are_served_together(serve: Serve) -> None:
    """Each line arrives, each client hears its answers, and each connection costs little more than its rest."""
    files_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files_max[1] != resource.RLIM_INFINITY and files_max[1] < 3 * _CROWD:
        pytest.skip("not enough descriptors are allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(files_max[0], 3 * _CROWD), files_max[1]))
    try:
        server = serve()
        clients: list[socket.socket] = []
        while len(clients) < _CROWD:
            clients += [server.client() for _ in range(100)]
            let_in(server, len(clients))
        for number, client in enumerate(clients):
            client.sendall(f"first {number}\nsecond {number}\nunfin".encode())
        server.rows(2 * _CROWD)
        for number, client in enumerate(clients):
            client.sendall(f"ished {number}\n".encode())
        server.rows(3 * _CROWD)
        words = ("first", "second", "unfinished")
        assert sorted(server.bodies) == sorted(f"{word} {n}".encode() for n in range(_CROWD) for word in words)
        for client in clients:
            assert server.replies(client, 9) == b"OK\n" * 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, files_max)


def test_the_kernel_has_room_for_a_whole_read_and_still_tells_of_each_byte(serve: Serve) -> None:
    """As much of a client may be on its way as one read brings, and a single byte does not wait for more."""
    server = serve(batch_bytes=8 << 20)
    client = server.client()
    client.sendall(b"a\n")
    assert server.rows(1) == [b"a"]
    (connection,) = server.source.connections
    with socket.socket(fileno=os.dup(connection.descriptor)) as twin:
        assert twin.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
        assert twin.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= server.source.intake.chunk_bytes == 2 << 20


def test_a_silent_client_holds_nobody_up(serve: Serve) -> None:
    """Neither one that says nothing nor one that stops in the middle of a line delays a batch."""
    server = serve()
    server.client()
    server.client().sendall(b"half a li")
    talker = server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 3)
    for number in range(20):
        talker.sendall(b"%d\n" % number)
        server.rows(number + 1)
    assert server.bodies == [b"%d" % number for number in range(20)]
    assert server.context.counters.get("OpenConnectionCount") == 3


def test_a_trickle_is_delivered_within_milliseconds(serve: Serve) -> None:
    """A lone line does not wait for company: no rest is taken for it, and no clock has to move."""
    server = serve()
    client = server.client()
    server.until(lambda: bool(server.source.connections))
    rests: list[None] = []
    server.waiter.on_rest = lambda: rests.append(None)
    began_s = time.perf_counter()
    for number in range(100):
        client.sendall(b"a line\n")
        server.rows(number + 1)
    assert rests == []
    assert time.perf_counter() - began_s < 5  # 50 ms each on a machine that does ten other things


# --- clients that only take


def test_a_flood_of_overlong_lines_costs_one_connection_each_and_nothing_more(serve: Serve) -> None:
    """Each sender hears why, once; a good client beside them is served all the while; warnings stay a few."""
    server = serve({"max-line-length": "100"})
    good = server.client()
    bad_line = b"x" * 5000 + b"\n"
    for number in range(10):
        bad = server.client()
        bad.setblocking(False)
        try:
            while bad.send(bad_line * 200):
                pass
        except BlockingIOError:
            pass
        good.sendall(b"%d\n" % number)
        server.rows(number + 1)
        reply = b"FAILED: Event exceeds the maximum length (100 chars, including newline)\n"
        assert server.replies(bad, len(reply)) == reply
        bad.close()
    assert server.bodies == [b"%d" % number for number in range(10)]
    assert server.context.counters.get("EventReadFail") == 10


def test_a_line_that_never_ends_is_not_kept(serve: Serve) -> None:
    """A hundred megabytes without a newline: the connection ends when the line is longer than a line may be."""
    server = serve({"max-line-length": "1000"})
    client = server.client()
    client.setblocking(False)
    sent = 0

    def cut_off() -> bool:
        nonlocal sent
        try:
            sent += client.send(b"x" * 100_000)
        except BlockingIOError:
            pass
        except ConnectionError:
            return True
        kept = max((len(c.rest) for c in server.source.connections), default=0)
        assert kept < 1 << 20
        return sent > 100_000_000 or server.context.counters.get("EventReadFail") > 0

    server.until(cut_off)
    assert sent < 100_000_000
    assert server.bodies == []


# --- blocks that lie in the channel


class Channel:
    """Memory that is lent for one block at a time; whatever was lent before is overwritten."""

    def __init__(self) -> None:
        self.lent: memoryview | None = None
        self.asked = 0

    def room(self, block_bytes: int) -> memoryview:
        self.spoil()
        self.asked += 1
        self.lent = memoryview(bytearray(b"\xee" * block_bytes))
        return self.lent

    def spoil(self) -> None:
        if self.lent is not None:
            self.lent[:] = b"\xee" * len(self.lent)

    def holds(self, body: pa.BinaryArray) -> bool:
        assert self.lent is not None
        return bool(body.buffers()[2].address == pa.py_buffer(self.lent).address)


def lend(server: Server, channel: Channel) -> None:
    """From now on the server's source may borrow."""
    server.source._context = dataclasses.replace(server.context, room=channel.room)


def test_a_batch_stays_where_the_channel_lent_room_for_it(serve: Serve) -> None:
    """From the first byte of that memory on, so that nothing is copied."""
    server, channel = serve(), Channel()
    lend(server, channel)
    client = server.client()
    for number in range(3):
        client.sendall(b"one %d\ntwo\nthr" % number)
        batch = server.batch()
        assert channel.holds(batch.raw_body)
        assert batch.raw_body.offset == 0
        server.source.committed(batch)


def test_lines_are_whole_when_more_comes_than_a_borrowed_block_holds(serve: Serve) -> None:
    """What came behind it moves on; the memory of each block is gone once its batch is committed."""
    server, channel = serve({"ack-every-event": "false"}, batch_bytes=1 << 17), Channel()
    lend(server, channel)
    clients = [server.client() for _ in range(5)]
    unsent: dict[socket.socket, memoryview] = {}
    for name, client in enumerate(clients):
        lines = b"".join(b"%d %d %s\n" % (name, number, b"x" * (number % 300)) for number in range(5000))
        unsent[client] = memoryview(lines)
        client.setblocking(False)
    while len(server.bodies) < 5 * 5000:
        for client, left in unsent.items():
            try:
                unsent[client] = left[client.send(left[:100_000]) :] if left else left
            except BlockingIOError:
                continue
        batch = server.poll()
        if batch is not None:
            server.bodies += batch.body.to_pylist()
            server.source.committed(batch)
            channel.spoil()
    for name in range(5):
        mine = [body for body in server.bodies if body.startswith(b"%d " % name)]
        assert mine == [b"%d %d %s" % (name, number, b"x" * (number % 300)) for number in range(5000)]
    assert channel.asked > 10


def test_a_block_that_is_taken_in_parts_does_not_stay_in_the_channel(serve: Serve) -> None:
    """Behind the first part the channel may write over what it lent."""
    server, channel = serve(rows_max=2), Channel()
    lend(server, channel)
    server.client().sendall(b"a\nb\nc\nd\ne\n")
    while len(server.bodies) < 5:
        batch = server.batch()
        server.bodies += batch.body.to_pylist()
        server.source.committed(batch)
        channel.spoil()
    assert server.bodies == [b"a", b"b", b"c", b"d", b"e"]


def test_room_of_another_length_is_not_used(serve: Serve) -> None:
    """The scan for lines reads and writes whole words."""
    server = serve()
    server.source._context = dataclasses.replace(server.context, room=lambda size: memoryview(bytearray(size - 1)))
    client = server.client()
    client.sendall(b"here\n")
    assert server.rows(1) == [b"here"]


def test_a_bad_line_in_a_borrowed_block_takes_nothing_else_with_it(serve: Serve) -> None:
    """Rows of others are copied out of it."""
    server, channel = serve({"max-line-length": "10"}), Channel()
    lend(server, channel)
    good, bad = server.client(), server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 2)
    bad.sendall(b"y\n" + b"x" * 50 + b"\n")
    good.sendall(b"fine\n" * 3)
    server.rows(4)
    assert sorted(server.bodies) == [b"fine", b"fine", b"fine", b"y"]


def test_long_blocks_of_many_short_lines(serve: Serve) -> None:
    """Lines so short that the scan takes its other way."""
    server = serve({"ack-every-event": "false"})
    client = server.client()
    lines = np.random.default_rng(1).integers(0, 10, 200_000).astype("S1").tolist()
    unsent = memoryview(b"\n".join(lines) + b"\n")
    client.setblocking(False)

    def all_came() -> bool:
        nonlocal unsent
        try:
            unsent = unsent[client.send(unsent) :] if unsent else unsent
        except BlockingIOError:
            pass
        return len(server.bodies) >= len(lines)

    server.until(all_came)
    assert server.bodies == lines
