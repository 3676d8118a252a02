"""RS4: the wall clock jumps, to and fro, under load and deaths: nothing stalls, is lost, twice or overwritten."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from shipper.instance.ledger import mismatch
from shipper.instance.ledger_book import LedgerBook
from shipper.testing.agent import Agent
from tests.crash.conftest import Writer, agent_of, file_roll, taildir, texts
from tests.crash.shifted import WallClock

SEED = int(os.environ.get("SHIPPER_SEED", "1"))
YEAR_S = 365 * 86_400
JUMPS_S = (3600, -3600, 1, -1, 10 * YEAR_S, -10 * YEAR_S, 86_400, 0)
_STALL_S = 15.0  # a jump may cost a second, and this machine may be busy with other tests; the least is an hour


def properties(tmp_path: Path, channel: str) -> str:
    """Files that end by time, and are named by it; a bucket of the clock's hour beside them."""
    more = ""
    if channel == "file":
        more = f"a1.channels.c1.checkpointDir = {tmp_path}/checkpoint\na1.channels.c1.dataDirs = {tmp_path}/data\n"
    hdfs = (
        f"a1.sinks.k2.type = hdfs\na1.sinks.k2.hdfs.path = file://{tmp_path}/hdfs/%Y%m%d%H\na1.sinks.k2.channel = c2\n"
        "a1.sinks.k2.hdfs.fileType = DataStream\na1.sinks.k2.hdfs.useLocalTimeStamp = true\n"
        "a1.sinks.k2.hdfs.rollCount = 0\na1.sinks.k2.hdfs.rollSize = 0\na1.sinks.k2.hdfs.rollInterval = 1\n"
    )
    return agent_of(
        taildir("r1", "c1 c2", tmp_path / "in"), file_roll("k1", "c1", tmp_path / "out"), hdfs,
        channels="c1 c2", sinks="k1 k2", more=f"a1.channels.c1.type = {channel}\n{more}",
    )  # fmt: skip


def hdfs_rows(directory: Path) -> list[bytes]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [row for path in files for row in path.read_bytes().split()]


def jumps(tmp_path: Path, channel: str, rounds: int) -> None:
    chance = random.Random(SEED)
    clock = WallClock(tmp_path, Path(__file__).parents[2])
    writer = Writer(tmp_path / "in" / "app.log", 5_000)
    with Agent(tmp_path / "agent", properties(tmp_path, channel), environment=clock.environment) as one:
        one.start()
        writer.start()
        longest_s = 0.0
        for number in range(rounds):
            clock.jump_to(JUMPS_S[number % len(JUMPS_S)] + chance.randrange(-1, 2))
            if number % 4 == 3:
                one.kill(chance.choice(["r1", "k1", "k2"]))
            elif number % 8 == 6:
                one.kill()
                one.start()
            wanted, began_s = writer.lines, time.monotonic()
            one.until(lambda wanted=wanted: texts(tmp_path / "out").count(b"\n") >= wanted, "lines go through", 30)
            if number % 4 != 3 and number % 8 != 6:
                longest_s = max(longest_s, time.monotonic() - began_s)
            one.until(lambda wanted=wanted: len(hdfs_rows(tmp_path / "hdfs")) >= wanted, "also by the other way", 30)
            threading.Event().wait(chance.random())
        total = writer.end()
        one.until(lambda: texts(tmp_path / "out").count(b"\n") >= total, "everything is in one channel's files")
        one.until(lambda: len(hdfs_rows(tmp_path / "hdfs")) >= total, "and in the other's")
        assert one.stop() == 0, one.log()
        print(f"seed {SEED}: {rounds} jumps, {total} lines, the longest stall {longest_s:.2f} s")
        wanted = [b"%d" % number for number in range(total)]
        assert sorted(texts(tmp_path / "out").split(), key=int) == wanted
        assert sorted(hdfs_rows(tmp_path / "hdfs"), key=int) == wanted
        assert not list((tmp_path / "hdfs").rglob("*.tmp"))
        assert len(list((tmp_path / "hdfs").iterdir())) >= min(rounds, 4), "the buckets are the clock's"
        assert longest_s < _STALL_S
        assert "Traceback" not in one.log()
        (book,) = one.state_dir.glob("*/ledger.json")
        assert not any(map(mismatch, LedgerBook(book).total().channels.values()))


def test_a_clock_that_jumps_neither_stalls_nor_loses_nor_repeats(tmp_path: Path) -> None:
    jumps(tmp_path, "memory", 5)


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("channel", ["memory", "file", "spillablememory"])
def test_a_clock_that_jumps_all_night(tmp_path: Path, channel: str) -> None:
    jumps(tmp_path, channel, 80)
