"""An ORC file: stripes that end once they have so many bytes, kept packed in memory until then.

Texts get dictionaries where they repeat; the body, when it is text, is found not to after its first 10,000 rows. All
columns have statistics: ORC keeps them for every 10,000 rows, and can't leave one out.
"""

from __future__ import annotations

import pyarrow as pa
from pyarrow import orc

from shipper.files.columns.bodies import stripped

_DISTINCT_SHARE = 0.5
_BLOCK_BYTES = 256 << 10


class _OrcWriter:
    def __init__(self, writer: orc.ORCWriter) -> None:
        self._writer = writer

    def write(self, table: pa.Table, trim: int) -> None:
        self._writer.write(stripped(table, trim))

    def close(self) -> None:
        self._writer.close()


def open_writer(output: pa.NativeFile, schema: pa.Schema, codec: str, group_bytes: int) -> _OrcWriter:
    """Begins a file."""
    writer = orc.ORCWriter(
        output,
        compression="uncompressed" if codec == "none" else codec,
        # Only so does Arrow's writer of ORC compress anything with lz4; for the others it is slower.
        compression_strategy="compression" if codec == "lz4" else "speed",
        compression_block_size=_BLOCK_BYTES,
        stripe_size=group_bytes,
        dictionary_key_size_threshold=_DISTINCT_SHARE,
    )
    return _OrcWriter(writer)
