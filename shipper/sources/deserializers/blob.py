"""`BLOB`: a whole file is one event; a longer one than `maxBlobLength` becomes several."""

from __future__ import annotations

from dataclasses import dataclass

from shipper.api import EventBatch, Options, at_least, option, size
from shipper.sources.deserializers.deserializer import Deserializer, Rows

_FIRST_BYTES = 1 << 20
_EVENT_BYTES_MAX = (1 << 31) - 1  # a body's length is a 32-bit number


@dataclass(frozen=True, kw_only=True)
class BlobOptions(Options):
    """Options of the BLOB deserializer."""

    blob_bytes_max: int = option(
        "maxBlobLength",
        at_least(size, 1, _EVENT_BYTES_MAX),
        100_000_000,
        help="Bytes of one event at most.",
    )


class BlobDeserializer(Deserializer[BlobOptions]):
    """Reads on until the file or the event is full."""

    Options = BlobOptions
    aliases = ("blob", "org.apache.flume.sink.solr.morphline.BlobDeserializer$Builder")

    def read(self, rows_max: int) -> Rows | None:
        content = self.content
        start = content.offset
        pieces: list[memoryview] = []
        left = self.options.blob_bytes_max
        piece_bytes = _FIRST_BYTES
        while left:
            piece = memoryview(bytearray(min(piece_bytes, left)))
            came = content.read_into(piece)
            left -= came
            pieces.append(piece[:came])
            if content.at_end():
                break
            piece_bytes = min(4 * piece_bytes, 1 << 26)
        if content.offset == start:
            return None
        batch = EventBatch.of([b"".join(pieces)])
        return Rows(batch=batch, start=start, end=content.offset, last=content.at_end())
