"""`avro_event`: events as an Avro object container, records `Event` of `headers` (map of strings) and `body` (bytes).

Headers stand in the order in which Java prints a map. Avro's map can't carry a null value: it is written as "", which
is what Flume's file channel makes of it (behind a memory channel, Flume fails on such an event for ever).

A batch ends a block, so the file may be cut behind every batch and continued by another process with the same sync
marker.
"""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import Bytes, Clock, EventBatch, Serializer, columns, rows_by_headers
from shipper.serializers._avro import AvroOptions, Container, counted, varint, varints

SCHEMA = (
    '{"type":"record","name":"Event","fields":[{"name":"headers","type":{"type":"map","values":"string"}},'
    '{"name":"body","type":"bytes"}]}'
)


class AvroEventSerializer(Serializer[AvroOptions]):
    """Events as Avro records."""

    Options = AvroOptions
    aliases = (
        "avro_event",
        "org.apache.flume.serialization.FlumeEventAvroEventSerializer",
        "org.apache.flume.serialization.FlumeEventAvroEventSerializer$Builder",
    )

    def __init__(self, options: AvroOptions, clock: Clock, state: str | None = None) -> None:
        super().__init__(options, clock, state)
        sync = os.urandom(16) if state is None else bytes.fromhex(state)
        self._container = Container(options.compression_codec, options.sync_interval_bytes, sync)

    def header(self) -> Bytes:
        return self._container.header(SCHEMA)

    def serialize(self, batch: EventBatch) -> Bytes:
        if not batch.rows:
            return b""
        records, places = [], []
        for names, rows, which in rows_by_headers(batch):
            records.append(columns.joined(*_map(rows, names), varints(rows.body_lengths()), rows.body))
            places.append(which)
        return self._container.blocks(columns.put_together(records, places))

    def state(self) -> str | None:
        return self._container.sync.hex()


def _map(rows: EventBatch, names: tuple[str, ...]) -> list[bytes | pa.Array]:
    """The headers: how many, then each name and value, then the 0 that ends the map; no headers are the 0 alone."""
    parts: list[bytes | pa.Array] = [varint(len(names)) if names else b""]
    for name in names:
        parts.append(counted(name.encode()))
        if name in rows.constants:
            parts.append(counted((rows.constants[name] or "").encode()))
        else:
            values = pc.fill_null(rows.header(name), "")
            parts += (varints(columns.lengths_of(values)), values)
    parts.append(varint(0))
    return parts
