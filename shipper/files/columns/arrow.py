"""An Arrow file (IPC, also known as Feather 2): one record batch a table, which readers map into memory."""

from __future__ import annotations

import pyarrow as pa

from shipper.files.columns.bodies import stripped

_ZSTD_LEVEL = 1


class _ArrowWriter:
    def __init__(self, writer: pa.ipc.RecordBatchFileWriter) -> None:
        self._writer = writer

    def write(self, table: pa.Table, trim: int) -> None:
        for batch in stripped(table, trim).combine_chunks().to_batches():
            self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


def open_writer(output: pa.NativeFile, schema: pa.Schema, codec: str, group_bytes: int) -> _ArrowWriter:
    """Begins a file."""
    packed = {"none": None, "lz4": "lz4"}.get(codec) or (
        pa.Codec("zstd", compression_level=_ZSTD_LEVEL) if codec == "zstd" else None
    )
    # One thread of ours makes files; Arrow's own would take the cores of the workers.
    options = pa.ipc.IpcWriteOptions(compression=packed, use_threads=False)
    return _ArrowWriter(pa.ipc.new_file(output, schema, options=options))
