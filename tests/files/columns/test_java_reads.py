"""What the readers of Hive and Spark find in our files: parquet-mr and ORC's Java library, which are not Arrow.

One file a codec, each with several groups of rows: typed columns, nulls, values that are none, empty maps of headers.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from columnar import Columnar, rows

from shipper.api import EventBatch
from shipper.batch.schema import BODY, HEADER
from tests.files.columns.life import Life

COLUMNS = "host n:int64 i:int32 d:double yes:boolean day:date s:timestamp_s ms:timestamp_ms us:timestamp_us"
#: Header texts, and what the two readers say of the values.
TEXTS = {
    "host": "web-%d", "n": "%d", "i": "-%d", "d": "%d.5", "yes": "true", "day": "2026-11-21", "s": "1340459193",
    "ms": "1340459193%03d", "us": "1340459193%06d",
}  # fmt: skip
ROWS, GROUP = 300, 20_000


def headers(number: int) -> dict[str, str]:
    """All columns in even rows, `host` and a wrong number in the others; a header without a column in every fifth."""
    found = {name: text % number if "%" in text else text for name, text in TEXTS.items()}
    if number % 2:
        found = {"host": found["host"], "n": "many"}
    return {**found, "x": str(number)} if number % 5 == 0 else found


def body(number: int) -> bytes:
    return b"" if number == 7 else bytes([number % 256]) * (number % 40) + b"\x00\xff\xc3\xa9" * 50


def written(folder: Path, kind: str, codec: str) -> Path:
    """A file of three transactions, of lines and of bodies without a newline."""
    life = Life(folder / codec, fileType=kind, codeC=codec, columns=COLUMNS, rowGroupSize=str(GROUP), rollCount="0")
    for start in range(0, ROWS, ROWS // 3):
        numbers = range(start, start + ROWS // 3)
        batch = EventBatch.of([body(number) for number in numbers], [headers(number) for number in numbers])
        life.sink.deliver(as_lines(batch) if start else batch)
        life.sink.flush()
        life.sink.committed()
    life.sink.close()
    (path,) = life.out.iterdir()
    return path


def as_lines(batch: EventBatch) -> EventBatch:
    """The same rows with newlines behind their bodies."""
    records = batch.with_body(EventBatch.of([body + b"\n" for body in batch.body.to_pylist()]).body).records
    assert records.schema.names[0] == BODY and all(name.startswith(HEADER) for name in records.schema.names[1:])
    return EventBatch(records, trim=1)


def wanted(number: int, values: dict[str, Any]) -> dict[str, Any]:
    """A row as a reader is to show it, but for its body and its map."""
    return {name: value if name == "host" or not number % 2 else None for name, value in values.items()}


def extras(number: int) -> dict[str, str]:
    return ({"n": "many"} if number % 2 else {}) | ({"x": str(number)} if number % 5 == 0 else {})


@pytest.mark.timeout(900)
def test_parquet_mr_reads_every_codec(columnar: Columnar, tmp_path: Path) -> None:
    codecs = ("zstd", "snappy", "lz4", "gzip", "none")
    files = [written(tmp_path, "Parquet", codec) for codec in codecs]
    found = rows(columnar.parquet("cat", files))
    assert len(found) == ROWS * len(codecs)
    for place, row in enumerate(found):
        number = place % ROWS
        assert row.pop("body").encode("latin-1") == body(number)
        assert row.pop("headers") == extras(number)
        assert row == wanted(number, {
            "host": f"web-{number}", "n": number, "i": -number, "d": number + 0.5, "yes": True, "day": 20778,
            "s": 1340459193000, "ms": 1340459193000 + number, "us": 1340459193000000 + number,
        })  # fmt: skip
    said = columnar.parquet("meta", files[:1])
    groups = [int(count) for count in re.findall(r"^Row group \d+: +count: (\d+)", said, re.M)]
    assert sum(groups) == ROWS and len(groups) >= 3
    columns = re.findall(r"^(\S+) +(?:BINARY|INT32|INT64|DOUBLE|BOOLEAN) .*", said, re.M)
    assert columns == ["body", *TEXTS, "headers.key_value.key", "headers.key_value.value"] * len(groups)
    nulls = [int(count) for count in re.findall(r"^n +INT64 .* (\d+) +\"\d+\" / \"\d+\"", said, re.M)]
    assert sum(nulls) == ROWS // 2
    assert '"2026-11-21" / "2026-11-21"' in said
    assert f'"1340459193{ROWS - 2:03d}' not in said and "2012-06-23T13:46:33" in said  # instants, not numbers
    assert not re.search(r'^body .*"', said, re.M)  # no statistics


@pytest.mark.timeout(900)
def test_orc_in_java_reads_every_codec(columnar: Columnar, tmp_path: Path) -> None:
    codecs = ("zstd", "snappy", "lz4", "zlib", "none")
    files = [written(tmp_path, "ORC", codec) for codec in codecs]
    found = rows(columnar.orc("data", files))
    assert len(found) == ROWS * len(codecs)
    for place, row in enumerate(found):
        number = place % ROWS
        assert bytes(row.pop("body")) == body(number)
        assert {one["_key"]: one["_value"] for one in row.pop("headers")} == extras(number)
        second = "2012-06-23 13:46:33."
        assert row == wanted(number, {
            "host": f"web-{number}", "n": number, "i": -number, "d": number + 0.5, "yes": True, "day": "2026-11-21",
            "s": f"{second}0", "ms": f"{second}{_fraction(number, 3)}", "us": f"{second}{_fraction(number, 6)}",
        })  # fmt: skip
    life = Life(tmp_path / "stripes", fileType="ORC", codeC="none", rowGroupSize="300KB", rollCount="0")
    for _ in range(4):
        life.deliver(bytes(400_000))
    life.sink.close()
    printed = columnar.orc("meta -j", [files[0], *life.out.iterdir()])
    said, large = json.loads(next(line for line in printed.splitlines() if line.startswith("[")))
    assert (large["numberOfRows"], len(large["stripeStatistics"])) == (4, 4)
    assert said["numberOfRows"] == ROWS
    statistics = said["fileStatistics"][3]
    assert (statistics["count"], statistics["min"], statistics["max"]) == (ROWS // 2, 0, ROWS - 2)


def _fraction(number: int, digits: int) -> str:
    """As Java prints it: without the zeros at its end, but for one."""
    return f"{number:0{digits}d}".rstrip("0") or "0"
