"""`org.apache.flume.sink.hdfs.AvroEventSerializer$Builder`: bodies that are Avro records already, into a container.

The body of an event is one record in Avro's binary form. Its schema is what the event's headers say: the text behind
the URL in `flume.avro.schema.url`, else the text in `flume.avro.schema.literal`, else the text behind `schemaURL`.
The headers are not written.

A container has one schema: that of its first event. Flume writes events of other schemas into it nonetheless, and what
is read back is rubbish; here they are refused by name, and the rest of the batch goes on. To have a file for each
schema, put the header into the path of the sink: `hdfs.path = .../%{flume.avro.schema.url}`.

What distinct schemas a batch has is asked once a batch, and a URL is read once a process.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import urllib.request
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import Bytes, Clock, EventBatch, Refused, RetryLater, Serializer, columns, option, text
from shipper.serializers._avro import AvroOptions, Container

URL_HEADER = "flume.avro.schema.url"
LITERAL_HEADER = "flume.avro.schema.literal"
_SCHEMES = ("file:", "http:", "https:")
_TIMEOUT_S = 10.0
_SCHEMA_BYTES_MAX = 16 << 20


@dataclass(frozen=True, kw_only=True)
class AvroDatumOptions(AvroOptions):
    """Options of the serializer of ready-made Avro records."""

    schema_url: str = option("schemaURL", text, "",
        help="Where the schema of events is that do not name one: file:, http: or https:.")  # fmt: skip

    def problems(self) -> list[tuple[str, str]]:
        if self.schema_url and not self.schema_url.lower().startswith(_SCHEMES):
            return [("schemaURL", f"schemaURL = {self.schema_url}: {_wrong_scheme(self.schema_url)}")]
        return []


class AvroDatumSerializer(Serializer[AvroDatumOptions]):
    """Bodies as Avro records."""

    Options = AvroDatumOptions
    aliases = (
        "avro_datum",
        "org.apache.flume.sink.hdfs.AvroEventSerializer",
        "org.apache.flume.sink.hdfs.AvroEventSerializer$Builder",
    )

    def __init__(self, options: AvroDatumOptions, clock: Clock, state: str | None = None) -> None:
        super().__init__(options, clock, state)
        # State is the sync marker and a digest of the file's schema; there is none until the header is written.
        sync, _, self._schema_digest = state.partition(" ") if state else (os.urandom(16).hex(), "", "")
        interval_bytes = options.sync_interval_bytes
        self._container = Container(options.compression_codec, interval_bytes, bytes.fromhex(sync))

    def serialize(self, batch: EventBatch) -> Bytes:
        """The rows as blocks; before the first ones the header, whose schema no one knows earlier.

        Raises:
            Refused: rows without a schema, with one that can't be read, or with another one than the file's.
            RetryLater: the text behind a URL can't be had now.
        """
        if not batch.rows:
            return b""
        wanted, which = _wanted(batch, self.options.schema_url)
        answers = [_schema(name) for name in wanted]
        good = [_digest(answer) if isinstance(answer, str) else None for answer in answers]
        mine = self._schema_digest or next((good[k] for k in _in_order(which) if good[k]), None)
        fits = np.array([digest is not None and digest == mine for digest in good])
        if not fits.all():
            raise _refused(batch, wanted, answers, which, fits)
        blocks = self._container.blocks(batch.body)
        if self._schema_digest:
            return blocks
        schema = answers[int(which[0])]
        assert isinstance(schema, str) and mine is not None
        self._schema_digest = mine
        return self._container.header(schema) + blocks

    def state(self) -> str | None:
        return f"{self._container.sync.hex()} {self._schema_digest}" if self._schema_digest else None


def _wanted(batch: EventBatch, default_url: str) -> tuple[list[tuple[str, str]], Any]:
    """The distinct schemas that a batch asks for, each as (kind, text), and for each row the number of its own."""
    kinds = [("url", batch.header(URL_HEADER)), ("literal", batch.header(LITERAL_HEADER))]
    found = [columns.joined(f"{kind} ".encode(), values) for kind, values in kinds if values is not None]
    asked = pc.coalesce(*found, pa.scalar(f"url {default_url}".encode() if default_url else b"", pa.binary()))
    encoded = (asked if isinstance(asked, pa.Array) else pa.repeat(asked, batch.rows)).dictionary_encode()
    names = [name.decode().partition(" ") for name in encoded.dictionary.to_pylist()]
    return [(kind, rest) for kind, _, rest in names], encoded.indices.to_numpy()


def _in_order(which: Any) -> list[int]:
    """The distinct numbers in the order in which they come first."""
    numbers, first = np.unique(which, return_index=True)
    return [int(k) for k in numbers[np.argsort(first)]]


def _refused(batch: EventBatch, wanted: list[tuple[str, str]], answers: list[Any], which: Any, fits: Any) -> Refused:
    rows = np.flatnonzero(~fits[which])
    kind, name = wanted[int(which[rows[0]])]
    answer = answers[int(which[rows[0]])]
    if isinstance(answer, Refused):
        why = str(answer)
    else:
        why = (
            f"its schema ({kind} {_short(name)}) is not the one that the file was begun with, and a container has one "
            f"schema only; %{{{URL_HEADER}}} in the path of the sink gives each schema its own files"
        )
    return Refused(f"Avro container: {len(rows)} of {batch.rows} events can't be written: {why}", tuple(rows.tolist()))


@functools.lru_cache(256)
def _schema_behind(kind: str, name: str) -> str:
    if kind == "literal":
        found = name
    else:
        try:
            with urllib.request.urlopen(name, timeout=_TIMEOUT_S) as answer:
                found = answer.read(_SCHEMA_BYTES_MAX).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise RetryLater(f"Avro container: reading the schema at {name}: {error}", 5.0) from error
    try:
        return json.dumps(json.loads(found), separators=(",", ":"), ensure_ascii=False)
    except ValueError as error:
        raise Refused(f"the schema ({kind} {_short(name)}) is not JSON: {error}") from error


def _schema(wanted: tuple[str, str]) -> str | Refused:
    """The text of a schema without blanks, or why the rows that ask for it are refused."""
    kind, name = wanted
    if not kind:
        return Refused(f"they have neither header {URL_HEADER} nor {LITERAL_HEADER}, and schemaURL is not set")
    if kind == "url" and not name.lower().startswith(_SCHEMES):
        return Refused(_wrong_scheme(name))
    try:
        return _schema_behind(kind, name)
    except Refused as refused:
        return refused


def _wrong_scheme(url: str) -> str:
    return f"a schema is read from file:, http: and https: addresses, not from {_short(url)}"


def _short(name: str) -> str:
    return name if len(name) <= 120 else f"{name[:120]}..."


def _digest(schema: str) -> str:
    return hashlib.sha256(schema.encode()).hexdigest()
