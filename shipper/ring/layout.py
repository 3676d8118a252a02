"""The layout of a lane and of a put page: offsets, widths, writers. All numbers are little-endian u64 unless said.

A lane is one mapped file: a page of words, then the ring of frames::

    offset  what                  writer
    ------  --------------------  -----------------------------------------------------------------
         0  magic, version,       creator, before the file has its name
            capacity, checksum
       128  PRODUCER_EPOCH        producer: + 1 when a new process takes the put side over
       256  CONSUMER_EPOCH        consumer: likewise for the take side
       384  GENERATION            consumer: names commit slot `generation & 1`; the one stored word of a take commit
       512  commit slot 0         consumer: {position, rows done in that frame, sink id, sink sequence,
       640  commit slot 1           cumulative rows, bytes, units, epoch, checksum}
       768  CONSUMER_ASLEEP       consumer: 1 = ring my bell when something comes
       896  PRODUCER_ASLEEP       producer: 1 = ring my bell when there is room
      1024  HOLDER                holder of the take lock: its sink id; 0 = nobody, and nothing of it is unsettled
      1152  WANTED                home sink: 1 = give this lane back when you can
      1280  DURABLE               holder: what was taken before this position survives the death of the machine
      1408  tallies               see `tally.py`
      4096  ring                  producer: frames at `position % capacity`

A put page is one mapped file a source worker: what that worker has put into all its lanes, made visible at once::

         0  magic, version, lanes, checksum                   creator
       128  EPOCH                                             producer
       256  COMMITTED: number of the last put; names slot `COMMITTED & 1`; the one stored word of a put commit
       512  keys: a word a lane, 0 = free; a lane keeps its index for ever    supervisor, before it starts workers
         -  slot 0, then slot 1, each:                        producer
              {put number, lanes, origin lane, origin position, checksum} on a line, then a line of words a lane:
              {tail, last frame, cumulative rows, bytes, units}; behind both, the tally (`tally.py`)

A frame starts at a multiple of 128 and never wraps; a PAD frame fills the rest of the ring before one that would::

         0  magic (u32), version (u16), flags (u16)
         8  position: where it stands, counted since the lane was made; never repeats
        16  length of the frame, header and padding included
        24  length of the payload
        32  rows
        40  put number
        48  cumulative rows, 56 bytes, 64 units: after this frame
        72  checksum (u32: CRC-32 of the header bytes before it and the payload), algorithm (u32: 1 = that of RFC 1952)
        80  when it was put, wall ms; 0 = the channel has no maxAge
        88  CRC-32 (u32) of the position and that time
       128  payload: an Arrow IPC stream (`batch/wire.py`); with OVERFLOW, JSON that names the file

Readers take version 1. A later version keeps magic and version where they are.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from isal import isal_zlib

from shipper.checksums import checksum_together
from shipper.digest_word import odd_word_of
from shipper.errors import DamagedData
from shipper.shared.words import LINE_BYTES

VERSION = 1

LANE_MAGIC = b"SHPLANE1"
PRODUCER_EPOCH = 1 * LINE_BYTES
CONSUMER_EPOCH = 2 * LINE_BYTES
GENERATION = 3 * LINE_BYTES
COMMIT_SLOT = 4 * LINE_BYTES
CONSUMER_ASLEEP = 6 * LINE_BYTES
PRODUCER_ASLEEP = 7 * LINE_BYTES
HOLDER = 8 * LINE_BYTES
WANTED = 9 * LINE_BYTES
DURABLE = 10 * LINE_BYTES
RING = 4096

PAGE_MAGIC = b"SHPPUTS1"
EPOCH = 1 * LINE_BYTES
COMMITTED = 2 * LINE_BYTES
LANE_KEYS = 4 * LINE_BYTES

#: Lock bytes of a segment.
PRODUCER_ROLE = 0
CONSUMER_ROLE = 1

FRAME_ALIGN = LINE_BYTES
FRAME_HEADER_BYTES = LINE_BYTES
FRAME_MAGIC = 0x4D415246  # "FRAM"
CHECKSUM_CRC32 = 1
PAD = 1
OVERFLOW = 2

_SEGMENT_HEADER = struct.Struct("<8sQQQ")
_FRAME_HEADER = struct.Struct("<IHHQQQQQQQQ")
_FRAME_CHECKSUM = struct.Struct("<II")
_FRAME_TIME = struct.Struct("<QI")
_FRAME_TAIL = bytes(FRAME_HEADER_BYTES - _FRAME_HEADER.size - _FRAME_CHECKSUM.size)


class CommitSlot(NamedTuple):
    """What a take commit stores.

    Attributes:
        position: of the first frame that is not wholly delivered.
        rows_done: rows of that frame that are.
        sink: id of the sink worker that committed.
        sequence: of the entry in that sink's own journal that belongs to this commit; 0 when it keeps none.
        rows, size_bytes, units: delivered since the lane was made.
        epoch: of the take side.
    """

    position: int = 0
    rows_done: int = 0
    sink: int = 0
    sequence: int = 0
    rows: int = 0
    size_bytes: int = 0
    units: int = 0
    epoch: int = 0


class LaneState(NamedTuple):
    """What a put page says of one lane.

    Attributes:
        tail: position behind the last frame.
        last_frame: position of the last frame.
        rows, size_bytes, units: put since the lane was made.
    """

    tail: int = 0
    last_frame: int = 0
    rows: int = 0
    size_bytes: int = 0
    units: int = 0


class Frame(NamedTuple):
    """A frame as its header describes it; `payload` is a view into the ring.

    Attributes:
        checksum, head_checksum: of a frame that was read: of all that is checked, of the header before it.
    """

    position: int
    length: int
    rows: int
    put: int
    rows_after: int
    size_bytes_after: int
    units_after: int
    flags: int
    payload: memoryview
    put_ms: int = 0
    checksum: int = 0
    head_checksum: int = 0


def lane_key(channel: str, lane: str) -> int:
    """The word by which a put page knows a lane: it survives the reordering of a configuration."""
    return odd_word_of(f"{channel}/{lane}")


def ring_key(run_id: str, channel: str, lane: str) -> str:
    """Names a lane among all that there ever were: in another run directory it is another one."""
    return f"{run_id}/{channel}/{lane}"


def slot_checksum(values: tuple[int, ...]) -> int:
    """Checksum over the words of a slot."""
    return int(isal_zlib.crc32(struct.pack(f"<{len(values)}Q", *values)))


def segment_header(magic: bytes, size: int) -> bytes:
    """The first bytes of a lane (`size` = capacity of the ring) or a put page (`size` = lanes)."""
    return _SEGMENT_HEADER.pack(magic, VERSION, size, slot_checksum((VERSION, size)))


def read_segment_header(page: memoryview, magic: bytes, what: str) -> int:
    """The `size` of `segment_header`.

    Raises:
        DamagedData: it is no such segment, or one of a version that this build does not read.
    """
    if len(page) < _SEGMENT_HEADER.size:
        raise DamagedData(f"{what} is too short to be one of ours")
    found, version, size, checksum = _SEGMENT_HEADER.unpack_from(page)
    if found != magic:
        raise DamagedData(f"{what} does not begin with {magic!r}")
    if version != VERSION:
        raise DamagedData(f"{what} has layout version {version}; this build reads version {VERSION}")
    if checksum != slot_checksum((version, size)):
        raise DamagedData(f"{what} has a damaged header")
    return int(size)


def frame_length(payload_bytes: int) -> int:
    """Length of a frame with a payload of so many bytes."""
    return -(-(FRAME_HEADER_BYTES + payload_bytes) // FRAME_ALIGN) * FRAME_ALIGN


class Known(NamedTuple):
    """A part of a payload whose CRC-32 is known: where it begins, how long it is."""

    start: int
    size_bytes: int
    checksum: int


def frame_header(frame: Frame, known: Known | None = None) -> bytes:
    """The header bytes of a frame, its checksum included; `known` is the part of the payload that is not looked at."""
    head = _FRAME_HEADER.pack(
        FRAME_MAGIC, VERSION, frame.flags, frame.position, frame.length, len(frame.payload), frame.rows, frame.put,
        frame.rows_after, frame.size_bytes_after, frame.units_after,
    )  # fmt: skip
    checksum = isal_zlib.crc32(head)
    if known is None:
        checksum = isal_zlib.crc32(frame.payload, checksum)
    else:
        start, size_bytes, found = known
        checksum = isal_zlib.crc32(frame.payload[:start], checksum)
        checksum = checksum_together(checksum, found, size_bytes)
        checksum = isal_zlib.crc32(frame.payload[start + size_bytes :], checksum)
    tail = _FRAME_TAIL
    if frame.put_ms:
        stamp = _FRAME_TIME.pack(frame.put_ms, slot_checksum((frame.position, frame.put_ms)))
        tail = stamp + _FRAME_TAIL[len(stamp) :]
    return head + _FRAME_CHECKSUM.pack(checksum, CHECKSUM_CRC32) + tail


def pad_length(ring: memoryview, offset: int, position: int) -> int:
    """Length of the PAD frame at `offset`, 0 when another one stands there. For meters: nothing else is checked."""
    if offset + FRAME_HEADER_BYTES > len(ring):
        return 0
    magic, _, flags, at, length, *_ = _FRAME_HEADER.unpack(bytes(ring[offset : offset + _FRAME_HEADER.size]))
    return int(length) if magic == FRAME_MAGIC and flags & PAD and at == position else 0


def read_frame(ring: memoryview, offset: int, position: int) -> Frame | None:
    """The frame at `offset` of the ring if it is whole and stands at `position`; None when its checks fail."""
    if offset + FRAME_HEADER_BYTES > len(ring):
        return None
    head = bytes(ring[offset : offset + _FRAME_HEADER.size])
    magic, version, flags, at, length, payload_bytes, rows, put, rows_after, bytes_after, units_after = (
        _FRAME_HEADER.unpack(head)
    )
    if magic != FRAME_MAGIC or version != VERSION or at != position:
        return None
    if length % FRAME_ALIGN or offset + length > len(ring) or payload_bytes + FRAME_HEADER_BYTES > length:
        return None
    start = offset + FRAME_HEADER_BYTES
    payload = ring[start : start + payload_bytes]
    checksum, algorithm = _FRAME_CHECKSUM.unpack_from(ring, offset + _FRAME_HEADER.size)
    head_checksum = isal_zlib.crc32(head)
    if algorithm != CHECKSUM_CRC32 or checksum != isal_zlib.crc32(payload, head_checksum):
        return None
    put_ms, stamp = _FRAME_TIME.unpack_from(ring, offset + _FRAME_HEADER.size + _FRAME_CHECKSUM.size)
    if put_ms and stamp != slot_checksum((position, put_ms)):
        put_ms = 0  # a time that is damaged makes nothing too old
    return Frame(
        position, length, rows, put, rows_after, bytes_after, units_after, flags, payload, put_ms, checksum,
        head_checksum,
    )  # fmt: skip


def put_at(ring: memoryview, offset: int, position: int) -> tuple[int, int] | None:
    """(length, put number; 0 for a PAD frame) of the frame at `offset`; None when none stands there.

    For those who only ask which put comes next: the payload is not looked at.
    """
    if offset + FRAME_HEADER_BYTES > len(ring):
        return None
    magic, version, flags, at, length, _, _, put, *_ = _FRAME_HEADER.unpack(
        bytes(ring[offset : offset + _FRAME_HEADER.size])
    )
    if magic != FRAME_MAGIC or version != VERSION or at != position or not length or length % FRAME_ALIGN:
        return None
    return int(length), 0 if flags & PAD else int(put)
