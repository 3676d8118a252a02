"""One request over HTTP: an answer that has no length ends with the connection, or is given up when it is too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from shipper.sinks.hdfs.exchange import ANSWER_MAX, exchange
from shipper.sinks.hdfs.web import WebPort


@asynccontextmanager
async def server(head: bytes, pieces: int, status: bytes = b"200 OK") -> AsyncIterator[tuple[str, int]]:
    """Answers with so many pieces of 1 MiB."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 " + status + b"\r\n" + head + b"\r\n")
        try:
            for _ in range(pieces):
                writer.write(bytes(1 << 20))
                await writer.drain()
        except ConnectionError:
            return  # it was given up
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with running:
        yield running.sockets[0].getsockname()


def asked(head: bytes, pieces: int) -> bytes:
    async def ask() -> bytes:
        async with server(head, pieces) as address:
            status, _, content = await exchange(address, "GET", "/")
            assert status == "200"
            return content

    return asyncio.run(ask())


def test_an_answer_without_a_length_is_read_to_its_end() -> None:
    assert len(asked(b"", 3)) == 3 << 20


@pytest.mark.parametrize("head", [b"", b"Content-Length: 99999999999\r\n"])
def test_an_answer_that_does_not_end_is_given_up(head: bytes) -> None:
    with pytest.raises(OSError, match="answers with more than 64 MiB, and is given up"):
        asked(head, 2 * (ANSWER_MAX >> 20))


def test_a_server_that_sends_us_to_no_address_gives_no_bytes() -> None:
    async def ask() -> bytes | None:
        async with server(b"Location: http://somewhere:none/\r\n", 0, b"307 Elsewhere") as address:
            return await WebPort([address], "me").read("/a", 0, 1)

    assert asyncio.run(ask()) is None
