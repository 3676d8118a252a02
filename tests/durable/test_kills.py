"""A writer that is killed again and again under a reader that never stops: every body once, in order."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from shipper.durable.board import Board, lane_id
from shipper.durable.reader import Reader

KILLS = int(os.environ.get("SHIPPER_KILLS", "6"))
BODIES = 400 * KILLS

#: What a channel's writer does: it puts what its ring has from the put on that the log does not have.
WRITER = """
import sys
from pathlib import Path
from shipper.durable.log import Log
from shipper.durable.settings import Entry, LogSettings
from shipper.durable.board import lane_id
d, last, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
settings = LogSettings(checkpoint_dir=d / "c", data_dirs=(d / "d1", d / "d2"), segment_bytes=96 << 10,
                       minimum_free_bytes=0, checkpoint_interval_s=0.05)
log = Log.open(settings, ["k1.0"], lambda body: [])
assert not log.recovered.lost
import random, time
chance = random.Random(seed)
put = log.put_of(1)
print("ready", flush=True)
while put < last:
    for _ in range(min(chance.randrange(1, 12), last - put)):
        put = log.put_of(1) + 1
        body = b"%08d" % put * (1 + put % 97 * (1 + put % 7))
        while log.append(1, put, [Entry(lane_id("k1.0"), (body,), 1, len(body))]) is None:
            log.tick(time.monotonic())
    log.sync()
    log.tick(time.monotonic())
log.sync()
print("done", flush=True)
sys.stdin.read()
"""


def test_a_reader_sees_each_body_once_however_often_the_writer_is_killed(tmp_path: Path) -> None:
    """SIGKILL at random moments; the reader goes on through restarts, rollbacks and removed segments."""
    seed = int(os.environ.get("SHIPPER_SEED", "1"))
    print(f"seed {seed}")
    chance = random.Random(seed)
    writer = start(tmp_path, seed)
    board = Board.open(tmp_path / "c" / "shipper.board")
    reader = Reader(board, (tmp_path / "d1", tmp_path / "d2"), lane_id("k1.0"), 9)
    assert reader.try_hold()
    expected, committed, kills = 1, 1, 0
    kill_at = chance.randrange(BODIES // (KILLS + 1))
    deadline_s = time.monotonic() + 90
    while expected <= BODIES:
        assert time.monotonic() < deadline_s, f"stuck at {expected}"
        record = reader.peek()
        if record is None:
            assert writer.poll() is None, "the writer died by itself"
            continue
        body = b"%08d" % expected
        assert bytes(record.body) == body * (1 + expected % 97 * (1 + expected % 7))
        reader.step()
        expected += 1
        if chance.random() < 0.1:
            reader.rewind()
            expected = committed
        elif chance.random() < 0.2:
            reader.release(expected)
            committed = expected
        if kills < KILLS and expected > kill_at:
            os.kill(writer.pid, signal.SIGKILL)
            writer.communicate()
            kills += 1
            kill_at += BODIES // (KILLS + 1)
            writer = start(tmp_path, seed + kills)
    reader.release(expected)
    assert kills == KILLS
    assert not reader.lost
    assert not reader.waiting
    writer.communicate("")
    assert writer.returncode == 0


def start(directory: Path, seed: int) -> subprocess.Popen[str]:
    """A writer that has opened the log."""
    command = [sys.executable, "-c", WRITER, str(directory), str(BODIES), str(seed)]
    writer = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer
