"""What Hadoop's own shell reads of our files: every codec, SequenceFiles, Avro containers.

The shell runs twice: in pure Java, as on most clients, and with Hadoop's native library, as on the nodes of a cluster,
which alone reads zstd.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hadoop_files import READERS, in_three, lines, sequence_file_text

from shipper.api import EventBatch
from shipper.files.compress import Codec, find_codec
from shipper.files.sequence_file import SequenceFileOptions, SequenceFileSerializer
from shipper.serializers._avro import CODECS as AVRO_CODECS
from shipper.serializers.avro_event import AvroEventSerializer, AvroOptions
from shipper.testing.fakes import ManualClock

#: the client has Avro without the libraries for them; test_avro_event reads them
NOT_IN_THE_CLIENT = ("xz", "zstandard")


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("liblzo2")
@pytest.mark.parametrize("reader", READERS)
def test_hadoop_reads_every_file_in_full(tmp_path: Path, hadoop: Any, reader: str) -> None:
    """One run of the shell over all of them, each written in three batches."""
    codecs: list[Codec] = [find_codec(name) for name in (*READERS[reader], "lzo", "lzop")]
    block_codecs = [codec.name for codec in codecs if not codec.begin]  # a SequenceFile can't have a container in it
    bodies = lines(7_000)
    text = b"".join(body + b"\n" for body in bodies)
    batches = in_three(bodies)
    expected: dict[Path, bytes] = {}

    for codec in codecs:
        file = tmp_path / f"text-{codec.name}{codec.suffix}"
        file.write_bytes(codec.begin + b"".join(codec.pack(batch.lines()) for batch in batches) + codec.end)
        expected[file] = text

    for write_format in ("Writable", "Text"):
        for name in ("", *block_codecs):
            options = SequenceFileOptions(write_format=write_format, codec=name)
            file = tmp_path / f"records-{write_format}-{name or 'plain'}.seq"
            file.write_bytes(written(SequenceFileSerializer(options, ManualClock()), batches))
            expected[file] = sequence_file_text(write_format, bodies)

    avro = {}
    for name in sorted(set(AVRO_CODECS) - set(NOT_IN_THE_CLIENT)):
        file = tmp_path / f"container-{name}.avro"
        options = AvroOptions(compression_codec=name, sync_interval_bytes=100_000)
        file.write_bytes(written(AvroEventSerializer(options, ManualClock()), batches))
        avro[file] = [{"headers": {"timestamp": "1340459193234"}, "body": body.decode()} for body in bodies]

    read = hadoop.text([*expected, *avro], native=reader == "native")
    different = [file.name for file, said in expected.items() if read[file.name] != said]
    different += [
        file.name for file, rows in avro.items() if list(map(json.loads, read[file.name].splitlines())) != rows
    ]
    assert different == []


def written(serializer: Any, batches: list[EventBatch]) -> bytes:
    """The file that another process finished after the first batch."""
    begun = bytes(serializer.header()) + bytes(serializer.serialize(batches[0]))
    other = type(serializer)(serializer.options, ManualClock(), serializer.state())
    return begun + b"".join(bytes(other.serialize(batch)) for batch in batches[1:]) + bytes(other.footer())
