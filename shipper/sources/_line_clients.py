"""The clients of a listener that takes lines: who is let in, who makes room for whom, and who is cut off."""

from __future__ import annotations

import resource
from collections.abc import Iterator

from shipper.api import SourceContext
from shipper.sources._line_client import LineClient

_UNREAD_ANSWERS_BYTES = 32 << 20
_DESCRIPTORS_KEPT = 16  # for all else that a worker opens while it runs


class LineClients:
    """Those who are there now.

    Args:
        context: of their source.
        source: what it is called where people read of it.
        most: at the same time.
        idle_s: who was silent for so long makes room for another.
    """

    def __init__(self, context: SourceContext, source: str, most: int, idle_s: float) -> None:
        self._counters = context.counters
        self._say = context.say
        self._source = source
        self._most = most
        self._idle_s = idle_s
        self._here: dict[LineClient, None] = {}

    def __iter__(self) -> Iterator[LineClient]:
        return iter(self._here)

    def __len__(self) -> int:
        return len(self._here)

    def let_in(self, client: LineClient, now_s: float) -> bool:
        """True when there is room, or somebody who has been silent for long could be sent away."""
        if len(self._here) >= self._most or _is_last(client):
            silent = min(self._here, key=lambda c: c.heard_s, default=None)
            if silent is None or now_s - silent.heard_s < self._idle_s:
                self._counters.add("ConnectionFailedCount")
                self._say(
                    "warning",
                    f"{self._source}: all {len(self._here)} connections are taken (max-connections = "
                    f"{self._most}, and ulimit -n): {client.peer} was sent away",
                )
                return False
            silent.abort()
            self._here.pop(silent, None)
        self._here[client] = None
        self._count()
        return True

    def left(self, client: LineClient) -> None:
        """A client is gone; safe to say twice."""
        self._here.pop(client, None)
        self._count()

    def bound_unread_answers(self) -> None:
        """Clients that don't read what they are told must not cost more memory than there is."""
        deaf = [(client.unsent_bytes(), client) for client in self._here if client.deaf]
        total = sum(unsent for unsent, _ in deaf)
        for unsent, client in sorted(deaf, key=lambda entry: -entry[0]):
            if total <= _UNREAD_ANSWERS_BYTES:
                return
            total -= unsent
            self._say("warning", f"{self._source}: {client.peer} does not read its answers; it was cut off")
            client.abort()

    def _count(self) -> None:
        self._counters.set("OpenConnectionCount", len(self._here))


def _is_last(client: LineClient) -> bool:
    """True when there are hardly any descriptors left, which are needed for more than connections.

    Without two of them the loop can't even make its next turn, and without one it sends clients away unseen.
    """
    return client.descriptor >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _DESCRIPTORS_KEPT
