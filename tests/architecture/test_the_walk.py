"""The walk of a batch, as `docs/architecture.md` draws it, is the walk that a batch takes.

One line goes from a file through a TAILDIR source, an interceptor, a selector, a memory channel and an hdfs sink;
which files of ours are carried out, and in which order they come first, is compared with the table.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from shipper.config.field import read_options
from shipper.interceptors.timestamp import TimestampInterceptor
from shipper.metrics.counters import Counters
from shipper.pipeline.deliver import Delivery
from shipper.pipeline.group_sink import GroupSink
from shipper.pipeline.ingest import Ingest
from shipper.pipeline.quarantine import Quarantine
from shipper.processors.default import DefaultOptions, DefaultProcessor
from shipper.selectors.replicating import ReplicatingSelector
from shipper.sinks.hdfs.sink import HdfsSink
from shipper.sources.taildir import TaildirSource
from shipper.testing.fakes import FakeWaiter, ManualClock, sink_context, source_context
from tests.channels.conftest import Memory

ROOT = Path(__file__).parents[2]


def table() -> dict[int, list[str]]:
    """Step -> files, from the page."""
    found = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        if match := re.match(r"\| (\d+) \| .* \|(.*)\|$", line):
            found[int(match[1])] = re.findall(r"`([a-z_/]+\.py)`", match[2])
    return found


def test_every_step_names_files_that_are_there() -> None:
    steps = table()
    assert list(steps) == list(range(1, 15))
    for step, files in steps.items():
        assert files, f"step {step} names no file"
        for file in files:
            assert (ROOT / "shipper" / file).is_file(), f"step {step}: there is no shipper/{file}"


def made(kind: type, properties: dict[str, str]) -> object:
    """The options of a component."""
    options, findings = read_options(kind.Options, properties)
    assert options is not None, findings
    return options


def walked(action: Callable[[], object]) -> list[str]:
    """The files of ours that the action carried out, each once, in the order in which they came first."""
    seen: dict[str, None] = {}

    def look(frame: FrameType, event: str, argument: object) -> None:
        path = frame.f_code.co_filename
        if "/shipper/" in path:
            seen[path.rpartition("/shipper/")[2]] = None

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        action()
    finally:
        sys.setprofile(before)
    return list(seen)


def test_a_batch_takes_the_steps_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.log").write_bytes(b"one\ntwo\n")
    clock = ManualClock()
    source = TaildirSource(
        made(
            TaildirSource,
            {
                "filegroups": "f", "filegroups.f": f"{tmp_path}/in/.*", "positionFile": f"{tmp_path}/p.json",
                "inotify": "false",
            },
        )
    )  # fmt: skip
    source.open(source_context(tmp_path / "source", clock=clock))
    memory = Memory(tmp_path, {})
    interceptor = TimestampInterceptor(made(TimestampInterceptor, {}), clock)
    selector = ReplicatingSelector(made(ReplicatingSelector, {}), ["c1"])
    ingest = Ingest(
        [interceptor], selector, memory.put_side(), Counters.private(), FakeWaiter(clock).wait, rows_max=1000,
        keep_alive_s=0, stopping=lambda: False, waiting_for=lambda reason: None, clock=clock,
    )  # fmt: skip
    sink = HdfsSink(
        made(
            HdfsSink,
            {
                "hdfs.path": f"file://{tmp_path}/out/%Y", "hdfs.fileType": "CompressedStream", "hdfs.codeC": "gzip",
                "hdfs.rollCount": "1", "serializer": "text",
            },
        )
    )  # fmt: skip
    sink.open(sink_context(tmp_path / "sink", clock=clock))
    member = GroupSink("k1", sink, Counters.private(), Quarantine(tmp_path / "quarantine.jsonl", clock))
    delivery = Delivery(
        {"k1": member}, DefaultProcessor(DefaultOptions(), ["k1"], clock), memory.take_side(), FakeWaiter(clock),
        batch_bytes=1 << 20, linger_s=0, stopping=lambda: False, waiting_for=lambda reason: None,
        say=lambda level, line: None, clock=clock,
    )  # fmt: skip

    def left_half() -> None:
        batch = source.poll(0)
        assert batch is not None and batch.rows == 2
        assert ingest.put(batch)
        source.committed(batch)

    left, right = walked(left_half), walked(delivery.step)
    sink.close()
    source.close()
    memory.kill()
    steps = table()

    def first(way: list[str], step: int) -> int:
        places = [way.index(file) for file in steps[step] if file in way]
        assert places, f"step {step}: none of {steps[step]} was carried out; the way was {way}"
        return min(places)

    assert len(list((tmp_path / "out").rglob("FlumeData*.gz"))) == 2
    on_the_left = [first(left, step) for step in (1, 2, 5, 6, 7)]
    assert on_the_left == sorted(on_the_left), left
    first(left, 3), first(left, 4), first(left, 8)
    assert left.index("interceptors/timestamp.py") < left.index("selectors/replicating.py")
    assert left.index("batch/wire.py") < left.index("ring/puts.py") or "ring/puts.py" in left
    on_the_right = [first(right, step) for step in (9, 11, 12)]
    assert on_the_right == sorted(on_the_right), right
    first(right, 10), first(right, 13), first(right, 14)


def test_nothing_calls_upstream() -> None:
    """No callback, future or acknowledgement: a source's and a sink's verbs get no function of the other side."""
    for file in ("sources/source.py", "sinks/sink.py"):
        text = (ROOT / "shipper" / file).read_text()
        assert not re.search(r"def (ack|on_[a-z]+|callback|subscribe)", text), file
