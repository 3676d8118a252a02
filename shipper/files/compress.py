"""A codec: bytes in, a complete run of compressed bytes out, in the form that Hadoop's class of that name reads.

Every `pack()` ends its member, stream, frame or block, so a file is the runs one after the other, may be cut behind any
of them, and is continued by another process that knows nothing of the first::

    gzip      one member a pack           ISA-L level 1, without a time or a name
    deflate   one zlib stream a pack      Hadoop reads all of them; a plain zlib reader stops after the first
    bzip2     streams                     level 9, as Hadoop
    zstd      frames                      level 1
    lz4       blocks: raw size, packed size (big-endian u32 each), raw LZ4 block
    snappy    blocks, the same with raw snappy
    lzo lzop  where liblzo2 is installed (`_lzo.py`)

A block of lz4 or snappy must not be larger than Hadoop's own compressors make them: its readers have a buffer of
262,144 bytes, and a block that outgrows it reads as nothing (lz4) or kills the reader (snappy). The standard LZ4 frame
and the snappy framing format read as nothing in Hadoop, so they are never written here.

Packing 1 MiB of access log at a time costs little against the whole file in one go: lz4 2.8 % against `lz4 -1`, gzip
0.4 % against `igzip -1` (8 % less than `gzip -1`), zstd 1.5 %.
"""

from __future__ import annotations

import bz2
import functools
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
from isal import isal_zlib

from shipper.config.field import Kind
from shipper.files import _lzo
from shipper.likely import likely
from shipper.serializers.serializer import Bytes

#: raw bytes in a block: 262,144 less what incompressible data may grow by (n / 255 + 16, n / 6 + 32)
LZ4_BLOCK_BYTES = 261_100
SNAPPY_BLOCK_BYTES = 218_422
#: what bzip2 packs at a time at level 9: a part of so many bytes has no block that is smaller
BZIP2_BLOCK_BYTES = 899_981

_GZIP_WINDOW, _ZLIB_WINDOW, _RAW_WINDOW = 31, 15, -15
_GZIP_BEGIN = bytes.fromhex("1f8b08000000000000ff")
_GZIP_END = struct.Struct("<II")
_BLOCK = struct.Struct(">II")


@dataclass(frozen=True)
class Parts:
    """How one run is made of parts, which may be packed at the same time: the run is as whole as if it had none.

    Attributes:
        multiple_bytes: each part but the last has a multiple of so many bytes.
        pack: a part; True when it is the last.
        run: of all packed parts, in order; it is told the CRC-32 and the length of what they were.
        sums: False where `run` does without the CRC-32.
    """

    multiple_bytes: int
    pack: Callable[[Bytes, bool], bytes]
    run: Callable[[Sequence[bytes], int, int], bytes]
    sums: bool = False


@dataclass(frozen=True)
class Codec:
    """One way to make bytes smaller.

    Attributes:
        name: ours, as in `gzip`.
        class_name: Hadoop's class for it; stands in the header of SequenceFiles.
        suffix: what Hadoop's readers know its files by, with the dot.
        pack: the data as a complete run: nothing for nothing. The data is not kept.
        begin, end: what stands before the first run of a file and behind the last one.
        parts: None where a run can only be made in one go.
    """

    name: str
    class_name: str
    suffix: str
    pack: Callable[[Bytes], bytes]
    begin: bytes = b""
    end: bytes = b""
    parts: Parts | None = None


def find_codec(name: str) -> Codec:
    """The codec that a person means: a Hadoop class name, or its last part in any case, with or without `Codec`.

    Raises:
        ValueError: there is none, or it can't run on this machine; a sentence that says what would be right.
    """
    wanted = name.strip().lower()
    if "." not in wanted:
        wanted = wanted.removesuffix("codec")
    if (codec := _NAMES.get(wanted)) is not None:
        return codec
    if (codec := next((c for c in _LZO if wanted in (c.name, c.class_name.lower())), None)) is not None:
        if _lzo.compressor() is None:
            raise ValueError(_NO_LZO)
        return codec
    if wanted in ("passthrough", "org.apache.hadoop.io.compress.passthroughcodec"):
        raise ValueError("the passthrough codec of Hadoop can only read; leave the codec out, or use gzip or lz4")
    near = likely(wanted, [codec.name for codec in CODECS], 1)
    raise ValueError(
        f"must be one of {', '.join(c.name for c in CODECS)}, or the name of Hadoop's class"
        + (f"; did you mean {near[0]}?" if near else "")
    )


