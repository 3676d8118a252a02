"""What a store takes as a path, and what becomes of what it does not take.

What an event brings into a path is changed where a store would refuse it: `.` and `..` would leave the folder that the
template names, and a refusal would hold up every other event. A path that is too long as a whole can't be changed into
another one that means the same: its events are set aside.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_PART_MOST_BYTES = 200
_SLASHES = re.compile(r"/{2,}")
#: Room for the name of a file behind its folder and its prefix: a counter, suffixes, and what is put behind them.
_NAME_ROOM = 300


@dataclass(frozen=True, kw_only=True)
class PathRules:
    """The rules of one kind of store.

    Attributes:
        place: what it is called, for messages.
        refused: characters that can be in no name, "" for none; each becomes `_`, as control characters do everywhere.
        kept: in a whole path, the parts that the store keeps for itself; their dots become `_`.
        length: of a path, as the store counts it.
        unit: what `length` counts.
        length_most: of a path with the name of the file.
        parts_most: likewise; 0 = any number.
    """

    place: str
    refused: str = ""
    kept: re.Pattern[str] | None = None
    length: Callable[[str], int]
    unit: str
    length_most: int
    parts_most: int = 0

    def value(self, text: str) -> str:
        """What an escape stands for, without the characters that can't be in a path."""
        return _CONTROL.sub("_", text).translate(dict.fromkeys(map(ord, self.refused), "_"))

    def path(self, text: str) -> str:
        """A path without the parts that a value must not bring into it."""
        text = "/".join(map(_part, text.split("/")))
        return self.kept.sub(lambda part: part[0].replace(".", "_"), text) if self.kept is not None else text

    def fits(self, value: str) -> bool:
        """True when a value can be in a path as it is."""
        return self.value(value) == value and self.path(f"/{value}") == f"/{value}"

    def excess(self, path: str) -> str | None:
        """What is too much in the path of a folder and a prefix; None when there can be files of it."""
        path = _SLASHES.sub("/", path)
        if self.length(path) + _NAME_ROOM > self.length_most:
            return f"more than {self.length_most} {self.unit}, all that {self.place} takes"
        if self.parts_most and path.count("/") > self.parts_most:
            return f"more than {self.parts_most} levels, all that {self.place} takes"
        return None

    def problems(self, text: str) -> list[str]:
        """Why a text that a person wrote can't be in a path: one sentence each."""
        found = [f"{self.place} takes no {character} in a name" for character in self.refused if character in text]
        if self.kept is not None and (part := self.kept.search(text)):
            found.append(f"{self.place} keeps {part[0]} for itself")
        return found


def _part(part: str) -> str:
    if part in (".", ".."):
        return "_" * len(part)
    raw = part.encode("utf-8", "surrogatepass")
    if len(raw) > _PART_MOST_BYTES:
        kept = raw[: _PART_MOST_BYTES - 9].decode("utf-8", "ignore")
        return f"{kept}-{zlib.crc32(raw):08x}"
    return part


#: A file system of this machine.
LOCAL = PathRules(
    place="this machine",
    length=lambda path: len(path.encode("utf-8", "surrogatepass")),
    unit="bytes",
    length_most=4095,
)
#: A NameNode: DFSUtil.isValidName, FSDirectory.verifyINodeName and FSNamesystem's checkPathLength say it.
HDFS = PathRules(
    place="HDFS",
    refused=":",
    kept=re.compile(r"(?:^/?\.reserved|(?:^|(?<=/))\.snapshot)(?=/|$)"),
    length=lambda path: len(path.encode("utf-16-le", "surrogatepass")) // 2,
    unit="characters",
    length_most=8000,
    parts_most=1000,
)
