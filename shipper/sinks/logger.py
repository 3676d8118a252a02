"""`logger`: each event as a line of the log, with the first bytes of its body. For trying things out.

The line is Flume's: the headers as Java prints a map, then rows of sixteen bytes in hexadecimal with the printable
ASCII beside them::

    Event: { headers:{host=web1} body: 48 65 6C 6C 6F 20 77 6F 72 6C 64 21             Hello world! }

The lines go to the logger `shipper.sink.logger` at level INFO. Each is said, however many are equal; while the log is
not written, as on a terminal that is held with Ctrl-S, the sink waits. One of more than 4 KiB, as of very long headers,
is cut. What was said and not yet written, up to the 64 KiB of a pipe, is lost when the agent is killed: the log is no
place for data.

This sink loops over rows, as one line a row is what it is for; a row costs the bytes that are shown, however long its
body is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from shipper.api import EventBatch, Options, Sink, SinkContext, at_least, columns, integer, option, rows_by_headers

_LOG = logging.getLogger("shipper.sink.logger")
_ROW_BYTES = 16
#: A transaction aims at so many bytes: some thousand lines, so that a stop has not to wait for a million of them.
_BATCH_BYTES = 64 << 10
#: A line is a delivery: it waits where others are dropped.
_DELIVERY = {"delivers": True}
_SHOWN = bytes(code if 0x20 <= code <= 0x7E else ord(".") for code in range(256))


@dataclass(frozen=True, kw_only=True)
class LoggerOptions(Options):
    """Options of the logger sink."""

    bytes_max: int = option("maxBytesToLog", at_least(integer, 1, (1 << 31) - 1), _ROW_BYTES,
        help="How many bytes of a body are shown.")  # fmt: skip


class LoggerSink(Sink[LoggerOptions]):
    """Events into the log."""

    Options = LoggerOptions
    aliases = ("logger", "org.apache.flume.sink.LoggerSink")
    promise = "at least once"

    @property
    def batch_bytes(self) -> int:
        return _BATCH_BYTES

    def open(self, context: SinkContext) -> None:
        """There is nothing to acquire."""

    def deliver(self, batch: EventBatch) -> None:
        if not batch.rows or not _LOG.isEnabledFor(logging.INFO):
            return
        headers = _printed_headers(batch).to_pylist()
        bodies = pc.binary_slice(batch.body, 0, self.options.bytes_max).to_pylist()
        for printed, body in zip(headers, bodies, strict=True):
            _LOG.info("Event: { headers:%s body:%s }", printed.decode(), _dump(body), extra=_DELIVERY)

    def flush(self) -> int:
        return 0

    def close(self) -> None:
        """There is nothing to give back."""


def _printed_headers(batch: EventBatch) -> pa.BinaryArray:
    groups, places = [], []
    for names, rows, which in rows_by_headers(batch):
        parts: list[bytes | pa.Array] = []
        for name in names:
            value = rows.header(name)
            parts += (b", " if parts else b"", f"{name}=".encode(), pc.fill_null(value, "null"))
        nothing = pa.repeat(pa.scalar(b"", pa.binary()), rows.rows)
        groups.append(columns.joined(b"{", *parts, nothing, b"}"))
        places.append(which)
    return columns.put_together(groups, places)


def _dump(body: bytes) -> str:
    """The bytes as rows of hexadecimal and ASCII; each row after the first begins with its offset on a new line."""
    rows = []
    for start in range(0, len(body), _ROW_BYTES):
        row = body[start : start + _ROW_BYTES]
        offset = f"\n{start:08X}" if start else ""
        rows.append(f"{offset} {row.hex(' ').upper():<{3 * _ROW_BYTES}}{row.translate(_SHOWN).decode()}")
    return "".join(rows)
