"""`header_and_text`: the headers as Java prints a map, a blank, the body, a newline: `{host=web1, k=v} body`.

A header with a null value is printed as `null`, a header that the event does not have is not printed.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import Bytes, EventBatch, Options, Serializer, columns, flag, option, rows_by_headers


@dataclass(frozen=True, kw_only=True)
class HeaderAndTextOptions(Options):
    """Options of the header_and_text serializer."""

    append_newline: bool = option("appendNewline", flag, True, help="Whether a newline follows each body.")


class HeaderAndTextSerializer(Serializer[HeaderAndTextOptions]):
    """Headers and bodies as lines."""

    Options = HeaderAndTextOptions
    aliases = (
        "header_and_text",
        "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer",
        "org.apache.flume.serialization.HeaderAndBodyTextEventSerializer$Builder",
    )

    def serialize(self, batch: EventBatch) -> Bytes:
        if not batch.rows:
            return b""
        end = b"\n" if self.options.append_newline else b""
        texts, places = [], []
        for names, rows, which in rows_by_headers(batch):
            texts.append(columns.joined(*_printed(rows, names), rows.body, end))
            places.append(which)
        return columns.run_of(columns.put_together(texts, places))


def _printed(rows: EventBatch, names: tuple[str, ...]) -> list[bytes | pa.Array]:
    parts: list[bytes | pa.Array] = [b"{"]
    for place, name in enumerate(names):
        parts.append(f"{', ' if place else ''}{name}=".encode())
        if name in rows.constants:
            value = rows.constants[name]
            parts.append(b"null" if value is None else value.encode())
        else:
            parts.append(pc.fill_null(rows.header(name), "null"))
    parts.append(b"} ")
    return parts
