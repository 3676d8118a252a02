"""The netcat source: lines over TCP, answered when they are safe."""

from __future__ import annotations

import os
import random
import select
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipper.api import ComponentFailed
from shipper.config.field import read_options
from shipper.registry import find
from shipper.sources.netcat import NetcatOptions, NetcatSource
from tests.sources.netcat_server import PATIENCE_S, Serve, Server, until_taken
from tests.vectors import vectors


def pieces(row: dict[str, Any]) -> list[bytes]:
    given = row["in"] if isinstance(row["in"], list) else [row["in"]]
    return [piece.replace("<512 x>", "x" * 512).encode() for piece in given]


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("others", [0, 1000])
def test_recorded_answers(serve: Serve, which: int, others: int) -> None:
    """What Flume made of the bytes, alone and among 1,000 lines of another client in the same block."""
    row = vectors("netcat")[which]
    server = serve()
    client, other = server.client(), server.client()
    for number, piece in enumerate(pieces(row)):
        other.sendall(b"".join(b"other %d\n" % n for n in range(others) if n % 2 == number % 2))
        client.sendall(piece)
    if others and len(pieces(row)) == 1:
        other.sendall(b"".join(b"other %d\n" % n for n in range(others) if n % 2))
    assert server.replies(client, len(row["replies"])) == row["replies"].encode()
    server.rows(others + len(row["events"]))
    assert [b for b in server.bodies if not b.startswith(b"other")] == [e.encode() for e in row["events"]]
    assert len(server.bodies) == others + len(row["events"])
    if row.get("closed"):
        server.until(lambda: server.is_left(client))
    else:
        client.sendall(b"more\n")
        server.rows(others + len(row["events"]) + 1)


def test_no_answer_comes_before_the_channels_have_the_row(serve: Serve) -> None:
    """OK means safe."""
    server = serve()
    client = server.client()
    client.sendall(b"a\n")
    batch = server.batch()
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    server.source.committed(batch)
    assert server.replies(client, 3) == b"OK\n"


def test_a_lone_line_is_not_held_back(serve: Serve) -> None:
    """One poll after it came, it is a batch."""
    server = serve()
    client = server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 1)
    client.sendall(b"lone\n")
    select.select([server.source._loop._fd], [], [], PATIENCE_S)  # type: ignore[union-attr]
    batch = server.poll()
    assert batch is not None
    assert batch.body.to_pylist() == [b"lone"]


def test_what_is_under_way_behind_much_comes_in_the_same_batch(serve: Serve) -> None:
    """Where one packet follows the other, a moment's rest saves a batch of each; it is over after a few."""
    server = serve()
    client = server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 1)
    packet = b"x" * 99 + b"\n"
    rests = 0

    def send_more() -> None:
        nonlocal rests
        rests += 1
        client.sendall(packet * 200)

    server.waiter.on_rest = send_more
    client.sendall(packet * 200)
    batch = server.batch()
    assert 1 < rests <= 8
    assert batch.rows > 200


def test_lines_of_many_clients_come_in_one_batch(serve: Serve) -> None:
    """What waits at the same time is one batch, each client's lines in its order, and each hears its own answers."""
    server = serve()
    clients = [server.client() for _ in range(20)]
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 20)
    for number, client in enumerate(clients):
        client.sendall(b"".join(b"%d:%d\n" % (number, line) for line in range(50)))
    until_taken(clients)
    batch = server.batch()
    assert batch.trim == 1
    assert batch.rows == 1000
    bodies = batch.body.to_pylist()
    for number in range(20):
        mine = [b for b in bodies if b.startswith(b"%d:" % number)]
        assert mine == [b"%d:%d" % (number, line) for line in range(50)]
    server.source.committed(batch)
    for client in clients:
        assert server.replies(client, 150) == b"OK\n" * 50


def test_text_after_the_last_newline_is_dropped_when_the_client_leaves(serve: Serve) -> None:
    """And what was before it is answered, though the client has closed its side."""
    server = serve()
    client = server.client()
    client.sendall(b"whole\nhalf")
    client.shutdown(socket.SHUT_WR)
    assert server.replies(client, 100) == b"OK\n"
    assert server.bodies == [b"whole"]
    assert server.context.counters.get("OpenConnectionCount") == 0


