"""No work per event: one batch of 1,000 rows and one of 10,000 cost the same Python instructions, in every component.

Each component that exists has an entry in `TABLE` with the options that it needs, as a file would have them; several
entries where options change the way of the rows. A component without an entry fails here: add it to the table. What
can't do without a loop over rows stands in `EXCEPTIONS`, with its reason.

Both batches have as many bytes, so that work for each block of bytes is the same too, and as many distinct header
values: loops over distinct values are fine. What is measured is the second batch: first times are allowed to cost more.
"""

from __future__ import annotations

import io
import logging
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shipper import registry
from shipper.api import EventBatch, Origin, Source
from shipper.batch.framing import line_ends, rows_of
from shipper.channels.memory.channel import MemoryChannel, lane_name
from shipper.channels.memory.put import LaneRoute, open_put_side
from shipper.channels.memory.take import TakeRoute, TakeSide
from shipper.config.field import read_options
from shipper.ring.layout import lane_key
from shipper.ring.puts import PutPage
from shipper.testing.fakes import ManualClock, sink_context, source_context
from shipper.testing.instructions import Work, work_of
from tests.channels.logged import Logged
from tests.channels.spilled import Spilled
from tests.waiting import until

FEW_ROWS, MANY_ROWS = 1_000, 10_000
BYTES = 40_000
#: A count of rows that is written as a number takes a digit more: fewer instructions than one for each hundred rows.
ONE_IN_A_HUNDRED = (MANY_ROWS - FEW_ROWS) // 100
#: More Python objects than that, in the larger batch than in the smaller one, are objects for each row.
OBJECTS_MORE = 1_500

Properties = dict[str, str]

#: Family -> component -> the options of each case.
TABLE: dict[str, dict[str, list[Properties]]] = {
    "source": {
        "TAILDIR": [{"filegroups": "g", "filegroups.g": "{dir}/in/.*log", "positionFile": "{dir}/positions.json"}],
        "exec": [
            {"command": "tail -n +1 -F {dir}/in/app.log"},
            {"command": "cat {dir}/in/app.log", "exec.native": "false"},
        ],
        "netcat": [{"bind": "127.0.0.1", "port": "0"}, {"bind": "127.0.0.1", "port": "0", "encoding": "iso-8859-1"}],
        "seq": [{}],
        "spooldir": [{"spoolDir": "{dir}/in"}],
    },
    "deserializer": {"line": [{}], "avro": [{}], "blob": [{}]},
    "interceptor": {
        "timestamp": [{}, {"preserveExisting": "true"}],
        "host": [{}, {"preserveExisting": "true"}],
        "static": [{"key": "k", "value": "v"}, {"key": "kind", "value": "v"}],
    },
    "selector": {
        "replicating": [{}, {"optional": "c2"}],
        "multiplexing": [{"header": "kind", "mapping.a": "c1", "mapping.b": "c1 c2", "default": "c2"}],
    },
    "channel": {
        "memory": [{}, {"capacity": "100000", "byteCapacity": "100000000"}],
        "file": [{}, {"capacity": "100000", "fsyncPerTransaction": "false"}],
        "spillablememory": [{}, {"memoryCapacity": "1"}, {"byteCapacity": "1000"}],
    },
    "serializer": {
        "text": [{}, {"appendNewline": "false"}],
        "header_and_text": [{}],
        "avro_event": [{}],
        "avro_datum": [{}],
        "json_lines": [{}],
    },
    "sink": {
        "file_roll": [{"sink.directory": "{dir}", "sink.rollInterval": "0"}],
        "hdfs": [
            {"hdfs.path": "file://{dir}", **rolls, **kind}
            for rolls in [{"hdfs.rollInterval": "0", "hdfs.rollSize": "0", "hdfs.rollCount": "0"}]
            for kind in [
                {},
                {"hdfs.writeFormat": "Text"},
                {"hdfs.codeC": "gzip"},
                {"hdfs.fileType": "DataStream"},
                {"hdfs.fileType": "CompressedStream", "hdfs.codeC": "lz4"},
                {"hdfs.fileType": "DataStream", "hdfs.path": "file://{dir}/%{kind}/%Y-%m-%d/%H"},
                {"hdfs.fileType": "Parquet", "hdfs.columns": "kind timestamp:timestamp_ms"},
                {"hdfs.fileType": "Parquet", "hdfs.columns": "host:int64 kind:date timestamp:int32"},
            ]
        ],
        "logger": [{}],
        "null": [{}],
    },
}

