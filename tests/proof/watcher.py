"""A watcher: somebody who lists and follows the output all the while, and remembers every byte that he has seen.

What has its final name never changes, and no whole member of a gzip file ever does: there each take goes into one
file. Of others, what a sink had written of a take when it died within the write may be taken back; that is counted.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from pathlib import Path

import lz4.block
import numpy as np


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


#: Device, inode, and the directory: an inode is used again at once, by a file of any sink.
_Identity = tuple[int, int, Path]


class SeenFile:
    """One output file: `data` is what was seen of it and whole, `taken_back` the bytes of that which went away."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.data = b""
        self.taken_back: list[int] = []
        self._rest = b""  # a block of lz4 may end within a line
        self._state = (0, 0)

    def look(self, path: Path) -> bytes:
        """The lines that are new."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            state = (status.st_size, status.st_mtime_ns)
            if state == self._state:
                return b""
            data = file.read()
        self._state = state
        known = self.data
        if not data.startswith(known):
            assert self.kind != "gzip", f"{path}: {len(known)} bytes were seen, of which not all are there any more"
            common = _common(known, data)
            self.taken_back.append(len(known) - common)
            known = self._rest = b""
        try:
            text, end = whole(self.kind, data, len(known))
        except Exception as trouble:  # with what is needed to find out why, for the file may be another at the end
            raise AssertionError(
                f"{path}: {trouble}; {len(known)} bytes of {len(data)} are known, {state[0]} when it was opened, "
                f"and then comes {data[len(known) : len(known) + 24].hex()}"
            ) from trouble
        self.data = data[:end]
        lines, newline, self._rest = (self._rest + text).rpartition(b"\n")
        return lines + newline


def _common(one: bytes, other: bytes) -> int:
    """Length of what both begin with."""
    length = min(len(one), len(other))
    differ = np.frombuffer(one, np.uint8, length) != np.frombuffer(other, np.uint8, length)
    return int(differ.argmax()) if differ.any() else length


class Watcher(threading.Thread):
    """Follows some directories until it is ended.

    Args:
        kinds: directory -> its channel and the kind of its files.

    Attributes:
        seen: (channel, stream) -> numbers of its lines that stand in some file.
        wrong: what must not be, a sentence each.
        looks: how often all of it was listed.
    """

    def __init__(self, kinds: dict[Path, tuple[str, str]]) -> None:
        super().__init__(daemon=True)
        self.kinds = kinds
        self.seen: dict[tuple[str, str], set[int]] = {}
        self.wrong: list[str] = []
        self.looks = 0
        self._files: dict[_Identity, SeenFile] = {}
        self._final: dict[Path, _Identity] = {}
        self._removed: list[int] = []
        self._marked: set[Path] = set()  # where unfinished files have another name; `file_roll` has no such
        self._ending = threading.Event()

    @property
    def taken_back(self) -> list[int]:
        """How many bytes went away that had been seen, each time when some did."""
        return self._removed + [count for file in self._files.values() for count in file.taken_back]

    def run(self) -> None:
        while not self._ending.wait(0.01):
            self._try_look()

    def end(self) -> None:
        """The last look at everything."""
        self._ending.set()
        self.join()
        self._try_look()

    def _try_look(self) -> None:
        try:
            self._look()
        except AssertionError as trouble:
            self.wrong.append(str(trouble))
        except Exception as trouble:  # what can't be read is wrong, too; and the others are looked at again
            self.wrong.append(f"{type(trouble).__name__}: {trouble}")

    def _look(self) -> None:
        self.looks += 1
        found = set()
        for directory, (channel, kind) in self.kinds.items():
            there = set()
            for path in list(directory.iterdir()):
                try:
                    status = path.stat()
                    identity = (status.st_dev, status.st_ino, directory)
                    seen = self._files.get(identity)
                    if seen is None:
                        seen = self._files[identity] = SeenFile(kind)
                    text = seen.look(path)
                except FileNotFoundError:  # it was renamed meanwhile
                    continue
                there.add(path)
                found.add(identity)
                self._note(channel, text)
                if path.suffix == ".tmp":
                    self._marked.add(directory)
                else:
                    known = self._final.setdefault(path, identity)
                    assert known == identity, f"{path} is another file than before"
            for path in list(self._final):
                if path.parent == directory and path not in there and not path.exists():
                    assert directory not in self._marked, f"{path} is gone, and had its final name"
                    del self._final[path]  # a file that no commit names is taken back whole
        for identity in self._files.keys() - found - set(self._final.values()):
            if not self._listed_again(identity):
                gone = self._files.pop(identity)
                assert gone.kind != "gzip" or not gone.data, f"a file is gone of which {len(gone.data)} bytes were seen"
                self._removed.append(len(gone.data))

    def _listed_again(self, identity: _Identity) -> bool:
        """True when a file was only missed because it got another name while the directory was read."""
        for directory in self.kinds:
            for path in directory.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    if (status.st_dev, status.st_ino, directory) == identity:
                        return True
        return False

    def _note(self, channel: str, text: bytes) -> None:
        for row in text.splitlines():
            stream, _, number = row.partition(b" ")[0].partition(b".")
            self.seen.setdefault((channel, stream.decode()), set()).add(int(number))