def test_lines_of_a_client_that_vanished_are_delivered(serve: Serve) -> None:
    """A reset takes nothing back that came before it was seen."""
    server = serve()
    client = server.client()
    client.sendall(b"a\nb\n")
    batch = server.batch()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    assert batch.body.to_pylist() == [b"a", b"b"]
    server.source.committed(batch)
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 0)


@pytest.mark.parametrize(
    ("line", "fits"),
    [
        ("x" * 9, True),
        ("x" * 10, False),
        ("ä" * 9, True),
        ("ä" * 10, False),
        ("€" * 9, True),
        ("😀" * 4 + "x", True),
        ("😀" * 5, False),
    ],
)
def test_max_line_length_counts_javas_characters_and_the_newline(serve: Serve, line: str, fits: bool) -> None:
    """Not bytes; and a character beyond the basic plane is two."""
    server = serve({"max-line-length": "10"})
    client = server.client()
    client.sendall(b"before\n" + line.encode() + b"\nafter\n")
    if fits:
        assert server.rows(3) == [b"before", line.encode(), b"after"]
        assert server.replies(client, 9) == b"OK\n" * 3
    else:
        reply = b"FAILED: Event exceeds the maximum length (10 chars, including newline)\n"
        assert server.replies(client, 1000) == b"OK\n" + reply
        assert server.bodies == [b"before"]
        assert "a line of more than max-line-length = 10 characters" in server.said[0][1]


def test_a_line_without_end_is_cut_off_when_it_is_as_long_as_a_line_may_be(serve: Serve) -> None:
    """The client is not waited for."""
    server = serve({"max-line-length": "100"})
    client = server.client()
    client.sendall(b"ok\n" + b"x" * 100)
    reply = b"FAILED: Event exceeds the maximum length (100 chars, including newline)\n"
    assert server.replies(client, 1000) == b"OK\n" + reply
    assert server.bodies == [b"ok"]


def test_an_unfinished_line_of_multibyte_characters_may_have_more_bytes_than_characters(serve: Serve) -> None:
    """Also when it is cut inside a character."""
    server = serve({"max-line-length": "100"})
    client = server.client()
    whole = ("€" * 99).encode()
    client.sendall(b"a\n" + whole[:-1])
    server.rows(1)
    client.sendall(whole[-1:] + b"\n")
    assert server.rows(2) == [b"a", whole]


def test_undecodable_bytes_close_the_connection_without_a_word_and_only_this_one(serve: Serve) -> None:
    """What came before them is delivered and answered."""
    server = serve()
    bad, good = server.client(), server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 2)
    bad.sendall("ä\n".encode() + b"caf\xe9\nlost\n")
    good.sendall("ü\n".encode())
    assert server.replies(bad, 100) == b"OK\n"
    server.rows(2)
    assert sorted(server.bodies) == ["ä".encode(), "ü".encode()]
    assert server.context.counters.get("decode_errors") == 1
    assert "bytes that are no utf-8" in server.said[0][1]
    good.sendall(b"still\n")
    server.rows(3)


def test_a_connection_that_sent_something_bad_gets_nothing_more_in(serve: Serve) -> None:
    """Not even lines of it that had been received when the bad one was seen."""
    server = serve({"max-line-length": "1000"}, batch_bytes=1 << 17)
    client = server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 1)
    client.sendall(b"first\n" + b"\xff\n" + b"later\n" * 100_000)
    server.until(lambda: server.is_left(client) or server.context.counters.get("OpenConnectionCount") == 0)
    assert server.bodies == [b"first"]


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "windows-1252", "GBK", "UTF-16LE", "UTF-16BE", "Shift_JIS"])
def test_another_encoding_is_decoded_and_answered_in_it(serve: Serve, encoding: str) -> None:
    """Bodies are UTF-8; characters that are cut between two reads are put together."""
    words = "中文abc" if encoding in ("GBK", "Shift_JIS") else "Füße"
    if encoding.startswith("UTF-16"):
        words = "Füße 中文 😀"
    server = serve({"encoding": encoding})
    client = server.client()
    sent = f"{words}\n{words}2\n".encode(encoding)
    for start in range(len(sent)):
        client.sendall(sent[start : start + 1])
        if (batch := server.poll()) is not None:
            server.bodies += batch.body.to_pylist()
            server.source.committed(batch)
    assert server.rows(2) == [words.encode(), f"{words}2".encode()]
    assert server.replies(client, len("OK\nOK\n".encode(encoding))) == "OK\nOK\n".encode(encoding)


