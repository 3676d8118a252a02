"""What Hadoop's own shell reads of our files: every codec, SequenceFiles, Avro containers.

The shell runs twice: in pure Java, as on most clients, and with Hadoop's native library, as on the nodes of a cluster,
which alone reads zstd.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from shipper.api import EventBatch
from shipper.files.compress import CODECS, Codec, find_codec
from shipper.files.sequence_file import SequenceFileOptions, SequenceFileSerializer
from shipper.serializers._avro import CODECS as AVRO_CODECS
from shipper.serializers.avro_event import AvroEventSerializer, AvroOptions
from shipper.testing.fakes import ManualClock

#: the codecs that each reader has; both have those of LZO
READERS = {
    "pure java": [codec.name for codec in CODECS if codec.name != "zstd"],
    "native": [codec.name for codec in CODECS],
}
#: the client has Avro without the libraries for them; test_avro_event reads them
NOT_IN_THE_CLIENT = ("xz", "zstandard")


def lines(count: int) -> list[bytes]:
    """Text that packs badly and is long enough for several blocks of every codec."""
    dice = random.Random(5)
    return [b"%06d %s" % (number, dice.randbytes(40).hex().encode()) for number in range(count)]


@pytest.mark.timeout(900)
@pytest.mark.usefixtures("liblzo2")
@pytest.mark.parametrize("reader", READERS)
def test_hadoop_reads_every_file_in_full(tmp_path: Path, hadoop: Any, reader: str) -> None:
    """One run of the shell over all of them, each written in three batches."""
    codecs: list[Codec] = [find_codec(name) for name in (*READERS[reader], "lzo", "lzop")]
    block_codecs = [codec.name for codec in codecs if not codec.begin]  # a SequenceFile can't have a container in it
    bodies = lines(7_000)
    text = b"".join(body + b"\n" for body in bodies)
    parts = [bodies[:1], bodies[1:6_000], bodies[6_000:]]
    batches = [EventBatch.of(part).with_header("timestamp", "1340459193234") for part in parts]
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
            shown = bodies if write_format == "Text" else [body.hex(" ").encode() for body in bodies]
            expected[file] = b"".join(b"1340459193234\t%s\n" % value for value in shown)

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
