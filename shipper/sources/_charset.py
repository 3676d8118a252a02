"""Character sets by Java's names: what Python calls them, decoders that read marks as Java does, checks of blocks."""

from __future__ import annotations

import codecs
import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa

from shipper.api import text

#: Java's names that Python's codec registry does not know.
_JAVA_NAMES = {
    "windows-31j": "cp932", "ms932": "cp932", "ms936": "gbk", "ms950": "cp950", "ms949": "cp949",
    "x-windows-949": "cp949", "x-windows-950": "cp950", "x-windows-874": "cp874", "x-sjis": "shift_jis",
    "x-johab": "johab", "x-macroman": "mac_roman", "x-utf-16le-bom": "utf-16", "iso8859_1": "latin-1",
}  # fmt: skip


def codec_name(java_name: str) -> str:
    """Python's name of a character set.

    Raises:
        ValueError: nobody knows it, or it is none; a sentence.
    """
    name = java_name.strip()
    try:
        found = codecs.lookup(_JAVA_NAMES.get(name.lower(), name))
    except (LookupError, ValueError):
        found = None
    if found is None or not found._is_text_encoding or found.name in ("idna", "punycode", "undefined"):
        raise ValueError("this is no character set that is known here; UTF-8, ISO-8859-1, windows-1252 or GBK would be")
    return found.name


#: An option whose value is a character set; the parsed value is Python's name of it ("utf-8").
charset = dataclasses.replace(text, name="character set", parse=codec_name)


def decoder(name: str, errors: str = "strict") -> codecs.IncrementalDecoder:
    """A decoder that takes the bytes in pieces. UTF-16 and UTF-32 without a mark are big-endian, as in Java.

    Args:
        errors: `strict`, `replace` or `ignore`, as Python has them.
    """
    if name in ("utf-16", "utf-32"):
        return _BigEndianUnlessMarked(name, errors)
    return codecs.getincrementaldecoder(name)(errors)


class _BigEndianUnlessMarked(codecs.IncrementalDecoder):
    def __init__(self, name: str, errors: str) -> None:
        super().__init__(errors)
        self._name = name
        self._begin = b""
        self._decoder: codecs.IncrementalDecoder | None = None

    def decode(self, input: bytes, final: bool = False) -> str:  # type: ignore[override]
        if self._decoder is None:
            self._begin += bytes(input)
            width = 2 if self._name == "utf-16" else 4
            if len(self._begin) < width and not final:
                return ""
            marks = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
            marked = self._begin[:width] in marks
            self._decoder = codecs.getincrementaldecoder(self._name if marked else f"{self._name}-be")(self.errors)
            input, self._begin = self._begin, b""
        return self._decoder.decode(input, final)


def is_ascii(data: bytearray | memoryview, size: int) -> bool:
    """True when the first `size` bytes are ASCII. About 80 GB/s."""
    return not size or int(np.frombuffer(data, np.uint8, size).max()) < 128


def is_utf8(data: bytearray | memoryview, size: int) -> bool:
    """True when the first `size` bytes are UTF-8. About 80 GB/s where they are ASCII, 3 GB/s elsewhere."""
    if is_ascii(data, size):
        return True
    offsets = pa.py_buffer(np.array([0, size], np.int32))
    whole = pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(data)])
    try:
        whole.cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def java_chars(data: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """For each byte of UTF-8, how many of Java's characters begin with it: 0, 1, or 2 for a pair of surrogates."""
    chars: np.ndarray[Any, np.dtype[np.int64]] = ((data & 0xC0) != 0x80).astype(np.int64)
    chars += data >= 0xF0
    return chars
