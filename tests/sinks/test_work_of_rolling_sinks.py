"""Rolling sinks do no work per event: as many lines of Python for a batch of 10,000 rows as for one of 1,000."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pytest

from shipper.api import EventBatch, Sink
from shipper.batch.framing import line_ends, rows_of
from shipper.config.field import read_options
from shipper.registry import find
from shipper.testing.fakes import sink_context


def batch_of(rows: int, headers: bool) -> EventBatch:
    """Lines as a tail hands them over; with a time in each of three minutes, and four hosts."""
    block = b"".join(b"line %08d\n" % n for n in range(rows))
    batch = EventBatch(rows_of(block, line_ends(block)), trim=1)
    if not headers:
        return batch
    times = pa.array([str(1_340_459_193_000 + n * 120_000 // rows) for n in range(rows)])
    return batch.with_header("timestamp", times).with_header("h", pa.array(["abcd"[n % 4] for n in range(rows)]))


def lines_of_python(work: Callable[[], None]) -> int:
    """Lines of Python executed by `work`."""
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    gc.collect()
    gc.disable()  # what other tests left behind may have Python code to run when it is collected
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


@pytest.mark.parametrize(
    ("type_name", "headers", "properties"),
    [
        ("file_roll", False, {}),
        ("hdfs", False, {"hdfs.fileType": "DataStream"}),
        ("hdfs", True, {"hdfs.fileType": "DataStream"}),
        ("hdfs", True, {"hdfs.fileType": "CompressedStream", "hdfs.codeC": "gzip"}),
        ("hdfs", True, {"hdfs.fileType": "SequenceFile"}),
        ("hdfs", True, {"hdfs.fileType": "DataStream", "hdfs.rollSize": "100000000"}),
        ("hdfs", True, {"hdfs.fileType": "DataStream", "hdfs.round": "true", "hdfs.roundUnit": "hour"}),
    ],
)
def test_a_batch_costs_the_same_lines_of_python_whatever_its_rows(
    type_name: str, headers: bool, properties: dict[str, str], tmp_path: Path
) -> None:
    sink_class = find("sink", type_name)
    assert sink_class is not None
    (tmp_path / "out").mkdir()
    path = f"file://{tmp_path}/out" + ("/%Y-%m-%d/%H%M/%{h}" if headers else "")
    given = {"sink.directory": f"{tmp_path}/out"} if type_name == "file_roll" else {
        "hdfs.path": path, "hdfs.rollCount": "0", "hdfs.rollSize": "0", "hdfs.rollInterval": "0"}  # fmt: skip
    options, findings = read_options(sink_class.Options, given | properties)
    assert options is not None, findings
    sink: Sink[Any] = sink_class(options)
    sink.open(sink_context(tmp_path / "state"))

    def transaction(batch: EventBatch) -> None:
        sink.deliver(batch)
        sink.flush()
        sink.committed()

    # A batch remembers what it was asked once, so each is used once; the first one opens the file.
    transaction(batch_of(1_000, headers))
    few, many = batch_of(1_000, headers), batch_of(10_000, headers)
    assert lines_of_python(lambda: transaction(many)) == lines_of_python(lambda: transaction(few))
    sink.close()
