"""JSON strings of whole columns: escaped, checked for UTF-8, or in base64 where they are not.

Escaping costs one pass a kind of character that is there to be escaped: in an access log, the quotes alone.
"""

from __future__ import annotations

import binascii
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import columns

_QUOTE, _BACKSLASH, _BLANK = 0x22, 0x5C, 0x20
_PADDING = pa.array([b"", b"\0\0", b"\0"], pa.binary())

# What each byte is in UTF-8: how many bytes its character has when it is the first one, 0 inside, 9 nowhere.
_LEADS = np.full(256, 9, np.uint8)
_LEADS[0x00:0x80] = 1
_LEADS[0x80:0xC0] = 0
_LEADS[0xC2:0xE0] = 2
_LEADS[0xE0:0xF0] = 3
_LEADS[0xF0:0xF5] = 4
#: the second byte must be in these bounds behind those first ones (no overlong forms, no surrogates, nothing too large)
_SECONDS = ((0xE0, 0xA0, 0xBF), (0xED, 0x80, 0x9F), (0xF0, 0x90, 0xBF), (0xF4, 0x80, 0x8F))


def escaped(column: pa.BinaryArray | pa.StringArray) -> pa.BinaryArray:
    """Each row as it stands between the quotes of a JSON string. A null stays one."""
    data = np.frombuffer(columns.run_of(column), np.uint8)
    present = [code for code in (_BACKSLASH, _QUOTE) if (data == code).any()]
    below = data < _BLANK
    if below.any():
        present += np.unique(data[below]).tolist()
    text = column.cast(pa.binary())
    for code in present:  # the backslash comes first, before others bring backslashes in
        text = pc.replace_substring(text, bytes((code,)), json.dumps(chr(code))[1:-1].encode())
    return text


def quoted(value: str | None) -> bytes:
    """A constant as a JSON value."""
    return json.dumps(value, ensure_ascii=False).encode()


def not_utf8(column: pa.BinaryArray) -> Any:
    """The rows that are not UTF-8, as a boolean array; None when all are."""
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        # The bytes are looked at one by one only in rows that are more than ASCII.
        ends = columns.offsets_of(column)[1:]
        beyond_ascii = (
            np.flatnonzero(np.frombuffer(columns.run_of(column), np.int8) < 0) + columns.offsets_of(column)[0]
        )
        suspects = np.unique(np.searchsorted(ends, beyond_ascii, side="right"))
        rows = np.zeros(len(column), np.bool_)
        rows[suspects[_damaged(column.take(pa.array(suspects)))]] = True
        return rows
    return None


def _damaged(column: pa.BinaryArray) -> Any:
    # Three newlines behind each row: a character that the row left unfinished must not reach into the next row.
    lines = columns.joined(column, b"\n\n\n")
    data = np.frombuffer(columns.run_of(lines), np.uint8)
    lead = _LEADS[data]
    due = np.zeros(len(data), np.bool_)
    for behind in (1, 2, 3):
        due[behind:] |= (lead[:-behind] > behind) & (lead[:-behind] < 9)
    wrong = (lead == 9) | ((lead == 0) != due)
    for first, least, most in _SECONDS:
        wrong[1:] |= (data[:-1] == first) & ((data[1:] < least) | (data[1:] > most))
    places = np.flatnonzero(wrong)
    ends = columns.offsets_of(lines)
    rows = np.zeros(len(column), np.bool_)
    rows[np.searchsorted(ends[1:] - ends[0], places, side="right")] = True
    return rows


def base64(column: pa.BinaryArray) -> pa.BinaryArray:
    """Each row in base64."""
    lengths = columns.lengths_of(column).astype(np.int64)
    left = lengths % 3
    # Rows of a multiple of three bytes can be encoded in one call; what was added shows as "=" afterwards.
    whole = columns.joined(column, _PADDING.take(pa.array(left)))
    data = np.frombuffer(bytearray(binascii.b2a_base64(columns.run_of(whole), newline=False)), np.uint8)
    ends = np.cumsum((lengths + 2) // 3 * 4)
    data[ends[left > 0] - 1] = ord("=")
    data[ends[left == 1] - 2] = ord("=")
    offsets = np.concatenate(([0], ends)).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(column), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
