"""The lines that proofs write: each says who wrote it and which one it is, and can be made again from that."""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field

_DROPPED_OF = 5


def line(stream: str, number: int, thinned: bool) -> bytes:
    """Line `number` of a stream; where rows are thinned out, every fifth ends in what the interceptor drops."""
    padding = b"x" * (number * 7919 % 120)
    return b"%s.%07d %s%s\n" % (stream.encode(), number, padding, b"#" if thinned and dropped(number) else b".")


def dropped(number: int) -> bool:
    """True for a line that a thinning interceptor drops."""
    return number % _DROPPED_OF == 3


@dataclass
class Stream:
    """What one writer wrote.

    Attributes:
        lines: written so far.
        begins: number of the first line of each of its files, in order.
        mixed: files whose end may be read from another file (a copy), so that only the set of their lines is promised.
    """

    name: str
    thinned: bool
    lines: int = 0
    begins: list[int] = field(default_factory=lambda: [0])
    mixed: set[int] = field(default_factory=set)

    def block(self, rows: int) -> bytes:
        """The next lines; they count as written."""
        first = self.lines
        self.lines += rows
        return b"".join(line(self.name, number, self.thinned) for number in range(first, self.lines))

    def file_of(self, number: int) -> int:
        """Index of the file in which a line was written."""
        return bisect.bisect_right(self.begins, number) - 1

    def next_file(self) -> None:
        """What is written from now on stands in another file."""
        self.begins.append(self.lines)

    def wanted(self, index: int | None = None) -> set[int]:
        """Numbers of the lines that must be delivered: of one file, or all."""
        first = 0 if index is None else self.begins[index]
        end = self.lines if index is None or index + 1 == len(self.begins) else self.begins[index + 1]
        return {number for number in range(first, end) if not (self.thinned and dropped(number))}
