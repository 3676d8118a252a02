"""A codec and a serializer in an open file: what stands at its begin and end, and what a refusal leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipper.api import EventBatch, Refused
from shipper.files.compress import Codec
from shipper.files.journal_record import FileRecord
from shipper.files.local import LocalStore
from shipper.files.open_file import OpenFile, Recipe
from shipper.files.sequence_file import SequenceFileOptions, SequenceFileSerializer
from shipper.serializers.text import TextOptions, TextSerializer
from shipper.testing.fakes import ManualClock

FRAMED = Codec("framed", "", ".x", lambda data: b"(" + bytes(data) + b")" if len(data) else b"", b"<", b">")


def opened(path: Path, recipe: Recipe) -> OpenFile:
    handle = LocalStore().create(str(path))
    record = FileRecord(1, "", str(path), str(path), 0, recipe.name, handle.identity)
    return OpenFile(LocalStore(), recipe, ManualClock(), record, handle, None)


def test_a_codec_begins_and_ends_a_file_once(tmp_path: Path) -> None:
    """Around all its runs."""
    path = tmp_path / "file"
    file = opened(path, Recipe("text", lambda clock, state: TextSerializer(TextOptions(), clock, state), FRAMED))
    file.write(EventBatch.of([b"a"]))
    file.push()
    file.write(EventBatch.of([b"b"]))
    file.finish()
    file.push()
    assert path.read_bytes() == b"<(a\n)(b\n)>"
    assert file.length == path.stat().st_size


def test_a_file_in_which_nothing_was_written_has_no_end(tmp_path: Path) -> None:
    """It stays empty."""
    path = tmp_path / "file"
    file = opened(path, Recipe("text", lambda clock, state: TextSerializer(TextOptions(), clock, state), FRAMED))
    file.finish()
    file.push()
    assert path.read_bytes() == b""


def test_a_refusal_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """No header, no rows counted; the rest of the rows comes behind one header."""
    path = tmp_path / "file"
    options = SequenceFileOptions()
    made = SequenceFileSerializer(options, ManualClock())
    file = opened(path, Recipe("sequence", lambda clock, state: made))
    batch = EventBatch.of([b"a", b"b"], [{"timestamp": "1"}, {"timestamp": "never"}])
    with pytest.raises(Refused):
        file.write(batch)
    assert (file.rows, path.read_bytes()) == (0, b"")
    file.write(batch.slice(0, 1))
    file.push()
    assert file.rows == 1
    assert path.read_bytes() == bytes(made.header()) + bytes(made.serialize(batch.slice(0, 1)))
