"""Flume's progress file, `.flumespool-main.meta`: how far the file that is being read has been delivered.

An Avro container file. Its header names the spooled file (metadata `file`) and, beside what Flume writes, the file's
identity (`shipper.identity`), which Flume skips; each commit appends a block with one long, and the last whole block
counts. Flume goes on with a file of ours, and we with one of Flume's.

::

    Obj\\x01 | map: avro.schema, file, shipper.identity | sync (16)
    block:   count = 1 | size | offset (zig-zag varint) | sync (16)
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from shipper import whole_file
from shipper.api import DamagedData
from shipper.files.appended_file import AppendedFile

_MAGIC = b"Obj\x01"
_SCHEMA = (
    b'{"type":"record","name":"TransferStateFileMeta","namespace":"org.apache.flume.serialization",'
    b'"fields":[{"name":"offset","type":"long"}]}'
)
_IDENTITY = "shipper.identity"


@dataclass(frozen=True)
class Progress:
    """What a progress file says. `identity` is empty when Flume wrote it."""

    path: str
    offset: int
    identity: str


def read_progress(path: Path) -> Progress | None:
    """What the file says; None when there is none, or an empty one, as a full disk leaves behind.

    Raises:
        DamagedData: it is no progress file.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    if not data:
        return None
    try:
        if data[:4] != _MAGIC:
            raise ValueError("it does not begin as an Avro file")
        metadata, at = _read_map(data, 4)
        if metadata.get("avro.codec", b"null") != b"null":
            raise ValueError("it is compressed")
        sync = data[at : at + 16]
        at += 16
        name = metadata["file"].decode("utf-8", "surrogateescape")
    except (ValueError, KeyError, IndexError) as problem:
        raise DamagedData(f"{path} is no progress file: {problem}") from None
    offset = 0
    while at < len(data):
        try:
            _, at = _read_long(data, at)
            size, at = _read_long(data, at)
            end = at + size
            if size < 1 or data[end : end + 16] != sync:
                break  # the block that was being written when its writer died
            last = at
            while last < end:
                offset, last = _read_long(data, last)
            at = end + 16
        except IndexError:
            break
    return Progress(name, offset, metadata.get(_IDENTITY, b"").decode("ascii", "replace"))


class ProgressFile:
    """The progress file that we write. It is there only while a file is half delivered.

    Args:
        path: of the progress file; its folder is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: AppendedFile | None = None
        self._begun = False  # and nobody has synced its name
        self._sync = b""
        self._identity = ""

    def note(self, spooled: str, identity: str, offset: int) -> None:
        """Says how far a file has been delivered.

        Raises:
            OSError: it can't be written; what was noted before stands.
        """
        if self._file is not None and identity != self._identity:
            self.close()  # of a file that is done; it is retired by now
        file = self._file or self._begin(spooled, identity)
        data = _long(offset)
        file.append(_long(1) + _long(len(data)) + data + self._sync)

    def sync(self) -> None:
        """What was noted survives the death of the machine."""
        if self._file is not None:
            self._file.sync()
        if self._begun:
            whole_file.sync_directory(self._path.parent)
            self._begun = False

    def end(self) -> None:
        """The file that it spoke of is done: removes it, whoever wrote it."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leaves it for the next start."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, spooled: str, identity: str) -> AppendedFile:
        self._sync = os.urandom(16)
        self._identity = identity
        entries = {
            "avro.schema": _SCHEMA, "file": spooled.encode("utf-8", "surrogateescape"), _IDENTITY: identity.encode(),
        }  # fmt: skip
        head = _MAGIC + _long(len(entries))
        for key, value in entries.items():
            head += _long(len(key)) + key.encode() + _long(len(value)) + value
        self._file = AppendedFile.begun(self._path, [head + _long(0) + self._sync], mode=0o644)
        self._begun = True
        return self._file


def _read_map(data: bytes, at: int) -> tuple[dict[str, bytes], int]:
    found: dict[str, bytes] = {}
    while True:
        count, at = _read_long(data, at)
        if not count:
            return found, at
        if count < 0:
            count = -count
            _, at = _read_long(data, at)
        for _ in range(min(count, len(data))):
            key, at = _read_bytes(data, at)
            value, at = _read_bytes(data, at)
            found[key.decode()] = value


def _read_bytes(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = _read_long(data, at)
    if size < 0 or at + size > len(data):
        raise ValueError("a length is beyond its end")
    return data[at : at + size], at + size


def _read_long(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        if shift > 63:
            raise ValueError("a number is too long")


def _long(value: int) -> bytes:
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append((rest & 0x7F) | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
