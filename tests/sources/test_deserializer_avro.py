"""The AVRO deserializer: records of container files, through the spooldir source."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipper.registry import find
from shipper.sources.deserializers.avro import AvroDeserializer
from tests.sources.test_spooldir import Spool

fastavro = pytest.importorskip("fastavro")

SCHEMA = {
    "type": "record",
    "name": "Line",
    "namespace": "logs",
    "doc": "not part of the canonical form",
    "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": ["null", "string"], "default": None}],
}


def records(count: int) -> list[dict[str, Any]]:
    return [{"n": n, "text": None if n % 7 == 0 else "x" * (n % 50)} for n in range(count)]


def container(made: list[dict[str, Any]], codec: str = "null", sync_interval: int = 2000) -> bytes:
    file = io.BytesIO()
    fastavro.writer(file, SCHEMA, made, codec=codec, sync_interval=sync_interval)
    return file.getvalue()


def encoded(record: dict[str, Any]) -> bytes:
    file = io.BytesIO()
    fastavro.schemaless_writer(file, fastavro.parse_schema(SCHEMA), record)
    return file.getvalue()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Callable[..., Spool]]:
    made: list[Spool] = []

    def make(config: dict[str, str] | None = None, **context: Any) -> Spool:
        made.append(Spool(tmp_path / "spool", {"deserializer": "AVRO"} | (config or {}), **context))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_each_record_is_an_event_as_it_is_encoded(spool: Callable[..., Spool], codec: str) -> None:
    """The body is the bare datum."""
    made = records(1000)
    one = spool()
    one.put("f.avro", container(made, codec))
    assert one.read() == [encoded(record) for record in made]
    assert one.names() == ["f.avro.COMPLETED"]


@pytest.mark.parametrize("died", [True, False])
def test_compressed_containers_are_read_too(spool: Callable[..., Spool], died: bool) -> None:
    """As any other file that ends in .gz; after a power cut from the beginning."""
    made = [encoded(record) for record in records(1000)]
    one = spool(rows_max=100)
    one.put("f.gz", gzip.compress(container(records(1000))))
    batch = one.poll()
    assert batch is not None
    found = one.commit(batch)
    two = one.again({"deserializer": "AVRO"}, died=died)
    assert two.read() == (made[len(found) :] if died else made)
    assert two.names() == ["f.gz.COMPLETED"]


def test_the_header_has_the_fingerprint_of_the_schema_the_lowest_byte_first(spool: Callable[..., Spool]) -> None:
    """CRC-64-AVRO of the canonical form, as in the specification's example for "int": 0x7275d51a3f395c8f."""
    one = spool()
    file = io.BytesIO()
    fastavro.writer(file, "int", [1])
    one.put("f.avro", file.getvalue())
    batch = one.poll()
    assert batch is not None
    assert batch.constants == {"flume.avro.schema.hash": "8f5c393f1ad57572"}
    assert batch.body.to_pylist() == [b"\x02"]


def test_the_header_can_have_the_schema_itself(spool: Callable[..., Spool]) -> None:
    """schemaType = LITERAL: JSON without blanks."""
    one = spool({"deserializer.schemaType": "literal"})
    one.put("f.avro", container(records(1)))
    batch = one.poll()
    assert batch is not None
    literal = batch.constants["flume.avro.schema.literal"]
    assert literal is not None
    assert json.loads(literal) == SCHEMA
    assert ": " not in literal


@pytest.mark.parametrize("died", [True, False])
def test_a_restart_goes_on_at_the_next_block(spool: Callable[..., Spool], died: bool) -> None:
    """Reads give whole blocks: nothing is lost, nothing comes twice."""
    made = records(1000)
    one = spool(rows_max=100)
    one.put("f.avro", container(made))
    found: list[bytes] = []
    for _ in range(3):
        batch = one.poll()
        assert batch is not None
        found += one.commit(batch)
    assert 0 < len(found) < 1000
    two = one.again({"deserializer": "AVRO"}, died=died)
    assert found + two.read() == [encoded(record) for record in made]


def test_rows_that_did_not_reach_the_channels_are_read_again(spool: Callable[..., Spool]) -> None:
    """`position` goes back to a block."""
    one = spool(rows_max=100)
    one.put("f.avro", container(records(1000)))
    first = one.poll()
    assert first is not None
    one.commit(first)
    second = one.poll()
    assert second is not None
    one.source.position(second.origins)
    again = one.poll()
    assert again is not None
    assert again.body.to_pylist() == second.body.to_pylist()


@pytest.mark.parametrize("damage", ["cut", "flipped", "text"])
def test_a_damaged_file_is_left_and_the_next_one_read(spool: Callable[..., Spool], damage: str) -> None:
    """Whole blocks before the damage are delivered."""
    made = records(1000)
    data = bytearray(container(made, "deflate"))
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[len(data) // 2 : len(data) // 2 + 20] = b"\xff" * 20
    else:
        data = bytearray(b"not avro at all\n")
    one = spool()
    one.put("bad", bytes(data), 1)
    one.put("good", container(records(3)), 2)
    found = one.read()
    assert found[-3:] == [encoded(record) for record in records(3)]
    assert found[:-3] == [encoded(record) for record in made[: len(found) - 3]]
    assert one.names() == ["bad", "good.COMPLETED"]
    assert "it is no whole Avro container file" in one.said[0][1]


def test_it_is_found_by_alias_and_by_class_name() -> None:
    """Both spellings of a Flume file."""
    assert find("deserializer", "AVRO") is AvroDeserializer
    name = "org.apache.flume.serialization.AvroEventDeserializer$Builder"
    assert find("deserializer", name) is AvroDeserializer


def test_without_fastavro_the_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything runs."""
    from shipper.config.field import read_options
    from shipper.sources.spooldir import SpooldirOptions

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    options, findings = read_options(SpooldirOptions, {"spoolDir": "/d", "deserializer": "AVRO"})
    assert options is None
    assert "pip install 'shipper[avro]'" in findings[0].message
