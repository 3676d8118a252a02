"""An exchange: one request over HTTP and its answer, on a connection of its own; who waits for it can give it up."""

from __future__ import annotations

import asyncio
import errno
import urllib.parse

_HEAD_MAX = 64 << 10
#: A folder of 150,000 files is listed in it; pieces of files are asked for by 4 MiB.
ANSWER_MAX = 64 << 20
_READ_BYTES = 1 << 20
_GO_ON = "100"
_ELSEWHERE = "307"


async def exchange(
    server: tuple[str, int], method: str, target: str, content: bytes = b""
) -> tuple[str, str, bytes]:  # fmt: skip
    """The status, the address that it sends us to, the content.

    Raises:
        OSError: there was none, or not all of it, or too much.
    """
    reader, writer = await asyncio.open_connection(*server, limit=_HEAD_MAX)
    try:
        # HTTP/1.0: the answer comes as it is, and ends with the connection.
        head = f"{method} {target} HTTP/1.0\r\nHost: {server[0]}:{server[1]}\r\nContent-Length: {len(content)}\r\n"
        writer.write(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode())
        writer.write(content)
        await writer.drain()
        status = _GO_ON
        while status == _GO_ON:  # DataNodes say so without being asked
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = first.split(" ")[1]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = headers.get("content-length", "")
        if size.isdigit() and int(size) <= ANSWER_MAX:
            answer = await reader.readexactly(int(size))
        else:
            answer = await _to_its_end(reader, server)
        return status, headers.get("location", ""), answer
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError) as problem:
        raise ConnectionResetError(errno.ECONNRESET, f"{server[0]}:{server[1]} gave no whole answer") from problem
    finally:
        writer.close()


async def exchange_bytes(
    name_node: tuple[str, int], method: str, target: str, content: bytes = b""
) -> tuple[str, bytes]:
    """The same for bytes of a file, which a NameNode neither takes nor gives: the DataNode that it names does.

    Raises:
        OSError: as `exchange`.
    """
    status, where, answer = await exchange(name_node, method, target)
    if status == _ELSEWHERE:
        data_node = urllib.parse.urlsplit(where)
        address = (data_node.hostname or "", data_node.port or 80)
        status, _, answer = await exchange(address, method, f"{data_node.path}?{data_node.query}", content)
    return status, answer


async def _to_its_end(reader: asyncio.StreamReader, server: tuple[str, int]) -> bytes:
    """An answer whose length nobody has said, or that is said to be too long for us: some server that is no NameNode
    may go on for ever."""
    pieces: list[bytes] = []
    size = 0
    while piece := await reader.read(_READ_BYTES):
        pieces.append(piece)
        if (size := size + len(piece)) > ANSWER_MAX:
            what = f"{server[0]}:{server[1]} answers with more than {ANSWER_MAX >> 20} MiB, and is given up"
            raise OSError(errno.EMSGSIZE, what)
    return b"".join(pieces)
