"""The BLOB deserializer: whole files as events, through the spooldir source."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.config.field import read_options
from shipper.registry import find
from shipper.sources.deserializers.blob import BlobDeserializer, BlobOptions
from tests.sources.test_spooldir import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(config: dict[str, str] | None = None, **context: Any) -> Spool:
        made.append(Spool(tmp_path / "spool", {"deserializer": "BLOB"} | (config or {}), **context))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_file_is_one_event_whatever_is_in_it(spool: Callable[..., Spool]) -> None:
    """Newlines, NULs, bytes that are no UTF-8, more than one read brings."""
    one = spool()
    contents = [b"a\nb\n\0\xff", b"x" * 3_000_001]
    one.put("a", contents[0], 1)
    one.put("b", contents[1], 2)
    assert one.read() == contents
    assert one.names() == ["a.COMPLETED", "b.COMPLETED"]


def test_a_longer_file_than_maxbloblength_becomes_several_events(spool: Callable[..., Spool]) -> None:
    """None of them empty, also when the length is a multiple."""
    one = spool({"deserializer.maxBlobLength": "4"})
    one.put("a", b"123456789", 1)
    one.put("b", b"12345678", 2)
    assert one.read() == [b"1234", b"5678", b"9", b"1234", b"5678"]


@pytest.mark.parametrize("died", [True, False])
def test_a_restart_goes_on_with_the_next_piece(spool: Callable[..., Spool], died: bool) -> None:
    """Nothing is lost, nothing comes twice."""
    config = {"deserializer": "BLOB", "deserializer.maxBlobLength": "4"}
    one = spool(config)
    one.put("a", b"123456789")
    batch = one.poll()
    assert batch is not None
    assert one.commit(batch) == [b"1234"]
    assert one.again(config, died=died).read() == [b"5678", b"9"]


def test_an_empty_file_is_one_empty_event(spool: Callable[..., Spool]) -> None:
    """As with every deserializer."""
    one = spool()
    one.put("a")
    assert one.read() == [b""]


def test_a_gzip_file_is_one_event_of_what_it_holds(spool: Callable[..., Spool]) -> None:
    """Decompressed on the way."""
    one = spool()
    one.put("a.gz", gzip.compress(b"x" * 100_000))
    assert one.read() == [b"x" * 100_000]


@pytest.mark.parametrize("length", ["0", "3 GiB", "much"])
def test_values_that_make_no_sense_are_errors(length: str) -> None:
    """A body's length is a 32-bit number."""
    options, _ = read_options(BlobOptions, {"maxBlobLength": length})
    assert options is None


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("deserializer", "BLOB") is BlobDeserializer
    name = "org.apache.flume.sink.solr.morphline.BlobDeserializer$Builder"
    assert find("deserializer", name) is BlobDeserializer
