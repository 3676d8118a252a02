"""An exchange: one request over HTTP and its answer, on a connection of its own; who waits for it can give it up."""

from __future__ import annotations

import asyncio
import errno

_HEAD_MAX = 64 << 10
_GO_ON = "100"


async def exchange(
    server: tuple[str, int], method: str, target: str, content: bytes = b""
) -> tuple[str, str, bytes]:  # fmt: skip
    """The status, the address that it sends us to, the content.

    Raises:
        OSError: there was none, or not all of it.
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
        answer = await (reader.readexactly(int(size)) if size.isdigit() else reader.read())
        return status, headers.get("location", ""), answer
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError) as problem:
        raise ConnectionResetError(errno.ECONNRESET, f"{server[0]}:{server[1]} gave no whole answer") from problem
    finally:
        writer.close()
