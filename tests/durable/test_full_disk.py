"""A file system that is really full: a tmpfs of 3 MiB, in a mount namespace of its own process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fetched import missing

SCRIPT = """
import ctypes, os, sys
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)
where = sys.argv[1].encode()
if libc.unshare(0x00020000) or libc.mount(b"none", b"/", None, 0x44000, None):
    sys.exit(77)
if libc.mount(b"none", where, b"tmpfs", 0, b"size=3m"):
    sys.exit(77)
from shipper.durable.board import Board, lane_id
from shipper.durable.log import Log
from shipper.durable.settings import Entry, LogSettings
from shipper.durable.reader import Reader
from shipper.errors import ComponentFailed
d, lane = Path(sys.argv[1]), lane_id("k1.0")
settings = LogSettings(checkpoint_dir=d / "c", data_dirs=(d / "d",), segment_bytes=512 << 10, minimum_free_bytes=0)
put = taken = 0
for life in range(3):
    log = Log.open(settings, ["k1.0"], lambda body: [])
    assert not log.recovered.lost and log.put_of(1) == put
    reader = Reader(Board.open(settings.board), settings.data_dirs, lane, 1)
    assert reader.try_hold()
    for filled in range(4):
        while log.append(1, put + 1, [Entry(lane, ((b"%08d" % (put + 1)) * 4000,), 1, 1)]) is not None:
            put += 1
            if put % 3 == 0:
                log.sync()
        log.sync()
        assert "No space left" in log.full_because or "minimumRequiredSpace" in log.full_because, log.full_because
        if filled == 2:  # the rest of the file system, too
            ballast = os.open(d / "ballast", os.O_WRONLY | os.O_CREAT)
            try:
                while True:
                    os.write(ballast, bytes(4096))
            except OSError:
                os.close(ballast)
        while (record := reader.peek()) is not None:
            taken += 1
            assert bytes(record.body[:8]) == b"%08d" % taken
            reader.step()
            del record
            if taken % 5 == 0:
                reader.release(1)
                log.tick(filled + taken)
        reader.release(1)
        (d / "ballast").unlink(missing_ok=True)
        assert not reader.lost and log.rows == 0
        reader.close(); reader = Reader(Board.open(settings.board), settings.data_dirs, lane, 1); reader.try_hold()
    reader.close()
    log.close()
print(put, taken)
assert put == taken > 300, (put, taken)
"""


def test_a_full_file_system_fills_and_drains_and_starts(tmp_path: Path) -> None:
    """Nothing is lost, nothing dies of SIGBUS, and what was delivered makes room; twelve times over three starts."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=Path(__file__).parents[2], capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip
    if done.returncode == 77:
        missing("needs the right to mount a tmpfs in a namespace of its own")
    assert done.returncode == 0, done.stdout + done.stderr
