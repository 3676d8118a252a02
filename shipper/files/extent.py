"""An extent: what counts of a file, and by what the file is known again.

A disk numbers its files. A cluster's client does not show the number, so there a file is known by its last bytes that
count: their checksum is in the journal, and nothing is cut, renamed or gone on with before they were read again. What
has the same bytes at the same place is the same file, or as good. On a disk, too, the last bytes tell whether all that
an entry speaks of was written, when its process died before the commit.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipper.serializers.serializer import Bytes

_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Extent:
    """What counts of a file.

    Attributes:
        length: bytes; None = all that is there.
        identity: as in `FileStatus`, when the file was made.
        tail: what `tail_of` says of the last bytes that count; None = nothing is known.
    """

    length: int | None
    identity: str | None = None
    tail: str | None = None


def last_of(before: bytes, pieces: Sequence[Bytes]) -> bytes:
    """The last bytes of a file that are worth remembering, after `pieces` were written behind `before`."""
    return b"".join([memoryview(piece)[-_TAIL_BYTES:] for piece in (before, *pieces)])[-_TAIL_BYTES:]


def tail_of(last: bytes) -> str | None:
    """A short word for the last bytes of a file, by which it is known again: how many, and their checksum."""
    return f"{len(last)}:{zlib.crc32(last):08x}" if last else None


def bytes_in(tail: str) -> int:
    """How many bytes a tail is of."""
    return int(tail.partition(":")[0])