#: What loops over rows, and why it must.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("deserializer", "avro"): "where a record ends is known only when it has been decoded",
    ("sink", "logger"): "a line of the log for each event is what it is for",
}

#: Families whose members see no rows.
WITHOUT_ROWS = {"processor"}


@dataclass(frozen=True)
class Case:
    """One component with one set of options, and whether the batch has columns of headers."""

    family: str
    name: str
    number: int
    headed: bool

    def __str__(self) -> str:
        return f"{self.family}-{self.name}-{self.number}" + ("-headed" if self.headed else "")


def _cases() -> list[Case]:
    found = []
    for family in sorted(registry.FAMILIES.keys() - WITHOUT_ROWS):
        for name in registry.everything(family):
            entries = _entries(family, name)
            kinds = (False,) if family in ("source", "deserializer") else (False, True)  # they make their own batches
            found += [Case(family, name, number, kind) for number in range(max(len(entries), 1)) for kind in kinds]
    return found


def _entries(family: str, name: str) -> list[Properties]:
    return {key.lower(): cases for key, cases in TABLE.get(family, {}).items()}.get(name, [])


@pytest.mark.parametrize("case", _cases(), ids=str)
def test_a_batch_costs_the_same_instructions_however_many_rows_it_has(case: Case, tmp_path: Path) -> None:
    entries = _entries(case.family, case.name)
    assert entries, f"{case.family} {case.name} is not in the table of {Path(__file__).name}: add it to the table"
    properties, reason = entries[case.number], EXCEPTIONS.get((case.family, case.name))
    if reason is not None:  # counting is slow: a tenth of the rows shows a loop, too
        few, many = (_measured(case, properties, tmp_path / str(n), n) for n in (FEW_ROWS // 10, FEW_ROWS))
        assert many.instructions > 5 * few.instructions, f"{case} has no loop over rows: take it off the exceptions"
        return
    few, many = (_measured(case, properties, tmp_path / str(n), n) for n in (FEW_ROWS, MANY_ROWS))
    shown = f"{case} works for each event. {FEW_ROWS} rows: {few}; {MANY_ROWS} rows: {many}"
    assert many.instructions - few.instructions < ONE_IN_A_HUNDRED, shown
    assert many.objects - few.objects < OBJECTS_MORE, shown


def test_the_table_names_only_what_exists() -> None:
    known = {(family, name) for family in registry.FAMILIES for name in registry.everything(family)}
    named = {(family, name.lower()) for family, entries in TABLE.items() for name in entries} | EXCEPTIONS.keys()
    assert named - known == set()


def test_a_loop_over_rows_is_seen() -> None:
    """What the counter is for: a comprehension, and a column made into Python objects behind one call."""
    from shipper.files import escapes  # any module of ours: its name is lent to the code below

    def counted(source: str, rows: int) -> Work:
        scope: dict[str, Any] = {"column": _batch(rows, headed=False).body}
        exec(compile(source, escapes.__file__, "exec"), scope)
        return work_of(scope["act"])

    loop = "def act():\n    return [len(value) for value in column.to_pylist()]"
    behind = "def act():\n    values = column.to_pylist()\n    return values"
    assert counted(loop, FEW_ROWS).instructions > 5 * counted(loop, FEW_ROWS // 10).instructions
    assert counted(behind, MANY_ROWS).instructions == counted(behind, FEW_ROWS).instructions
    assert counted(behind, MANY_ROWS).objects - counted(behind, FEW_ROWS).objects > OBJECTS_MORE


# --- how each family is measured


def _measured(case: Case, properties: Properties, directory: Path, rows: int) -> Work:
    (directory / "in").mkdir(parents=True)
    given = {key: value.replace("{dir}", str(directory)) for key, value in properties.items()}
    return _MEASURE[case.family](case.name, given, directory, rows, case.headed)


def _made(family: str, name: str, properties: Mapping[str, str]) -> tuple[type[Any], Any]:
    kind = registry.find(family, name)
    assert kind is not None
    options, findings = read_options(kind.Options, properties)
    assert options is not None, [finding.message for finding in findings]
    return kind, options


def _lines(rows: int) -> bytes:
    """`BYTES` bytes of lines, all of one length."""
    width = BYTES // rows - 1
    return b"".join(b"%0*d\n" % (width, number % 10**width) for number in range(rows))


def _batch(rows: int, headed: bool) -> EventBatch:
    """As a tail makes it, or with columns of headers: a time, and one that four values and some rows do not have."""
    block = _lines(rows)
    records = rows_of(block, line_ends(block))
    origins = (Origin("stream", 0, BYTES),)
    if not headed:
        return EventBatch(records, trim=1, constants={"host": "web1"}, origins=origins)
    numbers = np.arange(rows)
    kinds = pa.array(["a", "b", "c", "d", None]).take(pa.array(numbers % 5))
    times = pa.array((1_340_459_193_000 + numbers % 100).astype(str), pa.string())
    batch = EventBatch(records, trim=1, origins=origins)
    batch = batch.with_body(batch.body)
    return batch.with_header("kind", kinds).with_header("timestamp", times).with_header("host", "web1")


def _interceptor(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    kind, options = _made("interceptor", name, properties)
    interceptor = kind(options, ManualClock())
    interceptor.intercept(_batch(rows, headed))
    batch = _batch(rows, headed)
    return work_of(lambda: interceptor.intercept(batch))


def _selector(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    kind, options = _made("selector", name, properties)
    selector = kind(options, ["c1", "c2"])
    selector.route(_batch(rows, headed))
    batch = _batch(rows, headed)
    return work_of(lambda: selector.route(batch))


def _channel(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    """A put and a take."""
    _, options = _made("channel", name, properties)
    if name in ("file", "spillablememory"):
        kind = Logged if name == "file" else Spilled
        return _logged_channel(kind, properties, directory, rows, headed)
    assert name == "memory", "measure the put and the take of this channel here"
    MemoryChannel("c1", options).prepare(directory / "c1", ["r1.0"], ["k1.0"], 4 << 20)
    lane, bell = directory / "c1" / lane_name("r1.0", "k1.0"), directory / "bell"
    page = PutPage.ensure(directory / "page")
    page.register(lane_key("c1", lane.name))
    put_side = open_put_side(directory / "page", {"c1": (options, [LaneRoute(lane, bell)])}, {})
    take_side = TakeSide([TakeRoute("c1", lane, directory / "page", bell)], 1)
    take_side.settle()

    def put_and_take(batch: EventBatch) -> None:
        _put(put_side.transaction(), batch)
        _take(take_side.transaction(), rows)

    put_and_take(_batch(rows, headed))
    batch = _batch(rows, headed)
    try:
        return work_of(lambda: put_and_take(batch))
    finally:
        put_side.close()
        take_side.close()
        page.close()


def _put(transaction: Any, batch: EventBatch) -> None:
    transaction.begin()
    assert transaction.put("c1", batch)
    transaction.commit()
    transaction.close()


def _take(transaction: Any, rows: int) -> None:
    transaction.begin()
    taken = transaction.take()
    assert taken is not None and taken.rows == rows
    del taken
    transaction.commit()
    transaction.close()


def _logged_channel(
    kind: type[Logged] | type[Spilled], properties: Properties, directory: Path, rows: int, headed: bool
) -> Work:
    """A put, what the writer does with it, and a take."""
    channel = kind(directory, {**properties, "maxFileSize": "64m", "ring.bytes": "16m"})

    def put_and_take(batch: EventBatch) -> None:
        _put(channel.put_side().transaction(), batch)
        channel.writer.step(0.0)
        _take(channel.take_side().transaction(), rows)

    put_and_take(_batch(rows, headed))
    batch = _batch(rows, headed)
    try:
        return work_of(lambda: put_and_take(batch))
    finally:
        channel.kill()


def _serializer(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    kind, options = _made("serializer", name, properties)
    serializer = kind(options, ManualClock())
    serializer.serialize(_typed(name, _batch(rows, headed)))
    batch = _typed(name, _batch(rows, headed))
    return work_of(lambda: serializer.serialize(batch))


def _typed(name: str, batch: EventBatch) -> EventBatch:
    """What avro_datum wants to know of each event."""
    return batch.with_header("flume.avro.schema.literal", '"bytes"') if name == "avro_datum" else batch


def _sink(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    logging.getLogger("shipper.sink.logger").setLevel(logging.INFO)
    kind, options = _made("sink", name, properties)
    sink = kind(options)
    sink.open(sink_context(directory / "state", clock=ManualClock()))

    def deliver(batch: EventBatch) -> None:
        sink.deliver(batch)
        sink.flush()
        sink.committed()

    # Templates of paths need the time of each event.
    first, second = (_batch(rows, headed) for _ in range(2))
    if not headed:
        first, second = (batch.with_header("timestamp", "1340459193234") for batch in (first, second))
    try:
        deliver(first)
        return work_of(lambda: deliver(second))
    finally:
        sink.close()


class _Waiter:
    """Waits for real descriptors, for a moment; the rest of the time passes on the manual clock."""

    fileno = -1

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def wait(self, timeout_s: float, fds: Sequence[int] = ()) -> Sequence[int]:
        readable = select.select(list(fds), [], [], min(timeout_s, 0.2))[0] if fds else []
        if not readable:
            self._clock.advance(timeout_s)
        return readable


def _source(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    """Two loads of lines, the second one measured from its arrival to its commit."""
    load = _lines(rows)
    if name == "netcat":
        return _netcat(properties, directory, rows, load)
    if name == "exec" and "exec.native" in properties:
        return _command(properties, directory, rows, load)
    if name == "seq":
        return _polled(_opened(name, properties, directory, rows_max=rows), rows, lambda: None)
    paths = [directory / "in" / f for f in (["a.log", "b.log"] if name == "spooldir" else ["app.log"] * 2)]
    bring = iter([lambda: _append(paths[0], load), lambda: _append(paths[1], load)])
    (directory / "in" / "app.log").touch() if name == "exec" else None
    return _polled(_opened(name, properties, directory), rows, lambda: next(bring)())


def _append(path: Path, data: bytes) -> None:
    hidden = path.parent.parent / path.name
    if path.exists():
        with path.open("ab") as file:
            file.write(data)
    else:
        hidden.write_bytes(data)
        hidden.rename(path)


def _opened(name: str, properties: Properties, directory: Path, **context: Any) -> Source[Any]:
    kind, options = _made("source", name, properties)
    source: Source[Any] = kind(options)
    clock = ManualClock()
    waiter: Any = _Waiter(clock)
    source.open(source_context(directory / "state", clock=clock, waiter=waiter, **context))
    return source


def _polled(source: Source[Any], rows: int, bring: Callable[[], None]) -> Work:
    def read() -> None:
        left = rows
        while left > 0:
            batch = source.poll(1.0)
            if batch is not None:
                source.committed(batch)
                left -= batch.rows

    try:
        bring()
        read()
        bring()
        return work_of(read)
    finally:
        source.close()


def _netcat(properties: Properties, directory: Path, rows: int, load: bytes) -> Work:
    source: Any = _opened("netcat", properties, directory)
    with socket.create_connection(source.address, timeout=10) as client:
        return _polled(source, rows, lambda: client.sendall(load))


def _command(properties: Properties, directory: Path, rows: int, load: bytes) -> Work:
    """The output of a command lies in the pipe as a whole before it is looked at."""
    (directory / "in" / "app.log").write_bytes(load)
    source: Any = _opened("exec", properties, directory)
    try:
        until(source._reader._command.ended, "all is printed")
        return work_of(lambda: source.committed(source.poll(1.0)))
    finally:
        source.close()


def _deserializer(name: str, properties: Properties, directory: Path, rows: int, headed: bool) -> Work:
    """Through the source that uses it. A BLOB is one event a file: both sizes are one file."""
    content = _lines(rows) if name != "avro" else _avro_container(rows)
    kept = {"spoolDir": str(directory / "in"), "deserializer": name.upper(), **properties}
    source = _opened("spooldir", kept, directory)
    names = iter(["a.log", "b.log"])
    return _polled(source, 1 if name == "blob" else rows, lambda: _append(directory / "in" / next(names), content))


def _avro_container(rows: int) -> bytes:
    fastavro = pytest.importorskip("fastavro")
    schema = {"type": "record", "name": "r", "fields": [{"name": "f", "type": "string"}]}
    file = io.BytesIO()
    fastavro.writer(file, schema, [{"f": line.decode()} for line in _lines(rows).splitlines()])
    return file.getvalue()


_MEASURE: dict[str, Callable[[str, Properties, Path, int, bool], Work]] = {
    "source": _source,
    "deserializer": _deserializer,
    "interceptor": _interceptor,
    "selector": _selector,
    "channel": _channel,
    "serializer": _serializer,
    "sink": _sink,
}
