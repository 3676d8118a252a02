"""A file that is written in parts: its first and last bytes, what a codec gathers, and places to come back to."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import pytest

from shipper.api import Bytes, Clock, EventBatch, Options, Serializer
from shipper.batch import in_place, wire
from shipper.batch.framing import line_ends, rows_of
from shipper.files.compress import find_codec
from shipper.files.journal_record import FileRecord
from shipper.files.local import LocalStore
from shipper.files.open_file import OpenFile, Recipe
from shipper.files.packers import Packers
from shipper.serializers.text import TextOptions, TextSerializer
from shipper.testing.fakes import ManualClock


class Framed(Serializer[Options]):
    """Lines between a first and a last line, with the number of batches so far as its state."""

    Options = Options
    aliases = ("framed",)

    def __init__(self, options: Options, clock: Clock, state: str | None = None) -> None:
        super().__init__(options, clock, state)
        self.batches = int(state or 0)

    def header(self) -> Bytes:
        return b"first\n"

    def serialize(self, batch: EventBatch) -> Bytes:
        self.batches += 1
        return b"%d:" % self.batches + bytes(batch.lines())

    def footer(self) -> Bytes:
        return b"last\n"

    def state(self) -> str | None:
        return str(self.batches)


def opened(tmp_path: Path, codec: str | None) -> OpenFile:
    store = LocalStore()
    path = str(tmp_path / "f")
    handle = store.create(path)
    recipe = Recipe(
        "framed", lambda clock, state: Framed(Options(), clock, state), find_codec(codec) if codec else None
    )
    record = FileRecord(1, "f", path, path, 0, "framed", handle.identity)
    return OpenFile(store, recipe, ManualClock(), record, handle, None)


def content(tmp_path: Path, codec: str | None) -> bytes:
    data = (tmp_path / "f").read_bytes()
    return gzip.decompress(data) if codec else data


class TestPackedAhead:
    """The block of the next frame is packed beside the flush of this one, and is written where it is delivered."""

    def batch(self, letter: bytes, position: int) -> EventBatch:
        """As it comes out of a ring: a block of lines, its checksum, its place."""
        text = (letter * 127 + b"\n") * (2 << 13)
        memory = memoryview(bytearray(in_place.needed(len(text))))
        block = in_place.room(memory, len(text))
        block[:] = text
        completed = in_place.complete(EventBatch(rows_of(block, line_ends(block)), trim=1), memory)
        assert completed is not None
        frame = memory[: completed.used]
        read = wire.decode(frame)
        read.find_sum = lambda it: in_place.block_sum(frame, zlib.crc32(frame), it)
        read.place = "lane", position
        return read

    @pytest.mark.parametrize("codec", ["gzip", "bzip2"])
    def test_the_file_is_what_it_would_be(self, tmp_path: Path, codec: str) -> None:
        """One that is delivered as was expected, one that comes from elsewhere in between, one that never comes."""
        packers = Packers(2, cores=2)
        path = str(tmp_path / "f")
        store = LocalStore()
        recipe = Recipe(
            "text", lambda clock, state: TextSerializer(TextOptions(), clock, state), find_codec(codec), packers
        )
        handle = store.create(path)
        record = FileRecord(1, "f", path, path, 0, "text", handle.identity)
        file = OpenFile(store, recipe, ManualClock(), record, handle, None)
        batches = [self.batch(letter, position) for position, letter in enumerate([b"a", b"b", b"c", b"d"])]
        expected = b""
        for now, coming in ((0, 1), (1, 2), (3, 0), (2, 3)):
            assert not file.packs_blocks
            file.write(batches[now])
            assert file.packs_blocks
            file.pack_ahead(batches[coming])
            file.push()
            expected += bytes(batches[now].lines())
        packers.close()
        data = Path(path).read_bytes()
        assert (gzip if codec == "gzip" else bz2).decompress(data) == expected
        assert file.length == len(data)

    def test_what_a_serializer_makes_of_rows_is_not_packed_ahead(self, tmp_path: Path) -> None:
        file = opened(tmp_path, "gzip")
        file.write(self.batch(b"a", 0))
        assert not file.packs_blocks


CODECS = pytest.mark.parametrize("codec", [None, "gzip"])


@CODECS
def test_a_file_has_its_first_and_last_bytes_once(codec: str | None, tmp_path: Path) -> None:
    file = opened(tmp_path, codec)
    file.write(EventBatch.of([b"a"]))
    file.push()
    file.write(EventBatch.of([b"b"]))
    file.finish()
    file.push()
    assert content(tmp_path, codec) == b"first\n1:a\n2:b\nlast\n"
    assert file.progress().length == (tmp_path / "f").stat().st_size
    assert file.progress().finished


@CODECS
def test_a_file_comes_back_to_where_it_was(codec: str | None, tmp_path: Path) -> None:
    """Also when it was ended in between, and when a codec had gathered rows by then."""
    file = opened(tmp_path, codec)
    file.write(EventBatch.of([b"a"]))
    file.push()
    file.write(EventBatch.of([b"b"]))
    point = file.point()
    for end in (False, True):
        file.write(EventBatch.of([b"wrong"]))
        file.push()
        if end:
            file.finish()
            file.push()
        file.back_to(point)
        assert (file.rows, file.finished) == (2, False)
    file.write(EventBatch.of([b"c"]))
    file.finish()
    file.push()
    assert content(tmp_path, codec) == b"first\n1:a\n2:b\n3:c\nlast\n"


@CODECS
def test_a_file_is_cut_back_to_what_counts(codec: str | None, tmp_path: Path) -> None:
    file = opened(tmp_path, codec)
    file.write(EventBatch.of([b"a"]))
    file.push()
    file.record.progress = file.progress()
    file.write(EventBatch.of([b"wrong"]))
    file.finish()
    file.push()
    file.cut_back()
    file.write(EventBatch.of([b"b"]))
    file.finish()
    file.push()
    assert content(tmp_path, codec) == b"first\n1:a\n2:b\nlast\n"
