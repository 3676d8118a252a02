"""`json_lines`: one JSON object a line, `{"headers": {"host": "web1"}, "body": "..."}`.

A body that is not UTF-8 stands in base64, as `body_base64` in the place of `body`. A header with a null value is
`null`; one that the event does not have is left out. Flume has no such format; this one loses nothing of an event.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import Bytes, EventBatch, Options, Serializer, columns
from shipper.serializers._json_text import base64, escaped, not_utf8, quoted


@dataclass(frozen=True, kw_only=True)
class JsonLinesOptions(Options):
    """There is nothing to choose."""


class JsonLinesSerializer(Serializer[JsonLinesOptions]):
    """Events as lines of JSON."""

    Options = JsonLinesOptions
    aliases = ("json_lines",)

    def serialize(self, batch: EventBatch) -> Bytes:
        if not batch.rows:
            return b""
        headers = _headers(batch)
        damaged = not_utf8(batch.body)
        if damaged is None:
            return columns.run_of(columns.joined(*headers, b'}, "body": "', escaped(batch.body), b'"}\n'))
        sound = ~damaged
        texts = columns.joined(b'}, "body": "', escaped(batch.body.filter(pa.array(sound))), b'"}\n')
        others = columns.joined(b'}, "body_base64": "', base64(batch.body.filter(pa.array(damaged))), b'"}\n')
        bodies = columns.put_together((texts, others), (np.flatnonzero(sound), np.flatnonzero(damaged)))
        return columns.run_of(columns.joined(*headers, bodies))


def _headers(batch: EventBatch) -> list[bytes | pa.Array]:
    """What a line begins with: all up to the end of the last header."""
    constants = b", ".join(quoted(name) + b": " + quoted(value) for name, value in batch.constants.items())
    parts: list[bytes | pa.Array] = [b'{"headers": {' + constants]
    # Rows in which a header stands already, so that a separator goes before the next one.
    begun = pa.scalar(bool(constants))
    for name in batch.header_names:
        if name not in batch.constants:
            text = _header(batch, name)
            separators = pc.if_else(begun, pa.scalar(b", ", pa.binary()), pa.scalar(b"", pa.binary()))
            separator = separators.as_py() if isinstance(separators, pa.Scalar) else separators
            parts.append(pc.fill_null(columns.joined(separator, text), b""))
            begun = pc.or_(begun, text.is_valid())
    return parts


def _header(batch: EventBatch, name: str) -> pa.BinaryArray:
    """Name and value of a header in each row, null where it is absent."""
    key = quoted(name) + b": "
    text = columns.joined(key + b'"', escaped(batch.header(name)), b'"')
    null = batch.null_header(name)
    return text if null is None else pc.if_else(pc.fill_null(null, False), pa.scalar(key + b"null", pa.binary()), text)
