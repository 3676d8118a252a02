"""Rows and expectations that the tests of files for Hadoop share, on a disk and on a cluster."""

from __future__ import annotations

import itertools
import random

from shipper.api import EventBatch
from shipper.files.compress import CODECS

#: The codecs that each of Hadoop's readers has; both have those of LZO.
READERS = {
    "pure java": [codec.name for codec in CODECS if codec.name != "zstd"],
    "native": [codec.name for codec in CODECS],
}
TIMESTAMP = "1340459193234"


def lines(count: int) -> list[bytes]:
    """Text that packs badly and is long enough for several blocks of every codec."""
    dice = random.Random(5)
    return [b"%06d %s" % (number, dice.randbytes(40).hex().encode()) for number in range(count)]


def in_three(bodies: list[bytes]) -> list[EventBatch]:
    """The rows in three batches of very different sizes, with a timestamp."""
    ends = (0, 1, len(bodies) * 6 // 7, len(bodies))
    parts = [bodies[start:end] for start, end in itertools.pairwise(ends)]
    return [EventBatch.of(part).with_header("timestamp", TIMESTAMP) for part in parts]


def sequence_file_text(write_format: str, bodies: list[bytes]) -> bytes:
    """What Hadoop's shell prints of a SequenceFile of these rows."""
    shown = bodies if write_format == "Text" else [body.hex(" ").encode() for body in bodies]
    return b"".join(b"%s\t%s\n" % (TIMESTAMP.encode(), value) for value in shown)
