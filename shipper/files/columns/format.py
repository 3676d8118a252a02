"""A kind of file of columns: its name, what may compress it, and what writes it.

==========  ==========  ===================================  =======================================================
kind        suffix      codecs, the default first            a group of rows is
==========  ==========  ===================================  =======================================================
Parquet     .parquet    zstd, snappy, lz4, gzip, none        a row group
ORC         .orc        zstd, snappy, lz4, zlib, none        a stripe
Arrow       .arrow      zstd, lz4, none                      a record batch
==========  ==========  ===================================  =======================================================

Each is written by a file of its own, which is imported when a sink asks for it (`load`).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import pyarrow as pa

from shipper.files.compress import find_codec
from shipper.likely import likely


class ColumnsWriter(Protocol):
    """Writes one file."""

    def write(self, table: pa.Table, trim: int) -> None:
        """Adds the rows as one group. They are not kept.

        Args:
            trim: bytes at the end of each body that are not to be written.
        """

    def close(self) -> None:
        """Adds what stands at the end of such a file. The output is left open."""


@dataclass(frozen=True)
class ColumnsFormat:
    """A kind of file.

    Attributes:
        codecs: what may compress it, the default first.
        module: which file of this folder has its `open_writer`.
    """

    name: str
    suffix: str
    codecs: tuple[str, ...]
    module: str

    def codec(self, name: str | None) -> str:
        """The codec that a person means, in any case, or as the name of Hadoop's class; None is the default.

        Raises:
            ValueError: it is none of them; a sentence that says what would be right.
        """
        if name is None:
            return self.codecs[0]
        wanted = name.strip().lower().rpartition(".")[2].removesuffix("codec")
        if wanted not in self.codecs:
            try:
                wanted = find_codec(name).name
            except ValueError:
                pass
        if wanted in ("gzip", "deflate", "default") and "zlib" in self.codecs:
            wanted = "zlib"  # what Hadoop's names for it become in ORC
        if wanted not in self.codecs:
            near = likely(wanted, self.codecs, 1)
            raise ValueError(
                f"{self.name} files are compressed with {', '.join(self.codecs[:-1])} or {self.codecs[-1]}"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        return wanted

    def load(self) -> ModuleType:
        """What writes it. Importing that holds up all threads for some 30 ms: it is done before they run."""
        return importlib.import_module(f"shipper.files.columns.{self.module}")

    def open_writer(self, output: pa.NativeFile, schema: pa.Schema, codec: str, group_bytes: int) -> ColumnsWriter:
        """Begins a file.

        Args:
            codec: one of `codecs`.
            group_bytes: what a group of rows has at least, before compression.
        """
        writer: ColumnsWriter = self.load().open_writer(output, schema, codec, group_bytes)
        return writer


FORMATS = {
    "Parquet": ColumnsFormat("Parquet", ".parquet", ("zstd", "snappy", "lz4", "gzip", "none"), "parquet"),
    "ORC": ColumnsFormat("ORC", ".orc", ("zstd", "snappy", "lz4", "zlib", "none"), "orc"),
    "Arrow": ColumnsFormat("Arrow", ".arrow", ("zstd", "lz4", "none"), "arrow"),
}
