"""A watcher: somebody who lists and follows the output all the while, and remembers every byte that he has seen."""

from __future__ import annotations

import os
import random
import struct
import threading
import zlib
from pathlib import Path

import lz4.block


def whole(kind: str, data: bytes, at: int = 0) -> tuple[bytes, int]:
    """What can be read from `at` on: the text, and where the last whole line, member or block ends."""
    if kind == "text":
        end = data.rfind(b"\n", at) + 1
        return (data[at:end], end) if end > at else (b"", at)
    return _members(data, at) if kind == "gzip" else _blocks(data, at)


def _members(data: bytes, at: int) -> tuple[bytes, int]:
    found = []
    while at < len(data):
        member = zlib.decompressobj(31)
        text = member.decompress(data[at:])
        if not member.eof:
            break
        found.append(text)
        at = len(data) - len(member.unused_data)
    return b"".join(found), at


def _blocks(data: bytes, at: int) -> tuple[bytes, int]:
    found = []
    while at + 4 <= len(data):
        raw, here, got = struct.unpack_from(">I", data, at)[0], at + 4, 0
        parts = []
        while got < raw and here + 4 <= len(data):
            size = struct.unpack_from(">I", data, here)[0]
            if here + 4 + size > len(data):
                break
            parts.append(lz4.block.decompress(data[here + 4 : here + 4 + size], uncompressed_size=raw - got))
            got, here = got + len(parts[-1]), here + 4 + size
        if got < raw:
            break
        found += parts
        at = here
    return b"".join(found), at


class SeenFile:
    """One output file, as it was seen."""

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.kind = kind
        self.data = bytearray()  # up to what was whole
        self.cuts = 0

    def look(self, path: Path, again: bool) -> bytes:
        """Reads what is new, and what is known too if `again`: the new text."""
        self.path = path
        with path.open("rb") as file:
            known = b""
            if again:
                known = file.read(len(self.data))
            file.seek(len(self.data))
            new = file.read()
            size = os.fstat(file.fileno()).st_size
        if size < len(self.data):
            self.cuts += 1  # the sink that died had not committed it; it comes again, and must be the same
            return b""
        if again:
            assert known == self.data[: len(known)], f"{path}: bytes that were seen have changed"
        text, end = whole(self.kind, new)
        self.data += new[:end]
        return text


class Watcher(threading.Thread):
    """Follows some directories until it is ended.

    Args:
        kinds: directory -> its channel and the kind of its files.

    Attributes:
        seen: (channel, stream) -> numbers of its lines that stand in some file.
        wrong: what must not be, a sentence each.
        looks: how often all of it was listed.
    """

    def __init__(self, kinds: dict[Path, tuple[str, str]], seed: int) -> None:
        super().__init__(daemon=True)
        self.kinds = kinds
        self.seen: dict[tuple[str, str], set[int]] = {}
        self.wrong: list[str] = []
        self.looks = 0
        self._files: dict[tuple[int, int], SeenFile] = {}
        self._final: dict[Path, tuple[int, int]] = {}
        self._chance = random.Random(seed)
        self._ending = threading.Event()

    @property
    def cuts(self) -> int:
        """How often a file was seen shorter than before."""
        return sum(file.cuts for file in self._files.values())

    def run(self) -> None:
        while not self._ending.wait(0.01):
            self._try_look(again=self._chance.random() < 0.05)

    def end(self) -> None:
        """The last look at everything."""
        self._ending.set()
        self.join()
        self._try_look(again=True)

    def _try_look(self, *, again: bool) -> None:
        try:
            self._look(again=again)
        except AssertionError as trouble:
            self.wrong.append(str(trouble))
        except Exception as trouble:  # what can't be read is wrong, too; and the others are looked at again
            self.wrong.append(f"{type(trouble).__name__}: {trouble}")

    def _look(self, *, again: bool) -> None:
        self.looks += 1
        for directory, (channel, kind) in self.kinds.items():
            there = set()
            for path in list(directory.iterdir()):
                try:
                    status = path.stat()
                    identity = (status.st_dev, status.st_ino)
                    seen = self._files.get(identity)
                    if seen is None:
                        seen = self._files[identity] = SeenFile(path, kind)
                    text = seen.look(path, again)
                except FileNotFoundError:  # it was renamed meanwhile
                    continue
                there.add(path)
                self._note(channel, text)
                if path.suffix != ".tmp":
                    known = self._final.setdefault(path, identity)
                    assert known == identity, f"{path} is another file than before"
            for path in self._final:
                gone = path.parent == directory and path not in there and not path.exists()
                assert not gone, f"{path} is gone, and had its final name"

    def _note(self, channel: str, text: bytes) -> None:
        for row in text.splitlines():
            stream, _, number = row.partition(b" ")[0].partition(b".")
            self.seen.setdefault((channel, stream.decode()), set()).add(int(number))