codec_name = Kind("name of a codec", lambda value: find_codec(value).name)


def _gzip(data: Bytes) -> bytes:
    return bytes(isal_zlib.compress(data, 1, _GZIP_WINDOW)) if len(data) else b""


def _gzip_part(data: Bytes, last: bool) -> bytes:
    deflate = isal_zlib.compressobj(1, isal_zlib.DEFLATED, _RAW_WINDOW)
    return bytes(deflate.compress(data) + deflate.flush(isal_zlib.Z_FINISH if last else isal_zlib.Z_SYNC_FLUSH))


def _gzip_run(packed: Sequence[bytes], checksum: int, size_bytes: int) -> bytes:
    """One member of all parts: each but the last ends at a byte, so deflate's bits go on behind it."""
    return b"".join([_GZIP_BEGIN, *packed, _GZIP_END.pack(checksum, size_bytes & 0xFFFFFFFF)])


def _of_runs(pack: Callable[[Bytes], bytes], block_bytes: int = 1) -> Parts:
    """Where runs behind each other are read as one."""
    return Parts(
        block_bytes,
        lambda data, last: pack(data),
        lambda packed, checksum, size_bytes: b"".join(packed),
    )


def _deflate(data: Bytes) -> bytes:
    return bytes(isal_zlib.compress(data, 1, _ZLIB_WINDOW)) if len(data) else b""


def _bzip2(data: Bytes) -> bytes:
    return bz2.compress(data) if len(data) else b""


def _zstd(data: Bytes) -> bytes:
    return bytes(_arrow_codec("zstd", 1).compress(data, asbytes=True)) if len(data) else b""


def _lz4(data: Bytes) -> bytes:
    return _blocks(_arrow_codec("lz4_raw"), data, LZ4_BLOCK_BYTES)


def _snappy(data: Bytes) -> bytes:
    return _blocks(_arrow_codec("snappy"), data, SNAPPY_BLOCK_BYTES)


def _blocks(codec: pa.Codec, data: Bytes, block_bytes: int) -> bytes:
    view = memoryview(data)
    pieces: list[bytes] = []
    for start in range(0, len(view), block_bytes):
        raw = view[start : start + block_bytes]
        packed = codec.compress(raw, asbytes=True)
        pieces += (_BLOCK.pack(len(raw), len(packed)), packed)
    return b"".join(pieces)


@functools.cache
def _arrow_codec(name: str, level: int | None = None) -> pa.Codec:
    return pa.Codec(name, compression_level=level)


CODECS = (
    Codec("gzip", "org.apache.hadoop.io.compress.GzipCodec", ".gz", _gzip, parts=Parts(1, _gzip_part, _gzip_run, True)),
    Codec(
        "bzip2", "org.apache.hadoop.io.compress.BZip2Codec", ".bz2", _bzip2, parts=_of_runs(_bzip2, BZIP2_BLOCK_BYTES)
    ),
    Codec("deflate", "org.apache.hadoop.io.compress.DeflateCodec", ".deflate", _deflate),
    Codec("default", "org.apache.hadoop.io.compress.DefaultCodec", ".deflate", _deflate),
    Codec("lz4", "org.apache.hadoop.io.compress.Lz4Codec", ".lz4", _lz4, parts=_of_runs(_lz4, LZ4_BLOCK_BYTES)),
    Codec(
        "snappy",
        "org.apache.hadoop.io.compress.SnappyCodec",
        ".snappy",
        _snappy,
        parts=_of_runs(_snappy, SNAPPY_BLOCK_BYTES),
    ),
    Codec("zstd", "org.apache.hadoop.io.compress.ZStandardCodec", ".zst", _zstd, parts=_of_runs(_zstd)),
)
_LZO = (
    Codec("lzo", "com.hadoop.compression.lzo.LzoCodec", ".lzo_deflate", _lzo.pack_blocks),
    Codec("lzop", "com.hadoop.compression.lzo.LzopCodec", ".lzo", _lzo.pack_checked_blocks, _lzo.BEGIN, _lzo.END),
)
_NAMES = {name: codec for codec in CODECS for name in (codec.name, codec.class_name.lower())}
_NAMES["zstandard"] = _NAMES["zstd"]
_NO_LZO = (
    "LZO needs the library liblzo2 (apt-get install liblzo2-2), which does not come with this package because of its "
    "licence, the GPL; lz4 is as fast, and Hadoop reads it without an extra library"
)
