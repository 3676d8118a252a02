"""The state of a log: all that its records do not say by themselves, or would take long to say.

It is what a checkpoint stores, as one JSON object::

    {"log": hex, "durable": seq, "last": seq, "next_number": n,
     "scan": [number, offset, seq, chain, closed],
     "segments": [[number, base seq], ...],
     "lanes": [[id, name, [seq, rows, bytes], [the fields of board.Head]], ...],
     "producers": [[id, put], ...],
     "positions": [[stream, start, end, anchor], ...],
     "directories": [path, ...], "absent": [n, ...], "going": [n, ...], "stopped": bool}

`scan` is where a recovery begins to read: everything before is in the state. When it is *closed*, no record of that
segment behind it counts. `segments` are those that were not removed yet. Those of them that are `absent` were looked
for at a start and not found: their files may come back. Those that are `going` are in no list any more, because all in
them was delivered: their removal may not be durable yet. Whatever else is in no list is not known to be delivered.
`directories` are those in which segments may lie; when the log was not `stopped`, also such as are in no list yet. What
an older release has stored says nothing of these four.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import orjson

from shipper.durable.board import Head, Tail
from shipper.durable.layout import RECORDS_AT, RecordHeader, crc32

#: Where rows came from: stream, start, end, anchor (`batch.Origin` as a plain tuple).
Position = tuple[str, int, int, str]

#: What is remembered at most; beyond it, what was not touched for the longest time is forgotten.
PRODUCERS_MAX = 4096
POSITIONS_BYTES_MAX = 32 << 20
#: What a position takes beside its strings, about.
_POSITION_BYTES = 64


class Place(NamedTuple):
    """How far a segment was followed: the next record stands at `offset`.

    Attributes:
        seq: of the last record before it.
        chain: CRC over the header checksums of all records before it.
        closed: nothing behind it counts.
    """

    number: int = 0
    offset: int = RECORDS_AT
    seq: int = 0
    chain: int = 0
    closed: bool = True

    def behind(self, header: RecordHeader, header_crc: bytes) -> Place:
        """The place behind a record."""
        end = header.offset + header.length
        return Place(self.number, end, header.seq, crc32(header_crc, self.chain), self.closed)


_EMPTY, _START, _NOWHERE = Tail(0, 0, 0), Head(), Place()


@dataclass
class LaneState:
    """What a log knows of a lane: how far it is filled, and how far it was delivered."""

    name: str = ""
    tail: Tail = _EMPTY
    head: Head = _START


@dataclass
class State:
    """See the module."""

    log_id: bytes
    durable_seq: int = 0
    last_seq: int = 0
    next_number: int = 1
    scan: Place = _NOWHERE
    segments: dict[int, int] = field(default_factory=dict)
    lanes: dict[int, LaneState] = field(default_factory=dict)
    producers: dict[int, int] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    positions_bytes: int = 0
    directories: list[str] | None = None
    absent: set[int] = field(default_factory=set)
    going: set[int] = field(default_factory=set)
    stopped: bool = False

    # --- what records change

    def lane(self, key: int) -> LaneState:
        """What is known of a lane; a new one when nothing is."""
        return self.lanes.setdefault(key, LaneState())

    def add_put(self, producer: int, put: int) -> None:
        """The puts of a producer count up to this one."""
        if put:
            before = self.producers.pop(producer, 0)
            self.producers[producer] = max(put, before)
            if len(self.producers) > PRODUCERS_MAX:
                del self.producers[next(iter(self.producers))]

    def add_origins(self, origins: Iterable[Position]) -> None:
        """Streams were read up to here."""
        for stream, start, end, anchor in origins:
            self.forget(stream)
            self.positions[stream] = (stream, start, end, anchor)
            self.positions_bytes += position_bytes(stream, anchor)
        while self.positions_bytes > POSITIONS_BYTES_MAX:
            self.forget(next(iter(self.positions)))

    def forget(self, stream: str) -> None:
        """Drops a stream's position."""
        found = self.positions.pop(stream, None)
        if found is not None:
            self.positions_bytes -= position_bytes(stream, found[3])

    # --- what is asked

    def first_waiting(self, heads: Mapping[int, Head] | None = None) -> int:
        """Seq below which every lane has delivered everything; by these heads for the lanes that they name."""
        low = self.last_seq + 1
        for key, lane in self.lanes.items():
            seq = max(heads[key].seq if heads and key in heads else lane.head.seq, 1)
            if lane.tail.seq >= seq:
                low = min(low, seq)
        return low

    def missing(self, found: Collection[int], low: int) -> dict[int, tuple[int, int]]:
        """Segments in the list that are not among those found, with the first and last seq that they should hold.

        Args:
            found: numbers of segments.
            low: what has nothing at or behind this seq was delivered, and is not missing.
        """
        bases = sorted(self.segments.items())
        spans = {
            number: (base, behind - 1) for (number, base), (_, behind) in pairwise([*bases, (0, self.last_seq + 1)])
        }
        return {n: span for n, span in spans.items() if n not in found and span[0] <= span[1] and span[1] >= low}

    @property
    def payload_bytes(self) -> int:
        """What `to_bytes` will not exceed."""
        # A segment may be in three lists, and those that go now are in one that is not made yet.
        fixed = 4096 + 256 * len(self.lanes) + 96 * len(self.segments) + 48 * len(self.producers)
        places = sum(map(_json_bytes, self.directories or ())) + 48 * (len(self.absent) + len(self.going))
        return fixed + places + self.positions_bytes

    def to_bytes(self) -> bytes:
        """The payload of a checkpoint."""
        return orjson.dumps(
            {
                "log": self.log_id.hex(),
                "durable": self.durable_seq,
                "last": self.last_seq,
                "next_number": self.next_number,
                "scan": list(self.scan),
                "segments": list(self.segments.items()),
                "lanes": [[key, lane.name, list(lane.tail), list(lane.head)] for key, lane in self.lanes.items()],
                "producers": list(self.producers.items()),
                "positions": list(self.positions.values()),
                "directories": self.directories,
                "absent": sorted(self.absent),
                "going": sorted(self.going),
                "stopped": self.stopped,
            }
        )

    @classmethod
    def from_bytes(cls, payload: bytes) -> State:
        """The state in a payload.

        Raises:
            ValueError, KeyError, TypeError: it is none.
        """
        found: dict[str, Any] = orjson.loads(payload)
        number, offset, seq, chain, closed = found["scan"]
        state = cls(
            bytes.fromhex(found["log"]),
            found["durable"],
            found["last"],
            found["next_number"],
            Place(number, offset, seq, chain, bool(closed)),
            dict(found["segments"]),
        )
        for key, name, tail, head in found["lanes"]:
            state.lanes[key] = LaneState(name, Tail(*tail), Head(*head))
        state.producers = dict(found["producers"])
        state.add_origins([(stream, start, end, anchor) for stream, start, end, anchor in found["positions"]])
        state.directories = found.get("directories")
        state.absent, state.going = set(found.get("absent", ())), set(found.get("going", ()))
        state.stopped = found.get("stopped", True)
        return state


def position_bytes(stream: str, anchor: str) -> int:
    """What a position takes in a checkpoint, at most: JSON makes six bytes of a control character."""
    return _POSITION_BYTES + _json_bytes(stream) + _json_bytes(anchor)


def _json_bytes(text: str) -> int:
    return len(text) if text.isascii() and text.isprintable() else 6 * len(text)
