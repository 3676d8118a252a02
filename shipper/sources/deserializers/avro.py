"""`AVRO`: each record of an Avro container file is one event, with its schema in a header.

The body is the record as it is encoded in the file. A loop over rows: where a record ends is known only when it has
been decoded, so each is decoded once. Reads give whole Avro blocks: only at their borders can reading begin again.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from shipper.api import DamagedData, EventBatch, Options, choice, option
from shipper.batch.framing import rows_of
from shipper.sources.deserializers.deserializer import Content, Deserializer, Reading, Rows


@dataclass(frozen=True, kw_only=True)
class AvroOptions(Options):
    """Options of the AVRO deserializer."""

    schema_type: str = option(
        "schemaType", choice("HASH", "LITERAL"), "HASH",
        help="HASH: header flume.avro.schema.hash, a fingerprint; LITERAL: flume.avro.schema.literal, the JSON.",
    )  # fmt: skip


class AvroDeserializer(Deserializer[AvroOptions]):
    """Reads block by block."""

    Options = AvroOptions
    aliases = (
        "avro", "org.apache.flume.serialization.AvroEventDeserializer",
        "org.apache.flume.serialization.AvroEventDeserializer$Builder",
    )  # fmt: skip

    def __init__(self, options: AvroOptions, content: Content, reading: Reading) -> None:
        super().__init__(options, content, reading)
        self._blocks: Iterator[Any] | None = None
        self._schema: Any = None
        self._header: tuple[str, str] = ("", "")

    @classmethod
    def needs(cls) -> str | None:
        if importlib.util.find_spec("fastavro") is None:
            return "reading Avro files needs fastavro: pip install 'shipper[avro]'"
        return None

    def read(self, rows_max: int) -> Rows | None:
        import fastavro

        start = self.content.offset
        bodies: list[bytes] = []
        lengths: list[int] = []
        size = 0
        try:
            if self._blocks is None:
                self._open(start)
            assert self._blocks is not None
            while size < self.reading.block_bytes and len(lengths) < rows_max:
                block = next(self._blocks, None)
                if block is None:
                    break
                stream = block.bytes_
                data = stream.getvalue()
                place = stream.tell()
                bodies.append(data[place:])
                for _ in range(block.num_records):
                    fastavro.schemaless_reader(stream, self._schema)
                    lengths.append(stream.tell() - place)
                    place = stream.tell()
                size += len(bodies[-1])
                self.content.offset = self._file.tell()
        except Exception as problem:  # the library lets through whatever a damaged file makes it stumble on
            if not lengths:
                raise DamagedData(f"behind byte {start} it is no whole Avro container file: {problem!r}") from problem
            self._blocks = iter((_Damaged(problem),))
        if not lengths:
            return None
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        records = rows_of(pa.py_buffer(b"".join(bodies)), offsets)
        batch = EventBatch(records, constants=dict([self._header]))
        return Rows(batch=batch, start=start, end=self.content.offset, last=False)

    def _open(self, start: int) -> None:
        import fastavro
        from fastavro.schema import fingerprint, to_parsing_canonical_form

        self._file = file = self.content.as_file()
        blocks = fastavro.block_reader(file)
        text = blocks.metadata["avro.schema"]
        self._schema = fastavro.parse_schema(json.loads(text))
        if self.options.schema_type == "HASH":
            canonical = to_parsing_canonical_form(json.loads(text))
            # The fingerprint's bytes, the lowest first, as Flume writes them.
            self._header = ("flume.avro.schema.hash", fingerprint(canonical, "CRC-64-AVRO"))
        else:
            literal = json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)
            self._header = ("flume.avro.schema.literal", literal)
        if start > file.tell():
            file.seek(start)
        self._blocks = iter(blocks)


class _Damaged:
    """Stands where a block could not be read, so that the next read says so."""

    num_records = 0

    def __init__(self, problem: Exception) -> None:
        self._problem = problem

    @property
    def bytes_(self) -> Any:
        raise self._problem
