"""The NameNode's web port (WebHDFS), for the one thing that the client can't do: cut a file.

It may be closed, or want a login that we don't have: then files are cut by copying what counts. Whether it is the same
cluster is seen by the file itself: length and times must be what the RPC port says.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import pwd
import urllib.parse
from collections.abc import Sequence
from typing import Any

_TIMEOUT_S = 10.0
_PAUSE_S = 0.25


class WebPort:
    """The web ports of a cluster's NameNodes.

    Args:
        addresses: host and port of each.
        user: to be there.
    """

    def __init__(self, addresses: Sequence[tuple[str, int]], user: str) -> None:
        self._addresses = list(addresses)
        self._user = user

    async def cut(self, path: str, there: int, length: int, timeout_s: float) -> bool:
        """Cuts a closed file of `there` bytes down to `length`. False when it can't be done here: nothing happened.

        Raises:
            TimeoutError: it was begun, and is not done yet.
        """
        until_s = asyncio.get_running_loop().time() + timeout_s
        for address in self._addresses:
            found = await asyncio.to_thread(self._ask, address, "GET", path, "GETFILESTATUS")
            if found is None or found.get("FileStatus", {}).get("length") != there:
                continue
            done = await asyncio.to_thread(self._ask, address, "POST", path, "TRUNCATE", newlength=length)
            if done is None or "boolean" not in done:
                continue
            while not (done or {}).get("boolean"):  # once more to the same length: true when the last block is settled
                if asyncio.get_running_loop().time() > until_s:
                    raise TimeoutError
                await asyncio.sleep(_PAUSE_S)
                done = await asyncio.to_thread(self._ask, address, "POST", path, "TRUNCATE", newlength=length)
            self._addresses.sort(key=lambda one: one != address)  # the one that is active comes first next time
            return True
        return False

    def _ask(
        self, address: tuple[str, int], method: str, path: str, verb: str, **more: object
    ) -> dict[str, Any] | None:
        """The answer, None when there is none that helps."""
        query = urllib.parse.urlencode({"op": verb, "user.name": self._user, **more})
        connection = http.client.HTTPConnection(*address, timeout=_TIMEOUT_S)
        try:
            connection.request(method, f"/webhdfs/v1{urllib.parse.quote(path)}?{query}")
            answer = connection.getresponse()
            found = json.loads(answer.read(1 << 20))
            return found if isinstance(found, dict) else None
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()


def user_name(url: str) -> str:
    """Whom a cluster without Kerberos takes us for: $HADOOP_USER_NAME, the user in the URL, or this process' user."""
    named = os.environ.get("HADOOP_USER_NAME") or url.partition("://")[2].rpartition("@")[0]
    if named:
        return named
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
