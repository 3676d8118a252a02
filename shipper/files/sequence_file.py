"""A Hadoop SequenceFile: records of a key (the time, in ms since 1970) and a value (the body), and sync markers.

::

    header   "SEQ" 06 | key class | value class | compressed? | in blocks? | [codec class] | metadata i32 = 0 | sync 16
    record   key and value bytes i32 | key bytes i32 = 8 | key i64 | value
    block    ff ff ff ff | sync | records vint | 4 runs: key lengths, keys, value lengths, values
    run      packed bytes vint | packed
    value    Writable: body bytes i32 | body              Text: body bytes vint | body
    escape   ff ff ff ff | sync, behind the records of each batch (in a file without a codec)

Big-endian throughout. A vint is one byte for -112..127, else a byte that says how many follow (-113 = one) and these.
With a codec, records are compressed in blocks (about 1 MB of keys and values each, and with every batch); without one
they stand as they are. It is a serializer like others, so files of it roll, are cut and are continued like others; the
sync marker is its state.

The key is the header `timestamp`, else the clock now. Rows whose header is not a number are refused by name, where
Flume fails on them for ever.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.batch import columns
from shipper.batch.batch import EventBatch
from shipper.clock import Clock
from shipper.config.field import Kind, Options, option
from shipper.errors import Refused
from shipper.files.compress import Codec, codec_name, find_codec
from shipper.serializers.serializer import Bytes, Serializer

WRITABLE, TEXT = "Writable", "Text"
TIMESTAMP = "timestamp"
BLOCK_BYTES = 1_000_000

_KEY_CLASS = b"org.apache.hadoop.io.LongWritable"
_VALUE_CLASS = {WRITABLE: b"org.apache.hadoop.io.BytesWritable", TEXT: b"org.apache.hadoop.io.Text"}
_KEY_BYTES = 8
_ESCAPE = b"\xff\xff\xff\xff"
_LONG = re.compile(r"[+-]?[0-9]+")


def find_write_format(name: str) -> str:
    """`Writable` or `Text` from what a person wrote: either in any case, or the name of Flume's class.

    Raises:
        ValueError: it is neither; a sentence that says what would be right.
    """
    wanted = name.strip().lower().removesuffix("$builder").removeprefix("org.apache.flume.sink.hdfs.hdfs")
    for known in (WRITABLE, TEXT):
        if wanted in (known.lower(), f"{known.lower()}serializer"):
            return known
    raise ValueError(f"must be {WRITABLE} or {TEXT}")


@dataclass(frozen=True, kw_only=True)
class SequenceFileOptions(Options):
    """Options of a SequenceFile."""

    write_format: str = option("writeFormat", Kind("Writable or Text", find_write_format), WRITABLE,
        help="How a body is written: as BytesWritable or as Text.")  # fmt: skip
    codec: str = option("codeC", codec_name, "",
        help="What blocks of records are compressed with; none = records as they are.")  # fmt: skip


class SequenceFileSerializer(Serializer[SequenceFileOptions]):
    """Events as records of a SequenceFile."""

    Options = SequenceFileOptions
    aliases = ("sequence_file",)

    def __init__(self, options: SequenceFileOptions, clock: Clock, state: str | None = None) -> None:
        super().__init__(options, clock, state)
        self._sync = os.urandom(16) if state is None else bytes.fromhex(state)
        self._codec = find_codec(options.codec) if options.codec else None
        self._body_lengths = _lengths_of_bytes if options.write_format == WRITABLE else vints

    def header(self) -> Bytes:
        codec = self._codec
        class_names = (_counted(_KEY_CLASS), _counted(_VALUE_CLASS[self.options.write_format]))
        compression = b"\x00\x00" if codec is None else b"\x01\x01" + _counted(codec.class_name.encode())
        return b"SEQ\x06" + b"".join(class_names) + compression + bytes(4) + self._sync

    def serialize(self, batch: EventBatch) -> Bytes:
        """The rows as records.

        Raises:
            Refused: the header `timestamp` of some rows is not a number.
        """
        if not batch.rows:
            return b""
        lengths = batch.body_lengths()
        keys = _keys(batch, self.clock.now_ms())
        if self._codec is None:
            return self._records(batch, keys, lengths)
        return self._blocks(batch, keys, lengths, self._codec)

    def state(self) -> str | None:
        return self._sync.hex()

    def _records(self, batch: EventBatch, keys: Any, lengths: Any) -> Bytes:
        counts = self._body_lengths(lengths)
        head = np.empty((batch.rows, 16), np.uint8)
        head[:, :4] = _big_endian(_KEY_BYTES + columns.lengths_of(counts) + lengths, "i4")
        head[:, 4:8] = (0, 0, 0, _KEY_BYTES)
        head[:, 8:] = _big_endian(keys, "i8")
        records = columns.joined(columns.fixed_width(head), counts, batch.body)
        return b"".join((columns.run_of(records), _ESCAPE, self._sync))

    def _blocks(self, batch: EventBatch, keys: Any, lengths: Any, codec: Codec) -> Bytes:
        values = columns.joined(self._body_lengths(lengths), batch.body)
        value_bytes = columns.lengths_of(values)
        value_lengths = vints(value_bytes)
        pieces: list[Bytes] = []
        rows = 0
        for cut in columns.cut_at(np.cumsum(value_bytes + _KEY_BYTES), BLOCK_BYTES):
            pieces += (_ESCAPE, self._sync, vint(cut - rows))
            runs = (
                bytes((_KEY_BYTES,)) * (cut - rows),
                memoryview(keys[rows:cut].astype(">i8")).cast("B"),
                columns.run_of(value_lengths[rows:cut]),
                columns.run_of(values[rows:cut]),
            )
            for run in runs:
                packed = codec.begin + codec.pack(run) + codec.end
                pieces += (vint(len(packed)), packed)
            rows = cut
        return b"".join(pieces)


def vint(value: int) -> bytes:
    """One number (not negative) as Hadoop's vint."""
    if value <= 127:
        return bytes((value,))
    magnitude = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((256 - 112 - len(magnitude),)) + magnitude


