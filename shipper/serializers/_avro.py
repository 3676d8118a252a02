"""The Avro object container: a header, then blocks of records, each closed by the file's sync marker.

::

    header   "Obj" 01 | map of metadata: avro.schema, avro.codec | sync marker, 16 bytes
    block    rows as a varint | bytes as a varint | the records, through the codec | sync marker

A varint is zigzag, seven bits a byte, the lowest first.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from isal import isal_zlib

from shipper.api import Bytes, Options, at_least, choice, columns, option, size

_RAW_WINDOW = -15
_VARINT_BYTES_MAX = 5  # zigzag of what fits in 32 bits


def _snappy(data: Bytes) -> bytes:
    return bytes(pa.Codec("snappy").compress(data, asbytes=True)) + zlib.crc32(data).to_bytes(4, "big")


def _zstandard(data: Bytes) -> bytes:
    return bytes(pa.Codec("zstd", compression_level=1).compress(data, asbytes=True))


def _deflate(data: Bytes) -> bytes:
    return bytes(isal_zlib.compress(data, 1, _RAW_WINDOW))


CODECS: dict[str, Callable[[Bytes], Any]] = {
    "null": lambda data: data,
    "deflate": _deflate,
    "snappy": _snappy,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=1),
    "zstandard": _zstandard,
}


@dataclass(frozen=True, kw_only=True)
class AvroOptions(Options):
    """Options of the serializers that write Avro containers."""

    sync_interval_bytes: int = option("syncIntervalBytes", at_least(size, 32, 1 << 30), 2_048_000,
        help="A block of the file ends when it is as long as that, and with every batch.")  # fmt: skip
    compression_codec: str = option("compressionCodec", choice(*CODECS), "null",
        help="What the blocks of the file are compressed with; null = nothing.")  # fmt: skip


def varints(values: columns.Numbers) -> pa.BinaryArray:
    """Each value (not negative, less than 2 GiB) as a varint: a column."""
    left = values.astype(np.uint64) << np.uint64(1)
    width = np.ones(len(left), np.int32)
    for bits in range(7, 7 * _VARINT_BYTES_MAX, 7):
        width += left >= 1 << bits
    longest = int(width.max(initial=1))
    digits = np.empty((len(left), longest), np.uint8)
    for place in range(longest):
        digits[:, place] = (left >> np.uint64(7 * place)) & np.uint64(127)
        digits[:, place] |= np.where(width > place + 1, np.uint8(128), np.uint8(0))
    return columns.varying_width(digits, width)


def varint(value: int) -> bytes:
    """One value (not negative) as a varint."""
    value <<= 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def counted(value: bytes) -> bytes:
    """A constant string or bytes value: its length, then itself."""
    return varint(len(value)) + value


class Container:
    """The bytes of one container file.

    Args:
        codec: as `avro.codec` has it; one of `CODECS`.
        sync_interval_bytes: a block ends with the record that makes it as long as that.
        sync: the file's marker.
    """

    def __init__(self, codec: str, sync_interval_bytes: int, sync: bytes) -> None:
        self.codec = codec
        self.sync = sync
        self._interval_bytes = sync_interval_bytes
        self._pack = CODECS[codec]

    def header(self, schema: str) -> bytes:
        """The first bytes of the file."""
        metadata = (
            counted(b"avro.schema"),
            counted(schema.encode()),
            counted(b"avro.codec"),
            counted(self.codec.encode()),
        )
        return b"Obj\x01" + varint(2) + b"".join(metadata) + varint(0) + self.sync

    def blocks(self, records: pa.BinaryArray) -> bytes:
        """The records as blocks, the last one closed behind the last record. Loops over blocks."""
        data = columns.run_of(records)
        ends = columns.offsets_of(records)
        ends = ends[1:] - ends[0]
        pieces: list[Bytes] = []
        begin = rows = 0
        for cut in columns.cut_at(ends, self._interval_bytes):
            end = int(ends[cut - 1])
            packed = self._pack(data[begin:end])
            pieces += (varint(cut - rows), varint(len(packed)), packed, self.sync)
            begin, rows = end, cut
        return b"".join(pieces)