def test_utf16_without_a_mark_is_big_endian(serve: Serve) -> None:
    """As Java reads it."""
    server = serve({"encoding": "UTF-16"})
    marked, bare = server.client(), server.client()
    marked.sendall("a\n".encode("utf-16"))
    server.rows(1)
    bare.sendall("b\n".encode("utf-16-be"))
    assert server.rows(2) == [b"a", b"b"]


def test_us_ascii_refuses_what_is_not_ascii(serve: Serve) -> None:
    """As its decoder does."""
    server = serve({"encoding": "US-ASCII"})
    client = server.client()
    client.sendall(b"plain\n" + "ä\n".encode() + b"lost\n")
    assert server.replies(client, 100) == b"OK\n"
    assert server.bodies == [b"plain"]


def test_bytes_that_an_encoding_does_not_have_close_the_connection(serve: Serve) -> None:
    """What came before them is delivered."""
    server = serve({"encoding": "GBK"})
    client = server.client()
    client.sendall("中\n".encode("gbk") + b"\xff\xff\nlost\n")
    assert server.replies(client, 100) == b"OK\n"
    assert server.bodies == ["中".encode()]


def test_without_ack_every_event_nothing_is_answered(serve: Serve) -> None:
    """But that a line is too long is said."""
    server = serve({"ack-every-event": "false"})
    client = server.client()
    client.sendall(b"a\nb\n" + b"x" * 600 + b"\n")
    assert server.replies(client, 1000).startswith(b"FAILED: Event exceeds")
    assert server.bodies == [b"a", b"b"]


def test_rows_that_the_channels_refuse_are_answered_and_dropped_as_in_flume(serve: Serve) -> None:
    """Each with FAILED; the next ones may pass."""
    server = serve()
    client = server.client()
    client.sendall(b"a\nb\n")
    batch = server.batch()
    assert server.source.refused(batch, "c1 is full") is False
    assert server.replies(client, 36) == b"FAILED: c1 is full\n" * 2
    assert server.context.counters.get("rows_dropped") == 2
    client.sendall(b"c\n")
    assert server.rows(1) == [b"c"]


def test_without_answers_refused_rows_are_kept_and_tried_again(serve: Serve) -> None:
    """A client that can't be told must not lose lines: TCP makes it wait."""
    server = serve({"ack-every-event": "false"})
    server.client().sendall(b"a\nb\n")
    batch = server.batch()
    assert server.source.refused(batch, "c1 is full") is True
    server.source.committed(batch)


def test_a_batch_has_no_more_rows_than_the_channel_takes(serve: Serve) -> None:
    """The rest of the block comes with the next polls; answers come with each."""
    server = serve(rows_max=7)
    client = server.client()
    client.sendall(b"".join(b"%d\n" % n for n in range(100)))
    first = server.batch()
    server.source.committed(first)
    server.bodies += first.body.to_pylist()
    assert server.rows(100) == [b"%d" % n for n in range(100)]
    assert max(server.batches) <= 7
    assert server.replies(client, 300) == b"OK\n" * 100


def test_strictbatch_makes_each_event_a_transaction(serve: Serve) -> None:
    """As literal as Flume."""
    server = serve(strict=True)
    server.client().sendall(b"a\nb\nc\n")
    server.rows(3)
    assert server.batches == [1, 1, 1]


def test_lines_of_any_length_and_number_arrive_in_order(serve: Serve) -> None:
    """Through block borders, lines longer than a block, and reads that end anywhere."""
    server = serve({"max-line-length": "3000000"}, batch_bytes=1 << 17)
    shuffle = random.Random(5)
    lengths = [shuffle.choice([0, 1, 100, 1000, 70_000, 200_000, 1_000_000]) for _ in range(60)]
    lines = [bytes([65 + n % 26]) * length for n, length in enumerate(lengths)]
    client = server.client()
    client.setblocking(False)
    unsent = memoryview(b"".join(line + b"\n" for line in lines))

    def sent() -> bool:
        nonlocal unsent
        try:
            unsent = unsent[client.send(unsent[: shuffle.choice([10, 5000, 300_000])]) :]
        except BlockingIOError:
            pass
        return not unsent

    server.until(sent)
    server.rows(len(lines))
    assert server.bodies == lines


