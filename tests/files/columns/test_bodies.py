"""Bodies that lie in the channel with their delimiters: in the stage as they are, in the file without."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shipper.api import EventBatch
from shipper.batch.schema import BODY_ONLY
from shipper.files.columns import parquet
from shipper.files.columns.bodies import stripped, views
from tests.files.columns.life import Life

#: Lengths around what a view holds itself, nothing at all, and long ones.
BODIES = [b"", b"a", b"x" * 11, b"y" * 12, b"z" * 13, b"", b"w" * 5000, "gr\u00fc\u00df".encode(), b"last"]


def lines(bodies: list[bytes], trim: int) -> EventBatch:
    delimiter = b"\r\n"[2 - trim :]
    body = pa.array([body + delimiter for body in bodies], pa.binary())
    return EventBatch(pa.RecordBatch.from_arrays([body], schema=BODY_ONLY), trim=trim)


@pytest.mark.parametrize("strip", [stripped, views])
@pytest.mark.parametrize("kind", [pa.binary(), pa.string()])
@pytest.mark.parametrize("trim", [0, 1, 2])
def test_delimiters_are_left_out_of_any_body(strip: Any, kind: pa.DataType, trim: int) -> None:
    body = lines([b"before", *BODIES, b"behind"], trim).raw_body.slice(1, len(BODIES)).view(kind)
    table = pa.table({"body": pa.chunked_array([body, body.slice(3, 4)]), "n": pa.array(range(len(BODIES) + 4))})
    found = strip(table, trim)
    wanted = [*BODIES, *BODIES[3:7]]
    assert found["body"].to_pylist() == [body.decode() if kind == pa.string() else body for body in wanted]
    assert found["n"].to_pylist() == list(range(len(wanted)))


def test_views_copy_no_long_body() -> None:
    body = lines(BODIES, 1).raw_body
    found = views(pa.table({"body": body}), 1)["body"].chunk(0)
    assert found.buffers()[2].address == body.buffers()[2].address


@pytest.mark.parametrize("old_arrow", [False, True])
@pytest.mark.parametrize("kind", ["Parquet", "ORC", "Arrow"])
def test_lines_of_several_sources_stand_in_one_file(
    kind: str, old_arrow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first rows end in, all have in the stage; the file has the bodies alone."""
    if old_arrow:  # one that does not write views
        monkeypatch.setattr(parquet, "viewed", _not_implemented)
    for first in (0, 1, 2):
        life = Life(tmp_path / str(first), fileType=kind)
        sent: list[bytes] = []
        for trim in (first, 0, 1, 2):
            batch = lines([body + b"%d" % trim for body in BODIES], trim)
            life.sink.deliver(batch)
            life.sink.deliver(batch.slice(3, 4))
            life.sink.flush()
            life.sink.committed()
            stripped_bodies = batch.body.to_pylist()
            sent += [*stripped_bodies, *stripped_bodies[3:7]]
        life.sink.close()
        assert life.rows() == sent


def test_a_stage_is_gone_on_with_in_the_way_it_was_begun(tmp_path: Path) -> None:
    first = Life(tmp_path)
    first.sink.deliver(lines([b"one", b"two"], 2))
    sequence = first.sink.flush()
    first.sink.committed()
    second = Life(tmp_path, sequence)
    second.sink.deliver(lines([b"three"], 1))
    second.sink.flush()
    second.sink.committed()
    second.sink.close()
    assert len(os.listdir(second.out)) == 1
    assert second.rows() == [b"one", b"two", b"three"]


def test_parquet_files_say_nothing_of_views(tmp_path: Path) -> None:
    life = Life(tmp_path, columns="n:int64 t:timestamp_us", columns_body="string")
    life.deliver(b"a", n="1", t="5", x="y")
    life.sink.close()
    (path,) = life.out.iterdir()
    schema = pq.read_schema(path)
    assert [str(field.type) for field in schema][:3] == ["string", "int64", "timestamp[us, tz=UTC]"]
    assert not schema.metadata


def _not_implemented(schema: pa.Schema) -> pa.Schema:
    raise pa.ArrowNotImplementedError("views")


def test_very_many_short_bodies_are_all_right() -> None:
    random = np.random.default_rng(1)
    bodies = [bytes(random.integers(97, 122, length).astype(np.uint8)) for length in random.integers(0, 30, 5000)]
    assert views(pa.table({"body": lines(bodies, 1).raw_body}), 1)["body"].to_pylist() == bodies
