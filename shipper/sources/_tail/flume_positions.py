"""Flume's own position file, read and written as Flume does, so that a user can switch to us and back.

One line of JSON without a newline, as Gson prints it: `[{"inode":2244915,"pos":9,"file":"/d/app.log"}]`. Flume writes
it in place, which a crash can leave half-written; here it is written beside and renamed.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shipper import whole_file

# Gson escapes for HTML, and the two line separators for JavaScript.
_ESCAPED = re.compile("[\"\\\\<>&='\u2028\u2029\x00-\x1f]")
_OFFSET_MAX = (1 << 63) - 1
_SHORT = {'"': '\\"', "\\": "\\\\", "\t": "\\t", "\b": "\\b", "\n": "\\n", "\r": "\\r", "\f": "\\f"}


@dataclass(frozen=True, slots=True)
class FlumePosition:
    """One entry: the file with `inode` at `path` was read up to `offset`."""

    inode: int
    offset: int
    path: str


def render(positions: Iterable[FlumePosition]) -> bytes:
    """The position file's content, byte for byte as Flume writes it."""
    entries = (f'{{"inode":{p.inode},"pos":{p.offset},"file":"{_escape(p.path)}"}}' for p in positions)
    return ("[" + ",".join(entries) + "]").encode("utf-8", "surrogateescape")


def parse(content: bytes) -> list[FlumePosition]:
    """The entries of a position file.

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        entries = json.loads(content.decode("utf-8", "surrogateescape"))
    except RecursionError:
        entries = None
    if not isinstance(entries, list):
        raise ValueError("a list of {inode, pos, file} is expected")
    try:
        return [_position(e["inode"], e["pos"], str(e["file"])) for e in entries]
    except (KeyError, TypeError) as problem:
        raise ValueError(f"every entry needs inode, pos and file: {problem!r}") from None


def _position(inode: Any, pos: Any, path: str) -> FlumePosition:
    try:
        found = FlumePosition(int(inode), int(pos), path)
    except OverflowError:  # 1e999
        found = FlumePosition(-1, -1, path)
    if not 0 <= found.offset <= _OFFSET_MAX:
        raise ValueError(
            f"inode {inode} and pos {pos} of {path} are those of no file; write pos as bytes, from 0 to {_OFFSET_MAX}"
        )
    return found


def fingerprint(content: bytes) -> tuple[int, int]:
    """(checksum, length): says whether a file is still the one that we wrote."""
    return zlib.crc32(content), len(content)


def read(path: str) -> bytes | None:
    """The content of a position file, or None when there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def write(path: str, content: bytes, *, sync: bool = False) -> None:
    """Replaces a position file. If the process dies inside, the old one stands; with `sync`, if the machine does."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # Each worker of a source writes it, for all of them; and Flume, or anybody, may read it.
    whole_file.write(target, [content], synced=sync, mode=0o666, beside=f"{target}.{os.getpid()}.tmp")


def _escape(text: str) -> str:
    return _ESCAPED.sub(lambda match: _SHORT.get(match[0]) or f"\\u{ord(match[0]):04x}", text)
