"""Text in any character set: where its lines end before it is decoded, its way to UTF-8, and out again."""

from __future__ import annotations

import codecs
from typing import Any

import numpy as np

from shipper.api import EventBatch
from shipper.batch.framing import line_ends, rows_between, rows_of
from shipper.sources.deserializers.deserializer import Content

_UNITS: dict[str, np.dtype[Any]] = {
    "utf-16-le": np.dtype("<u2"), "utf-16-be": np.dtype(">u2"),
    "utf-32-le": np.dtype("<u4"), "utf-32-be": np.dtype(">u4"),
}  # fmt: skip
_BYTE: np.dtype[Any] = np.dtype("u1")


class EncodedText:
    """The character set of a file, which may be decided by the mark at the file's beginning.

    Args:
        charset: by Python's name.
        errors: `strict`, `replace` or `ignore`.
        content: of the file; a mark at its beginning is read, and stepped over.
    """

    def __init__(self, charset: str, errors: str, content: Content) -> None:
        self.charset = _by_mark(charset, content) if charset in ("utf-16", "utf-32") else charset
        self._errors = errors
        self._unit = _UNITS.get(self.charset, _BYTE)

    def last_line_end(self, block: bytearray, size: int) -> int:
        """The place behind the last newline among the first `size` bytes; 0 when there is none."""
        if self._unit is _BYTE:
            return block.rfind(b"\n", 0, size) + 1
        return int(self.line_starts(block, size)[-1])

    def line_starts(self, block: bytearray, size: int) -> Any:
        """0, then the place behind each newline among the first `size` bytes."""
        if self._unit is _BYTE:
            return line_ends(memoryview(block)[:size])
        return _wide_line_ends(block, size, self._unit)

    def without_half_char(self, block: bytearray, size: int) -> int:
        """`size`, or less when the last UTF-8 character among so many bytes is not all there."""
        for back in range(1, min(3, size) + 1):
            byte = block[size - back]
            if byte >= 0xC0:
                needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                return size - back if needed > back else size
            if byte < 0x80:
                break
        return size

    def to_utf8(self, block: bytearray, size: int) -> tuple[bytes, int, int | None]:
        """The first `size` bytes as UTF-8.

        Returns:
            The text; how many bytes it was made of (without half a character at the end); and where the first byte
            is that can't be decoded, None when there is none or it does not matter.
        """
        decoder = codecs.getincrementaldecoder(self.charset)(self._errors)
        try:
            text = decoder.decode(memoryview(block)[:size].tobytes())
        except UnicodeDecodeError as problem:
            return b"", 0, problem.start
        return text.encode("utf-8", "replace"), size - len(decoder.getstate()[0]), None


def encoded_lines(batch: EventBatch, charset: str) -> EventBatch:
    """The batch with its bodies, which are UTF-8, in another character set; what that lacks becomes `?`."""
    text = str(batch.lines(), "utf-8").encode(charset, "replace")
    unit = _UNITS.get(charset, _BYTE)
    if unit is _BYTE:
        return EventBatch(rows_of(text, line_ends(text)), trim=1)
    ends = _wide_line_ends(text, len(text), unit)
    return EventBatch(rows_between(text, ends[:-1], ends[1:] - unit.itemsize))


def _wide_line_ends(data: bytes | bytearray, size: int, unit: np.dtype[Any]) -> Any:
    found = np.flatnonzero(np.frombuffer(data, unit, size // unit.itemsize) == 10)
    ends = np.zeros(len(found) + 1, np.int64)
    ends[1:] = (found + 1) * unit.itemsize
    return ends


def _by_mark(charset: str, content: Content) -> str:
    width = 2 if charset == "utf-16" else 4
    offset = content.offset
    content.seek(0)
    mark = bytearray(width)
    content.read_into(memoryview(mark))
    little = bytes(mark) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF32_LE)
    marked = little or bytes(mark) in (codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
    content.seek(max(offset, width) if marked else offset)
    return f"{charset}-{'le' if little else 'be'}"
