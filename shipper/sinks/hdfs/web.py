"""The NameNode's web port (WebHDFS), for what the client can't do: cut a file, read one that is open, and tell on how
many DataNodes it is.

It may be closed, or want a login that we don't have: then files are cut by copying what counts, those that can't be
closed wait, and nobody knows how many DataNodes are left. Whether it is the same cluster is seen by the file itself: by
its length, which must be what the RPC port says, or by its last bytes that count.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from shipper.sinks.hdfs.exchange import exchange, exchange_bytes

_TIMEOUT_S = 10.0
_PAUSE_S = 0.25
_DONE = "200"
#: As the agent was started: a sink that acts for somebody changes it for its client (`cluster.py`).
_NAMED = os.environ.get("HADOOP_USER_NAME")


class WebPort:
    """The web ports of a cluster's NameNodes.

    Args:
        addresses: host and port of each.
        user: to be there.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], user: str) -> None:
        self._addresses = list(addresses)
        self._user = user

    @property
    def where(self) -> str:
        """The addresses, for a person."""
        return ", ".join(f"{host}:{port}" for host, port in self._addresses)

    async def cut(self, path: str, there: int, length: int, timeout_s: float) -> bool:
        """Cuts a closed file of `there` bytes down to `length`. False when it can't be done here: nothing happened.

        Raises:
            TimeoutError: it was begun, and is not done yet.
        """
        until_s = asyncio.get_running_loop().time() + timeout_s
        for address in self._addresses:
            found = await self._ask(address, "GET", path, "GETFILESTATUS")
            if found is None or found.get("FileStatus", {}).get("length") != there:
                continue
            done = await self._ask(address, "POST", path, "TRUNCATE", newlength=length)
            if done is None or "boolean" not in done:
                continue
            while not (done or {}).get("boolean"):  # once more to the same length: true when the last block is settled
                if asyncio.get_running_loop().time() > until_s:
                    raise TimeoutError
                await asyncio.sleep(_PAUSE_S)
                done = await self._ask(address, "POST", path, "TRUNCATE", newlength=length)
            self._prefer(address)
            return True
        return False

    async def read(self, path: str, offset: int, length: int) -> bytes | None:
        """Bytes of a file, which may be open: then those are there that its writer knew to be safe. None when nobody
        gives all of them."""
        for address in tuple(self._addresses):
            target = self._target(path, "OPEN", offset=offset, length=length)
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    status, found = await exchange_bytes(address, "GET", target)
            except (OSError, ValueError):  # a server may send us to an address that is none
                continue
            if status == _DONE and len(found) == length:
                self._prefer(address)
                return found
        return None

    async def replicas(self, paths: Sequence[str]) -> Mapping[str, int | None]:
        """On how many DataNodes the block of each file is that is being written; None: it has none, or is not there.

        One is asked for after the other. When nobody answers, the rest is left out.
        """
        found: dict[str, int | None] = {}
        for path in paths:
            answered = False
            for address in tuple(self._addresses):
                answer = await self._ask(address, "GET", path, "GET_BLOCK_LOCATIONS", length=1)  # the last one is told
                answered = answered or answer is not None
                if isinstance(blocks := (answer or {}).get("LocatedBlocks"), dict):
                    self._prefer(address)
                    # Of a block that is complete not all DataNodes may have told yet.
                    last = None if blocks.get("isLastBlockComplete") else blocks.get("lastLocatedBlock")
                    found[path] = len(last["locations"]) if last else None
                    break
            if not answered:
                break
            found.setdefault(path, None)
        return found

    def _prefer(self, address: tuple[str, int]) -> None:
        """The one that is active comes first next time."""
        self._addresses.sort(key=lambda one: one != address)

    async def _ask(
        self, address: tuple[str, int], method: str, path: str, verb: str, **more: object
    ) -> dict[str, Any] | None:
        """The answer, None when there is none that helps."""
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                _, _, answer = await exchange(address, method, self._target(path, verb, **more))
            found = json.loads(answer)
        except (OSError, ValueError):  # TimeoutError is an OSError
            return None
        return found if isinstance(found, dict) else None

    def _target(self, path: str, verb: str, **more: object) -> str:
        query = urllib.parse.urlencode({"op": verb, "user.name": self._user, **more})
        return f"/webhdfs/v1{urllib.parse.quote(path)}?{query}"


def user_name(url: str) -> str:
    """Whom a cluster without Kerberos takes us for: $HADOOP_USER_NAME, the user in the URL, or this process' user."""
    named = _NAMED or url.partition("://")[2].rpartition("@")[0]
    if named:
        return named
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
