"""LZO by the library liblzo2, where a person has installed it. Its licence (GPL) keeps it out of this package.

::

    lzo     blocks, as Hadoop's class LzoCodec has them: raw size, packed size (big-endian u32 each), raw LZO1X block
    lzop    the container of the program lzop and of LzopCodec: BEGIN | blocks | END
    block   raw size u32 | packed size u32 | Adler-32 of the raw bytes | data; as it is when packing does not help

A container can't be a run of containers, as with gzip: Hadoop's reader stops at the first end.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import threading
import zlib
from collections.abc import Callable

from shipper.serializers.serializer import Bytes

#: what Hadoop's compressor takes into a block: 262,144 less what incompressible data may grow by (n / 16 + 67)
BLOCK_BYTES = 245_693

_WORK_BYTES = 16_384 * ctypes.sizeof(ctypes.c_void_p)
_BLOCK = struct.Struct(">II")
_CHECKED_BLOCK = struct.Struct(">III")
_LZO1X_1, _LEVEL, _ADLER32_OF_RAW = 1, 1, 1
# version of the program, of the library (readers in Java refuse a later one) and needed; method, level,
# flags, mode, time in two parts, length of name
_HEADER = struct.pack(">HHHBBIIIIB", 0x1030, 0x2050, 0x0940, _LZO1X_1, _LEVEL, _ADLER32_OF_RAW, 0o100644, 0, 0, 0)
BEGIN = b"\x89LZO\x00\r\n\x1a\n" + _HEADER + struct.pack(">I", zlib.adler32(_HEADER))
END = bytes(4)


def pack_blocks(data: Bytes) -> bytes:
    """The data as blocks of LzoCodec."""
    pieces: list[Bytes] = []
    for raw in _cut(data):
        packed = _compress(raw)
        pieces += (_BLOCK.pack(len(raw), len(packed)), packed)
    return b"".join(pieces)


def pack_checked_blocks(data: Bytes) -> bytes:
    """The data as blocks of a container."""
    pieces: list[Bytes] = []
    for raw in _cut(data):
        packed: Bytes = _compress(raw)
        if len(packed) >= len(raw):
            packed = raw
        pieces += (_CHECKED_BLOCK.pack(len(raw), len(packed), zlib.adler32(raw)), packed)
    return b"".join(pieces)


def _cut(data: Bytes) -> list[memoryview]:
    view = memoryview(data)
    return [view[start : start + BLOCK_BYTES] for start in range(0, len(view), BLOCK_BYTES)]


def _compress(raw: memoryview) -> bytes:
    compress = compressor()
    assert compress is not None, "a codec is made only where the library is"
    return compress(bytes(raw))


class _Buffers(threading.local):
    """What the library writes into: each thread has its own, since all of them may be in it at once."""

    def __init__(self) -> None:
        self.work = ctypes.create_string_buffer(_WORK_BYTES)
        self.room = ctypes.create_string_buffer(BLOCK_BYTES + BLOCK_BYTES // 16 + 67)


@functools.cache
def compressor() -> Callable[[bytes], bytes] | None:
    """Packs up to `BLOCK_BYTES`; None when the library is not on this machine."""
    import ctypes.util  # half a megabyte, for those who write lzo

    try:
        library = ctypes.CDLL(ctypes.util.find_library("lzo2") or "liblzo2.so.2")
    except OSError:
        return None
    call = library.lzo1x_1_compress
    size_of = ctypes.POINTER(ctypes.c_size_t)
    call.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, size_of, ctypes.c_char_p)
    call.restype = ctypes.c_int
    own = _Buffers()

    def compress(raw: bytes) -> bytes:
        size = ctypes.c_size_t(len(own.room))
        status = call(raw, len(raw), own.room, ctypes.byref(size), own.work)
        assert status == 0, f"lzo1x_1_compress succeeds with every input; it answered {status}"
        return bytes(memoryview(own.room)[: size.value])

    return compress
