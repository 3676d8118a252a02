"""The metrics block: what one process writes, another reads at any moment."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from shipper.errors import DamagedData
from shipper.metrics.block import HEADER_BYTES, Kind, MetricsBlock, State
from shipper.metrics.counters import NAMES
from shipper.metrics.sample import CHANNEL_NAMES


def test_a_reader_sees_what_the_workers_wrote(agent: Any) -> None:
    """Identity, counters, state and text of each entry come back through a read-only mapping."""
    made = agent.block
    source = agent.source
    channel = agent.channel
    source.runs(pid=4711, start_ms=2_500)
    source.counters.add("EventAcceptedCount", 7)
    source.state(State.WAITING_ROOM, "room in c1")
    channel.channel({"size": 5, "capacity": 10, "puts": 12, "takes": 7})

    sample = MetricsBlock.view(made.path).sample()

    r1, k1 = sample.workers
    assert (r1.kind, r1.name, r1.type, r1.pid, r1.start_ms) == (Kind.SOURCE, "r1", "exec", 4711, 2_500)
    assert (r1.state, r1.waits_for, r1.channels) == (State.WAITING_ROOM, "room in c1", ("c1",))
    assert r1.counters["EventAcceptedCount"] == 7
    assert set(r1.counters) == set(NAMES)
    assert (k1.kind, k1.name, k1.state) == (Kind.SINK, "k1", State.STARTING)
    assert sample.channels["c1"]["size"] == 5
    assert sample.channels["c1"]["capacity_bytes"] == 0


def test_a_worker_that_opens_the_block_writes_only_into_its_entry(agent: Any) -> None:
    """Neighbours keep their numbers when an entry is filled to its last word and byte."""
    made = agent.block
    source = agent.source
    sink = agent.sink
    sink.counters.set("EventDrainSuccessCount", 3)
    mine = MetricsBlock.open(made.path).entries[0]
    for name in NAMES:
        mine.counters.set(name, (1 << 64) - 1)
    mine.waits_for("x" * 1000)

    assert source.sample().waits_for == "x" * 216
    assert sink.sample().counters["EventDrainSuccessCount"] == 3
    assert made.sample().channels == {"c1": dict.fromkeys(CHANNEL_NAMES, 0)}


def test_a_text_that_is_being_written_is_not_shown(agent: Any) -> None:
    """Bytes that do not fit their checksum read as nothing, never as half a sentence."""
    made = agent.block
    source = agent.source
    source.waits_for("the close of hdfs://nn/logs")
    assert source.sample().waits_for == "the close of hdfs://nn/logs"

    with made.path.open("r+b") as file:
        file.seek(HEADER_BYTES + 544 + 8)
        file.write(b"THE")

    assert source.sample().waits_for == ""


def test_a_text_is_cut_at_a_character(agent: Any) -> None:
    """A name of double-byte characters that does not fit ends with a whole character."""
    made = agent.block
    sink = agent.sink
    sink.describe(Kind.SINK, "日" * 60, "hdfs")
    name = made.sample().workers[1].name
    assert name == "日" * 40
    assert zlib.crc32(name.encode())


def test_what_a_worker_does_is_found_out_when_it_does_not_say(agent: Any) -> None:
    """No progress word: starting. A text: a source waits for room, a sink for its target. Else it works."""
    made = agent.block
    source = agent.source
    sink = agent.sink
    assert [w.state for w in made.sample().workers] == [State.STARTING, State.STARTING]
    for entry in (source, sink):
        entry.counters.set("progress_ms", 1)
    assert [w.state for w in made.sample().workers] == [State.BUSY, State.BUSY]
    for entry in (source, sink):
        entry.waits_for("something")
    assert [w.state for w in made.sample().workers] == [State.WAITING_ROOM, State.WAITING_TARGET]


def test_the_time_in_a_state_counts_from_its_begin(agent: Any) -> None:
    """The same text said again does not start the wait anew; another one does."""
    made = agent.block
    sink = agent.sink
    sink.waits_for("its target")
    first = made.sample().workers[1].state_since_ms
    sink._words[5] = first - 5_000
    sink.waits_for("its target")
    assert made.sample().workers[1].state_since_ms == first - 5_000
    sink.waits_for("something else")
    assert made.sample().workers[1].state_since_ms >= first


def test_counters_go_on_when_a_worker_is_started_again(agent: Any) -> None:
    """Flume's counters belong to the agent's run, not to a process."""
    made = agent.block
    source = agent.source
    source.counters.add("EventAcceptedCount", 7)
    source.stopped(stop_ms=5_000, state=State.FAILED, waits_for="was killed")
    assert made.sample().workers[0].stop_ms == 5_000
    source.runs(pid=9, start_ms=6_000, again=True)
    worker = made.sample().workers[0]
    assert (worker.counters["EventAcceptedCount"], worker.restarts, worker.stop_ms) == (7, 1, 0)
    assert (worker.state, worker.waits_for) == (State.STARTING, "")


def test_the_file_has_all_its_bytes_allocated(agent: Any) -> None:
    """A sparse file would end in SIGBUS when the file system is full."""
    made = agent.block
    status = made.path.stat()
    assert status.st_blocks * 512 >= status.st_size
    assert status.st_mode & 0o777 == 0o600


def test_a_new_block_leaves_the_readers_of_the_old_one_alone(agent: Any) -> None:
    """The old file is unlinked, not rewritten."""
    made = agent.block
    source = agent.source
    source.counters.set("body_bytes", 5)
    MetricsBlock.create(made.path, 1, agent="a2")
    assert made.sample().workers[0].counters["body_bytes"] == 5
    assert MetricsBlock.view(made.path).agent == "a2"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 4096, b"SHPMETR1", b"SHPMETR1" + b"\xff" * 4096])
def test_a_file_that_is_no_block_is_refused(tmp_path: Path, content: bytes) -> None:
    """Nothing that lies under that name can end a reader with anything but DamagedData."""
    (tmp_path / "metrics").write_bytes(content)
    for opening in (MetricsBlock.view, MetricsBlock.open):
        with pytest.raises(DamagedData):
            opening(tmp_path / "metrics")


def test_a_block_knows_whether_its_supervisor_lives(tmp_path: Path, agent: Any) -> None:
    """Same process: runs. Another boot, or a process id that went to somebody else: does not."""
    made = agent.block
    assert made.is_running()
    assert made.supervisor_pid == os.getpid()
    made._header[6] += 1
    assert not made.is_running()
    assert not MetricsBlock.create(tmp_path / "other", 1, boot_id="another boot").is_running()
