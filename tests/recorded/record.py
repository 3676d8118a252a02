"""What this release leaves on a machine, recorded for those after it: a small archive of everything that they read.

    python -m tests.recorded.record NAME        writes tests/recorded/NAME.tar.gz; only when a layout gets a new version

::

    run/            a run directory: lanes, put pages, a promise that was not kept yet (`ring/layout.py`, version 1)
    state/          the same as it is parked (`instance/parking.py`, version 1), without the promise
    positions       the position table of a source worker
    log/            a file channel: checkpoint, board, segments (`durable/layout.py`, version 1), its lanes
    sink/           what a rolling sink keeps (`files/journal.py`, version 1), and the file that it had open
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from shipper.api import EventBatch, Origin
from shipper.config.field import read_options
from shipper.instance import parking
from shipper.instance.holdings import holdings
from shipper.instance.instance import Instance, find
from shipper.instance.letters import settle_letters
from shipper.sinks.file_roll import FileRollOptions, FileRollSink
from shipper.testing.fakes import sink_context
from shipper.workers.positions import Positions
from tests.channels.logged import Logged
from tests.pipeline.test_dead_letters import World
from tests.workers.test_positions import ManualHead

#: What waits in the first channel, its refused rows, and what waits in the log.
WAITING = [b"c", b"d \xff\x00", b"", b"x" * 20_000]
LETTERS = [b"bad 1", b"bad 2"]
IN_LOG = [b"log 2", b"log 3", b"y" * 3000]
STREAM = Origin("/var/log/app.log 1:2", 0, 117, "anchor")
CONFIGURATION = Path("/etc/shipper/recorded.properties")


class Killed(BaseException):
    """The process is gone."""


def record(archive: Path) -> None:
    """Makes all of it and packs it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as scratch:
        place = Path(scratch)
        _run(place / "run")
        _park(place)
        table = Positions(place / "positions", [ManualHead()])
        table.store([STREAM])
        table.close()
        _log(place / "log")
        _sink(place / "sink")
        with tarfile.open(archive, "w:gz") as packed:
            for path in sorted(path for path in place.rglob("*") if path.is_file()):
                packed.add(path, str(path.relative_to(place)), filter=_nobodys)


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def instance_in(place: Path) -> Instance:
    """The instance whose parked channels lie in `place/state`."""
    return find("a1", CONFIGURATION, run_dir=place / "parked", state_dir=place / "states")


def _run(directory: Path) -> None:
    world = World(directory)
    world.put(b"a", b"bad 1")
    world.put(b"bad 2")
    world.put(b"c", b"d \xff\x00", b"", host="h", path="ü")
    world.put(b"x" * 20_000)
    delivery = world.sink()
    assert delivery.step()
    letters = world.open[-1]

    def commit(*_: object) -> None:
        raise Killed

    letters.page.commit = commit  # the take is stored, the put of the letter is not
    with contextlib.suppress(Killed):
        delivery.step()
    world.kill()


def _park(place: Path) -> None:
    instance = instance_in(place)
    shutil.copytree(place / "run", instance.run_dir, ignore=lambda _, names: [n for n in names if n == "bells"])
    settle_letters(instance.run_dir)
    instance.state_dir.mkdir(parents=True)
    parking.park(instance, holdings(instance.run_dir), CONFIGURATION)
    shutil.rmtree(place / "parked")
    (place / "state").mkdir()
    shutil.move(parking.parked_path(instance.state_dir), place / "state")
    shutil.rmtree(place / "states")


def _log(directory: Path) -> None:
    directory.mkdir()
    channel = Logged(directory)
    assert channel.put(b"log 1", origins=[STREAM])
    assert channel.put(*IN_LOG[:2])
    assert channel.take(batches=1) == [b"log 1"]
    assert channel.put(*IN_LOG[2:])  # in its lane only, when its writer dies
    channel.kill()


def _sink(directory: Path) -> None:
    (directory / "out").mkdir(parents=True)
    sink = FileRollSink(_options(directory / "out"))
    sink.open(sink_context(directory / "state"))
    sink.deliver(EventBatch.of([b"one", b"two"]))
    assert sink.flush() > 0
    sink.committed()


def _options(directory: Path) -> FileRollOptions:
    options, findings = read_options(FileRollOptions, {"sink.directory": str(directory)})
    assert options is not None, findings
    return options


if __name__ == "__main__":
    record(Path(__file__).with_name(f"{sys.argv[1]}.tar.gz"))
