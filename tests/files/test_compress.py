"""Codecs: names, sizes of blocks, and that each run is complete in itself."""

from __future__ import annotations

import bz2
import gzip
import itertools
import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from shipper.files import _lzo
from shipper.files.compress import CODECS, LZ4_BLOCK_BYTES, SNAPPY_BLOCK_BYTES, find_codec

LINES = b"".join(b"%08d GET /index.html 200 some text of a log line\n" % number for number in range(20_000))
NOISE = random.Random(1).randbytes(700_000)
Program = Callable[[str], str]
HADOOP = "org.apache.hadoop.io.compress."


def unpacked_blocks(data: bytes, codec: str) -> list[bytes]:
    """The raw blocks of a Hadoop block stream."""
    raw = []
    while data:
        size, packed = struct.unpack_from(">II", data)
        raw.append(pa.Codec(codec).decompress(data[8 : 8 + packed], size, asbytes=True))
        data = data[8 + packed :]
    return raw


def unpacked(name: str, data: bytes) -> bytes:
    """What the data says to a reader that we did not write."""
    if name in ("deflate", "default"):
        text = b""
        while data:
            stream = zlib.decompressobj()
            text += stream.decompress(data)
            data = stream.unused_data
        return text
    if name == "zstd":
        return pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    if name in ("lz4", "snappy"):
        return b"".join(unpacked_blocks(data, {"lz4": "lz4_raw"}.get(name, name)))
    return {"gzip": gzip.decompress, "bzip2": bz2.decompress}[name](data)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_runs_one_after_the_other_are_a_file(codec) -> None:
    """Each pack may be the last one, and what follows continues the file. Noise does not overflow a block."""
    pieces = [b"x", LINES, NOISE, memoryview(LINES)[5:100], bytearray(b"end\n")]
    data = b""
    for count, piece in enumerate(pieces, 1):
        data += codec.pack(piece)
        assert unpacked(codec.name, data) == b"".join(pieces[:count])


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_nothing_is_packed_as_nothing(codec) -> None:
    """An empty member would be read, but who writes nothing leaves no trace."""
    assert codec.pack(b"") == b""


