"""`text`: the body of each event, then a newline. The headers are not written.

Rows that still lie in their source's block with the newlines in place are written as that block: nothing is copied.
"""

from __future__ import annotations

from dataclasses import dataclass

from shipper.api import Bytes, EventBatch, Options, Serializer, flag, option


@dataclass(frozen=True, kw_only=True)
class TextOptions(Options):
    """Options of the text serializer."""

    append_newline: bool = option("appendNewline", flag, True, help="Whether a newline follows each body.")


class TextSerializer(Serializer[TextOptions]):
    """Bodies as lines."""

    Options = TextOptions
    aliases = (
        "text",
        "org.apache.flume.serialization.BodyTextEventSerializer",
        "org.apache.flume.serialization.BodyTextEventSerializer$Builder",
    )

    def serialize(self, batch: EventBatch) -> Bytes:
        return batch.lines() if self.options.append_newline else batch.concatenated()