def test_nothing_is_read_while_nobody_polls(serve: Serve) -> None:
    """A full channel reaches the client through TCP: it can't send without end."""
    server = serve({"ack-every-event": "false"})
    client = server.client()
    client.sendall(b"a\n")
    server.batch()
    client.setblocking(False)
    sent = 0
    try:
        while sent < 1 << 27:
            sent += client.send(b"x" * 9999 + b"\n")
    except BlockingIOError:
        return
    raise AssertionError("the client could send without end")


def test_a_client_that_does_not_read_its_answers_is_not_read_from(serve: Serve) -> None:
    """Others go on, and what is kept for it is bounded."""
    server = serve({"max-line-length": "10"})
    deaf, good = server.client(), server.client()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    flood = b"\n" * (1 << 16)
    taken = 0

    def stuck() -> bool:
        nonlocal taken
        try:
            taken += deaf.send(flood)
        except BlockingIOError:
            return any(c.deaf for c in server.source.connections)
        assert taken < 1 << 28
        return False

    server.until(stuck)
    held = sum(c.unsent_bytes() for c in server.source.connections)
    assert held < 8 << 20
    good.sendall(b"good\n")
    server.until(lambda: b"good" in server.bodies)
    assert server.replies(good, 3) == b"OK\n"


def test_clients_that_read_no_answers_are_cut_off_when_too_much_is_kept_for_them(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they cost together is bounded; the one with the most goes first, and it is said."""
    monkeypatch.setattr("shipper.sources._line_clients._UNREAD_ANSWERS_BYTES", 1000)
    server = serve()
    deaf = server.client()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)

    def cut_off() -> bool:
        try:
            deaf.send(b"\n" * (1 << 16))
        except BlockingIOError:
            pass
        except ConnectionError:
            return True
        return False

    server.until(cut_off)
    assert "does not read its answers; it was cut off" in server.said[0][1]


def test_a_client_that_sends_more_than_a_block_and_leaves_gets_all_its_answers(serve: Serve) -> None:
    """Its lines lie in several blocks and between those of others; its end comes behind the last answer."""
    server = serve(batch_bytes=1 << 17)
    clients = [server.client() for _ in range(3)]
    lines = b"x" * 49 + b"\n"
    unsent = {client: memoryview(lines * 10_000) for client in clients}
    heard = dict.fromkeys(clients, 0)
    for client in clients:
        client.setblocking(False)

    def done() -> bool:
        for client, rest in list(unsent.items()):
            try:
                unsent[client] = rest[client.send(rest[:70_001]) :]
            except BlockingIOError:
                continue
            if not unsent[client]:
                client.shutdown(socket.SHUT_WR)
                del unsent[client]
        for client in list(heard):
            try:
                piece = client.recv(1 << 16)
            except BlockingIOError:
                continue
            if not piece:
                assert heard.pop(client) == 30_000
            else:
                heard[client] += len(piece)
        return not heard

    server.until(done)
    assert len(server.bodies) == 30_000
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 0)


def test_a_client_over_the_limit_is_sent_away(serve: Serve) -> None:
    """The others stay, and a line says which option it was."""
    server = serve({"max-connections": "2"})
    first, second = server.client(), server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 2)
    third = server.client()
    server.until(lambda: server.is_left(third))
    assert "max-connections" in server.said[0][1]
    first.sendall(b"a\n")
    server.rows(1)
    second.sendall(b"b\n")
    server.rows(2)


def test_a_client_that_was_silent_for_long_makes_room(serve: Serve) -> None:
    """Silent clients can't lock out those that have something to say."""
    server = serve({"max-connections": "2", "idle-timeout": "60"})
    first = server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 1)
    second = server.client()
    server.until(lambda: server.context.counters.get("OpenConnectionCount") == 2)
    server.clock.advance(61)
    second.sendall(b"here\n")
    server.rows(1)
    third = server.client()
    third.sendall(b"new\n")
    server.rows(2)
    server.until(lambda: server.is_left(first))
    assert not server.is_left(second)