@pytest.mark.parametrize(
    ("name", "codec", "most"), [("lz4", "lz4_raw", LZ4_BLOCK_BYTES), ("snappy", "snappy", SNAPPY_BLOCK_BYTES)]
)
def test_blocks_are_no_larger_than_hadoops_own(name: str, codec: str, most: int) -> None:
    """A reader has 262,144 bytes for the raw block, and as many for the packed one."""
    data = find_codec(name).pack(NOISE)
    sizes = [len(block) for block in unpacked_blocks(data, codec)]
    assert sizes == [most] * (len(NOISE) // most) + [len(NOISE) % most]
    assert most in (261_100, 218_422)
    while data:
        packed = int.from_bytes(data[4:8], "big")
        assert packed <= 262_144
        data = data[8 + packed :]


@pytest.mark.parametrize(
    ("recorded", "name"),
    [
        ("comp-gzip.gz", "gzip"), ("comp-gzip-2.gz", "gzip"),
        ("comp-bzip2.bz2", "bzip2"), ("comp-bzip2-2.bz2", "bzip2"),
        ("comp-deflate.deflate", "deflate"), ("comp-deflate-2.deflate", "default"),
        ("comp-snappy.snappy", "snappy"), ("comp-snappy-2.snappy", "snappy"), ("comp-lz4.lz4", "lz4"),
    ],
)  # fmt: skip
def test_files_of_the_real_agent_are_made_of_the_same_runs(reference: Path, recorded: str, name: str) -> None:
    """What it says is what ours says; snappy and lz4 are equal to the byte."""
    data = (reference / "flume-files" / recorded).read_bytes()
    text = (reference / "flume-files" / "data-text.txt").read_bytes()
    cut = len("first event\n") + len("zweites Ereignis äöü €\n".encode())
    batches = [text[:cut], text[cut:]] if "-2." in recorded else [text]
    ours = b"".join(find_codec(name).pack(batch) for batch in batches)
    assert unpacked(name, ours) == unpacked(name, data) == text
    if name == "gzip":
        assert ours[:9] == data[:9]  # the tenth byte is the system, which differs between Hadoop 3.3 and 3.5
    if name in ("snappy", "lz4"):
        assert ours == data


@pytest.mark.parametrize(
    ("name", "command"),
    [("gzip", ("zcat", "-f")), ("bzip2", ("bzip2", "-dc")), ("zstd", ("zstd", "-dc"))],
)
def test_the_programs_of_that_name_read_all_runs(
    tmp_path: Path, program: Program, name: str, command: tuple[str, ...]
) -> None:
    """From a file of several."""
    codec = find_codec(name)
    file = tmp_path / f"file{codec.suffix}"
    file.write_bytes(codec.pack(LINES) + codec.pack(NOISE) + codec.pack(b"end"))
    done = subprocess.run((program(command[0]), *command[1:], file), capture_output=True, check=True)
    assert done.stdout == LINES + NOISE + b"end"


@pytest.mark.parametrize(
    ("rival", "name", "most"),
    [("gzip", "gzip", 1.0), ("lz4", "lz4", 1.05), ("zstd", "zstd", 1.05), ("igzip", "gzip", 1.05)],
)
def test_pieces_cost_little_against_the_whole_file_in_one_go(
    program: Program, rival: str, name: str, most: float
) -> None:
    """1 MiB at a time is at most 5 % larger than the program's level 1."""
    dice = random.Random(2)
    text = b"".join(
        b'10.%d.%d.7 - - [21/Nov/2026:09:%02d:%02d +0000] "GET /item/%d HTTP/1.1" 200 %d "-" "Mozilla/5.0"\n'
        % (
            dice.randrange(9),
            dice.randrange(99),
            n // 3000 % 60,
            n // 50 % 60,
            dice.randrange(9999),
            dice.randrange(90000),
        )
        for n in range(60_000)
    )
    whole = subprocess.run((program(rival), "-1", "-c"), input=text, capture_output=True, check=True).stdout
    codec = find_codec(name)
    pieces = [codec.pack(text[start : start + (1 << 20)]) for start in range(0, len(text), 1 << 20)]
    assert sum(map(len, pieces)) <= most * len(whole)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        *itertools.product(("gzip", "GZIP", "GzipCodec", f"{HADOOP}GzipCodec"), ("gzip",)),
        *itertools.product(("bzip2", "BZip2Codec", f"{HADOOP}BZip2Codec"), ("bzip2",)),
        *itertools.product(("default", "DefaultCodec", f"{HADOOP}DefaultCodec"), ("default",)),
        *itertools.product(("deflate", "deflatecodec", f"{HADOOP}DeflateCodec"), ("deflate",)),
        *itertools.product(("lz4", "Lz4Codec", f" {HADOOP}Lz4Codec "), ("lz4",)),
        *itertools.product(("snappy", "SnappyCodec", f"{HADOOP}SnappyCodec"), ("snappy",)),
        *itertools.product(("zstd", "ZStandardCodec", "zstandard", f"{HADOOP}ZStandardCodec"), ("zstd",)),
    ],
)
def test_a_codec_is_known_by_flumes_names(said: str, meant: str) -> None:
    """Hadoop's class, its last part in any case, with or without Codec."""
    codec = find_codec(said)
    assert codec.name == meant
    if "." in said:
        assert codec.class_name == said.strip()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("gzap", "did you mean gzip"),
        ("com.example.MyCodec", "must be one of gzip, bzip2, deflate, default, lz4, snappy, zstd"),
        ("PassthroughCodec", "can only read"),
        ("", "must be one of"),
    ],
)
def test_a_name_that_is_no_codec_is_refused(name: str, sentence: str) -> None:
    """With what would be right."""
    with pytest.raises(ValueError, match=sentence):
        find_codec(name)


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("gzip", ".gz"), ("bzip2", ".bz2"), ("deflate", ".deflate"), ("default", ".deflate"), ("lz4", ".lz4"),
     ("snappy", ".snappy"), ("zstd", ".zst")],
)  # fmt: skip
def test_files_are_named_so_that_hadoop_knows_the_codec(name: str, suffix: str) -> None:
    """Its readers choose by the end of the name."""
    assert find_codec(name).suffix == suffix


def test_a_class_of_the_same_name_elsewhere_is_another_codec() -> None:
    """Nobody knows what it writes."""
    with pytest.raises(ValueError, match="must be one of gzip"):
        find_codec("com.example.GzipCodec")


@pytest.mark.parametrize("name", ["lzo", "LZOP", "LzopCodec", "com.hadoop.compression.lzo.LzoCodec"])
def test_lzo_without_its_library_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """And with what to do."""
    monkeypatch.setattr(_lzo, "compressor", lambda: None)
    with pytest.raises(ValueError, match="liblzo2"):
        find_codec(name)


@pytest.mark.usefixtures("liblzo2")
def test_lzop_reads_a_file_of_several_runs(tmp_path: Path, program: Program) -> None:
    """One container: a beginning, the runs, an end."""
    codec = find_codec("lzop")
    file = tmp_path / f"file{codec.suffix}"
    file.write_bytes(codec.begin + codec.pack(LINES) + codec.pack(NOISE) + codec.pack(b"end") + codec.end)
    done = subprocess.run((program("lzop"), "-dc", file), capture_output=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, b"", LINES + NOISE + b"end")


@pytest.mark.usefixtures("liblzo2")
def test_lzo_blocks_are_no_larger_than_hadoops_own() -> None:
    """Raw 245,693 bytes, so that what does not pack fits into the reader's 262,144."""
    data = find_codec("lzo").pack(NOISE)
    sizes = []
    while data:
        raw, packed = struct.unpack_from(">II", data)
        assert packed <= 262_144
        sizes.append(raw)
        data = data[8 + packed :]
    assert sizes == [_lzo.BLOCK_BYTES] * 2 + [len(NOISE) - 2 * _lzo.BLOCK_BYTES]
    assert _lzo.BLOCK_BYTES == 245_693
