"""A file that is written in parts: its first and last bytes, what a codec gathers, and places to come back to."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from shipper.api import Bytes, Clock, EventBatch, Options, Serializer
from shipper.files.compress import find_codec
from shipper.files.journal_record import FileRecord
from shipper.files.local import LocalStore
from shipper.files.open_file import OpenFile, Recipe
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