def test_a_port_in_use_names_the_address_and_who_holds_it(serve: Serve) -> None:
    """The person sees which process to stop."""
    server = serve()
    port = server.source.address[1]
    with pytest.raises(ComponentFailed) as failure:
        serve({"port": str(port)})
    assert f"listening on 127.0.0.1:{port}: the port is in use by process {os.getpid()} (" in str(failure.value)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("no-such-host.invalid", "no address and no name that can be looked up"),
        ("192.0.2.1", "192.0.2.1 is not an address of this machine"),
    ],
)
def test_an_address_that_is_not_here_is_said(serve: Serve, host: str, says: str) -> None:
    """With what to do instead."""
    with pytest.raises(ComponentFailed) as failure:
        serve({"bind": host})
    assert says in str(failure.value)
    assert "bind = 0.0.0.0" in str(failure.value)


def test_two_workers_share_a_port(serve: Serve) -> None:
    """With `workers = 2` both listen, and the kernel deals the connections out."""
    one = serve(worker=0, workers=2)
    port = str(one.source.address[1])
    two = serve({"port": port}, worker=1, workers=2)
    for number in range(40):
        one.client().sendall(b"%d\n" % number)
    end = time.monotonic() + PATIENCE_S
    while len(one.bodies) + len(two.bodies) < 40 and time.monotonic() < end:
        for server in (one, two):
            if (batch := server.poll()) is not None:
                server.bodies += batch.body.to_pylist()
                server.source.committed(batch)
    assert sorted(one.bodies + two.bodies) == sorted(b"%d" % n for n in range(40))


def test_answers_reach_the_client_though_the_source_is_closed_right_after_the_commit(serve: Serve) -> None:
    """A stop does not swallow them."""
    server = serve()
    client = server.client()
    client.sendall(b"a\n")
    server.source.committed(server.batch())
    server.source.close()
    client.settimeout(PATIENCE_S)
    assert client.recv(100) == b"OK\n"


def test_rows_that_a_stop_leaves_outside_are_answered_with_failed(serve: Serve) -> None:
    """`position` is the end for a source that can't read again."""
    server = serve()
    client = server.client()
    client.sendall(b"a\n")
    server.batch()
    server.source.position(())
    server.source.close()
    client.settimeout(PATIENCE_S)
    assert client.recv(100) == b"FAILED: the agent is stopping\n"


def test_close_is_safe_twice_and_before_open(tmp_path: Path) -> None:
    """As the contract says."""
    options, _ = read_options(NetcatOptions, {"bind": "127.0.0.1", "port": "0"})
    assert options is not None
    source = NetcatSource(options)
    source.close()
    server = Server(tmp_path, {})
    server.close()
    server.close()


@pytest.mark.parametrize(
    "config",
    [
        {"port": "65536"},
        {"port": "many"},
        {"max-line-length": "0"},
        {"encoding": "klingon"},
        {"encoding": "base64"},
        {"max-connections": "0"},
        {"idle-timeout": "-1"},
    ],
)
def test_values_that_make_no_sense_are_errors(config: dict[str, str]) -> None:
    """With the key in the message."""
    options, findings = read_options(NetcatOptions, {"bind": "0.0.0.0", "port": "1"} | config)
    assert options is None
    assert next(iter(config)) in findings[0].message


def test_bind_and_port_are_required() -> None:
    """Both are named at once."""
    _, findings = read_options(NetcatOptions, {})
    assert [f.key for f in findings] == ["bind", "port"]


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("source", "netcat") is NetcatSource
    assert find("source", "org.apache.flume.source.NetcatSource") is NetcatSource


def test_a_real_nc_gets_its_answers(serve: Serve, program: Callable[[str], str]) -> None:
    """As in the first example of every Flume tutorial."""
    server = serve()
    with subprocess.Popen(
        [program("nc"), "-N", "127.0.0.1", str(server.source.address[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as nc:
        assert nc.stdin is not None
        assert nc.stdout is not None
        nc.stdin.write(b"Hello world! <ENTER>\n")
        nc.stdin.close()
        server.until(lambda: nc.poll() is not None)
        assert nc.stdout.read() == b"OK\n"
    assert server.bodies == [b"Hello world! <ENTER>"]