def vints(values: columns.Numbers) -> pa.BinaryArray:
    """Each number (not negative, less than 2 GiB) as Hadoop's vint: a column."""
    longest = len(vint(int(values.max(initial=0))))
    if longest == 1:
        return columns.fixed_width(values.astype(np.uint8)[:, None])
    # The digits in the last columns of a matrix, from which each row takes as many as it needs, shifted to the front.
    width = np.ones(len(values), np.int32) + (values > 127)
    for bits in range(8, 8 * (longest - 1), 8):
        width += values >= 1 << bits
    digits = np.empty((len(values), longest), np.uint8)
    digits[:, 0] = np.where(width == 1, values, 256 - 112 + 1 - width)
    for place in range(1, longest):
        digits[:, place] = values >> np.maximum(8 * (width - 1 - place), 0)
    return columns.varying_width(digits, width)


def _lengths_of_bytes(lengths: Any) -> pa.BinaryArray:
    return columns.fixed_width(_big_endian(lengths, "i4"))


def _big_endian(values: Any, kind: str) -> Any:
    """Numbers as rows of their bytes."""
    return np.ascontiguousarray(values, f">{kind}").view(np.uint8).reshape(len(values), -1)


def _counted(name: bytes) -> bytes:
    return vint(len(name)) + name


def _keys(batch: EventBatch, now_ms: int) -> Any:
    """The key of each row: int64."""
    if TIMESTAMP in batch.constants:
        constant = batch.constants[TIMESTAMP]
        key = now_ms if constant is None else _long(constant)
        if key is None:
            raise _refused(batch.rows, constant or "", range(batch.rows))
        return np.full(batch.rows, key, np.int64)
    values = batch.header(TIMESTAMP)
    if values is None:
        return np.full(batch.rows, now_ms, np.int64)
    try:
        keys = pc.cast(values, pa.int64())
    except pa.ArrowInvalid:
        keys = _unusual_keys(values)
    return pc.fill_null(keys, now_ms).to_numpy(zero_copy_only=False)


def _unusual_keys(values: pa.StringArray) -> pa.Int64Array:
    """Keys where some value is not what Arrow takes for a number: each distinct value is looked at."""
    encoded = values.dictionary_encode()
    found = [_long(value) for value in encoded.dictionary.to_pylist()]
    bad = np.array([key is None for key in found])
    rows = np.flatnonzero(bad[encoded.indices.fill_null(0).to_numpy()] & encoded.indices.is_valid().to_numpy(False))
    if len(rows):
        raise _refused(len(values), values[int(rows[0])].as_py(), tuple(rows.tolist()))
    return pa.array(found, pa.int64()).take(encoded.indices)


def _long(value: str) -> int | None:
    """What Java reads as a long, or None."""
    if not _LONG.fullmatch(value):
        return None
    number = int(value)
    return number if -(1 << 63) <= number < 1 << 63 else None


def _refused(rows: int, value: str, bad: Any) -> Refused:
    return Refused(
        f"SequenceFile: {len(bad)} of {rows} events have a header {TIMESTAMP} that is not a number of milliseconds: "
        f"{value[:80]!r}; an interceptor of type timestamp sets one",
        tuple(bad),
    )
