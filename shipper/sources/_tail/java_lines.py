"""The lines of Java's `readLine`, decoded and encoded again: what the exec source makes of bytes."""

from __future__ import annotations

import codecs

import numpy as np
import pyarrow as pa

from shipper.batch.framing import rows_between, rows_of, strip_carriage_returns
from shipper.batch.line_scan import LineScan, Offsets
from shipper.sources._charset import codec_name

#: Every byte is a character of its own: what comes out is what went in.
_TRANSPARENT = ("iso8859-1", "latin_1")


def charset_problem(name: str) -> str | None:
    """Why lines can't be read in this charset, or None when they can."""
    try:
        codec = codecs.lookup(codec_name(name))
    except ValueError as problem:
        return str(problem)
    if codec.encode("\r\nA")[0] != b"\r\nA":
        return "has no single byte for the end of a line; convert the output, as with `| iconv -f UTF-16 -t UTF-8`"
    return None


class JavaLineRule:
    """exec's rule: `\\n`, `\\r` or `\\r\\n` end a line and are no part of it.

    What is invalid in the charset becomes U+FFFD. A block of valid UTF-8 is only looked at; one that is not is decoded
    and encoded as a whole, once.
    """

    def __init__(self, charset: str) -> None:
        self._codec = codecs.lookup(codec_name(charset))
        self._transparent = self._codec.name in _TRANSPARENT
        self._is_utf8 = self._codec.name == "utf-8"

    def ends(self, data: memoryview, scan: LineScan) -> Offsets:
        return any_line_ends(data) if scan.has_return() else scan.ends()

    def rows(self, data: memoryview, offsets: Offsets, *, has_return: bool = True) -> tuple[pa.RecordBatch, int]:
        converted = self._converted(data)
        if converted is not None:
            data, offsets, has_return = memoryview(converted), java_line_ends(converted), True
        return strip_any_line_ends(data, offsets) if has_return else (rows_of(data, offsets), 1)

    def last(self, data: memoryview) -> pa.RecordBatch:
        converted = self._converted(data)
        text = data if converted is None else memoryview(converted)
        length = len(text) - 1 if len(text) and text[-1] == 13 else len(text)
        return rows_of(text[:length], np.array([0, length], np.int32))

    def _converted(self, data: memoryview) -> bytes | None:
        """The bytes after a way through the charset; None when they stay as they are."""
        if self._transparent:
            return None
        if self._is_utf8 and _is_utf8(data):
            return None
        text, _ = self._codec.decode(bytes(data), "replace")
        return self._codec.encode(text, "replace")[0]


def _is_utf8(data: memoryview) -> bool:
    whole = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data)]
    )
    try:
        whole.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def java_line_ends(block: memoryview | bytes) -> Offsets:
    """Offsets of the lines in a block that is whole already, by the rule of `readLine`."""
    scan = LineScan.of(block)
    return any_line_ends(block) if scan.has_return() else scan.ends()


def any_line_ends(block: memoryview | bytes) -> Offsets:
    """Like `line_ends` by the rule of `readLine`: `\n`, `\r` and `\r\n` each end a line.

    A `\r` that is the last byte ends none yet: a `\n` may follow.
    """
    values = np.frombuffer(block, np.uint8)
    newlines = values == 10
    ends = newlines.copy()
    ends[:-1] |= (values[:-1] == 13) & ~newlines[1:]
    found = np.flatnonzero(ends)
    offsets = np.empty(len(found) + 1, np.int32)
    offsets[0] = 0
    np.add(found, 1, out=offsets[1:], casting="unsafe")
    return offsets


def strip_any_line_ends(block: memoryview | bytes, offsets: Offsets) -> tuple[pa.RecordBatch, int]:
    """The lines that `any_line_ends` found, without their ends: (records, trim). Copies where ends are mixed."""
    values = np.frombuffer(block, np.uint8)
    ends = offsets[1:]
    last = values[ends - 1]
    if (last == 10).all():
        return strip_carriage_returns(block, offsets)
    pairs = (last == 10) & (values[np.maximum(ends - 2, 0)] == 13) & (np.diff(offsets) > 1)
    return rows_between(block, offsets[:-1], ends - 1 - pairs), 0
