"""Fewer workers than before: what those that went had under way is settled by those that stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shipper.batch.batch import Origin
from shipper.testing.agent import Agent
from tests.workers.conftest import agent_of, seq
from tests.workers.rings import CONFIGURATION, Rings

TOTAL = 1_000_000


def counted(total: int, directory: Path, workers: int) -> str:
    """An agent that counts through a small channel into files which stay open until their sink ends."""
    lines = {
        "type": "hdfs", "hdfs.path": f"file://{directory}", "hdfs.fileType": "DataStream", "hdfs.rollInterval": 0,
        "hdfs.rollCount": 0, "hdfs.rollSize": 0, "channel": "c1", "workers": workers,
    }  # fmt: skip
    sink = "".join(f"a1.sinks.k1.{key} = {value}\n" for key, value in lines.items())
    return agent_of(seq("r1", "c1", total), sink, more="a1.channels.c1.capacity = 4000\n")


def delivered(directory: Path) -> bytes:
    """What is in all files."""
    return b"".join(path.read_bytes() for path in directory.iterdir())


@pytest.mark.parametrize(("before", "after"), [(2, 1), (3, 2)])
def test_files_of_workers_that_are_not_started_any_more_are_settled(
    agent: Callable[..., Agent], tmp_path: Path, before: int, after: int
) -> None:
    """All of them killed in the middle of a transaction, then fewer: every line once, no file under an in-use name."""
    out = tmp_path / "out"
    out.mkdir()
    one = agent(counted(TOTAL, out, before)).start(wait=False)
    one.until(lambda: len(list(out.iterdir())) == before and len(delivered(out)) > 500_000, "all workers write")
    one.kill()
    assert len(list(out.glob("*.tmp"))) == before
    one.file.write_text(counted(TOTAL, out, after))
    one.start(wait=False)
    one.until(lambda: delivered(out).count(b"\n") >= TOTAL, "everything is delivered", 90)
    one.until(lambda: len(list(out.glob("*.tmp"))) <= after, "the others are settled")
    assert one.stop() == 0, one.log()
    assert not list(out.glob("*.tmp"))
    numbers = sorted(map(int, delivered(out).split()))
    assert len(numbers) == TOTAL, f"{len(numbers) - TOTAL} lines came twice"
    assert numbers == list(range(TOTAL))


def test_a_worker_that_comes_back_goes_on(agent: Callable[..., Agent], tmp_path: Path) -> None:
    """Two workers, one, two again: what one of them settled is not cut by the other."""
    out = tmp_path / "out"
    out.mkdir()
    one = agent(counted(TOTAL // 10, out, 2)).start(wait=False)
    one.until(lambda: len(delivered(out)) > 100_000, "they write")
    one.kill()
    for workers in (1, 2):
        one.file.write_text(counted(TOTAL // 10, out, workers))
        one.start(wait=False)
        one.until(lambda: delivered(out).count(b"\n") >= TOTAL // 10, "everything is delivered", 60)
        one.kill()
    one.start()
    assert one.stop() == 0, one.log()
    assert not list(out.glob("*.tmp"))
    assert sorted(map(int, delivered(out).split())) == list(range(TOTAL // 10))
    assert "does not have the state" not in one.log()


def test_a_put_into_a_lane_that_is_not_filled_any_more_is_remembered(tmp_path: Path) -> None:
    """The source was killed before its position table had its last put, which went to the sink that was taken out."""
    two = CONFIGURATION.replace("sinks = k1", "sinks = k1 k2") + "a1.sinks.k2.type = null\na1.sinks.k2.channel = c1\n"
    last = Origin("stream", 5, 9, "anchor")
    rings = Rings(tmp_path, two)
    rings.put(b"one")
    rings.put(b"two", origin=last)
    assert rings.put_side().page.state().origin_lane == 1
    rings.end(in_order=False)
    rings = Rings(tmp_path, CONFIGURATION)
    assert rings.put_side().last_origins() == [last]
    assert sorted(rings.drain()) == [b"one", b"two"]
    rings.end()
